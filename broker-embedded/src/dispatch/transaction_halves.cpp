// Taking halves.
#include <algorithm>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>

#include "delay.hpp"
#include "names.hpp"
#include "state.hpp"
#include "timer_records.hpp"
#include "transactions.hpp"

namespace hufu::broker {
namespace {

/// What the broker adds to the properties on the way: where a copied half stood first, how often it was asked about, and for a
/// delayed message where and when it goes.
constexpr std::size_t spare_bytes = 160;
constexpr std::size_t spare_bytes_delayed = 640;

}  // namespace

Refusal Transactions::room_for_half(const DispatchState& state, const remoting::Record& record) const {
    const TransactionOptions& options = state.options.transactions;
    if (book_.size() >= options.pending_max)
        return {ResponseCode::system_busy, "[OVERLOAD] " + std::to_string(book_.size()) +
                                               " transaction messages have no verdict yet, as many as this broker keeps; "
                                               "settle them (hufu tx list), or try again later"};
    const std::uint64_t bytes = remoting::record_size(record);
    if (pending_bytes_ + bytes > options.pending_bytes_max)
        return {ResponseCode::system_busy, "[OVERLOAD] transaction messages without a verdict have " +
                                               std::to_string(pending_bytes_) +
                                               " bytes, as many as this broker keeps; settle them (hufu tx list), or try "
                                               "again later"};
    if (next_home_ >= Half::home_max)
        return {ResponseCode::service_not_available, "the queue of transaction messages has come to its end"};
    return {};
}

Refusal Transactions::look_for_mates(DispatchState& state, const remoting::Record& record, const HalfTraits& traits,
                                     StoredHalf& stored) {
    const TransactionOptions& options = state.options.transactions;
    const auto candidates = book_.with_hash(short_hash(transaction_hash(traits.transaction)), 2 * options.halves_max);
    std::size_t mates = 0;
    std::uint64_t bytes = remoting::record_size(record);
    for (const std::uint64_t home : candidates) {
        const auto fresh = fresh_.find(home);
        if (fresh != fresh_.end()) {
            const Fresh& other = fresh->second;
            if (other.transaction != traits.transaction || other.group != traits.group) continue;
            ++mates;
            bytes += other.bytes;
            if (other.unique_key != traits.unique_key || other.topic != record.topic) continue;
            stored.home = other.home;
            stored.ticket = other.ticket;
            stored.repeated = true;
            return {};
        }
        if (deciding_.contains(home))
            return {ResponseCode::system_busy,
                    "[OVERLOAD] the transaction is on its way to the disk, try again in a moment"};
        const auto other = load_half(*book_.find(home));
        if (!other || other->transaction != traits.transaction || other->group != traits.group) continue;
        if (other->half.state != HalfState::pending && other->half.state != HalfState::parked)
            return {ResponseCode::illegal_operation,
                    "transaction \"" + std::string{traits.transaction} +
                        "\" has its verdict already; a half that comes after it is not taken"};
        ++mates;
        bytes += other->bytes.size();
        if (read_half_traits(other->record.properties).unique_key != traits.unique_key ||
            other->record.topic != record.topic)
            continue;
        stored.home = other->home;
        stored.repeated = true;
        return {};
    }
    if (mates >= options.halves_max || candidates.size() >= 2 * options.halves_max)
        return {ResponseCode::message_illegal, "transaction \"" + std::string{traits.transaction} + "\" has " +
                                                   std::to_string(mates) + " half messages already; at most " +
                                                   std::to_string(options.halves_max) + " are allowed"};
    if (bytes > options.transaction_bytes_max)
        return {ResponseCode::message_illegal, "the half messages of transaction \"" + std::string{traits.transaction} +
                                                   "\" would have " + std::to_string(bytes) + " bytes; at most " +
                                                   std::to_string(options.transaction_bytes_max) + " are allowed"};
    return {};
}

Refusal Transactions::look_for_verdict(DispatchState& state, const HalfTraits& traits) {
    const std::uint64_t hash = transaction_hash(traits.transaction);
    const auto refusal = [&](std::string_view how) {
        return Refusal{ResponseCode::illegal_operation, "transaction \"" + std::string{traits.transaction} + "\" was " +
                                                            std::string{how} +
                                                            "; a half that comes after the verdict is not taken"};
    };
    if (deciding_transactions_.contains(hash)) return refusal("decided a moment ago");
    if (!decided_lately_.may_contain(hash) &&
        !std::binary_search(early_hashes_.begin(), early_hashes_.end(), short_hash(hash)))
        return {};
    const auto events = find_events(state, decisions_, traits.transaction);
    if (!events)
        return {ResponseCode::system_busy, "[OVERLOAD] part of the key index is being rebuilt, try again in a moment"};
    for (const HalfEvent& event : *events)
        if (is_verdict(event.kind) && event.transaction_hash == hash && event.group_hash == transaction_hash(traits.group))
            return refusal(event.kind == EventKind::rollback ? "rolled back" : "committed");
    return {};
}

std::uint16_t Transactions::number_of_group(std::string_view group) {
    constexpr std::size_t groups_max = 60'000;
    const auto known = group_numbers_.find(std::string{group});
    if (known != group_numbers_.end()) return known->second;
    if (groups_.size() >= groups_max) return 0;
    groups_.emplace_back(group);
    const auto number = static_cast<std::uint16_t>(groups_.size() - 1);
    group_numbers_.emplace(group, number);
    return number;
}

Refusal Transactions::store(DispatchState& state, remoting::Record& record, const Traits& traits, StoredHalf& stored) {
    std::string& properties = properties_;  // the record goes on pointing there
    properties.assign(record.properties);
    if (!properties.empty() && properties.back() != remoting::property_separator) properties += remoting::property_separator;
    if (traits.unique_key.empty())
        remoting::append_property(properties, remoting::property::unique_key, remoting::unique_key(state.ids.next()));
    if (!remoting::PropertiesView{properties}.get(remoting::property::transaction_prepared))
        remoting::append_property(properties, remoting::property::transaction_prepared, "true");
    record.properties = properties;
    const HalfTraits half_traits = read_half_traits(properties);
    if (std::string fault = half_fault(half_traits); !fault.empty())
        return {ResponseCode::message_illegal, std::move(fault)};
    const std::size_t spare = asks_for_delay(traits) ? spare_bytes_delayed : spare_bytes;
    if (properties.size() + spare > remoting::properties_bytes_max)
        return {ResponseCode::message_illegal, "the properties of a transaction message have " +
                                                   std::to_string(properties.size()) + " bytes; at most " +
                                                   std::to_string(remoting::properties_bytes_max - spare) + " are allowed"};
    std::optional<Delay> delay;
    if (asks_for_delay(traits)) {
        if (Refusal refusal = read_delay(state.options, traits, wall_ms(state), delay); refusal.refused()) return refusal;
    }
    stored.transaction = half_traits.transaction;
    stored.unique_key = half_traits.unique_key;
    if (Refusal refusal = look_for_mates(state, record, half_traits, stored); refusal.refused()) return refusal;
    if (stored.repeated && !mutant_active("half_sent_again_stored_again")) return {};
    stored.repeated = false;
    if (Refusal refusal = look_for_verdict(state, half_traits); refusal.refused()) return refusal;
    if (Refusal refusal = room_for_half(state, record); refusal.refused()) {
        busy_count_.add();
        return refusal;
    }
    return append_half(state, record, traits, half_traits, stored);
}

Refusal Transactions::append_half(DispatchState& state, remoting::Record& record, const Traits& traits,
                                  const HalfTraits& half_traits, StoredHalf& stored) {
    std::chrono::milliseconds first_check = transaction_options(state, state.find_topic(record.topic)).first_check;
    if (const auto seconds = remoting::parse_integer(half_traits.immunity_s); seconds && !half_traits.immunity_s.empty())
        first_check = std::chrono::seconds{*seconds};
    const std::uint32_t hash = short_hash(transaction_hash(half_traits.transaction));
    Traits keyed = traits;
    keyed.unique_key = half_traits.unique_key;
    record.sys_flag = (record.sys_flag & ~remoting::sys_flag::transaction_mask) | remoting::sys_flag::transaction_prepared;
    const auto appended =
        broker::store(state, halves_, record, keyed, {.tags_code = half_code(wall_ms(state) + first_check.count(), hash)});
    if (!appended) return refusal_of(appended.error());
    const std::uint64_t bytes = remoting::record_size(record);
    next_home_ = appended->queue_offset + 1;
    stored.home = {appended->queue_offset, appended->log_offset, static_cast<std::int64_t>(appended->stored_at_ms)};
    stored.ticket = appended->ticket;

    Half half;
    half.home = appended->queue_offset;
    half.place = {appended->queue_offset, false};
    half.hash = hash;
    half.group = number_of_group(half_traits.group);
    half.due = state.clock.steady_now() + first_check;
    book_.add(half);
    next_at_ = std::min(next_at_, half.due);
    if (const auto kept = recent_.add(half.home, std::span<const std::byte>{state.record}.first(bytes)); !kept.empty())
        remoting::place_record(kept.data(), static_cast<std::int64_t>(stored.home.log_offset),
                               static_cast<std::int64_t>(stored.home.offset), stored.home.stored_ms);
    fresh_.emplace(half.home, Fresh{appended->ticket, stored.home, bytes, std::string{half_traits.group}, stored.transaction,
                                    stored.unique_key, std::string{record.topic}});
    Flight flight;
    flight.ticket = appended->ticket;
    flight.before.emplace_back(half.home, std::nullopt);
    flight.stored = half.home;
    flight.pending_bytes = static_cast<std::int64_t>(bytes);
    fly(std::move(flight));
    return {};
}

}  // namespace hufu::broker
