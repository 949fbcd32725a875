// One page of a web server.
#pragma once

#include <chrono>
#include <string>

#include <hufu/core/error.hpp>

namespace hufu::cli {

/// The body of "http://HOST:PORT/PATH". Errors: `invalid_argument` for another kind of URL, `unavailable`, `timeout`,
/// `protocol` for an answer that is not 200, `too_large` above 16 MiB.
[[nodiscard]] Result<std::string> http_get(const std::string& url, std::chrono::milliseconds timeout);

}  // namespace hufu::cli
