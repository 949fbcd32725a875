// Asking producers what became of their transactions, and parking what nobody knows.
#include <algorithm>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/transaction_headers.hpp>

#include "state.hpp"
#include "timer_records.hpp"
#include "transactions.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t slice_halves = 64;
constexpr std::uint64_t slice_bytes = 1U << 20U;
constexpr std::chrono::milliseconds busy_wait{20};
constexpr std::size_t tries_max = 3;  ///< producers of a group, until one reads what it is sent
constexpr std::uint8_t steps_max = 40;

/// From one question to the next.
std::chrono::milliseconds wait_of(const TransactionOptions& options, std::uint8_t step) {
    constexpr std::chrono::milliseconds least{100};
    const auto most = std::max(least, options.check_interval_max);
    std::chrono::milliseconds wait = std::clamp(options.check_interval, least, most);
    for (std::uint8_t i = 0; i < step && wait < most; ++i) wait = std::min(most, wait * 2);
    return wait;
}

}  // namespace

void Transactions::tick(DispatchState& state, SteadyTime now) {
    next_at_ = SteadyTime::max();
    expire_checks(now);
    if (log_.refusing()) {
        next_at_ = now + std::chrono::milliseconds{100};
        return;
    }
    if (book_is_due()) static_cast<void>(write_book(state));  // a later turn tries again
    std::uint64_t bytes = 0;
    for (std::size_t looked = 0; looked < slice_halves && bytes < slice_bytes; ++looked) {
        const auto half = book_.next();
        if (!half || half->due > now) break;
        if (fresh_.contains(half->home) || deciding_.contains(half->home) || log_.congested()) {
            next_at_ = now + busy_wait;
            return;
        }
        if (checks_out_count_ >= state.options.transactions.checks_out_max) {
            next_at_ = checks_out_.empty() ? now + busy_wait : checks_out_.front().until;
            return;
        }
        if (!check_rate_.take(now)) {
            next_at_ = check_rate_.ready_at(now);
            return;
        }
        bytes += look_at(state, *half, now);
    }
    if (const auto half = book_.next()) next_at_ = std::max(now, half->due);
    if (!checks_out_.empty()) next_at_ = std::min(next_at_, checks_out_.front().until);
}

std::uint64_t Transactions::look_at(DispatchState& state, Half half, SteadyTime now) {
    const auto later = [&](const TransactionOptions& options) {
        half.due = now + wait_of(options, half.step);
        if (half.step < steps_max) ++half.step;
        book_.update(half);
    };
    auto loaded = load_half(half);
    if (!loaded) {
        LoadedHalf lost;
        lost.half = half;
        lost.home.offset = half.home;
        park(state, lost, "the half message is damaged and cannot be read");
        return 0;
    }
    half.group = number_of_group(loaded->group);
    loaded->half.group = half.group;
    if (const std::string reason = why_park(state, *loaded, half); !reason.empty()) {
        if (mutant_active("discard_after_n_checks")) {
            book_.erase(half.home);
        } else {
            park(state, *loaded, reason);
        }
        return loaded->bytes.size();
    }
    const bool sent = ask(state, *loaded);
    if (sent && !half.asked) {
        ++checks_out_count_;
        checks_out_.push_back({half.home, now + state.options.transactions.answer_within});
    }
    half.asked = half.asked || sent;
    half.unreachable = !sent;
    if (mutant_active("undelivered_check_counted")) ++half.checks;
    if (!sent) {
        checks_unreachable_count_.add();
        unreachable_groups_.insert(half.group);
    }
    later(transaction_options(state, state.find_topic(loaded->record.topic)));
    return loaded->bytes.size();
}

std::string Transactions::why_park(DispatchState& state, const LoadedHalf& loaded, Half& half) {
    const TransactionOptions options = transaction_options(state, state.find_topic(loaded.record.topic));
    if (options.checks_max > 0 && half.checks >= options.checks_max)
        return "producers answered " + std::to_string(half.checks) + " checks without a verdict";
    const std::int64_t age_ms = wall_ms(state) - loaded.home.stored_ms;
    std::int64_t asked_for_ms = age_ms;
    if (age_ms >= options.budget.count()) {
        // An administrator may have begun a new one.
        if (const auto events = find_events(state, decisions_, event_key(half.home)))
            for (const HalfEvent& event : *events)
                if (event.kind == EventKind::resumed && event.home.offset == half.home)
                    asked_for_ms = std::min(asked_for_ms, wall_ms(state) - event.at_ms);
    }
    const bool over = asked_for_ms >= options.budget.count();
    // Once more before that: the wall clock may only have been set.
    const bool again = over && half.overdue;
    half.overdue = over;
    if (!again) return {};
    return "no verdict in " + std::to_string(asked_for_ms / 1000) + " s; " + std::to_string(half.checks) +
           " checks were answered" +
           (half.unreachable ? ", and no producer of group \"" + std::string{loaded.group} + "\" is connected"
                             : std::string{});
}

bool Transactions::ask(DispatchState& state, const LoadedHalf& half) {
    const GroupTable::Producers* producers = state.groups.find_producers(half.group);
    if (producers == nullptr || producers->empty()) return false;
    // Who sent it knows best, if its connection lives. When it did not say, others of its group are asked in turn: it may hang.
    std::size_t first = producer_turn_++ % producers->size();
    const bool sender_first = half.half.step == 0;
    for (std::size_t at = 0; sender_first && at < producers->size(); ++at) {
        const Session* session = state.find((*producers)[at].connection);
        if (session != nullptr && session->peer == half.record.born_host) first = at;
    }
    remoting::Record record = half.record;
    std::string properties = properties_without_home(record.properties);
    if (half.half.checks > 0)
        remoting::append_property(properties, remoting::property::check_times, std::to_string(half.half.checks));
    record.properties = properties;
    record.physical_offset = static_cast<std::int64_t>(half.home.log_offset);
    record.queue_offset = static_cast<std::int64_t>(half.home.offset);
    std::vector<std::byte> bytes(remoting::record_size(record));
    remoting::encode_record(bytes, record);
    const HalfTraits traits = read_half_traits(record.properties);
    const std::string offset_id = remoting::OffsetMessageId{state.options.advertised, record.physical_offset}.to_string();
    remoting::CheckTransactionRequest header;
    header.half_queue_offset = record.queue_offset;
    header.half_log_offset = record.physical_offset;
    header.message_id = traits.unique_key;
    header.transaction_id = traits.transaction;
    header.offset_message_id = offset_id;
    header.topic = record.topic;
    header.broker_name = state.options.broker_name;
    header.times = half.half.checks;
    header.answers_end = true;
    const std::string_view body{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    for (std::size_t tried = 0; tried < std::min(tries_max, producers->size()); ++tried) {
        const ConnectionId connection = (*producers)[(first + tried) % producers->size()].connection;
        if (!state.tell(connection, remoting::RequestCode::check_transaction_state, header, body)) continue;
        checks_sent_count_.add();
        return true;
    }
    return false;
}

void Transactions::park(DispatchState& state, LoadedHalf& half, const std::string& reason) {
    if (!change(state, {&half, 1}, EventKind::parked, HalfState::parked, "broker", reason, {})) {
        half.half.due += std::chrono::seconds{1};  // the log has no room at the moment
        book_.update(half.half);
        return;
    }
    parked_count_.add();
    state.alarm("transaction \"" + std::string{half.transaction} + "\" of producer group \"" + std::string{half.group} +
                "\" is parked: " + reason +
                ". A late verdict is still taken; or settle it: hufu tx show, commit, rollback or resume");
}

void Transactions::expire_checks(SteadyTime now) {
    while (!checks_out_.empty() && checks_out_.front().until <= now) {
        auto half = book_.find(checks_out_.front().home);
        checks_out_.pop_front();
        if (!half || !half->asked) continue;
        forget_check(*half);
        half->asked = false;
        book_.update(*half);
    }
}

void Transactions::forget_check(const Half& half) {
    if (!half.asked) return;
    HUFU_ASSERT(checks_out_count_ > 0);
    --checks_out_count_;
    next_at_ = SteadyTime{};  // perhaps one waited for this place
}

void Transactions::producer_joined(std::string_view group, SteadyTime now) {
    if (unreachable_groups_.empty()) return;
    const auto known = group_numbers_.find(std::string{group});
    const std::uint16_t number = known == group_numbers_.end() ? std::uint16_t{0} : known->second;
    if (unreachable_groups_.erase(number) == 0) return;
    if (book_.wake(number, now) > 0) next_at_ = std::min(next_at_, now);
}

}  // namespace hufu::broker
