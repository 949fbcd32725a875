// The store ports of one lane; each owns its session.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <hufu/outbox/store.hpp>

#include "hole_watch.hpp"
#include "session.hpp"

namespace hufu::postgres {

class Lease final : public outbox::LaneLease {
public:
    explicit Lease(Session session) : session_{std::move(session)} {}
    Result<std::optional<outbox::Claim>> acquire(std::string_view owner, std::chrono::milliseconds lease) override;
    Result<outbox::Ownership> renew(const outbox::Claim& claim, std::chrono::milliseconds lease) override;
    Result<void> release(const outbox::Claim& claim) override;

private:
    Session session_;
};

class Reader final : public outbox::LaneReader {
public:
    Reader(Session session, std::shared_ptr<const SettleMarks> marks)
        : session_{std::move(session)}, marks_{std::move(marks)}, watch_{*marks_} {}
    Result<outbox::LaneStart> start() override;
    Result<outbox::Page> read(const outbox::ReadRequest& request) override;
    Result<std::uint64_t> count_unknown(outbox::Sequence upto, std::span<const outbox::Sequence> known) override;

private:
    Result<outbox::Page> read(Connection& connection, const outbox::ReadRequest& request,
                              std::span<const outbox::Sequence> asked, Snapshot& snapshot);

    Session session_;
    std::shared_ptr<const SettleMarks> marks_;
    HoleWatch watch_;
};

class Settler final : public outbox::LaneSettler {
public:
    Settler(Session session, std::shared_ptr<SettleMarks> marks) : session_{std::move(session)}, marks_{std::move(marks)} {}
    Result<outbox::Settled> settle(const outbox::Claim& claim, std::span<const outbox::Sequence> seqs,
                                   std::span<const MessageId> awaited) override;

private:
    Session session_;
    std::shared_ptr<SettleMarks> marks_;
};

class Lot final : public outbox::ParkingLot {
public:
    explicit Lot(Session session) : session_{std::move(session)} {}
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
    Result<outbox::Ownership> as_owner(const outbox::Claim& claim, std::string_view sql, const Parameters& parameters);
    Result<std::uint64_t> decide(std::string_view action, const outbox::ParkedSelection& selection,
                                 const outbox::AuditNote& note);
    Session session_;
};

class Delayed final : public outbox::DelayedRows {
public:
    explicit Delayed(Session session) : session_{std::move(session)} {}
    Result<outbox::Moved> move_due(const outbox::Claim& claim, std::size_t limit) override;

private:
    Session session_;
};

}  // namespace hufu::postgres
