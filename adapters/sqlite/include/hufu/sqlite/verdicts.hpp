// The verdict table of a SQLite file, as checkers see it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <hufu/sqlite/database.hpp>
#include <hufu/txmsg/verdict_store.hpp>

namespace hufu::sqlite {

struct VerdictStoreOptions {
    /// How long a check waits for its turn to write (any transaction on the file holds it up); then it says `ongoing`.
    std::chrono::milliseconds wait_most{1'000};
    std::int64_t purge_batch = 500;  ///< rows per transaction
    Clock* clock = nullptr;          ///< what retention is reckoned by; null: the machine's
};

/// `hufu_verdict` and `hufu_verdict_store`. A local transaction of SQLite holds the one right to write from its start, so
/// a check during it is `ongoing`. A check lasts at most `wait_most` and a few syncs.
///
/// A file that was copied carries its identity with it: before a copy may reach a broker, give it another one by
/// `update hufu_verdict_store set uuid = …`.
class VerdictStore final : public txmsg::VerdictStore {
public:
    /// Throws `hufu::Exception` as `Database` does; the file must exist.
    explicit VerdictStore(std::string path, VerdictStoreOptions options = {});

    Result<std::string> uuid() override;
    Result<txmsg::Seen> check(const txmsg::TransactionId& transaction) override;
    Result<std::optional<txmsg::Seen>> look(const txmsg::TransactionId& transaction) override;
    Result<txmsg::Purged> purge(std::chrono::hours retention) override;

private:
    Database database_;
    const VerdictStoreOptions options_;
};

}  // namespace hufu::sqlite
