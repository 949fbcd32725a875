// SQLite's result codes as Hufu errors: the one table.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <hufu/core/error.hpp>

struct sqlite3;

namespace hufu::sqlite {

/// What `code` (an extended result code) means, with SQLite's own words for it; `what` says what was tried, on what.
[[nodiscard]] Error error_of(sqlite3* handle, int code, std::string_view what);
[[noreturn]] void throw_error(sqlite3* handle, int code, std::string_view what);

/// Runs `body` and turns what it throws into a failed result: the ports return, our SQLite wrapper throws.
template <class T, class Body>
Result<T> caught(Body&& body) {
    try {
        if constexpr (std::is_void_v<T>) {
            std::forward<Body>(body)();
            return {};
        } else {
            return std::forward<Body>(body)();
        }
    } catch (const Exception& exception) {
        return exception.error();
    }
}

}  // namespace hufu::sqlite
