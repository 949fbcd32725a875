// Secrets that are not to stand in an address.
#pragma once

#include <string>

#include <hufu/core/error.hpp>

namespace hufu::connect {

/// The variable `name`, or the first line of the file that `name`_FILE names. `whose` ("access key \"shop\"") begins the
/// error when there is neither, `otherwise` ends it.
[[nodiscard]] Result<std::string> secret_of_environment(const std::string& name, const std::string& whose,
                                                        const std::string& otherwise);

}  // namespace hufu::connect
