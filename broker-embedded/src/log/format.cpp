#include "log/format.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "log/crc32c.hpp"

namespace hufu::broker {
namespace {

static_assert(std::endian::native == std::endian::little, "the log's own numbers are written as they stand in memory");

class Encoder {
public:
    template <class Number>
    void number(Number value) {
        const auto at = bytes_.size();
        bytes_.resize(at + sizeof value);
        std::memcpy(bytes_.data() + at, &value, sizeof value);
    }
    void text(std::string_view value) {
        number(static_cast<std::uint32_t>(value.size()));
        bytes_.append(value);
    }
    std::string take() { return std::move(bytes_); }

private:
    std::string bytes_;
};

class Decoder {
public:
    explicit Decoder(std::string_view bytes) : rest_{bytes} {}
    template <class Number>
    Number number() {
        Number value{};
        if (rest_.size() < sizeof value) {
            fail();
            return value;
        }
        std::memcpy(&value, rest_.data(), sizeof value);
        rest_.remove_prefix(sizeof value);
        return value;
    }
    std::string_view text() {
        const auto size = number<std::uint32_t>();
        if (size > rest_.size()) {
            fail();
            return {};
        }
        const auto value = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return value;
    }
    void fail() {
        good_ = false;
        rest_ = {};
    }
    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] bool at_end() const { return good_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool good_ = true;
};

}  // namespace

std::string encode_snapshot(const Snapshot& snapshot) {
    Encoder out;
    out.number(snapshot.capacity);
    out.number(snapshot.start);
    out.number(snapshot.newest_ms);
    out.number(static_cast<std::uint64_t>(snapshot.sealed.size()));
    for (const auto& span : snapshot.sealed) {
        out.number(span.base);
        out.number(span.end);
    }
    out.number(static_cast<std::uint64_t>(snapshot.queues.size()));
    for (const auto& queue : snapshot.queues) {
        out.number(queue.queue_id);
        out.number(queue.next);
        out.text(queue.topic);
    }
    out.number(static_cast<std::uint64_t>(snapshot.state.size()));
    for (const auto& [key, value] : snapshot.state) {
        out.text(key);
        out.text(value);
    }
    return out.take();
}

std::optional<Snapshot> decode_snapshot(std::string_view bytes) {
    Decoder in{bytes};
    Snapshot snapshot;
    snapshot.capacity = in.number<std::uint64_t>();
    snapshot.start = in.number<std::uint64_t>();
    snapshot.newest_ms = in.number<std::uint64_t>();
    for (auto count = in.number<std::uint64_t>(); count > 0 && in.good(); --count) {
        auto& span = snapshot.sealed.emplace_back();
        span.base = in.number<std::uint64_t>();
        span.end = in.number<std::uint64_t>();
    }
    for (auto count = in.number<std::uint64_t>(); count > 0 && in.good(); --count) {
        auto& queue = snapshot.queues.emplace_back();
        queue.queue_id = in.number<std::int32_t>();
        queue.next = in.number<std::uint64_t>();
        queue.topic = in.text();
    }
    for (auto count = in.number<std::uint64_t>(); count > 0 && in.good(); --count) {
        const auto key = in.text();
        snapshot.state.insert_or_assign(std::string{key}, std::string{in.text()});
    }
    if (!in.at_end()) return std::nullopt;
    return snapshot;
}

std::string encode_strings(std::string_view first, std::string_view second) {
    Encoder out;
    out.text(first);
    out.text(second);
    return out.take();
}

bool decode_strings(std::string_view bytes, std::span<std::string_view> into) {
    Decoder in{bytes};
    for (auto& place : into) place = in.text();
    return in.at_end();
}

std::string encode_queue(std::int32_t queue_id, std::string_view topic) {
    Encoder out;
    out.number(queue_id);
    out.text(topic);
    return out.take();
}

bool decode_queue(std::string_view bytes, std::int32_t& queue_id, std::string_view& topic) {
    Decoder in{bytes};
    queue_id = in.number<std::int32_t>();
    topic = in.text();
    return in.at_end();
}

namespace {
std::string numbered(std::uint64_t base, std::string_view suffix) {
    const auto digits = std::to_string(base);
    return std::string(20 - digits.size(), '0') + digits + std::string{suffix};
}
}  // namespace

std::string segment_name(std::uint64_t base) { return numbered(base, ".log"); }
std::string index_name(std::uint64_t base) { return numbered(base, ".index"); }
std::string keys_name(std::uint64_t base) { return numbered(base, ".keys"); }

std::optional<std::uint64_t> base_of(std::string_view name, std::string_view suffix) {
    if (name.size() != 20 + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
    std::uint64_t base = 0;
    for (const char digit : name.substr(0, 20)) {
        if (digit < '0' || digit > '9') return std::nullopt;
        base = base * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    return base;
}

std::uint32_t group_crc(const GroupHeader& header, std::span<const TableEntry> table) noexcept {
    const auto all = std::as_bytes(std::span{&header, 1});
    return crc32c(crc32c(0, all.subspan(offsetof(GroupHeader, version))), std::as_bytes(table));
}

std::uint32_t entry_check(const IndexEntry& entry) noexcept {
    IndexEntry copy = entry;
    copy.check = 0;
    return crc32c(0, std::as_bytes(std::span{&copy, 1}));
}

Error corrupt_error(std::string text) { return Error{ErrorCode::corrupt, Disposition::fatal, std::move(text)}; }

}  // namespace hufu::broker
