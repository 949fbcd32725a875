#include <hufu/core/trace.hpp>

#include <algorithm>
#include <span>

namespace hufu {
namespace {

constexpr std::size_t length = 55;  // 2 + 1 + 32 + 1 + 16 + 1 + 2

/// The standard wants lower case.
int hex_digit(char character) noexcept {
    if (character >= '0' && character <= '9') return character - '0';
    if (character >= 'a' && character <= 'f') return character - 'a' + 10;
    return -1;
}

bool read_hex(std::string_view text, std::span<std::uint8_t> into) noexcept {
    for (std::size_t byte = 0; byte < into.size(); ++byte) {
        const int high = hex_digit(text[2 * byte]);
        const int low = hex_digit(text[2 * byte + 1]);
        if (high < 0 || low < 0) return false;
        into[byte] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return true;
}

void append_hex(std::string& text, std::span<const std::uint8_t> bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    for (const auto byte : bytes) {
        text.push_back(digits[byte >> 4]);
        text.push_back(digits[byte & 15]);
    }
}

bool all_zero(std::span<const std::uint8_t> bytes) noexcept {
    return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

void fill(std::span<std::uint8_t> bytes, Random& random) noexcept {
    do {
        for (std::size_t start = 0; start < bytes.size(); start += 8) {
            const std::uint64_t number = random.next();
            for (std::size_t byte = 0; byte < 8; ++byte)
                bytes[start + byte] = static_cast<std::uint8_t>(number >> (8 * byte));
        }
    } while (all_zero(bytes));
}

}  // namespace

Result<TraceContext> TraceContext::parse(std::string_view traceparent) {
    const auto refuse = [&] {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "traceparent \"" + std::string{traceparent.substr(0, 80)} +
                         "\" is malformed: 00-<32 hex digits>-<16 hex digits>-<2 hex digits> in lower case is needed"};
    };
    if (traceparent.size() < length) return refuse();
    std::uint8_t version = 0;
    if (!read_hex(traceparent, {&version, 1}) || version == 0xff) return refuse();
    // Version 00 has exactly this length; a later one may go on after a dash.
    if (version == 0 && traceparent.size() != length) return refuse();
    if (traceparent.size() > length && traceparent[length] != '-') return refuse();
    if (traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-') return refuse();
    TraceContext context;
    std::uint8_t flags = 0;
    if (!read_hex(traceparent.substr(3), context.trace_id) || !read_hex(traceparent.substr(36), context.span_id) ||
        !read_hex(traceparent.substr(53), {&flags, 1})) {
        return refuse();
    }
    if (all_zero(context.trace_id) || all_zero(context.span_id)) return refuse();
    context.sampled = (flags & 1) != 0;
    return context;
}

TraceContext TraceContext::make(Random& random) {
    TraceContext context;
    fill(context.trace_id, random);
    fill(context.span_id, random);
    return context;
}

TraceContext TraceContext::child(Random& random) const {
    TraceContext next = *this;
    fill(next.span_id, random);
    return next;
}

std::string TraceContext::to_string() const {
    std::string text = "00-";
    text.reserve(length);
    append_hex(text, trace_id);
    text.push_back('-');
    append_hex(text, span_id);
    text += sampled ? "-01" : "-00";
    return text;
}

std::optional<TraceContext> trace_of(const Message& message) {
    const auto carried = message.headers.get(header::trace_parent);
    if (!carried) return std::nullopt;
    const auto context = TraceContext::parse(*carried);
    return context ? std::optional{*context} : std::nullopt;
}

}  // namespace hufu
