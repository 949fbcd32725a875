// Which right each request code needs.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <hufu/remoting/codes.hpp>

#include "access_table.hpp"

namespace hufu::broker {

/// How the right is found that a request needs.
enum class Need : std::uint8_t {
    any_account,  ///< who is known may; what the request names is public, or its handler checks what it finds
    admin,
    fields,     ///< the topic and the group that its ext fields name
    heartbeat,  ///< every group and topic of its body
    locks,      ///< the group and the topics of its body
};

struct AccessRule {
    remoting::RequestCode code;
    Need need = Need::admin;
    std::string_view topic_field = {};  ///< of Need::fields; empty: none
    Right topic_right = Right::subscribe;
    std::string_view group_field = {};  ///< the right is always to consume with it
    bool group_optional = false;        ///< an absent or empty group needs no right
};

/// In the order of their codes.
[[nodiscard]] std::span<const AccessRule> access_rules() noexcept;
/// Null for a code that is not listed: such a request needs an admin.
[[nodiscard]] const AccessRule* access_rule_of(std::int32_t code) noexcept;

}  // namespace hufu::broker
