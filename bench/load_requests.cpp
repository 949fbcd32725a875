#include "load_requests.hpp"

#include <hufu/core/clock.hpp>
#include <hufu/remoting/batch.hpp>
#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/properties.hpp>

namespace hufu::bench {
namespace {

// length, header length, i16 code, u8 language, i16 version: then the opaque of a binary header.
constexpr std::size_t opaque_at = 4 + 4 + 2 + 1 + 2;
constexpr std::uint64_t opaque_mask = 0x7FFF'FFFF;
constexpr std::size_t digits = 16;
const std::string no_key(2 * digits, '0');

void write_hex(char* into, std::uint64_t value) noexcept {
    for (int shift = 60; shift >= 0; shift -= 4) {
        *into++ = "0123456789ABCDEF"[value >> shift & 15];
    }
}

std::string keyed_properties(std::int64_t deliver_ms, bool half) {
    std::string properties;
    if (half) {
        remoting::append_property(properties, remoting::property::transaction_prepared, "true");
        remoting::append_property(properties, remoting::property::producer_group, load_group);
        remoting::append_property(properties, remoting::property::check_immunity_s, "3600");
    }
    if (deliver_ms > 0) {
        remoting::append_property(properties, remoting::property::timer_deliver_ms, std::to_string(deliver_ms));
    }
    remoting::append_property(properties, remoting::property::unique_key, no_key);
    return properties;
}

}  // namespace

LoadRequests::LoadRequests(const LoadShape& shape) : deliver_ms_{shape.deliver_ms} {
    const std::string properties = keyed_properties(shape.deliver_ms, shape.half);
    const std::string body(shape.body_bytes, 'x');
    if (shape.batch == 1) {
        body_ = body;
    } else {
        for (std::size_t i = 0; i < shape.batch; ++i) {
            const std::size_t begin = body_.size();
            remoting::append_batch_entry(body_, {.body = body, .properties = properties});
            body_keys_at_.push_back(body_.find(no_key, begin + body.size()) + digits);
        }
    }
    const auto born = std::chrono::duration_cast<std::chrono::milliseconds>(system_clock().system_now().time_since_epoch());
    for (std::size_t topic = 0; topic < shape.topics; ++topic) {
        const std::string name = shape.topic_name(topic);
        for (std::int32_t queue = 0; queue < shape.queues; ++queue) {
            const remoting::SendRequest request{.producer_group = load_group,
                                                .topic = name,
                                                .default_topic_queues = shape.queues,
                                                .queue_id = queue,
                                                .sys_flag = shape.half ? remoting::sys_flag::transaction_prepared : 0,
                                                .born_timestamp = born.count(),
                                                .properties = properties,
                                                .batch = shape.batch > 1};
            Head head;
            remoting::append_request(
                head.bytes, remoting::SerializeType::binary,
                shape.batch > 1 ? remoting::RequestCode::send_batch_message : remoting::RequestCode::send_message_v2, 0,
                request, body_);
            head.bytes.resize(head.bytes.size() - body_.size());
            head.key_at = head.bytes.find(no_key) + digits;
            if (deliver_ms_ > 0) {
                head.time_at = head.bytes.find(std::to_string(deliver_ms_));
            }
            heads_.push_back(std::move(head));
        }
    }
}

void LoadRequests::append(std::string& out, std::uint64_t id) {
    const Head& head = heads_[next_];
    next_ = (next_ + 1) % heads_.size();
    const std::size_t at = out.size();
    out.append(head.bytes);
    remoting::store(out.data() + at + opaque_at, static_cast<std::int32_t>(id & opaque_mask));
    const std::uint64_t first = id * std::max<std::size_t>(body_keys_at_.size(), 1);
    write_hex(out.data() + at + head.key_at, first);
    if (deliver_ms_ > 0) {
        // Any order but that of sending.
        constexpr std::uint64_t scatter = 7919;
        const std::string time = std::to_string(deliver_ms_ + static_cast<std::int64_t>(id * scatter % 1000));
        out.replace(at + head.time_at, time.size(), time);
    }
    const std::size_t body_at = out.size();
    out.append(body_);
    for (std::size_t i = 0; i < body_keys_at_.size(); ++i) {
        write_hex(out.data() + body_at + body_keys_at_[i], first + i);
    }
}

}  // namespace hufu::bench
