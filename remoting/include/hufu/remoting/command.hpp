// A request or response: reading it without copying, writing it without intermediate objects.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/frame.hpp>

namespace hufu::remoting {

/// The ext fields of a command, as views into its frame. Looking up is a linear search over at most a few dozen entries.
class Fields {
public:
    struct Entry {
        std::string_view name;
        std::string_view value;
    };
    /// A command with more fields is refused (a real one has about twenty).
    static constexpr std::size_t count_max = 512;

    [[nodiscard]] std::span<const Entry> entries() const noexcept {
        return overflow_.empty() ? std::span{inline_.data(), count_} : std::span{overflow_};
    }
    /// The value of `name`, or nothing.
    [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return entries().size(); }

    void clear() noexcept {
        count_ = 0;
        overflow_.clear();
    }
    /// False when `count_max` is reached.
    bool add(std::string_view name, std::string_view value);

private:
    static constexpr std::size_t inline_count = 32;
    std::array<Entry, inline_count> inline_;  // entries [0, count_) are set; used while overflow_ is empty
    std::size_t count_ = 0;
    std::vector<Entry> overflow_;
};

/// A decoded command. All views point into the frame it was decoded from. Meant to be reused for frame after frame.
struct CommandView {
    std::int32_t code = 0;
    std::uint8_t language = language_cpp;
    std::int32_t version = 0;
    std::int32_t opaque = 0;
    std::int32_t flag = 0;
    SerializeType serialize_type = SerializeType::json;  ///< answer in the same form
    std::string_view remark;
    Fields fields;
    std::string_view body;

    [[nodiscard]] bool is_response() const noexcept { return (flag & flag_bit::response) != 0; }
    [[nodiscard]] bool is_one_way() const noexcept { return (flag & flag_bit::one_way) != 0; }
    [[nodiscard]] RequestCode request_code() const noexcept { return static_cast<RequestCode>(code); }
    [[nodiscard]] ResponseCode response_code() const noexcept { return static_cast<ResponseCode>(code); }
};

/// Reads `frame` into `command`, overwriting what was there and unescaping the frame's JSON strings in place. Tolerant as
/// receivers must be: unknown keys are ignored, ext values may be strings, numbers or booleans. `protocol` when it is no
/// command; `command` is then unspecified. Allocates only for commands with more than 32 ext fields.
[[nodiscard]] Result<void> decode_command(const Frame& frame, CommandView& command);

/// Appends one command to `out`: construct, add fields, finish once. `out` must not be touched in between.
class CommandWriter {
public:
    CommandWriter(std::string& out, SerializeType serialize_type, std::int32_t code, std::int32_t opaque, std::int32_t flag,
                  std::string_view remark = {});
    CommandWriter(const CommandWriter&) = delete;
    CommandWriter& operator=(const CommandWriter&) = delete;

    /// Starts a request.
    static CommandWriter request(std::string& out, SerializeType serialize_type, RequestCode code, std::int32_t opaque,
                                 bool one_way = false) {
        return CommandWriter{out, serialize_type, static_cast<std::int32_t>(code), opaque, one_way ? flag_bit::one_way : 0};
    }
    /// Starts the answer to `request`, in the form the request came in.
    static CommandWriter response(std::string& out, const CommandView& request, ResponseCode code,
                                  std::string_view remark = {}) {
        return CommandWriter{
            out, request.serialize_type, static_cast<std::int32_t>(code), request.opaque, flag_bit::response, remark};
    }

    void field(std::string_view name, std::string_view value);
    void field(std::string_view name, std::int64_t value);
    void flag(std::string_view name, bool value) {
        field(name, value ? std::string_view{"true"} : std::string_view{"false"});
    }

    /// Closes the header and appends `body`.
    void finish(std::string_view body = {});
    /// Closes the header; the caller sends `body_bytes` bytes right after what is in `out` (gathered writes).
    void finish_before_body(std::size_t body_bytes);

private:
    void escaped(std::string_view text);

    std::string& out_;
    std::size_t start_;
    std::size_t fields_at_ = 0;  // binary form: where the length of the ext fields stands
    SerializeType serialize_type_;
    bool any_field_ = false;
};

/// Number texts as they stand in ext fields.
[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text) noexcept;
/// "true" in any case is true, everything else false, as Java's Boolean.parseBoolean.
[[nodiscard]] bool parse_boolean(std::string_view text) noexcept;

}  // namespace hufu::remoting
