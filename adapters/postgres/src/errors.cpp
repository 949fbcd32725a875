#include "errors.hpp"

#include <optional>

namespace hufu::postgres {
namespace {

/// What kind of failure a SQLSTATE is, before asking where it struck.
enum class Kind : unsigned char {
    transient,  ///< the transaction is undone; the same again may work
    lost,       ///< the session is gone
    input,      ///< these values will never do
    broken,     ///< a person must look
};

struct Row {
    std::string_view state;  ///< five characters, or the two of a class
    ErrorCode code;
    Kind kind;
    std::string_view way_out;
};

constexpr std::string_view migrate =
    "the hufu schema is missing or older than this program: run `hufu outbox migrate` (or print it with --print)";

// First match wins: exact states stand before their class.
constexpr Row table[] = {
    {"HF001", ErrorCode::invalid_argument, Kind::input, ""},
    {"HF002", ErrorCode::invalid_argument, Kind::input, ""},
    {"HF003", ErrorCode::conflict, Kind::input, ""},
    {"HF004", ErrorCode::invalid_argument, Kind::input, ""},
    {"HF005", ErrorCode::conflict, Kind::input, ""},
    {"08", ErrorCode::unavailable, Kind::lost, "the connection to PostgreSQL is lost; connect again"},
    {"57P01", ErrorCode::unavailable, Kind::lost, "the server is shutting down or ended this session; connect again"},
    {"57P02", ErrorCode::unavailable, Kind::lost, "the server crashed and is recovering; connect again"},
    {"57P03", ErrorCode::unavailable, Kind::lost, "the server is starting or stopping; connect again"},
    {"57P04", ErrorCode::not_found, Kind::broken, "the database was dropped"},
    {"57P05", ErrorCode::unavailable, Kind::lost, "the session was idle too long; connect again"},
    {"57014", ErrorCode::timeout, Kind::transient, "the statement ran into its time limit or was cancelled"},
    {"40", ErrorCode::busy, Kind::transient, "run the transaction again from its start"},
    {"55P03", ErrorCode::busy, Kind::transient, "a lock was not free in time; try again later"},
    {"55P04", ErrorCode::unsupported, Kind::broken, ""},
    {"25006", ErrorCode::unavailable, Kind::transient, "this server is a read-only standby; connect to the primary"},
    {"25P02", ErrorCode::invalid_argument, Kind::transient, "an earlier statement of this transaction failed; roll back"},
    {"25P03", ErrorCode::timeout, Kind::lost, "the transaction was idle too long; run it again"},
    {"26", ErrorCode::unavailable, Kind::lost, "a prepared statement vanished: is a pooler in transaction mode in between?"},
    {"3D", ErrorCode::not_found, Kind::broken, "create the database, or correct the URL"},
    {"28", ErrorCode::permission, Kind::broken, "check user and password in the URL, and pg_hba.conf"},
    {"42501", ErrorCode::permission, Kind::broken, "grant this user rights on schema hufu"},
    {"3F000", ErrorCode::wrong_version, Kind::broken, migrate},
    {"42P01", ErrorCode::wrong_version, Kind::broken, migrate},
    {"42883", ErrorCode::wrong_version, Kind::broken, migrate},
    {"42703", ErrorCode::wrong_version, Kind::broken, migrate},
    {"23505", ErrorCode::conflict, Kind::input, ""},
    {"23", ErrorCode::conflict, Kind::input, ""},
    {"22", ErrorCode::invalid_argument, Kind::input, ""},
    {"54000", ErrorCode::too_large, Kind::input, ""},
    {"0A", ErrorCode::unsupported, Kind::broken, ""},
    {"53100", ErrorCode::out_of_space, Kind::transient, "free space on the server's disk"},
    {"53300", ErrorCode::busy, Kind::transient, "the server has no connection left; raise max_connections or use fewer"},
    {"53", ErrorCode::busy, Kind::transient, "the server is short of memory or configured resources"},
    {"58", ErrorCode::io, Kind::transient, "the server's disk failed; see its log"},
    {"XX001", ErrorCode::corrupt, Kind::broken, "data is corrupt; see the server's log and restore"},
    {"XX002", ErrorCode::corrupt, Kind::broken, "an index is corrupt; see the server's log and reindex"},
    {"42", ErrorCode::invalid_argument, Kind::broken, "the statement does not fit this database"},
};

const Row* find(std::string_view sqlstate) {
    for (const Row& row : table) {
        if (sqlstate.starts_with(row.state)) return &row;
    }
    return nullptr;
}

Disposition disposition(Kind kind, Setting setting) {
    switch (kind) {
        case Kind::input: return Disposition::reject;
        case Kind::broken: return Disposition::fatal;
        case Kind::lost:
            // The answer may have been on its way: a session can end after its commit record was written.
            if (setting == Setting::committing || setting == Setting::own_transaction) return Disposition::in_doubt;
            [[fallthrough]];
        case Kind::transient:
            return setting == Setting::connecting || setting == Setting::own_transaction ? Disposition::retry
                                                                                         : Disposition::abort_transaction;
    }
    return Disposition::fatal;
}

}  // namespace

Error error_from(std::string_view sqlstate, std::string_view message, Setting setting, std::string_view about) {
    const Row* row = sqlstate.empty() ? find("08") : find(sqlstate);
    constexpr Row unknown{"", ErrorCode::internal, Kind::transient, ""};
    if (row == nullptr) row = &unknown;
    while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.remove_suffix(1);
    std::string text{about};
    text += ": ";
    text += message.empty() ? std::string_view{"no answer"} : message;
    if (!sqlstate.empty() && !sqlstate.starts_with("HF")) text += " [SQLSTATE " + std::string{sqlstate} + "]";
    if (!row->way_out.empty()) text += "; " + std::string{row->way_out};
    const Disposition what = disposition(row->kind, setting);
    if (what == Disposition::in_doubt) text += "; whether it was committed is unknown, look before repeating";
    return Error{row->code, what, std::move(text)};
}

}  // namespace hufu::postgres
