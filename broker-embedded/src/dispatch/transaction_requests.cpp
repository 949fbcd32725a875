// END_TRANSACTION (37).
#include <hufu/remoting/transaction_headers.hpp>

#include "names.hpp"
#include "state.hpp"
#include "transactions.hpp"

namespace hufu::broker {
namespace {

/// What the request says; refused: why it says nothing.
Refusal read_end(DispatchState& state, const Request& request, VerdictRequest& into) {
    const auto header = remoting::EndTransactionRequest::decode(request.command);
    if (!header) return {ResponseCode::invalid_parameter, header.error().text()};
    if (header->producer_group.empty())
        return {ResponseCode::invalid_parameter, "END_TRANSACTION (37) needs its producerGroup"};
    switch (header->verdict) {
        case remoting::sys_flag::transaction_none: break;
        case remoting::sys_flag::transaction_commit: into.verdict = Verdict::commit; break;
        case remoting::sys_flag::transaction_rollback: into.verdict = Verdict::rollback; break;
        default:
            return {ResponseCode::invalid_parameter, "commitOrRollback " + std::to_string(header->verdict) +
                                                         " must be 8 (commit), 12 (rollback) or 0 (not known)"};
    }
    if (header->half_queue_offset >= 0) {
        if (header->half_log_offset < 0)
            return {ResponseCode::invalid_parameter,
                    "commitLogOffset " + std::to_string(header->half_log_offset) + " is not a place in the log"};
        into.home = static_cast<std::uint64_t>(header->half_queue_offset);
        into.log_offset = static_cast<std::uint64_t>(header->half_log_offset);
    } else if (header->transaction_id.empty()) {
        return {ResponseCode::invalid_parameter,
                "END_TRANSACTION (37) names no half message (tranStateTableOffset) and no transaction (transactionId)"};
    }
    into.transaction = header->transaction_id.substr(0, transaction_id_length_max + 1);
    into.group = header->producer_group.substr(0, group_length_max + 1);
    into.from_check = header->from_check;
    const Session* session = state.find(request.connection);
    into.peer.emplace();
    if (session != nullptr) into.peer = session->peer;
    into.reason = header->reason.substr(0, 512);
    return {};
}

}  // namespace

static void handle_end(DispatchState& state, const Request& request) {
    VerdictRequest wanted;
    if (const Refusal refusal = read_end(state, request, wanted); refusal.refused()) return state.refuse(request, refusal);
    if (state.access.table() != nullptr) {
        const auto topic = state.transactions.topic_of(state, wanted);
        if (topic && !admit_topic(state, request, Right::publish, *topic)) return;
    }
    state.transactions.decide(
        state, std::move(wanted), [to = ReplyTo{request}](DispatchState& later, const VerdictAnswer& said) {
            remoting::EndTransactionResponse header;
            // What the log refused is not said to be committed; a verdict that came too late learns the first.
            const bool known = !said.refusal.refused() || said.refusal.code == ResponseCode::illegal_operation;
            if (known) header.state = to_string(said.state);
            header.decided_before = said.decided_before;
            if (said.refusal.refused()) later.count_refusal(said.refusal.code);
            later.answer(to, said.refusal.code, header, {}, said.refusal.remark);
        });
}

void add_transaction_handlers(HandlerTable& table) { table.add(remoting::RequestCode::end_transaction, handle_end); }

}  // namespace hufu::broker
