#include "error.hpp"

#include <sqlite3.h>

namespace hufu::sqlite {
namespace {

struct Row {
    int primary_code;
    ErrorCode code;
    Disposition disposition;
};

constexpr Row table[] = {
    {SQLITE_BUSY, ErrorCode::busy, Disposition::abort_transaction},
    {SQLITE_LOCKED, ErrorCode::busy, Disposition::abort_transaction},
    {SQLITE_FULL, ErrorCode::out_of_space, Disposition::abort_transaction},
    {SQLITE_IOERR, ErrorCode::io, Disposition::abort_transaction},
    {SQLITE_INTERRUPT, ErrorCode::cancelled, Disposition::abort_transaction},
    {SQLITE_NOMEM, ErrorCode::busy, Disposition::abort_transaction},
    {SQLITE_PROTOCOL, ErrorCode::busy, Disposition::abort_transaction},
    {SQLITE_SCHEMA, ErrorCode::busy, Disposition::abort_transaction},
    {SQLITE_CORRUPT, ErrorCode::corrupt, Disposition::fatal},
    {SQLITE_NOTADB, ErrorCode::corrupt, Disposition::fatal},
    {SQLITE_READONLY, ErrorCode::permission, Disposition::fatal},
    {SQLITE_PERM, ErrorCode::permission, Disposition::fatal},
    {SQLITE_AUTH, ErrorCode::permission, Disposition::fatal},
    {SQLITE_CANTOPEN, ErrorCode::unavailable, Disposition::fatal},
    {SQLITE_CONSTRAINT, ErrorCode::conflict, Disposition::reject},
    {SQLITE_TOOBIG, ErrorCode::too_large, Disposition::reject},
    {SQLITE_MISMATCH, ErrorCode::invalid_argument, Disposition::reject},
    {SQLITE_RANGE, ErrorCode::invalid_argument, Disposition::reject},
};

std::string_view way_out(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::busy: return "; another transaction is writing, try again";
        case ErrorCode::out_of_space: return "; free disk space, then try again";
        case ErrorCode::corrupt: return "; restore the file from a backup, or name the right file";
        case ErrorCode::permission: return "; give this user the right to write the file and its folder";
        case ErrorCode::unavailable: return "; check the path, its folder and their rights";
        default: return "";
    }
}

}  // namespace

Error error_of(sqlite3* handle, int code, std::string_view what) {
    ErrorCode error_code = ErrorCode::internal;
    Disposition disposition = Disposition::fatal;
    for (const auto& row : table) {
        if (row.primary_code == (code & 0xff)) {
            error_code = row.code;
            disposition = row.disposition;
        }
    }
    std::string text{what};
    text += ": ";
    text += handle != nullptr && sqlite3_extended_errcode(handle) == code ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
    text += way_out(error_code);
    return Error{error_code, disposition, std::move(text)};
}

void throw_error(sqlite3* handle, int code, std::string_view what) { throw Exception{error_of(handle, code, what)}; }

}  // namespace hufu::sqlite
