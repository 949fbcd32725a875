#include "journal/format.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include <hufu/core/crc32c.hpp>
#include <hufu/degradation/packed_message.hpp>

namespace hufu::degradation::journal {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) noexcept {
    return std::as_bytes(std::span{text.data(), text.size()});
}

template <class Number>
void put(std::string& to, Number number) {
    static_assert(std::is_integral_v<Number>);
    char raw[sizeof number];
    std::memcpy(raw, &number, sizeof number);
    to.append(raw, sizeof raw);
}

void put_text(std::string& to, std::string_view text) {
    put(to, static_cast<std::uint32_t>(text.size()));
    to.append(text);
}

/// Reads what `put` wrote. Once something is missing everything else is, too.
class Reader {
public:
    explicit Reader(std::string_view bytes) : rest_{bytes} {}

    template <class Number>
    Number number() {
        Number value{};
        if (rest_.size() < sizeof value) {
            good_ = false;
            rest_ = {};
            return value;
        }
        std::memcpy(&value, rest_.data(), sizeof value);
        rest_.remove_prefix(sizeof value);
        return value;
    }
    std::string_view bytes(std::size_t size) {
        if (rest_.size() < size) {
            good_ = false;
            rest_ = {};
            return {};
        }
        const auto taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }
    std::string_view text() { return bytes(number<std::uint32_t>()); }
    [[nodiscard]] bool good() const noexcept { return good_; }
    [[nodiscard]] bool finished() const noexcept { return good_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool good_ = true;
};

FrameHeader header_at(const char* at) noexcept {
    FrameHeader header;
    std::memcpy(&header, at, sizeof header);
    return header;
}

std::uint32_t crc_of(const char* frame, std::size_t payload) noexcept {
    const auto sum = crc32c(0, bytes_of({frame, sizeof(std::uint32_t)}));
    return crc32c(sum, bytes_of({frame + 8, sizeof(FrameHeader) - 8 + payload}));
}

void put_ranges(std::string& to, const Ranges& ranges) {
    put(to, static_cast<std::uint64_t>(ranges.ranges().size()));
    for (const auto& [first, last] : ranges.ranges()) {
        put(to, first);
        put(to, last);
    }
}

bool read_ranges(Reader& reader, Ranges& into) {
    const auto count = reader.number<std::uint64_t>();
    for (std::uint64_t i = 0; i < count && reader.good(); ++i) {
        const auto first = reader.number<std::uint64_t>();
        const auto last = reader.number<std::uint64_t>();
        if (!reader.good() || last < first) return false;
        into.add(first, last);
    }
    return reader.good();
}

}  // namespace

void append_frame(std::string& to, FrameKind kind, std::uint64_t sequence, std::string_view payload) {
    FrameHeader header;
    header.size = static_cast<std::uint32_t>(payload.size());
    header.kind = kind;
    header.sequence = sequence;
    char raw[sizeof header];
    std::memcpy(raw, &header, sizeof header);
    to.append(raw, sizeof raw);
    to.append(payload);
}

void close_group(std::string& bytes, std::uint32_t segment, std::uint32_t group) {
    const std::size_t end = bytes.size();
    for (std::size_t at = 0; at < end;) {
        FrameHeader header = header_at(bytes.data() + at);
        const std::size_t next = at + sizeof header + header.size;
        header.segment = segment;
        header.group = group;
        header.last = next == end ? 1 : 0;
        std::memcpy(bytes.data() + at, &header, sizeof header);
        header.crc = crc_of(bytes.data() + at, header.size);
        std::memcpy(bytes.data() + at, &header, sizeof header);
        at = next;
    }
    bytes.resize(round_up(end), '\0');
}

std::vector<FrameView> read_group(std::string_view bytes, std::uint32_t segment, std::uint32_t group_before,
                                  std::size_t& bytes_used, std::size_t& short_by) {
    std::vector<FrameView> frames;
    bytes_used = 0;
    short_by = 0;
    for (std::size_t at = 0;;) {
        if (bytes.size() - at < sizeof(FrameHeader)) {
            short_by = sizeof(FrameHeader) - (bytes.size() - at);
            return {};
        }
        const FrameHeader header = header_at(bytes.data() + at);
        const bool fits = header.segment == segment && header.size <= frame_bytes_max && header.group > group_before &&
                          (frames.empty() || header.group == frames.front().header.group);
        if (!fits) return {};
        const std::size_t frame_bytes = sizeof header + header.size;
        if (bytes.size() - at < frame_bytes) {
            short_by = frame_bytes - (bytes.size() - at);
            return {};
        }
        if (header.crc != crc_of(bytes.data() + at, header.size)) return {};
        frames.push_back({header, bytes.substr(at + sizeof header, header.size), at});
        at += frame_bytes;
        if (header.last != 0) {
            bytes_used = round_up(at);
            return frames;
        }
    }
}

std::string encode(const Snapshot& snapshot) {
    std::string bytes;
    put(bytes, snapshot_magic);
    put(bytes, format_version);
    put(bytes, snapshot.next_sequence);
    put(bytes, static_cast<std::uint32_t>(snapshot.sealed.size()));
    for (const auto& sealed : snapshot.sealed) {
        put(bytes, sealed.number);
        put(bytes, sealed.end);
        put(bytes, sealed.first);
        put(bytes, sealed.next);
    }
    put_ranges(bytes, snapshot.live);
    put(bytes, static_cast<std::uint64_t>(snapshot.parked.size()));
    for (const auto& [sequence, reason] : snapshot.parked) {
        put(bytes, sequence);
        put_text(bytes, reason);
    }
    return bytes;
}

std::optional<Snapshot> decode_snapshot(std::string_view bytes) {
    Reader reader{bytes};
    if (reader.number<std::uint32_t>() != snapshot_magic || reader.number<std::uint32_t>() != format_version) return {};
    Snapshot snapshot;
    snapshot.next_sequence = reader.number<std::uint64_t>();
    const auto sealed = reader.number<std::uint32_t>();
    for (std::uint32_t i = 0; i < sealed && reader.good(); ++i) {
        Snapshot::Sealed one;
        one.number = reader.number<std::uint32_t>();
        one.end = reader.number<std::uint64_t>();
        one.first = reader.number<std::uint64_t>();
        one.next = reader.number<std::uint64_t>();
        snapshot.sealed.push_back(one);
    }
    if (!read_ranges(reader, snapshot.live)) return {};
    const auto parked = reader.number<std::uint64_t>();
    for (std::uint64_t i = 0; i < parked && reader.good(); ++i) {
        const auto sequence = reader.number<std::uint64_t>();
        snapshot.parked[sequence] = reader.text();
    }
    return reader.finished() ? std::optional{std::move(snapshot)} : std::nullopt;
}

std::string encode_ranges(const Ranges& ranges, std::string_view reason) {
    std::string bytes;
    put_ranges(bytes, ranges);
    put_text(bytes, reason);
    return bytes;
}

bool decode_ranges(std::string_view bytes, Ranges& ranges, std::string& reason) {
    Reader reader{bytes};
    if (!read_ranges(reader, ranges)) return false;
    reason = reader.text();
    return reader.finished();
}

std::string encode_entry(const Message& message, std::uint64_t key, SystemTime spilled_at) {
    std::string bytes;
    bytes.reserve(256 + message.body.size());
    put(bytes, static_cast<std::int64_t>(spilled_at.time_since_epoch().count()));
    put(bytes, key);
    pack(message, bytes);
    return bytes;
}

EntryFacts facts_of(std::string_view payload) noexcept {
    Reader reader{payload};
    EntryFacts facts;
    facts.spilled_at = SystemTime{std::chrono::microseconds{reader.number<std::int64_t>()}};
    facts.key = reader.number<std::uint64_t>();
    return facts;
}

Result<Message> message_of(std::string_view payload) {
    return unpack(payload.substr(std::min(payload.size(), entry_facts_bytes)));
}

std::uint64_t key_hash(std::string_view topic, std::string_view ordering_key) noexcept {
    if (ordering_key.empty()) return 0;
    // FNV-1a over topic, a byte that no topic has, and key.
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    const auto add = [&hash](std::string_view text) {
        for (const char character : text) hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001B3ULL;
    };
    add(topic);
    add({"\n", 1});
    add(ordering_key);
    return hash == 0 ? 1 : hash;
}

std::string segment_name(std::uint32_t number) {
    char name[32];
    std::snprintf(name, sizeof name, "%010u.journal", number);
    return name;
}

std::optional<std::uint32_t> segment_number(std::string_view name) {
    constexpr std::string_view suffix = ".journal";
    if (name.size() != 10 + suffix.size() || !name.ends_with(suffix)) return {};
    std::uint32_t number = 0;
    const auto [end, problem] = std::from_chars(name.data(), name.data() + 10, number);
    return problem == std::errc{} && end == name.data() + 10 && number > 0 ? std::optional{number} : std::nullopt;
}

}  // namespace hufu::degradation::journal
