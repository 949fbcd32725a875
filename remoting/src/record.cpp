#include <hufu/remoting/record.hpp>

#include <cstring>
#include <string>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/properties.hpp>

namespace hufu::remoting {
namespace {

constexpr std::size_t topic_one_byte_max = 127;
// Largest record: body, topic, properties, overhead. A size above it is rubbish.
constexpr std::size_t record_bytes_max = body_bytes_max + 64 * 1024;

void store_host(std::byte* into, const Host& host) noexcept {
    std::memcpy(into, host.ip.data(), host.ip.size());
    store(into + host.ip.size(), host.port);
}

Error corrupt(std::string text) {
    return Error{ErrorCode::corrupt, Disposition::fatal, "stored message: " + std::move(text)};
}

/// Takes fields off the front of a record.
class Cursor {
public:
    explicit Cursor(std::span<const std::byte> bytes) noexcept : rest_{bytes} {}

    template <class T>
    bool number(T& value) noexcept {
        if (rest_.size() < sizeof value) {
            return false;
        }
        value = load<T>(rest_.data());
        rest_ = rest_.subspan(sizeof value);
        return true;
    }
    bool host(Host& value, bool v6) noexcept {
        const std::size_t ip_size = v6 ? 16 : 4;
        if (rest_.size() < ip_size) {
            return false;
        }
        if (v6) {
            value.ip = {};
        } else {
            std::memcpy(value.ip.data(), rest_.data(), ip_size);
        }
        rest_ = rest_.subspan(ip_size);
        return number(value.port);
    }
    bool text(std::string_view& value, std::size_t size) noexcept {
        if (rest_.size() < size) {
            return false;
        }
        value = {reinterpret_cast<const char*>(rest_.data()), size};
        rest_ = rest_.subspan(size);
        return true;
    }
    [[nodiscard]] bool done() const noexcept { return rest_.empty(); }

private:
    std::span<const std::byte> rest_;
};

}  // namespace

std::size_t record_size(const Record& record) noexcept {
    return record_overhead + (record.topic.size() > topic_one_byte_max ? 1 : 0) + record.body.size() + record.topic.size() +
           record.properties.size() + record.more_properties.size();
}

std::size_t encode_record(std::span<std::byte> into, const Record& record) noexcept {
    const std::size_t size = record_size(record);
    const std::size_t properties_size = record.properties.size() + record.more_properties.size();
    HUFU_ASSERT(into.size() >= size);
    HUFU_ASSERT(record.body.size() <= body_bytes_max);
    HUFU_ASSERT(record.topic.size() <= topic_bytes_max);
    HUFU_ASSERT(properties_size <= properties_bytes_max);
    const bool long_topic = record.topic.size() > topic_one_byte_max;
    std::byte* const at = into.data();
    store(at + record_offset::total_size, static_cast<std::int32_t>(size));
    store(at + record_offset::magic, long_topic ? record_magic_v2 : record_magic_v1);
    store(at + record_offset::body_crc, record.body_crc);
    store(at + record_offset::queue_id, record.queue_id);
    store(at + record_offset::flag, record.flag);
    store(at + record_offset::queue_offset, record.queue_offset);
    store(at + record_offset::physical_offset, record.physical_offset);
    store(at + record_offset::sys_flag, record.sys_flag & ~(sys_flag::born_host_v6 | sys_flag::store_host_v6));
    store(at + record_offset::born_timestamp, record.born_timestamp);
    store_host(at + record_offset::born_host, record.born_host);
    store(at + record_offset::store_timestamp, record.store_timestamp);
    store_host(at + record_offset::store_host, record.store_host);
    store(at + record_offset::reconsume_times, record.reconsume_times);
    store(at + record_offset::prepared_transaction_offset, record.prepared_transaction_offset);
    store(at + record_offset::body_size, static_cast<std::int32_t>(record.body.size()));
    std::byte* to = at + record_offset::body;
    const auto put = [&to](std::string_view text) {
        if (!text.empty()) {
            std::memcpy(to, text.data(), text.size());
            to += text.size();
        }
    };
    put(record.body);
    if (long_topic) {
        store(to, static_cast<std::int16_t>(record.topic.size()));
        to += sizeof(std::int16_t);
    } else {
        store(to, static_cast<std::uint8_t>(record.topic.size()));
        to += sizeof(std::uint8_t);
    }
    put(record.topic);
    store(to, static_cast<std::int16_t>(properties_size));
    to += sizeof(std::int16_t);
    put(record.properties);
    put(record.more_properties);
    return size;
}

void place_record(std::byte* record, std::int64_t physical_offset, std::int64_t queue_offset,
                  std::int64_t store_timestamp) noexcept {
    store(record + record_offset::physical_offset, physical_offset);
    store(record + record_offset::queue_offset, queue_offset);
    store(record + record_offset::store_timestamp, store_timestamp);
}

std::size_t peek_record_size(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < record_offset::body_crc) {
        return 0;
    }
    const auto size = load<std::int32_t>(bytes.data() + record_offset::total_size);
    const auto magic = load<std::int32_t>(bytes.data() + record_offset::magic);
    if ((magic != record_magic_v1 && magic != record_magic_v2) || size < static_cast<std::int32_t>(record_overhead)) {
        return 0;
    }
    return static_cast<std::size_t>(size);
}

Result<Record> decode_record(std::span<const std::byte> bytes) {
    const std::size_t size = peek_record_size(bytes);
    if (size == 0) {
        return corrupt("its first 8 bytes are no size and magic number");
    }
    if (size > record_bytes_max || size > bytes.size()) {
        return corrupt("it claims " + std::to_string(size) + " bytes of " + std::to_string(bytes.size()) + " (limit " +
                       std::to_string(record_bytes_max) + ")");
    }
    const bool long_topic = load<std::int32_t>(bytes.data() + record_offset::magic) == record_magic_v2;
    Cursor cursor{bytes.subspan(record_offset::body_crc, size - record_offset::body_crc)};
    Record record;
    std::int32_t body_size = 0;
    std::int16_t properties_size = 0;
    if (!cursor.number(record.body_crc) || !cursor.number(record.queue_id) || !cursor.number(record.flag) ||
        !cursor.number(record.queue_offset) || !cursor.number(record.physical_offset) || !cursor.number(record.sys_flag) ||
        !cursor.number(record.born_timestamp) ||
        !cursor.host(record.born_host, (record.sys_flag & sys_flag::born_host_v6) != 0) ||
        !cursor.number(record.store_timestamp) ||
        !cursor.host(record.store_host, (record.sys_flag & sys_flag::store_host_v6) != 0) ||
        !cursor.number(record.reconsume_times) || !cursor.number(record.prepared_transaction_offset) ||
        !cursor.number(body_size)) {
        return corrupt("its " + std::to_string(size) + " bytes end inside the fixed fields");
    }
    if (body_size < 0 || !cursor.text(record.body, static_cast<std::size_t>(body_size))) {
        return corrupt("a body of " + std::to_string(body_size) + " bytes does not fit into " + std::to_string(size));
    }
    std::size_t topic_size = 0;
    std::uint8_t short_size = 0;
    std::int16_t long_size = 0;
    if (long_topic ? !cursor.number(long_size) || long_size < 0 : !cursor.number(short_size)) {
        return corrupt("it ends before the topic");
    }
    topic_size = long_topic ? static_cast<std::size_t>(long_size) : short_size;
    if (!cursor.text(record.topic, topic_size)) {
        return corrupt("a topic of " + std::to_string(topic_size) + " bytes does not fit into " + std::to_string(size));
    }
    if (!cursor.number(properties_size) || properties_size < 0 ||
        !cursor.text(record.properties, static_cast<std::size_t>(properties_size)) || !cursor.done()) {
        return corrupt("properties of " + std::to_string(properties_size) + " bytes do not end where its " +
                       std::to_string(size) + " bytes end");
    }
    return record;
}

}  // namespace hufu::remoting
