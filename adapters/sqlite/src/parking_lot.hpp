// The parking lot on SQLite.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <hufu/outbox/store.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

class Lot final : public outbox::ParkingLot {
public:
    explicit Lot(std::shared_ptr<Database> database) : database_{std::move(database)} {}

    Result<outbox::Ownership> park(const outbox::Claim& claim, std::span<const outbox::ParkRow> rows) override;
    Result<std::vector<outbox::ParkedRow>> read_released(const outbox::Key& key, outbox::Sequence after,
                                                         std::size_t limit) override;
    Result<outbox::Ownership> settle(const outbox::Claim& claim, std::span<const outbox::Sequence> seqs,
                                     std::span<const MessageId> awaited) override;
    Result<outbox::Ownership> hold(const outbox::Claim& claim, const outbox::Key& key, const outbox::ParkRow& row) override;
    Result<std::vector<outbox::ParkedKey>> list() override;
    Result<std::vector<outbox::ParkedRow>> show(const outbox::Key& key, std::size_t limit) override;
    Result<std::uint64_t> release(const outbox::ParkedSelection& selection, const outbox::AuditNote& note) override;
    Result<std::uint64_t> discard(const outbox::ParkedSelection& selection, const outbox::AuditNote& note) override;
    Result<std::vector<outbox::AuditEntry>> audit(std::size_t limit) override;

private:
    void write_audit(Transaction& tx, std::string_view action, const outbox::ParkedSelection& selection, std::uint64_t rows,
                     const outbox::AuditNote& note);

    std::shared_ptr<Database> database_;
};

}  // namespace hufu::sqlite
