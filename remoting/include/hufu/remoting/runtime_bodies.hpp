// JSON body of a broker's runtime information (28): names and values.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

/// RocketMQ's KVTable, {"table":{NAME:VALUE}}. Numbers and truth values become text.
[[nodiscard]] Result<std::map<std::string, std::string>> parse_name_values(std::string_view json);

}  // namespace hufu::remoting
