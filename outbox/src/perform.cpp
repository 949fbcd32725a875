// Requests of the machine, carried out on the store's ports.
#include <hufu/outbox/relay_actions.hpp>

namespace hufu::outbox {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
    using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

/// Wraps a port's answer into the reply type, an error as it is.
template <class Reply, class Answer, class Wrap>
Result<Reply> wrapped(Result<Answer> answer, Wrap wrap) {
    if (answer.has_error()) return answer.error();
    return wrap(std::move(*answer));
}

Result<LotReply> owned(Result<Ownership> answer) {
    return wrapped<LotReply>(std::move(answer), [](Ownership ownership) { return LotReply{.ownership = ownership}; });
}

}  // namespace

Result<LeaseReply> perform(const LeaseRequest& request, LaneLease& lease) {
    return std::visit(Overloaded{[&](const AcquireLane& ask) {
                                     return wrapped<LeaseReply>(
                                         lease.acquire(ask.owner, ask.lease),
                                         [](std::optional<Claim> claim) { return LeaseReply{.claim = std::move(claim)}; });
                                 },
                                 [&](const RenewLease& ask) {
                                     return wrapped<LeaseReply>(lease.renew(ask.claim, ask.lease), [](Ownership ownership) {
                                         return LeaseReply{.ownership = ownership};
                                     });
                                 },
                                 [&](const ReleaseLane& ask) -> Result<LeaseReply> {
                                     if (const auto released = lease.release(ask.claim); released.has_error())
                                         return released.error();
                                     return LeaseReply{};
                                 }},
                      request);
}

Result<LaneReply> perform(const LaneRequest& request, LaneReader& reader) {
    const auto reply = [](auto value) { return LaneReply{std::move(value)}; };
    return std::visit(Overloaded{[&](const StartReading&) { return wrapped<LaneReply>(reader.start(), reply); },
                                 [&](const ReadRequest& ask) { return wrapped<LaneReply>(reader.read(ask), reply); },
                                 [&](const CountUnknown& ask) {
                                     return wrapped<LaneReply>(reader.count_unknown(ask.upto, ask.known), reply);
                                 }},
                      request);
}

Result<Settled> perform(const SettleRequest& request, LaneSettler& settler) {
    return settler.settle(request.claim, request.seqs, request.awaited);
}

Result<LotReply> perform(const LotRequest& request, ParkingLot& lot, DelayedRows& delayed) {
    return std::visit(
        Overloaded{
            [&](const ParkRows& ask) { return owned(lot.park(ask.claim, ask.rows)); },
            [&](const ListParked&) {
                return wrapped<LotReply>(lot.list(),
                                         [](std::vector<ParkedKey> keys) { return LotReply{.keys = std::move(keys)}; });
            },
            [&](const ReadReleased& ask) {
                return wrapped<LotReply>(lot.read_released(ask.key, ask.after, ask.limit),
                                         [](std::vector<ParkedRow> rows) { return LotReply{.rows = std::move(rows)}; });
            },
            [&](const SettleParked& ask) { return owned(lot.settle(ask.claim, ask.seqs, ask.awaited)); },
            [&](const HoldParked& ask) { return owned(lot.hold(ask.claim, ask.key, ask.row)); },
            [&](const MoveDue& ask) {
                return wrapped<LotReply>(delayed.move_due(ask.claim, ask.limit), [](const Moved& moved) {
                    return LotReply{.ownership = moved.ownership, .moved = moved.rows, .next_due_in = moved.next_due_in};
                });
            }},
        request);
}

}  // namespace hufu::outbox
