// Assertions that stay on in release builds: a bug stops the process before it can touch money.
#pragma once

namespace hufu {
/// Prints the expression and place to standard error and aborts.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;
}  // namespace hufu

#define HUFU_ASSERT(expression) \
    ((expression) ? static_cast<void>(0) : ::hufu::assertion_failed(#expression, __FILE__, __LINE__))
