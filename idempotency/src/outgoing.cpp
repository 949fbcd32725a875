#include <hufu/idempotency/outgoing.hpp>

#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid.hpp>

#include <algorithm>
#include <array>
#include <optional>

#include <hufu/core/mutant.hpp>

namespace hufu::idempotency {
namespace {

/// Of these ids alone: "hufu outgoing id", as bytes.
constexpr boost::uuids::uuid name_space{
    {0x68, 0x75, 0x66, 0x75, 0x20, 0x6f, 0x75, 0x74, 0x67, 0x6f, 0x69, 0x6e, 0x67, 0x20, 0x69, 0x64}};
constexpr std::size_t time_bytes = 6;

}  // namespace

MessageId derived_id(const std::string& group, const MessageId& incoming, std::uint32_t index) {
    // Ids and indexes have a fixed form, so no two triples make the same name.
    const auto name = incoming.to_string() + "/" + std::to_string(index) + "/" + group;
    const auto hash = boost::uuids::name_generator_sha1{name_space}(name);
    std::array<std::uint8_t, 16> bytes{};
    std::copy_n(incoming.bytes().begin(), time_bytes, bytes.begin());
    std::copy(hash.begin() + time_bytes, hash.end(), bytes.begin() + time_bytes);
    bytes[6] = static_cast<std::uint8_t>(0x70 | (bytes[6] & 0x0f));  // version 7
    bytes[8] = static_cast<std::uint8_t>(0x80 | (bytes[8] & 0x3f));  // the RFC's variant
    return MessageId{bytes};
}

MessageId Outgoing::add(Message message) {
    if (message.id.is_nil() && !mutant_active("outgoing_ids_by_chance"))
        message.id = derived_id(group_, incoming_.id, static_cast<std::uint32_t>(messages_.size()));
    const auto trace = incoming_.headers.get(header::trace_parent);
    if (trace && !message.headers.get(header::trace_parent)) message.headers.set(header::trace_parent, *trace);
    messages_.push_back(std::move(message));
    return messages_.back().id;
}

}  // namespace hufu::idempotency
