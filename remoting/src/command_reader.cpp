// Reading command headers, JSON (in place) and binary.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::remoting {

std::optional<std::string_view> Fields::get(std::string_view name) const noexcept {
    for (const Entry& entry : entries()) {
        if (entry.name == name) {
            return entry.value;
        }
    }
    return {};
}

bool Fields::add(std::string_view name, std::string_view value) {
    if (overflow_.empty()) {
        if (count_ < inline_count) {
            inline_[count_++] = {name, value};
            return true;
        }
        overflow_.assign(inline_.begin(), inline_.end());
    }
    if (overflow_.size() == count_max) {
        return false;
    }
    overflow_.push_back({name, value});
    return true;
}

std::optional<std::int64_t> parse_integer(std::string_view text) noexcept {
    if (!text.empty() && text.front() == '+') {
        text.remove_prefix(1);
    }
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) {
        return {};
    }
    return value;
}

bool parse_boolean(std::string_view text) noexcept {
    constexpr std::string_view yes = "true";
    return std::equal(text.begin(), text.end(), yes.begin(), yes.end(),
                      [](char a, char b) { return static_cast<char>(a | 0x20) == b; });
}

namespace {

Error broken(std::string text) { return Error{ErrorCode::protocol, Disposition::reject, std::move(text)}; }

/// A JSON reader that unescapes strings where they stand: unescaped text is never longer than its source.
class JsonHeader {
public:
    explicit JsonHeader(std::span<char> text) noexcept
        : begin_{text.data()}, at_{text.data()}, end_{text.data() + text.size()} {}

    Result<void> read(CommandView& command);

private:
    static constexpr int depth_max = 32;

    void skip_space() noexcept {
        while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) {
            ++at_;
        }
    }
    bool take(char expected) noexcept {
        skip_space();
        if (at_ == end_ || *at_ != expected) {
            return false;
        }
        ++at_;
        return true;
    }
    [[nodiscard]] char peek() noexcept {
        skip_space();
        return at_ == end_ ? '\0' : *at_;
    }
    /// Reads a string, its opening quote included.
    bool string(std::string_view& value) noexcept;
    bool escape(char*& write) noexcept;
    bool hex4(std::uint32_t& unit) noexcept;
    /// Reads a number, true, false or null as the text it is.
    bool literal(std::string_view& value) noexcept;
    /// Reads a string or a literal; `null` is set for null.
    bool scalar(std::string_view& value, bool& null) noexcept;
    bool skip_value(int depth) noexcept;
    bool read_fields(Fields& fields, bool& too_many) noexcept;
    [[nodiscard]] Error bad() const {
        return broken("command header: not a JSON object at byte " + std::to_string(at_ - begin_));
    }

    char* begin_;
    char* at_;
    char* end_;
};

bool JsonHeader::hex4(std::uint32_t& unit) noexcept {
    if (end_ - at_ < 4) {
        return false;
    }
    unit = 0;
    const auto [end, error] = std::from_chars(at_, at_ + 4, unit, 16);
    if (error != std::errc{} || end != at_ + 4) {
        return false;
    }
    at_ += 4;
    return true;
}

void write_utf8(char*& write, std::uint32_t point) noexcept {
    const auto put = [&write](std::uint32_t byte) { *write++ = static_cast<char>(static_cast<unsigned char>(byte)); };
    if (point < 0x80) {
        put(point);
    } else if (point < 0x800) {
        put(0xC0 | (point >> 6));
        put(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        put(0xE0 | (point >> 12));
        put(0x80 | ((point >> 6) & 0x3F));
        put(0x80 | (point & 0x3F));
    } else {
        put(0xF0 | (point >> 18));
        put(0x80 | ((point >> 12) & 0x3F));
        put(0x80 | ((point >> 6) & 0x3F));
        put(0x80 | (point & 0x3F));
    }
}

/// After a backslash. Reads one escape and writes what it stands for.
bool JsonHeader::escape(char*& write) noexcept {
    if (at_ == end_) {
        return false;
    }
    switch (const char c = *at_++) {
        case '"':
        case '\\':
        case '/': *write++ = c; return true;
        case 'b': *write++ = '\b'; return true;
        case 'f': *write++ = '\f'; return true;
        case 'n': *write++ = '\n'; return true;
        case 'r': *write++ = '\r'; return true;
        case 't': *write++ = '\t'; return true;
        case 'u': break;
        default: return false;
    }
    std::uint32_t unit = 0;
    if (!hex4(unit)) {
        return false;
    }
    constexpr std::uint32_t replacement = 0xFFFD;
    if (unit >= 0xD800 && unit < 0xDC00) {
        std::uint32_t low = 0;
        if (end_ - at_ >= 6 && at_[0] == '\\' && at_[1] == 'u') {
            char* const before = at_;
            at_ += 2;
            if (!hex4(low)) {
                return false;
            }
            if (low >= 0xDC00 && low < 0xE000) {
                write_utf8(write, 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
                return true;
            }
            at_ = before;
        }
        unit = replacement;
    } else if (unit >= 0xDC00 && unit < 0xE000) {
        unit = replacement;
    }
    write_utf8(write, unit);
    return true;
}

bool JsonHeader::string(std::string_view& value) noexcept {
    if (!take('"')) {
        return false;
    }
    char* const start = at_;
    while (at_ != end_ && *at_ != '"' && *at_ != '\\') {
        ++at_;
    }
    char* write = at_;
    while (at_ != end_ && *at_ != '"') {
        if (*at_ == '\\') {
            ++at_;
            if (!escape(write)) {
                return false;
            }
        } else {
            *write++ = *at_++;
        }
    }
    if (at_ == end_) {
        return false;
    }
    ++at_;
    value = {start, static_cast<std::size_t>(write - start)};
    return true;
}

bool JsonHeader::literal(std::string_view& value) noexcept {
    skip_space();
    char* const start = at_;
    while (at_ != end_ && ((*at_ >= '0' && *at_ <= '9') || (*at_ >= 'a' && *at_ <= 'z') || *at_ == '-' || *at_ == '+' ||
                           *at_ == '.' || *at_ == 'E')) {
        ++at_;
    }
    value = {start, static_cast<std::size_t>(at_ - start)};
    return !value.empty();
}

bool JsonHeader::scalar(std::string_view& value, bool& null) noexcept {
    null = false;
    if (peek() == '"') {
        return string(value);
    }
    if (!literal(value)) {
        return false;
    }
    null = value == "null";
    return true;
}

bool JsonHeader::skip_value(int depth) noexcept {
    if (depth == depth_max) {
        return false;
    }
    std::string_view ignored;
    const char first = peek();
    if (first == '"') {
        return string(ignored);
    }
    if (first != '{' && first != '[') {
        return literal(ignored);
    }
    const char last = first == '{' ? '}' : ']';
    ++at_;
    if (take(last)) {
        return true;
    }
    do {
        if (first == '{' && (!string(ignored) || !take(':'))) {
            return false;
        }
        if (!skip_value(depth + 1)) {
            return false;
        }
    } while (take(','));
    return take(last);
}

bool JsonHeader::read_fields(Fields& fields, bool& too_many) noexcept {
    std::string_view name;
    std::string_view value;
    bool null = false;
    if (peek() == 'n') {
        return literal(value) && value == "null";
    }
    if (!take('{')) {
        return false;
    }
    if (take('}')) {
        return true;
    }
    do {
        if (!string(name) || !take(':') || !scalar(value, null)) {
            return false;
        }
        if (!null && !fields.add(name, value)) {
            too_many = true;
            return false;
        }
    } while (take(','));
    return take('}');
}

bool read_i32(std::string_view text, std::int32_t& into) noexcept {
    const auto value = parse_integer(text);
    if (!value || *value < std::numeric_limits<std::int32_t>::min() || *value > std::numeric_limits<std::int32_t>::max()) {
        return false;
    }
    into = static_cast<std::int32_t>(*value);
    return true;
}

Result<void> JsonHeader::read(CommandView& command) {
    bool code_seen = false;
    bool too_many = false;
    if (!take('{')) {
        return bad();
    }
    if (!take('}')) {
        do {
            std::string_view name;
            std::string_view value;
            bool null = false;
            if (!string(name) || !take(':')) {
                return bad();
            }
            if (name == "extFields") {
                if (!read_fields(command.fields, too_many)) {
                    return too_many
                               ? broken("command header: more than " + std::to_string(Fields::count_max) + " ext fields")
                               : bad();
                }
            } else if (name == "code" || name == "version" || name == "opaque" || name == "flag") {
                std::int32_t& number = name == "code"      ? command.code
                                       : name == "version" ? command.version
                                       : name == "opaque"  ? command.opaque
                                                           : command.flag;
                if (!scalar(value, null)) {
                    return bad();
                }
                if (!read_i32(value, number)) {
                    return broken("command header: \"" + std::string{name} + "\" is \"" + std::string{value} +
                                  "\", not a 32-bit number");
                }
                code_seen = code_seen || name == "code";
            } else if (name == "language" || name == "remark") {
                if (!scalar(value, null)) {
                    return bad();
                }
                if (name == "language") {
                    command.language = language_ordinal(value);
                } else if (!null) {
                    command.remark = value;
                }
            } else if (!skip_value(0)) {
                return bad();
            }
        } while (take(','));
        if (!take('}')) {
            return bad();
        }
    }
    skip_space();
    if (at_ != end_) {
        return bad();
    }
    if (!code_seen) {
        return broken("command header: no \"code\"");
    }
    return {};
}

/// i16 code | u8 language | i16 version | i32 opaque | i32 flag | i32 remark length + text | i32 fields length
/// | { i16 name length + name | i32 value length + value }*
class BinaryHeader {
public:
    explicit BinaryHeader(std::string_view bytes) noexcept : rest_{bytes} {}

    Result<void> read(CommandView& command) {
        std::int16_t code = 0;
        std::int16_t version = 0;
        std::string_view fields;
        if (!number(code) || !number(command.language) || !number(version) || !number(command.opaque) ||
            !number(command.flag) || !text<std::int32_t>(command.remark) || !text<std::int32_t>(fields) || !rest_.empty()) {
            return broken("binary command header of wrong length: the lengths inside do not add up");
        }
        command.code = code;
        command.version = version;
        rest_ = fields;
        while (!rest_.empty()) {
            std::string_view name;
            std::string_view value;
            if (!text<std::int16_t>(name) || !text<std::int32_t>(value)) {
                return broken("binary command header: an ext field reaches past the end of the header");
            }
            if (!command.fields.add(name, value)) {
                return broken("command header: more than " + std::to_string(Fields::count_max) + " ext fields");
            }
        }
        return {};
    }

private:
    template <class T>
    bool number(T& value) noexcept {
        if (rest_.size() < sizeof value) {
            return false;
        }
        value = load<T>(rest_.data());
        rest_.remove_prefix(sizeof value);
        return true;
    }
    template <class Length>
    bool text(std::string_view& value) noexcept {
        Length length = 0;
        if (!number(length) || length < 0 || static_cast<std::size_t>(length) > rest_.size()) {
            return false;
        }
        value = rest_.substr(0, static_cast<std::size_t>(length));
        rest_.remove_prefix(static_cast<std::size_t>(length));
        return true;
    }

    std::string_view rest_;
};

}  // namespace

Result<void> decode_command(const Frame& frame, CommandView& command) {
    command.code = 0;
    command.language = language_ordinal("JAVA");
    command.version = 0;
    command.opaque = 0;
    command.flag = 0;
    command.serialize_type = frame.serialize_type;
    command.remark = {};
    command.fields.clear();
    command.body = frame.body;
    if (frame.serialize_type == SerializeType::binary) {
        return BinaryHeader{std::string_view{frame.header.data(), frame.header.size()}}.read(command);
    }
    return JsonHeader{frame.header}.read(command);
}

}  // namespace hufu::remoting
