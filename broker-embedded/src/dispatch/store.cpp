#include "store.hpp"

#include <algorithm>

#include <hufu/broker/message_keys.hpp>
#include <hufu/remoting/checksum.hpp>
#include <hufu/remoting/command.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>

#include "state.hpp"

namespace hufu::broker {
namespace {

static_assert(minted_key_bytes == 1 + remoting::property::unique_key.size() + 1 + remoting::unique_key_size + 1);

/// Writes the property UNIQ_KEY with a new id, to stand behind `properties`.
std::string_view mint_unique_key(std::array<char, minted_key_bytes>& into, std::string_view properties,
                                 const MessageId& id) {
    char* end = into.data();
    if (!properties.empty() && properties.back() != remoting::property_separator) *end++ = remoting::property_separator;
    end = std::copy(remoting::property::unique_key.begin(), remoting::property::unique_key.end(), end);
    *end++ = remoting::name_separator;
    remoting::write_unique_key(end, id);
    end += remoting::unique_key_size;
    *end++ = remoting::property_separator;
    return {into.data(), static_cast<std::size_t>(end - into.data())};
}

/// There is one region, with the name that clients take for granted.
constexpr std::string_view region_name = "DefaultRegion";

bool is_false(std::string_view text) noexcept {
    constexpr std::string_view word = "false";
    return std::equal(text.begin(), text.end(), word.begin(), word.end(),
                      [](char left, char right) { return (left | 0x20) == right; });
}

}  // namespace

Refusal refusal_of(const Error& error) {
    switch (error.code()) {
        case ErrorCode::busy: return {ResponseCode::system_busy, "[OVERLOAD] " + error.text()};
        case ErrorCode::too_large:
        case ErrorCode::invalid_argument: return {ResponseCode::message_illegal, error.text()};
        default: return {ResponseCode::service_not_available, error.text()};
    }
}

Refusal read_properties(std::string_view encoded, Traits& traits) {
    using namespace remoting;
    if (encoded.size() > properties_bytes_max)
        return {ResponseCode::message_illegal, "the properties have " + std::to_string(encoded.size()) + " bytes; at most " +
                                                   std::to_string(properties_bytes_max) + " are allowed"};
    PropertiesView properties{encoded};
    while (const auto entry = properties.next()) {
        const std::string_view name = entry->name;
        // Nearly every property is told apart by its first letter.
        switch (name.empty() ? '\0' : name.front()) {
            case 'T':
                if (name == property::tags) {
                    traits.tags = entry->value;
                } else if (name == property::transaction_prepared) {
                    traits.prepared = parse_boolean(entry->value);
                } else if (name == property::timer_delay_s) {
                    traits.timer_delay_s = entry->value;
                } else if (name == property::timer_delay_ms) {
                    traits.timer_delay_ms = entry->value;
                } else if (name == property::timer_deliver_ms) {
                    traits.timer_deliver_ms = entry->value;
                }
                break;
            case 'M': traits.has_region = traits.has_region || name == property::region; break;
            case 'C': traits.has_cluster = traits.has_cluster || name == property::cluster; break;
            case 'R': traits.wants_reply = traits.wants_reply || name == property::reply_to_client; break;
            case 'U':
                if (name == property::unique_key) traits.unique_key = entry->value;
                break;
            case 'K':
                if (name == property::keys) traits.keys = entry->value;
                break;
            case 'D':
                if (name == property::delay_level) traits.delay_level = entry->value;
                break;
            case '_':
            case 'S':
                if (name == property::sharding_key || name == property::sharding_key_go) traits.keyed = true;
                break;
            case 'W':
                if (name == property::wait) traits.wait = !is_false(entry->value);
                break;
            default: break;
        }
    }
    if (traits.unique_key.empty() && encoded.size() + minted_key_bytes > properties_bytes_max)
        return {ResponseCode::message_illegal, "the properties leave no room for a UNIQ_KEY; shorten them or set UNIQ_KEY"};
    return {};
}

std::string_view stamped(const DispatchState& state, std::string_view properties, const Traits& traits, std::string& into) {
    using namespace remoting;
    into.assign(properties);
    if (!into.empty() && into.back() != property_separator) into += property_separator;
    if (!traits.has_region) append_property(into, property::region, region_name);
    if (traits.wants_reply && !traits.has_cluster) append_property(into, property::cluster, state.options.cluster);
    const bool fits = into.size() + minted_key_bytes <= properties_bytes_max;
    return fits ? std::string_view{into} : properties;
}

Result<Appended> store(DispatchState& state, QueueHandle queue, remoting::Record& record, const Traits& traits,
                       const StoreOptions& options) {
    record.more_properties = {};
    std::string_view unique_key = traits.unique_key;
    if (unique_key.empty()) {
        record.more_properties = mint_unique_key(state.minted_key, record.properties, state.ids.next());
        unique_key = record.more_properties.substr(record.more_properties.size() - 1 - remoting::unique_key_size,
                                                   remoting::unique_key_size);
    }
    hash_keys(record.topic, unique_key, traits.keys, state.record_keys);
    if (!options.has_body_crc) record.body_crc = remoting::body_checksum(record.body);
    const std::size_t size = remoting::record_size(record);
    if (state.record.size() < size) state.record.resize(size);
    remoting::encode_record(state.record, record);
    const std::int64_t tags_code = options.tags_code ? *options.tags_code : remoting::tags_code(traits.tags);
    return state.log.append(queue, tags_code, std::span<const std::byte>{state.record}.first(size), state.record_keys);
}

}  // namespace hufu::broker
