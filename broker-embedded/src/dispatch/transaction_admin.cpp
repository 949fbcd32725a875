// Transactions for operators: 29001 (list), 29002 (show), 29003 (decide), 29004 (resume), and RocketMQ's 323 (resume).
#include <algorithm>

#include <hufu/broker/message_keys.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/transaction_bodies.hpp>
#include <hufu/remoting/transaction_headers.hpp>

#include "names.hpp"
#include "state.hpp"
#include "timer_records.hpp"
#include "transactions.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t body_bytes_max = 64U << 10U;
constexpr std::size_t looked_at_max = 4'096;  ///< halves read for one answer
constexpr std::size_t events_shown_max = 200;

std::string_view state_word(HalfState state) noexcept {
    switch (state) {
        case HalfState::pending: return remoting::transaction_state::pending;
        case HalfState::conflict: return remoting::transaction_state::conflict;
        default: return remoting::transaction_state::parked;
    }
}

remoting::HalfData data_of(const DispatchState& state, const LoadedHalf& half) {
    const remoting::PropertiesView properties{half.record.properties};
    remoting::HalfData data;
    data.message_id = properties.get(remoting::property::unique_key).value_or("");
    data.topic = half.record.topic;
    data.queue_id = half.record.queue_id;
    data.offset_message_id =
        remoting::OffsetMessageId{state.options.advertised, static_cast<std::int64_t>(half.home.log_offset)}.to_string();
    data.body_bytes = static_cast<std::int64_t>(half.record.body.size());
    data.keys = properties.get(remoting::property::keys).value_or("");
    data.born_host = host_text(half.record.born_host);
    return data;
}

/// Of halves of one transaction that have no verdict, or an unsettled one.
remoting::TransactionData data_of(DispatchState& state, const std::vector<LoadedHalf>& halves) {
    remoting::TransactionData data;
    const LoadedHalf& first = halves.front();
    data.transaction_id = first.transaction;
    data.producer_group = first.group;
    data.state = state_word(first.half.state);
    data.verdict_store =
        remoting::PropertiesView{first.record.properties}.get(remoting::property::hufu_verdict_store).value_or("");
    data.prepared_at_ms = first.home.stored_ms;
    const SteadyTime now = state.clock.steady_now();
    for (const LoadedHalf& half : halves) {
        data.halves.push_back(data_of(state, half));
        data.checks_answered = std::max<std::int32_t>(data.checks_answered, half.half.checks);
        if (half.half.state != HalfState::pending) continue;
        const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(half.half.due - now).count();
        const std::int64_t at_ms = wall_ms(state) + std::max<std::int64_t>(0, wait);
        if (data.next_check_at_ms == 0 || at_ms < data.next_check_at_ms) data.next_check_at_ms = at_ms;
    }
    return data;
}

/// What happened to a half since it came, oldest first; a reason for its state goes into `data`.
void add_events(DispatchState& state, std::uint64_t home, remoting::TransactionData& data) {
    const auto events = find_events(state, state.transactions.decisions(), event_key(home));
    if (!events) return;
    for (auto event = events->rbegin(); event != events->rend(); ++event) {
        if (event->home.offset != home || data.events.size() >= events_shown_max) continue;
        data.events.push_back(
            {event->at_ms, std::string{event->kind == EventKind::conflict ? "late_commit_refused" : to_string(event->kind)},
             event->by, event->reason});
        if (is_verdict(event->kind)) data.decided_at_ms = event->at_ms;
        if (!event->reason.empty()) data.reason = event->reason;
    }
}

void begin_events(remoting::TransactionData& data, const LoadedHalf& half) {
    data.events.push_back({half.home.stored_ms, "prepared", producer_text(half.record.born_host, false), {}});
}

/// Where a committed message stands in its queue.
void add_delivery(DispatchState& state, const HalfEvent& event, remoting::HalfData& data) {
    std::vector<std::byte> bytes;
    if (event.kind != EventKind::commit || !state.log.read_at(event.delivered_at, bytes)) return;
    const auto record = remoting::decode_record(bytes);
    if (!record || record->topic != data.topic) return;
    data.queue_id = record->queue_id;
    data.queue_offset = record->queue_offset;
}

/// What an operator may call a transaction.
struct Meaning {
    std::vector<LoadedHalf> halves;     ///< in the book
    std::optional<std::uint64_t> home;  ///< of one of its halves
    std::string transaction;
};

/// The half that stands at a place in the log, or stood there first.
void look_by_place(DispatchState& state, std::uint64_t log_offset, Meaning& meaning) {
    std::vector<std::byte> bytes;
    const auto queue = state.log.read_at(log_offset, bytes);
    const auto record = queue && state.transactions.holds_halves(*queue) ? remoting::decode_record(bytes)
                                                                         : Result<remoting::Record>{Error{}};
    const auto home = record ? home_of(*record) : std::nullopt;
    if (!home) return;
    meaning.home = home->offset;
    meaning.transaction = read_half_traits(record->properties).transaction;
    const auto half = state.transactions.book().find(home->offset);
    const auto loaded = half ? state.transactions.load_half(*half) : std::nullopt;
    if (loaded) meaning.halves = state.transactions.load_transaction(state, loaded->group, loaded->transaction);
}

void look_by_message(DispatchState& state, std::string_view unique_key, std::string_view topic, Meaning& meaning) {
    if (!topic.empty()) {
        KeyQuery query;
        query.key = message_key(topic, unique_key);
        for (const std::uint64_t log_offset : state.log.find_key(query).log_offsets) {
            look_by_place(state, log_offset, meaning);
            if (meaning.home) return;
        }
        return;
    }
    std::size_t looked_at = 0;
    std::optional<LoadedHalf> found;
    state.transactions.book().for_each([&](const Half& half) {
        if (found || ++looked_at > looked_at_max) return;
        auto loaded = state.transactions.load_half(half);
        if (loaded && read_half_traits(loaded->record.properties).unique_key == unique_key) found = std::move(loaded);
    });
    if (!found) return;
    meaning.home = found->home.offset;
    meaning.transaction = found->transaction;
    meaning.halves = state.transactions.load_transaction(state, found->group, found->transaction);
}

Meaning meaning_of(DispatchState& state, std::string_view id, std::string_view topic = {}) {
    Meaning meaning;
    meaning.transaction = id;
    meaning.halves = state.transactions.load_transaction(state, {}, id);
    if (!meaning.halves.empty()) {
        // Two groups may have used one id: the older one is meant.
        const std::string group{meaning.halves.front().group};
        std::erase_if(meaning.halves, [&](const LoadedHalf& half) { return half.group != group; });
        meaning.home = meaning.halves.front().home.offset;
        return meaning;
    }
    if (const auto events = find_events(state, state.transactions.decisions(), id))
        for (const HalfEvent& event : *events)
            if (event.transaction_hash == transaction_hash(id)) meaning.home = event.home.offset;
    if (meaning.home) return meaning;
    if (const auto place = remoting::OffsetMessageId::parse(id); place && place->offset >= 0)
        look_by_place(state, static_cast<std::uint64_t>(place->offset), meaning);
    if (!meaning.home) look_by_message(state, id, topic, meaning);
    return meaning;
}

/// A transaction whose halves have their verdict.
remoting::TransactionData data_of_past(DispatchState& state, const Meaning& meaning) {
    remoting::TransactionData data;
    data.transaction_id = meaning.transaction;
    const auto events = find_events(state, state.transactions.decisions(), meaning.transaction);
    if (!events) return data;
    for (auto event = events->rbegin(); event != events->rend(); ++event) {
        if (!is_verdict(event->kind) || event->transaction_hash != transaction_hash(meaning.transaction)) continue;
        data.state = event->kind == EventKind::rollback ? remoting::transaction_state::rolled_back
                                                        : remoting::transaction_state::committed;
        if (!event->group.empty()) data.producer_group = event->group;
        const auto half = state.transactions.half_at_home(event->home.offset);
        const auto loaded = half ? state.transactions.load_half(*half) : std::nullopt;
        if (loaded) {
            data.producer_group = loaded->group;
            if (data.halves.empty()) begin_events(data, *loaded);
            if (data.prepared_at_ms == 0) data.prepared_at_ms = loaded->home.stored_ms;
            data.halves.push_back(data_of(state, *loaded));
            add_delivery(state, *event, data.halves.back());
        }
    }
    if (meaning.home) add_events(state, *meaning.home, data);
    return data;
}

void answer_with(DispatchState& state, const ReplyTo& to, std::string_view id, std::string_view topic = {}) {
    const Meaning meaning = meaning_of(state, id, topic);
    if (!meaning.home)
        return state.refuse(to, ResponseCode::query_not_found,
                            "no transaction or half message \"" + std::string{id.substr(0, 140)} +
                                "\" is known here; ask by its transaction id, its message id (UNIQ_KEY) or its offset id");
    if (meaning.halves.empty())
        return state.answer(to, ResponseCode::success, remoting::NoFields{}, data_of_past(state, meaning).to_json());
    remoting::TransactionData data = data_of(state, meaning.halves);
    begin_events(data, meaning.halves.front());
    add_events(state, *meaning.home, data);
    state.answer(to, ResponseCode::success, remoting::NoFields{}, data.to_json());
}

template <class Body>
bool parse_body(DispatchState& state, const Request& request, Body& into) {
    if (request.command.body.size() > body_bytes_max) {
        state.refuse(request, ResponseCode::invalid_parameter,
                     "the body has " + std::to_string(request.command.body.size()) + " bytes; at most " +
                         std::to_string(body_bytes_max) + " are allowed here");
        return false;
    }
    auto parsed = Body::parse(request.command.body);
    if (!parsed) state.refuse(request, ResponseCode::invalid_parameter, parsed.error().text());
    if (parsed) into = std::move(*parsed);
    return parsed.has_value();
}

/// Who asks: with access control the account says so, else the client.
std::string operator_of(const DispatchState& state, const Request& request, std::string_view said) {
    std::string name = "admin ";
    name +=
        request.account != nullptr ? request.account->name() : std::string{said.empty() ? "unnamed" : said.substr(0, 80)};
    const Session* session = const_cast<DispatchState&>(state).find(request.connection);
    if (session != nullptr) name += " from " + host_text(session->peer);
    return name;
}

}  // namespace

static void handle_list(DispatchState& state, const Request& request) {
    remoting::TransactionFilter filter;
    if (!parse_body(state, request, filter)) return;
    std::uint64_t after = 0;
    if (!filter.after.empty()) {
        const auto number = remoting::parse_integer(filter.after);
        if (!number || *number < 0)
            return state.refuse(request, ResponseCode::invalid_parameter,
                                "after \"" + filter.after + "\" is no page's `next`");
        after = static_cast<std::uint64_t>(*number) + 1;
    }
    const bool decided =
        filter.state == remoting::transaction_state::committed || filter.state == remoting::transaction_state::rolled_back;
    if (decided)
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "only pending, parked and conflicting transactions are listed; show a decided one by its id");
    std::vector<std::uint64_t> homes;
    state.transactions.book().for_each([&](const Half& half) {
        if (half.home >= after && (filter.state.empty() || state_word(half.state) == filter.state))
            homes.push_back(half.home);
    });
    const std::size_t looked_at = std::min(homes.size(), looked_at_max);
    std::partial_sort(homes.begin(), homes.begin() + static_cast<std::ptrdiff_t>(looked_at), homes.end());
    remoting::TransactionList list;
    const std::int64_t born_before_ms = wall_ms(state) - filter.older_than_s * 1000;
    for (std::size_t at = 0; at < looked_at; ++at) {
        if (static_cast<std::int32_t>(list.transactions.size()) == filter.limit) break;
        list.next = std::to_string(homes[at]);
        const auto half = state.transactions.book().find(homes[at]);
        const auto loaded = half ? state.transactions.load_half(*half) : std::nullopt;
        if (!loaded || (filter.older_than_s > 0 && loaded->home.stored_ms > born_before_ms) ||
            (!filter.producer_group.empty() && loaded->group != filter.producer_group))
            continue;
        const auto mates = state.transactions.load_transaction(state, loaded->group, loaded->transaction);
        const bool first = mates.empty() || mates.front().home.offset == homes[at];
        const bool in_topic = filter.topic.empty() || std::any_of(mates.begin(), mates.end(), [&](const LoadedHalf& mate) {
                                  return mate.record.topic == filter.topic;
                              });
        if (mates.empty() || !first || !in_topic) continue;
        list.transactions.push_back(data_of(state, mates));
        if (half->state == HalfState::pending) continue;
        add_events(state, homes[at], list.transactions.back());
        list.transactions.back().events.clear();
    }
    if (!homes.empty() && homes.size() == looked_at && list.next == std::to_string(homes.back())) list.next.clear();
    state.succeed(request, list.to_json());
}

static void handle_show(DispatchState& state, const Request& request) {
    remoting::TransactionCommand command;
    if (parse_body(state, request, command)) answer_with(state, ReplyTo{request}, command.id);
}

static void handle_decide(DispatchState& state, const Request& request) {
    remoting::TransactionCommand command;
    if (!parse_body(state, request, command)) return;
    if (command.verdict != "commit" && command.verdict != "rollback")
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "verdict \"" + command.verdict.substr(0, 40) + "\" must be commit or rollback");
    if (command.reason.empty())
        return state.refuse(request, ResponseCode::invalid_parameter, "a verdict by hand needs a reason: it is kept");
    const Meaning meaning = meaning_of(state, command.id);
    if (!meaning.home) return answer_with(state, ReplyTo{request}, command.id);
    VerdictRequest wanted;
    wanted.home = meaning.home;
    wanted.transaction = meaning.transaction;
    wanted.verdict = command.verdict == "commit" ? Verdict::commit : Verdict::rollback;
    wanted.administrator = operator_of(state, request, command.operator_);
    wanted.reason = command.reason;
    state.access.audit(wanted.administrator + " decides transaction \"" + meaning.transaction + "\": " + command.verdict +
                           ", because " + command.reason,
                       request.now);
    state.transactions.decide(state, std::move(wanted),
                              [to = ReplyTo{request}, id = command.id](DispatchState& later, const VerdictAnswer& said) {
                                  if (said.refusal.refused())
                                      return later.refuse(to, said.refusal.code, said.refusal.remark);
                                  answer_with(later, to, id);
                              });
}

static void resume(DispatchState& state, const Request& request, std::string id, std::string topic, std::string_view who,
                   std::string reason) {
    Meaning meaning = meaning_of(state, id, topic);
    if (!meaning.home) return answer_with(state, ReplyTo{request}, id, topic);
    if (meaning.halves.empty())
        return state.refuse(request, ResponseCode::illegal_operation,
                            "transaction \"" + meaning.transaction + "\" has its verdict: there is nothing to resume");
    VerdictRequest wanted;
    wanted.administrator = operator_of(state, request, who);
    wanted.reason = std::move(reason);
    state.access.audit(wanted.administrator + " resumes transaction \"" + meaning.transaction + "\"", request.now);
    state.transactions.resume(state, meaning.halves, wanted,
                              [to = ReplyTo{request}, id, topic](DispatchState& later, const VerdictAnswer& said) {
                                  if (said.refusal.refused())
                                      return later.refuse(to, said.refusal.code, said.refusal.remark);
                                  answer_with(later, to, id, topic);
                              });
}

static void handle_resume(DispatchState& state, const Request& request) {
    remoting::TransactionCommand command;
    if (parse_body(state, request, command)) resume(state, request, command.id, {}, command.operator_, command.reason);
}

static void handle_resume_check(DispatchState& state, const Request& request) {
    const auto header = remoting::ResumeCheckRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    resume(state, request, std::string{header->message_id}, std::string{header->topic}, "mqadmin",
           "RESUME_CHECK_HALF_MESSAGE");
}

void add_transaction_admin_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::list_transactions, handle_list);
    table.add(RequestCode::show_transaction, handle_show);
    table.add(RequestCode::decide_transaction, handle_decide);
    table.add(RequestCode::resume_transaction, handle_resume);
    table.add(RequestCode::resume_check_half_message, handle_resume_check);
}

}  // namespace hufu::broker
