// Scheme and rest of an address.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::connect {

/// "sqlite:/x" is {"sqlite", "/x"}; "rocketmq://h:1" is {"rocketmq", "h:1"}.
struct Url {
    std::string scheme;
    std::string rest;
};

/// `what` ("an outbox") and `known` (example addresses) are for the error.
[[nodiscard]] Result<Url> parse_url(const std::string& text, std::string_view what, std::span<const std::string_view> known);
[[nodiscard]] Error unknown_url(const std::string& text, std::string_view what, std::span<const std::string_view> known);
/// For errors: a password between ':' and '@' becomes "***".
[[nodiscard]] std::string without_password(const std::string& url);

}  // namespace hufu::connect
