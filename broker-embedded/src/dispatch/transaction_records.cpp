#include "transaction_records.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <span>

#include <hufu/broker/message_keys.hpp>
#include <hufu/remoting/properties.hpp>

#include "names.hpp"
#include "state.hpp"
#include "timer_records.hpp"

namespace hufu::broker {
namespace {

constexpr std::int64_t epoch_ms = 1'577'836'800'000;  // 2020-01-01 UTC: 40 bits of milliseconds last until 2054
constexpr std::string_view by_property = "BY";
constexpr std::size_t by_bytes_max = 200;
constexpr std::size_t reason_bytes_max = 512;
constexpr std::size_t events_read_max = 64;

template <class Number>
bool read_number(std::string_view text, Number& into) {
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
    return fault == std::errc{} && end == text.data() + text.size();
}

/// Text from clients that goes into properties and logs: no control characters, bounded.
std::string clean(std::string_view text, std::size_t bytes_max) {
    std::string shown{text.substr(0, bytes_max)};
    std::replace_if(
        shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    return shown;
}

std::string fault_of_id(std::string_view name, std::string_view id) {
    const bool plain = std::all_of(id.begin(), id.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
    if (!id.empty() && id.size() <= transaction_id_length_max && plain) return {};
    return "property " + std::string{name} + " names the transaction: it must have 1 to " +
           std::to_string(transaction_id_length_max) + " printable ASCII characters without spaces, not \"" +
           clean(id, 140) + "\"";
}

std::int64_t code_of(std::uint64_t high, std::uint32_t hash) noexcept {
    return static_cast<std::int64_t>((high << 24U) | (hash & Half::hash_mask));
}

}  // namespace

HalfTraits read_half_traits(std::string_view properties) {
    using namespace remoting;
    HalfTraits traits;
    std::string_view own_id;
    PropertiesView view{properties};
    while (const auto entry = view.next()) {
        if (entry->name == property::producer_group) traits.group = entry->value;
        if (entry->name == property::hufu_transaction_id) own_id = entry->value;
        if (entry->name == property::unique_key) traits.unique_key = entry->value;
        if (entry->name == property::check_immunity_s) traits.immunity_s = entry->value;
        if (entry->name == property::hufu_transaction_home) traits.home = entry->value;
    }
    traits.transaction = own_id.empty() ? traits.unique_key : own_id;
    return traits;
}

std::string half_fault(const HalfTraits& traits) {
    if (traits.group.empty())
        return "a transaction (half) message needs its producer group (property PGROUP): the broker asks that group for the "
               "verdict";
    if (std::string fault = group_name_fault(traits.group); !fault.empty()) return fault;
    if (std::string fault = fault_of_id(remoting::property::unique_key, traits.unique_key); !fault.empty()) return fault;
    if (std::string fault = fault_of_id(remoting::property::hufu_transaction_id, traits.transaction); !fault.empty())
        return fault;
    std::int64_t seconds = 0;
    constexpr std::int64_t immunity_max = 366LL * 24 * 3600;
    if (!traits.immunity_s.empty() && (!read_number(traits.immunity_s, seconds) || seconds < 0 || seconds > immunity_max))
        return "property CHECK_IMMUNITY_TIME_IN_SECONDS=\"" + clean(traits.immunity_s, 40) +
               "\" is not a number of seconds from 0 to a year";
    return {};
}

std::uint64_t transaction_hash(std::string_view transaction) noexcept { return message_key(decisions_topic, transaction); }

std::optional<HalfHome> home_of(const remoting::Record& record) {
    const std::string_view text = read_half_traits(record.properties).home;
    if (text.empty())
        return HalfHome{static_cast<std::uint64_t>(record.queue_offset), static_cast<std::uint64_t>(record.physical_offset),
                        record.store_timestamp};
    const std::size_t first = text.find(' ');
    const std::size_t second = first == std::string_view::npos ? first : text.find(' ', first + 1);
    HalfHome home;
    if (second == std::string_view::npos || !read_number(text.substr(0, first), home.offset) ||
        !read_number(text.substr(first + 1, second - first - 1), home.log_offset) ||
        !read_number(text.substr(second + 1), home.stored_ms))
        return std::nullopt;
    return home;
}

std::string properties_without_home(std::string_view properties) {
    std::string kept;
    remoting::PropertiesView view{properties};
    while (const auto entry = view.next())
        if (entry->name != remoting::property::hufu_transaction_home)
            remoting::append_property(kept, entry->name, entry->value);
    return kept;
}

std::string properties_with_home(const remoting::Record& record, const HalfHome& home) {
    std::string text = properties_without_home(record.properties);
    remoting::append_property(
        text, remoting::property::hufu_transaction_home,
        std::to_string(home.offset) + " " + std::to_string(home.log_offset) + " " + std::to_string(home.stored_ms));
    return text;
}

// Tag codes.

std::int64_t half_code(std::int64_t due_ms, std::uint32_t hash) noexcept {
    const auto since = static_cast<std::uint64_t>(std::max<std::int64_t>(due_ms - epoch_ms, 0));
    return code_of(std::min(since, Half::home_max), hash);
}

std::int64_t due_of_code(std::int64_t code) noexcept { return static_cast<std::int64_t>(home_of_code(code)) + epoch_ms; }

std::int64_t moved_code(std::uint64_t home, std::uint32_t hash) noexcept { return code_of(home, hash); }

std::uint64_t home_of_code(std::int64_t code) noexcept { return static_cast<std::uint64_t>(code) >> 24U; }

std::uint32_t hash_of_code(std::int64_t code) noexcept {
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(code)) & Half::hash_mask;
}

// Events.

std::string_view to_string(EventKind kind) noexcept {
    switch (kind) {
        case EventKind::commit: return "committed";
        case EventKind::rollback: return "rolled_back";
        case EventKind::parked: return "parked";
        case EventKind::resumed: return "resumed";
        case EventKind::undelivered: return "undelivered";
        case EventKind::conflict: return "conflict";
        case EventKind::dismissed: return "dismissed";
    }
    return "unknown";
}

std::int64_t event_code(EventKind kind, std::uint64_t home) noexcept {
    return static_cast<std::int64_t>((home << 8U) | static_cast<std::uint64_t>(kind));
}

EventKind kind_of_event_code(std::int64_t code) noexcept {
    return static_cast<EventKind>(static_cast<std::uint64_t>(code) & 0xffU);
}

std::uint64_t home_of_event_code(std::int64_t code) noexcept { return static_cast<std::uint64_t>(code) >> 8U; }

std::string event_key(std::uint64_t home) { return " " + std::to_string(home); }

Result<Appended> append_event(DispatchState& state, QueueHandle decisions, const HalfEvent& event) {
    using namespace remoting;
    const std::string key = event_key(event.home.offset);
    std::string properties;
    append_property(properties, property::unique_key, key);
    append_property(properties, property::keys, event.transaction);
    append_property(properties, property::producer_group, event.group);
    append_property(properties, by_property, clean(event.by, by_bytes_max));
    const std::string reason = clean(event.reason, reason_bytes_max);
    Record record = own_record(decisions_topic, reason);
    record.flag = static_cast<std::int32_t>(event.kind);
    record.prepared_transaction_offset = static_cast<std::int64_t>(event.home.log_offset);
    record.born_timestamp = static_cast<std::int64_t>(event.delivered_at);
    record.properties = properties;
    Traits traits;
    traits.unique_key = key;
    traits.keys = event.transaction;
    return store(state, decisions, record, traits,
                 {.tags_code = event_code(event.kind, event.home.offset), .has_body_crc = true});
}

std::optional<HalfEvent> read_event(const remoting::Record& record) {
    using namespace remoting;
    HalfEvent event;
    const PropertiesView view{record.properties};
    if (record.topic != decisions_topic || record.flag < 1 || record.flag > 7 ||
        !read_number(view.get(property::unique_key).value_or(" ").substr(1), event.home.offset))
        return std::nullopt;
    event.kind = static_cast<EventKind>(record.flag);
    event.home.log_offset = static_cast<std::uint64_t>(record.prepared_transaction_offset);
    event.transaction = view.get(property::keys).value_or("");
    event.group = view.get(property::producer_group).value_or("");
    event.transaction_hash = transaction_hash(event.transaction);
    event.group_hash = transaction_hash(event.group);
    event.delivered_at = static_cast<std::uint64_t>(record.born_timestamp);
    event.by = view.get(by_property).value_or("");
    event.reason = record.body;
    event.at_ms = record.store_timestamp;
    return event;
}

// In few bytes: what a producer decided.

namespace {

struct ShortEvent {
    std::uint64_t home = 0;
    std::uint64_t home_log_offset = 0;
    std::uint64_t group_hash = 0;
    std::uint64_t transaction_hash = 0;
    std::uint64_t delivered_at = 0;
    std::uint8_t kind = 0;
    std::uint8_t by_check = 0;
    std::uint16_t port = 0;
    std::array<std::uint8_t, 4> ip = {};
};
static_assert(sizeof(ShortEvent) == 48 && sizeof(ShortEvent) <= Log::mark_payload_max);

std::optional<HalfEvent> read_short_event(const Mark& mark) {
    ShortEvent stored;
    if (mark.payload.size() != sizeof stored) return std::nullopt;
    std::memcpy(&stored, mark.payload.data(), sizeof stored);
    HalfEvent event;
    event.kind = static_cast<EventKind>(stored.kind);
    event.home.offset = stored.home;
    event.home.log_offset = stored.home_log_offset;
    event.group_hash = stored.group_hash;
    event.transaction_hash = stored.transaction_hash;
    event.delivered_at = stored.delivered_at;
    event.by = producer_text({stored.ip, stored.port}, stored.by_check != 0);
    event.at_ms = static_cast<std::int64_t>(mark.stored_at_ms);
    return event;
}

}  // namespace

std::string producer_text(const remoting::Host& peer, bool by_check) {
    return (by_check ? "check of producer " : "producer ") + host_text(peer);
}

Result<Appended> append_short_event(DispatchState& state, QueueHandle decisions, const HalfEvent& event,
                                    const remoting::Host& peer, bool by_check) {
    ShortEvent stored;
    stored.home = event.home.offset;
    stored.home_log_offset = event.home.log_offset;
    stored.group_hash = event.group_hash;
    stored.transaction_hash = event.transaction_hash;
    stored.delivered_at = event.delivered_at;
    stored.kind = static_cast<std::uint8_t>(event.kind);
    stored.by_check = by_check ? 1 : 0;
    stored.port = static_cast<std::uint16_t>(peer.port);
    stored.ip = peer.ip;
    const std::array<std::uint64_t, 2> keys{message_key(decisions_topic, event_key(event.home.offset)),
                                            stored.transaction_hash};
    return state.log.append_mark(decisions, event_code(event.kind, event.home.offset), std::as_bytes(std::span{&stored, 1}),
                                 keys);
}

std::optional<std::vector<HalfEvent>> find_events(DispatchState& state, QueueHandle decisions, std::string_view key) {
    std::vector<HalfEvent> events;
    KeyQuery query;
    query.key = message_key(decisions_topic, key);
    query.hits_max = events_read_max;
    const KeyHits hits = state.log.find_key(query);
    for (const std::uint64_t log_offset : hits.log_offsets) {
        std::optional<HalfEvent> event;
        if (const auto mark = state.log.read_mark(log_offset)) {
            if (mark->queue == decisions) event = read_short_event(*mark);
        } else {
            std::vector<std::byte> bytes;
            const auto queue = state.log.read_at(log_offset, bytes);
            if (!queue || *queue != decisions) continue;
            if (const auto record = remoting::decode_record(bytes)) event = read_event(*record);
        }
        if (event) events.push_back(std::move(*event));
    }
    // What is missing may be the very one that decides.
    const bool decided =
        std::any_of(events.begin(), events.end(), [](const HalfEvent& one) { return is_verdict(one.kind); });
    if (!decided && hits.segments_missing > 0) return std::nullopt;
    return events;
}

TransactionOptions transaction_options(const DispatchState& state, const Topic* topic) {
    TransactionOptions options = state.options.transactions;
    if (topic == nullptr || topic->attributes.empty()) return options;
    const auto take = [&](std::string_view name, std::chrono::milliseconds& into) {
        const auto found = topic->attributes.find(name);
        std::int64_t number = -1;
        if (found != topic->attributes.end() && read_number(found->second, number) && number >= 0)
            into = std::chrono::milliseconds{number};
    };
    take(attribute::first_check_ms, options.first_check);
    take(attribute::check_interval_ms, options.check_interval);
    take(attribute::check_interval_max_ms, options.check_interval_max);
    take(attribute::transaction_budget_ms, options.budget);
    return options;
}

}  // namespace hufu::broker
