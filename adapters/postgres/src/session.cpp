#include "session.hpp"

#include <utility>

#include <hufu/postgres/schema.hpp>

namespace hufu::postgres {
namespace {

// The timeline is read off the name of the log file being written: pg_control still has the old one for a while after
// a promotion. When a killed backend makes the server recover, its start time stays, but its statistics begin anew.
// Empty on a standby.
constexpr std::string_view identity_sql =
    "select case when pg_is_in_recovery() then '' else system_identifier::text || '-' || "
    "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) || '-' || "
    "(extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint::text || '-' || "
    "(extract(epoch from pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::bigint::text end from pg_control_system()";

}  // namespace

Session::Session(std::string url, std::string_view name, std::string settings, std::chrono::milliseconds answer_timeout)
    : url_{std::move(url)}, settings_{std::move(settings)} {
    options_.application_name = name;
    options_.answer_timeout = answer_timeout;
}

Result<void> Session::connect() {
    connection_.reset();
    auto opened = Connection::open(url_, options_);
    if (!opened) return opened.error();
    Connection& connection = **opened;
    if (auto checked = check_schema(connection); !checked) return checked;
    if (auto set = connection.run_script(settings_); !set) return set;
    if (auto learned = learn_identity(connection); !learned) return learned;
    connection_ = std::move(*opened);
    return {};
}

Result<void> Session::learn_identity(Connection& connection) {
    auto identity = connection.run(identity_sql);
    if (!identity) return identity.error();
    identity_ = identity->text(0, 0);
    if (identity_.empty()) {
        return Error{ErrorCode::unavailable, Disposition::retry,
                     "PostgreSQL at " + connection.peer() + " is a standby: the relay needs the primary"};
    }
    return {};
}

Result<void> Session::refresh_identity() {
    auto got = connection();
    if (!got) return got.error();
    return learn_identity(**got);
}

Result<Connection*> Session::connection() {
    if (connection_ == nullptr || !connection_->usable()) {
        if (auto connected = connect(); !connected) return connected.error();
    }
    return connection_.get();
}

Result<Session::Owned> Session::owned(const outbox::Claim& claim) {
    auto got = connection();
    if (!got) return got.error();
    if (identity_ != claim.identity) {
        if (auto learned = learn_identity(**got); !learned) return learned.error();
    }
    return Owned{*got, identity_ == claim.identity ? outbox::Ownership::held : outbox::Ownership::moved_on};
}

Result<Rows> Session::run(std::string_view sql, const Parameters& parameters) {
    auto got = connection();
    if (!got) return got.error();
    return (*got)->run(sql, parameters);
}

}  // namespace hufu::postgres
