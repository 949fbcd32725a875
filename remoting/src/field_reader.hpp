// Reads the typed fields of one command's header.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::remoting::header_fields {

inline Error broken(std::int32_t code, std::string_view field, const std::string& what) {
    return Error{ErrorCode::protocol, Disposition::reject,
                 std::string{to_string(static_cast<RequestCode>(code))} + " (" + std::to_string(code) + "): field \"" +
                     std::string{field} + "\" " + what};
}

/// Reads typed fields of one command; remembers the first that is missing or malformed.
class Reader {
public:
    explicit Reader(const CommandView& command) noexcept : command_{command} {}

    Reader& required(std::string_view name, std::string_view& into) {
        if (const auto value = command_.fields.get(name)) {
            into = *value;
        } else {
            missing(name);
        }
        return *this;
    }
    template <class Integer>
    Reader& required(std::string_view name, Integer& into) {
        if (const auto value = command_.fields.get(name)) {
            number(name, *value, into);
        } else {
            missing(name);
        }
        return *this;
    }
    Reader& optional(std::string_view name, std::string_view& into) {
        into = command_.fields.get(name).value_or(into);
        return *this;
    }
    template <class Integer>
    Reader& optional(std::string_view name, Integer& into) {
        if (const auto value = command_.fields.get(name)) {
            number(name, *value, into);
        }
        return *this;
    }
    template <class Integer>
    Reader& optional(std::string_view name, std::optional<Integer>& into) {
        if (const auto value = command_.fields.get(name)) {
            number(name, *value, into.emplace());
        }
        return *this;
    }
    void missing(std::string_view name) {
        if (!error_) {
            error_ = broken(command_.code, name, "is missing");
        }
    }
    void number(std::string_view name, std::string_view text, bool& into) {
        static_cast<void>(name);
        into = parse_boolean(text);
    }
    template <class Integer>
    void number(std::string_view name, std::string_view text, Integer& into) {
        const auto value = parse_integer(text);
        if (value && *value >= std::numeric_limits<Integer>::min() && *value <= std::numeric_limits<Integer>::max()) {
            into = static_cast<Integer>(*value);
        } else if (!error_) {
            error_ = broken(command_.code, name, "is \"" + std::string{text.substr(0, 64)} + "\", not a number in range");
        }
    }
    template <class Header>
    Result<Header> finish(const Header& header) {
        if (error_) {
            return std::move(*error_);
        }
        return header;
    }

private:
    const CommandView& command_;
    std::optional<Error> error_;
};

}  // namespace hufu::remoting::header_fields
