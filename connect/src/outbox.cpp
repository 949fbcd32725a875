#include <hufu/connect/connect.hpp>

#include <memory>
#include <utility>

#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/store.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/sqlite/outbox_store.hpp>
#include <hufu/sqlite/schema.hpp>

#include "url.hpp"

namespace hufu::connect {
namespace {

constexpr std::string_view known[] = {"sqlite:PATH", "postgresql://USER@HOST/DATABASE"};
constexpr std::string_view what = "an outbox";

bool is_postgres(const Url& url) { return url.scheme == "postgresql" || url.scheme == "postgres"; }

Result<std::shared_ptr<sqlite::Database>> open_sqlite(const std::string& path, bool create, Clock* clock) {
    try {
        sqlite::DatabaseOptions options;
        options.create = create;
        options.clock = clock;
        return std::make_shared<sqlite::Database>(path, options);
    } catch (const Exception& exception) {
        return exception.error();
    }
}

}  // namespace

Result<std::unique_ptr<outbox::Store>> outbox(const std::string& url, const Surroundings& surroundings) {
    const auto parsed = parse_url(url, what, known);
    if (!parsed) {
        return parsed.error();
    }
    if (parsed->scheme == "sqlite") {
        auto database = open_sqlite(parsed->rest, false, surroundings.clock);
        if (!database) {
            return database.error();
        }
        if (const auto fits = sqlite::check_schema(**database); !fits) {
            return fits.error();
        }
        return sqlite::outbox_store(std::move(*database));
    }
    if (is_postgres(*parsed)) {
        return std::make_unique<postgres::Store>(url);
    }
    return unknown_url(url, what, known);
}

Result<std::string> lane_name(const std::string& url) {
    const auto parsed = parse_url(url, what, known);
    if (!parsed) {
        return parsed.error();
    }
    if (parsed->scheme == "sqlite") {
        const auto database = open_sqlite(parsed->rest, false, nullptr);
        return database ? Result<std::string>{(*database)->lane_name()} : Result<std::string>{database.error()};
    }
    if (is_postgres(*parsed)) {
        return url;
    }
    return unknown_url(url, what, known);
}

Result<int> migrate_outbox(const std::string& url) {
    const auto parsed = parse_url(url, what, known);
    if (!parsed) {
        return parsed.error();
    }
    if (parsed->scheme == "sqlite") {
        const auto database = open_sqlite(parsed->rest, true, nullptr);
        if (!database) {
            return database.error();
        }
        if (const auto applied = sqlite::migrate(**database); !applied) {
            return applied.error();
        }
        return sqlite::schema_version(**database);
    }
    if (is_postgres(*parsed)) {
        return postgres::migrate(url);
    }
    return unknown_url(url, what, known);
}

Result<std::string> printed_migrations(const std::string& url) {
    // The dialect alone is enough here: "sqlite:" and "postgresql:" will do.
    if (url.starts_with("sqlite:")) {
        return outbox::printed(sqlite::migrations());
    }
    if (url.starts_with("postgresql:") || url.starts_with("postgres:")) {
        return outbox::printed(postgres::migrations());
    }
    return unknown_url(url, what, known);
}

}  // namespace hufu::connect
