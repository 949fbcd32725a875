#include "message_codec.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>

#include "compression.hpp"

namespace hufu::rocketmq {
namespace {

namespace property = remoting::property;

constexpr std::string_view empty_headers = "hufu-empty";
constexpr std::string_view undecoded = "hufu-undecoded";

// Names with a meaning in RocketMQ (MessageConst), sorted. They are no headers of ours, neither way.
constexpr std::array<std::string_view, 53> reserved{"1ST_POP_TIME",
                                                    "ARRIVE_TIME",
                                                    "BORN_TIMESTAMP",
                                                    "BUYER_ID",
                                                    "CHECK_IMMUNITY_TIME_IN_SECONDS",
                                                    "CLUSTER",
                                                    "CONSUME_START_TIME",
                                                    "CORRECTION_FLAG",
                                                    "CORRELATION_ID",
                                                    "DELAY",
                                                    "DLQ_ORIGIN_MESSAGE_ID",
                                                    "DLQ_ORIGIN_TOPIC",
                                                    "DUP_INFO",
                                                    "EXTEND_UNIQ_INFO",
                                                    "INNER_BASE",
                                                    "INNER_MULTI_DISPATCH",
                                                    "INNER_MULTI_QUEUE_OFFSET",
                                                    "INNER_NUM",
                                                    "INSTANCE_ID",
                                                    "KEYS",
                                                    "MAX_OFFSET",
                                                    "MAX_RECONSUME_TIMES",
                                                    "MIN_OFFSET",
                                                    "MQ2_FLAG",
                                                    "MSG_REGION",
                                                    "MSG_TYPE",
                                                    "ORIGIN_MESSAGE_ID",
                                                    "PGROUP",
                                                    "POP_CK",
                                                    "POP_CK_OFFSET",
                                                    "PROPERTY_FORWARD_QUEUE_ID",
                                                    "PUSH_REPLY_TIME",
                                                    "REAL_QID",
                                                    "REAL_TOPIC",
                                                    "RECONSUME_TIME",
                                                    "REDIRECT",
                                                    "REPLY_TO_CLIENT",
                                                    "RETRY_TOPIC",
                                                    "SHARDING_KEY",
                                                    "TAGS",
                                                    "TIMER_DELAY_LEVEL",
                                                    "TIMER_DELAY_MS",
                                                    "TIMER_DELAY_SEC",
                                                    "TIMER_DELIVER_MS",
                                                    "TIMER_DEL_UNIQKEY",
                                                    "TIMER_DEQUEUE_MS",
                                                    "TIMER_ENQUEUE_MS",
                                                    "TIMER_OUT_MS",
                                                    "TIMER_ROLL_TIMES",
                                                    "TRACE_CONTEXT",
                                                    "TRACE_ON",
                                                    "TRANSACTION_CHECK_TIMES",
                                                    "TRANSFER_FLAG"};
static_assert(std::is_sorted(reserved.begin(), reserved.end()));

bool is_reserved(std::string_view name) noexcept {
    return std::binary_search(reserved.begin(), reserved.end(), name) || name == "TRAN_MSG" ||
           name == "TRAN_PREPARED_QUEUE_OFFSET" || name.starts_with("HUFU_TX_") || name == "TTL" || name == "UNIQ_KEY" ||
           name == "WAIT" || name.starts_with("__") || name == empty_headers;
}

Error refuse(ErrorCode code, std::string text) { return Error{code, Disposition::reject, std::move(text)}; }

constexpr std::size_t pair_overhead = 2;

std::size_t properties_size(const Message& message) noexcept {
    std::size_t size = property::unique_key.size() + remoting::unique_key_size + pair_overhead;
    const auto add = [&size](std::string_view name, std::size_t value) { size += name.size() + value + pair_overhead; };
    if (!message.tag.empty()) {
        add(property::tags, message.tag.size());
    }
    if (!message.keys.empty()) {
        std::size_t keys = message.keys.size() - 1;
        for (const std::string& key : message.keys) {
            keys += key.size();
        }
        add(property::keys, keys);
    }
    if (!message.ordering_key.empty()) {
        add(property::sharding_key, message.ordering_key.size());
    }
    std::size_t empty = 0;
    for (const auto& [name, value] : message.headers) {
        if (value.empty()) {
            empty += name.size() + 1;
        } else {
            add(name, value.size());
        }
    }
    if (empty > 0) {
        add(empty_headers, empty - 1);
    }
    return size;
}

std::string unpack(const remoting::Record& record, Headers& headers) {
    if ((record.sys_flag & remoting::sys_flag::compressed) == 0) {
        return std::string{record.body};
    }
    static constexpr std::string_view kinds[] = {"zlib", "lz4", "zstd", "zlib"};
    const auto kind = static_cast<std::size_t>(record.sys_flag >> 8 & 7);
    const std::string_view name = kind < std::size(kinds) ? kinds[kind] : "unknown";
    auto body = name == "zlib"   ? inflate_zlib(record.body)
                : name == "lz4"  ? inflate_lz4(record.body)
                : name == "zstd" ? inflate_zstd(record.body)
                                 : std::nullopt;
    if (body) {
        return std::move(*body);
    }
    headers.set(undecoded, name);
    return std::string{record.body};
}

}  // namespace

Result<void> check_limits(const Message& message, std::size_t body_bytes_max) {
    if (message.body.size() > body_bytes_max) {
        return refuse(ErrorCode::too_large, "message for topic \"" + message.topic + "\" has a body of " +
                                                std::to_string(message.body.size()) + " bytes: at most " +
                                                std::to_string(body_bytes_max) +
                                                " are sent; put large content elsewhere and send its address");
    }
    for (const auto& [name, value] : message.headers) {
        if (is_reserved(name)) {
            return refuse(ErrorCode::invalid_argument, "header \"" + name + "\" of topic \"" + message.topic +
                                                           "\" is a property of RocketMQ itself: choose another name");
        }
        if (value.empty() && name.find(' ') != std::string::npos) {
            return refuse(ErrorCode::invalid_argument, "header \"" + name + "\" of topic \"" + message.topic +
                                                           "\" has a space in its name and no value: give it a value");
        }
    }
    if (const std::size_t size = properties_size(message); size > remoting::properties_bytes_max) {
        return refuse(ErrorCode::too_large, "message for topic \"" + message.topic + "\" has " + std::to_string(size) +
                                                " bytes of headers and keys: at most " +
                                                std::to_string(remoting::properties_bytes_max) +
                                                " travel; move some into the body");
    }
    return {};
}

void append_properties(std::string& out, const Message& message, const MessageId& id) {
    char unique_key[remoting::unique_key_size];
    remoting::write_unique_key(unique_key, id);
    remoting::append_property(out, property::unique_key, {unique_key, sizeof unique_key});
    if (!message.tag.empty()) {
        remoting::append_property(out, property::tags, message.tag);
    }
    if (!message.keys.empty()) {
        std::string keys;
        for (const std::string& key : message.keys) {
            keys.append(keys.empty() ? "" : " ").append(key);
        }
        remoting::append_property(out, property::keys, keys);
    }
    if (!message.ordering_key.empty()) {
        remoting::append_property(out, property::sharding_key, message.ordering_key);
    }
    std::string empty;
    for (const auto& [name, value] : message.headers) {
        if (value.empty()) {
            empty.append(empty.empty() ? "" : " ").append(name);
        } else {
            remoting::append_property(out, name, value);
        }
    }
    if (!empty.empty()) {
        remoting::append_property(out, empty_headers, empty);
    }
}

Delivery to_delivery(const remoting::Record& record) {
    const auto words = [](std::string_view text, auto each) {
        while (!text.empty()) {
            const std::size_t end = text.find(' ');
            if (end != 0) {
                each(text.substr(0, end));
            }
            text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
        }
    };
    Delivery delivery;
    Message& message = delivery.message;
    message.topic = record.topic;
    remoting::PropertiesView properties{record.properties};
    std::string_view unique_key;
    while (const auto entry = properties.next()) {
        if (entry->name == property::unique_key) {
            unique_key = entry->value;
        } else if (entry->name == property::tags) {
            message.tag = entry->value;
        } else if (entry->name == property::keys) {
            words(entry->value, [&message](std::string_view key) { message.keys.emplace_back(key); });
        } else if (entry->name == property::sharding_key || entry->name == "SHARDING_KEY") {
            message.ordering_key = entry->value;
        } else if (entry->name == empty_headers) {
            words(entry->value, [&message](std::string_view name) { message.headers.set(name, ""); });
        } else if (!is_reserved(entry->name)) {
            message.headers.set(entry->name, entry->value);
        }
    }
    char place[remoting::OffsetMessageId::size];
    if (unique_key.empty()) {
        remoting::OffsetMessageId{record.store_host, record.physical_offset}.write(place);
        unique_key = {place, sizeof place};
    }
    message.id = remoting::message_id_of(unique_key);
    message.body = unpack(record, message.headers);
    delivery.stored_at = SystemTime{std::chrono::milliseconds{record.store_timestamp}};
    delivery.broker_attempts = static_cast<std::uint32_t>(std::max(record.reconsume_times, 0));
    return delivery;
}

}  // namespace hufu::rocketmq
