// A second, plain reading of RocketMQ's SQL92, for tests only: a tree of nodes that is walked, with exceptions where
// Java throws. It shares nothing with the compiled filter.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace hufu::remoting::testing {

using PropertyMap = std::map<std::string, std::string, std::less<>>;

/// True and false; nothing when the expression is refused.
[[nodiscard]] std::optional<bool> reference_matches(std::string_view expression, const PropertyMap& properties);

/// The map that a broker makes of encoded properties: the last of a name counts, empty ones are left out.
[[nodiscard]] PropertyMap reference_properties(std::string_view encoded);

}  // namespace hufu::remoting::testing
