#include <hufu/connect/connect.hpp>

#include <hufu/postgres/once.hpp>
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

}  // namespace

Result<std::vector<std::string>> guard_groups(const std::string& url, const Surroundings& surroundings) {
    const auto parsed = parse_url(url, what, known);
    if (!parsed) return parsed.error();
    if (parsed->scheme == "sqlite") {
        return with_sqlite<std::vector<std::string>>(parsed->rest, surroundings, sqlite::guard_groups);
    }
    if (!is_postgres(*parsed)) return unknown_url(url, what, known);
    postgres::ConnectionPool pool{url};
    return postgres::guard_groups(pool);
}

Result<idempotency::Purged> purge_guards(const std::string& url, const idempotency::GuardDeclaration& declaration,
                                         const Surroundings& surroundings) {
    if (const auto fine = idempotency::check_retention(declaration); !fine) return fine.error();
    const auto parsed = parse_url(url, what, known);
    if (!parsed) return parsed.error();
    if (parsed->scheme == "sqlite") {
        return with_sqlite<idempotency::Purged>(parsed->rest, surroundings, [&](sqlite::Database& database) {
            return sqlite::purge_guards(database, declaration);
        });
    }
    if (!is_postgres(*parsed)) return unknown_url(url, what, known);
    postgres::ConnectionPool pool{url};
    return postgres::purge_guards(pool, declaration);
}

}  // namespace hufu::connect
