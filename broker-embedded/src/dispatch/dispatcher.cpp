// Sessions, and the way of a request to the function that answers it.
#include <hufu/broker/dispatcher.hpp>

#include <algorithm>
#include <limits>

#include "state.hpp"

namespace hufu::broker {
DispatchState::DispatchState(Log& log_in, DispatcherOptions options_in, MessageIdGenerator& ids_in, MetricsRegistry& metrics,
                             Clock& clock_in)
    : log{log_in},
      options{std::move(options_in)},
      ids{ids_in},
      clock{clock_in},
      booted{clock_in.system_now()},
      access{metrics},
      timers{log_in, metrics},
      transactions{log_in, metrics, options.transactions, clock_in.steady_now()},
      retention{options, metrics},
      messages_stored{metrics.counter("hufu_broker_messages_stored_total", "Messages made durable")},
      bytes_stored{metrics.counter("hufu_broker_stored_bytes_total", "Bytes of records made durable")},
      messages_refused{metrics.counter("hufu_broker_messages_refused_total", "Sends answered with an error")},
      messages_pulled{metrics.counter("hufu_broker_messages_pulled_total", "Messages handed to consumers")},
      bytes_pulled{metrics.counter("hufu_broker_pulled_bytes_total", "Bytes of records handed to consumers")},
      requests{metrics.counter("hufu_broker_requests_total", "Requests received")},
      requests_refused{metrics.counter("hufu_broker_requests_refused_total", "Requests answered with an error")},
      alarms_raised{metrics.counter("hufu_broker_alarms_total", "Conditions an operator should look at")},
      connections{metrics.gauge("hufu_broker_connections", "Open client connections")},
      parked_gauge{metrics.gauge("hufu_broker_parked_pulls", "Pulls waiting for a message")},
      members_gauge{metrics.gauge("hufu_broker_group_members", "Consumers in groups")} {
    for (const auto add : {
             add_filter_handlers,
             add_broker_config_handlers,
             add_consume_stats_handlers,
             add_find_handlers,
             add_group_handlers,
             add_name_service_handlers,
             add_offset_handlers,
             add_pull_handlers,
             add_recall_handlers,
             add_runtime_info_handlers,
             add_send_handlers,
             add_topic_admin_handlers,
             add_transaction_handlers,
             add_transaction_admin_handlers,
         })
        add(handlers);
}

Session* DispatchState::find(ConnectionId connection) noexcept {
    if (connection.slot >= sessions.size()) return nullptr;
    Session& session = sessions[connection.slot];
    return session.open && session.generation == connection.generation ? &session : nullptr;
}

void DispatchState::produced(ConnectionId connection, Session& session, std::size_t before) {
    const std::size_t bytes = session.output.size() - before;
    session.unsent += bytes;
    unsent += bytes;
    if (session.ready) return;
    session.ready = true;
    ready.push_back(connection);
}

void DispatchState::succeed(const Request& request, std::string_view body) {
    answer(request, ResponseCode::success, remoting::NoFields{}, body);
}

void DispatchState::count_refusal(ResponseCode code) {
    requests_refused.add();
    ++refused_by_code[static_cast<std::int32_t>(code)];
}

void DispatchState::refuse(const Request& request, ResponseCode code, std::string_view remark) {
    count_refusal(code);
    answer(request, code, remoting::NoFields{}, {}, remark);
}

void DispatchState::refuse(const ReplyTo& to, ResponseCode code, std::string_view remark) {
    count_refusal(code);
    answer(to, code, remoting::NoFields{}, {}, remark);
}

Result<std::int32_t> DispatchState::begin_call(ConnectionId connection, SteadyTime deadline, ClientCalls::Then then) {
    const Session* session = find(connection);
    if (session == nullptr) return Error{ErrorCode::not_found, Disposition::retry, "the client's connection is closed"};
    if (session->unsent > options.connection_output_max)
        return Error{ErrorCode::busy, Disposition::retry, "the client does not read what it was sent"};
    const std::int32_t opaque = take_opaque();
    if (!calls.add(connection, opaque, deadline, std::move(then)))
        return Error{ErrorCode::busy, Disposition::retry,
                     "the broker waits for " + std::to_string(calls.size()) + " answers of clients already"};
    return opaque;
}

std::int32_t DispatchState::take_opaque() noexcept {
    next_opaque = next_opaque == std::numeric_limits<std::int32_t>::max() ? 0 : next_opaque + 1;
    return next_opaque;
}

void DispatchState::alarm(std::string text) {
    alarms_raised.add();
    // A broken client can repeat its mistake for ever; the counter goes on when the list is full.
    constexpr std::size_t alarms_kept = 100;
    if (alarms.size() < alarms_kept) alarms.push_back(std::move(text));
}

struct Dispatcher::Impl {
    DispatchState state;
    remoting::CommandView command;  // reused for frame after frame
};

Dispatcher::Dispatcher(Log& log, DispatcherOptions options, MessageIdGenerator& ids, MetricsRegistry& metrics, Clock& clock)
    : impl_{new Impl{DispatchState{log, std::move(options), ids, metrics, clock}, {}}} {
    load_broker_config(impl_->state);
    load_topics(impl_->state);
    load_name_service(impl_->state);
    load_group_configs(impl_->state);
    load_positions(impl_->state);
    impl_->state.timers.load(impl_->state);
    impl_->state.transactions.load(impl_->state);
}

Dispatcher::~Dispatcher() = default;

ConnectionId Dispatcher::connected(const remoting::Host& peer) {
    DispatchState& state = impl_->state;
    std::uint32_t slot = 0;
    if (state.free_slots.empty()) {
        slot = static_cast<std::uint32_t>(state.sessions.size());
        state.sessions.emplace_back();
    } else {
        slot = state.free_slots.back();
        state.free_slots.pop_back();
    }
    Session& session = state.sessions[slot];
    const std::uint32_t generation = session.generation + 1 == 0 ? 1 : session.generation + 1;
    session = Session{};
    session.generation = generation;
    session.open = true;
    session.peer = peer;
    state.connections.add(1);
    return ConnectionId{slot, generation};
}

void Dispatcher::disconnected(ConnectionId connection, SteadyTime) {
    DispatchState& state = impl_->state;
    Session* session = state.find(connection);
    if (session == nullptr) return;
    state.unsent -= session->unsent;
    const bool waits = session->parked > 0;
    const std::uint32_t generation = session->generation;
    *session = Session{};
    session->generation = generation;
    state.free_slots.push_back(connection.slot);
    state.connections.add(-1);
    if (waits) drop_parked_pulls(state, connection);
    state.locks.forget(connection);
    state.calls.disconnected(state, connection);
    tell_members(state, state.groups.forget(connection));
}

Result<void> Dispatcher::receive(ConnectionId connection, const remoting::Frame& frame, SteadyTime now) {
    DispatchState& state = impl_->state;
    remoting::CommandView& command = impl_->command;
    if (auto decoded = remoting::decode_command(frame, command); !decoded) return decoded;
    if (command.is_response()) {
        state.calls.answered(state, connection, command);
        return {};
    }
    state.requests.add();
    Request request{connection, command, now};
    if (!admit(state, request)) return {};
    if (const Handler handler = state.handlers.find(command.code); handler != nullptr) {
        handler(state, request);
    } else {
        state.refuse(request, ResponseCode::request_code_not_supported,
                     " request type " + std::to_string(command.code) + " not supported");
    }
    return {};
}

bool Dispatcher::accepts(ConnectionId connection) const noexcept {
    DispatchState& state = impl_->state;
    const Session* session = state.find(connection);
    if (session == nullptr || session->unsent > state.options.connection_output_max) return false;
    if (state.unsent > output_limit()) return false;
    // A log that refuses says so to the senders; one that is behind makes them wait.
    if (state.log.refusing()) return true;
    return state.unsettled_bytes <= state.options.unsettled_bytes_max && !state.log.congested();
}

void Dispatcher::settled(const Outcome& outcome, SteadyTime now) {
    settle_sends(impl_->state, outcome, now);
    impl_->state.awaited.settled(impl_->state, outcome);
    if (!impl_->state.recalls.empty()) settle_recalls(impl_->state, outcome);
    impl_->state.timers.settled(impl_->state, outcome, now);
    impl_->state.transactions.settled(impl_->state, outcome, now);
    serve_grown_queues(impl_->state, now);
}

void Dispatcher::tick(SteadyTime now) {
    DispatchState& state = impl_->state;
    if (now >= std::max(state.next_deadline, state.waits_rest_until)) end_waits(state, now);
    if (now >= state.positions_due) store_positions(state, now);
    if (now >= state.timers.next_at()) state.timers.deliver(state, now);
    if (now >= state.transactions.next_at()) state.transactions.tick(state, now);
    if (now >= state.retention.next_at()) state.retention.tick(state, now);
    if (now >= state.calls.next_deadline()) state.calls.expire(state, now);
    if (now >= state.expiry_due) {
        state.expiry_due = now + std::chrono::seconds{10};
        tell_members(state, state.groups.expire(now, state.options.member_silence));
    }
}

std::optional<SteadyTime> Dispatcher::next_tick() const noexcept {
    const DispatchState& state = impl_->state;
    SteadyTime next =
        std::min({std::max(state.next_deadline, state.waits_rest_until), state.positions_due, state.timers.next_at(),
                  state.transactions.next_at(), state.calls.next_deadline(), state.retention.next_at()});
    if (state.groups.member_count() > 0) next = std::min(next, state.expiry_due);
    if (next == SteadyTime::max()) return std::nullopt;
    return next;
}

bool Dispatcher::store_offsets() { return store_positions(impl_->state, SteadyTime{}); }

void Dispatcher::take_ready(std::vector<ConnectionId>& into) {
    DispatchState& state = impl_->state;
    for (const ConnectionId connection : state.ready) {
        Session* session = state.find(connection);
        if (session == nullptr) continue;
        session->ready = false;
        into.push_back(connection);
    }
    state.ready.clear();
}

void Dispatcher::take_output(ConnectionId connection, std::string& into) {
    if (Session* session = impl_->state.find(connection); session != nullptr) std::swap(session->output, into);
}

void Dispatcher::written(ConnectionId connection, std::size_t bytes) noexcept {
    DispatchState& state = impl_->state;
    Session* session = state.find(connection);
    if (session == nullptr) return;
    session->unsent -= bytes;
    state.unsent -= bytes;
}

std::uint64_t Dispatcher::unsent() const noexcept { return impl_->state.unsent; }

std::uint64_t Dispatcher::output_limit() const noexcept { return 2 * impl_->state.options.output_max; }

void Dispatcher::release_idle_memory() {
    DispatchState& state = impl_->state;
    constexpr std::size_t worth_it = 16U << 10U;
    for (Session& session : state.sessions)
        if (session.output.empty() && session.output.capacity() > worth_it) session.output = std::string{};
    if (state.record.capacity() > worth_it) state.record = {};
    if (state.read_bytes.capacity() > worth_it) state.read_bytes = {};
    if (state.pending.empty()) state.pending = std::vector<PendingSend>{};
}

void Dispatcher::set_access(std::shared_ptr<const AccessTable> table) { impl_->state.access.set(std::move(table)); }

std::vector<std::string> Dispatcher::take_audit() { return impl_->state.access.take_audit(); }

void Dispatcher::append_metrics(std::string& into) { write_metrics(impl_->state, into); }

std::vector<std::string> Dispatcher::take_alarms() {
    DispatchState& state = impl_->state;
    for (const auto& damages = state.log.damages(); state.damages_told < damages.size(); ++state.damages_told)
        state.alarm(damages[state.damages_told].text);
    return std::exchange(state.alarms, {});
}

}  // namespace hufu::broker
