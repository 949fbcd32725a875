#include <hufu/core/assert.hpp>
#include <hufu/core/error.hpp>

#include <cstdio>
#include <cstdlib>

namespace hufu {

std::string_view to_string(Disposition disposition) noexcept {
    switch (disposition) {
        case Disposition::retry: return "retry";
        case Disposition::abort_transaction: return "abort_transaction";
        case Disposition::in_doubt: return "in_doubt";
        case Disposition::reject: return "reject";
        case Disposition::fatal: return "fatal";
    }
    return "unknown";
}

std::string_view to_string(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::invalid_argument: return "invalid_argument";
        case ErrorCode::not_found: return "not_found";
        case ErrorCode::conflict: return "conflict";
        case ErrorCode::too_large: return "too_large";
        case ErrorCode::unavailable: return "unavailable";
        case ErrorCode::timeout: return "timeout";
        case ErrorCode::cancelled: return "cancelled";
        case ErrorCode::busy: return "busy";
        case ErrorCode::permission: return "permission";
        case ErrorCode::unsupported: return "unsupported";
        case ErrorCode::out_of_space: return "out_of_space";
        case ErrorCode::io: return "io";
        case ErrorCode::corrupt: return "corrupt";
        case ErrorCode::fenced: return "fenced";
        case ErrorCode::wrong_version: return "wrong_version";
        case ErrorCode::protocol: return "protocol";
        case ErrorCode::internal: return "internal";
    }
    return "unknown";
}

void throw_exception_from_error(const Error& error, const boost::source_location&) { throw Exception{error}; }

void assertion_failed(const char* expression, const char* file, int line) noexcept {
    std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    std::abort();
}

}  // namespace hufu
