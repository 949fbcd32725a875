// The verdict table of a PostgreSQL database, as checkers see it.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <hufu/postgres/connection.hpp>
#include <hufu/txmsg/verdict_store.hpp>

namespace hufu::postgres {

struct VerdictStoreOptions {
    /// How long a check waits for a local transaction that holds its row; then it says `ongoing`.
    std::chrono::milliseconds wait_most{1'000};
    /// How long the server may take for one answer, beyond `wait_most`; then the connection is given up.
    std::chrono::milliseconds answer_timeout{5'000};
    /// How long `purge` waits for transactions that began before it moved the watermark.
    std::chrono::milliseconds purge_wait{2'000};
    std::int64_t purge_batch = 1'000;  ///< rows per transaction
};

/// `hufu.verdict` and `hufu.verdict_store`. Checks run READ COMMITTED on connections of the store's own, as many as are in
/// use at once. A check lasts at most `wait_most` + three answers; when the connection must be made first, its time-out
/// (5 s) comes on top.
///
/// A standby, or a database that was restored from another server's dump, does not answer: error `fenced`. For the latter
/// a person says which it is: `select hufu.adopt_verdicts(true)` (a copy; it gets an identity of its own) or `(false)` (it
/// takes the other one's place). A physical copy of a server cannot be told from a failover: give it another identity
/// before it reaches a broker.
class VerdictStore final : public txmsg::VerdictStore {
public:
    explicit VerdictStore(std::string url, VerdictStoreOptions options = {});
    ~VerdictStore() override;
    VerdictStore(const VerdictStore&) = delete;
    VerdictStore& operator=(const VerdictStore&) = delete;

    Result<std::string> uuid() override;
    Result<txmsg::Seen> check(const txmsg::TransactionId& transaction) override;
    Result<std::optional<txmsg::Seen>> look(const txmsg::TransactionId& transaction) override;
    Result<txmsg::Purged> purge(std::chrono::hours retention) override;

private:
    template <class Value, class Ask>
    Result<Value> on_connection(const Ask& ask);
    Result<std::unique_ptr<Connection>> take();
    void give(std::unique_ptr<Connection> connection);
    Result<void> admit(Connection& connection);
    Result<std::uint64_t> delete_purged(Connection& connection);

    const std::string url_;
    const VerdictStoreOptions options_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Connection>> idle_;  // guarded by mutex_
    std::string uuid_;                               // guarded by mutex_; of the last database admitted
};

}  // namespace hufu::postgres
