// The lane's ports on SQLite: lease, reader, settler, delayed rows.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <hufu/outbox/store.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

/// What the lane says of `claim`, in this transaction.
[[nodiscard]] outbox::Ownership ownership(Transaction& tx, const outbox::Claim& claim);

class Lease final : public outbox::LaneLease {
public:
    explicit Lease(std::shared_ptr<Database> database) : database_{std::move(database)} {}
    Result<std::optional<outbox::Claim>> acquire(std::string_view owner, std::chrono::milliseconds lease) override;
    Result<outbox::Ownership> renew(const outbox::Claim& claim, std::chrono::milliseconds lease) override;
    Result<void> release(const outbox::Claim& claim) override;

private:
    std::shared_ptr<Database> database_;
};

class Reader final : public outbox::LaneReader {
public:
    explicit Reader(std::shared_ptr<Database> database) : database_{std::move(database)} {}
    Result<outbox::LaneStart> start() override;
    Result<outbox::Page> read(const outbox::ReadRequest& request) override;
    Result<std::uint64_t> count_unknown(outbox::Sequence upto, std::span<const outbox::Sequence> known) override;

private:
    std::shared_ptr<Database> database_;
};

class Settler final : public outbox::LaneSettler {
public:
    explicit Settler(std::shared_ptr<Database> database) : database_{std::move(database)} {}
    Result<outbox::Settled> settle(const outbox::Claim& claim, std::span<const outbox::Sequence> seqs,
                                   std::span<const MessageId> awaited) override;

private:
    std::shared_ptr<Database> database_;
};

class Delayed final : public outbox::DelayedRows {
public:
    explicit Delayed(std::shared_ptr<Database> database) : database_{std::move(database)} {}
    Result<outbox::Moved> move_due(const outbox::Claim& claim, std::size_t limit) override;

private:
    std::shared_ptr<Database> database_;
};

}  // namespace hufu::sqlite
