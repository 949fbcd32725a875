#include <hufu/connect/consumer_memory.hpp>

#include <algorithm>

#include <hufu/postgres/consumer_memory.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/sqlite/consumer_memory.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/sqlite/once.hpp>
#include <hufu/sqlite/schema.hpp>

#include "url.hpp"

namespace hufu::connect {
namespace {

constexpr std::string_view known[] = {"sqlite:PATH", "postgresql://USER@HOST/DATABASE"};
constexpr std::string_view what = "a database with guards";

bool is_postgres(const Url& url) { return url.scheme == "postgresql" || url.scheme == "postgres"; }

/// Runs `body` on an existing SQLite file that has the schema.
template <class Value, class Body>
Result<Value> with_sqlite(const std::string& path, const Surroundings& surroundings, const Body& body) {
    try {
        sqlite::DatabaseOptions options;
        options.create = false;
        options.clock = surroundings.clock;
        sqlite::Database database{path, options};
        if (const auto fits = sqlite::check_schema(database); !fits) return fits.error();
        return body(database);
    } catch (const Exception& exception) {
        return exception.error();
    }
}

/// The one of the two that the address asks for.
template <class Value, class OnSqlite, class OnPostgres>
Result<Value> with_database(const std::string& url, const Surroundings& surroundings, const OnSqlite& on_sqlite,
                            const OnPostgres& on_postgres) {
    const auto parsed = parse_url(url, what, known);
    if (!parsed) return parsed.error();
    if (parsed->scheme == "sqlite") return with_sqlite<Value>(parsed->rest, surroundings, on_sqlite);
    if (!is_postgres(*parsed)) return unknown_url(url, what, known);
    postgres::ConnectionPool pool{url};
    return on_postgres(pool);
}

}  // namespace

Result<std::vector<std::string>> guard_groups(const std::string& url, const Surroundings& surroundings) {
    return with_database<std::vector<std::string>>(
        url, surroundings, [](sqlite::Database& database) { return sqlite::guard_groups(database); },
        [](postgres::ConnectionPool& pool) { return postgres::guard_groups(pool); });
}

Result<idempotency::Purged> purge_guards(const std::string& url, const idempotency::GuardDeclaration& declaration,
                                         const Surroundings& surroundings) {
    if (const auto fine = idempotency::check_retention(declaration); !fine) return fine.error();
    return with_database<idempotency::Purged>(
        url, surroundings, [&](sqlite::Database& database) { return sqlite::purge_guards(database, declaration); },
        [&](postgres::ConnectionPool& pool) { return postgres::purge_guards(pool, declaration); });
}

Result<std::vector<ParkedKey>> parked_keys(const std::string& url, const std::string& group,
                                           const Surroundings& surroundings) {
    using Keys = std::vector<ParkedKey>;
    auto keys = with_database<Keys>(
        url, surroundings, [&](sqlite::Database& database) { return sqlite::parked_keys(database, group)->load(); },
        [&](postgres::ConnectionPool& pool) { return postgres::parked_keys(pool, group)->load(); });
    if (keys) std::ranges::sort(*keys, {}, &ParkedKey::key);
    return keys;
}

Result<void> reopen_parked_key(const std::string& url, const std::string& group, const ConsumerKey& key,
                               const outbox::AuditNote& note, const Surroundings& surroundings) {
    return with_database<void>(
        url, surroundings, [&](sqlite::Database& database) { return sqlite::reopen_parked_key(database, group, key, note); },
        [&](postgres::ConnectionPool& pool) { return postgres::reopen_parked_key(pool, group, key, note); });
}

Result<std::uint64_t> purge_attempt_rows(const std::string& url, const std::string& group, std::chrono::seconds age,
                                         const Surroundings& surroundings) {
    return with_database<std::uint64_t>(
        url, surroundings, [&](sqlite::Database& database) { return sqlite::purge_attempt_rows(database, group, age); },
        [&](postgres::ConnectionPool& pool) { return postgres::purge_attempt_rows(pool, group, age); });
}

}  // namespace hufu::connect
