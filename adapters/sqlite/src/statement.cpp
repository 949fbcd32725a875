#include <hufu/sqlite/statement.hpp>

#include <sqlite3.h>

#include <utility>

#include "error.hpp"
#include "statement_cache.hpp"

namespace hufu::sqlite {
namespace {

sqlite3_stmt* prepare(sqlite3* handle, std::string_view sql, unsigned flags) {
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v3(handle, sql.data(), static_cast<int>(sql.size()), flags, &statement, nullptr);
    if (code != SQLITE_OK) {
        throw_error(handle, code, "SQLite refuses \"" + std::string{sql} + "\"");
    }
    return statement;
}

}  // namespace

Statement::Statement(sqlite3* handle, std::string_view sql) : statement_{prepare(handle, sql, 0)} {}

Statement::Statement(sqlite3* handle, std::string_view sql, std::shared_ptr<StatementCache> cache)
    : statement_{cache->take(sql)}, cache_{std::move(cache)} {
    if (statement_ != nullptr) {
        return;
    }
    try {
        statement_ = sqlite::prepare(handle, sql, SQLITE_PREPARE_PERSISTENT);
    } catch (...) {
        cache_->give(nullptr);
        throw;
    }
}

Statement::~Statement() {
    if (statement_ == nullptr) {
        return;
    }
    if (cache_ != nullptr) {
        cache_->give(statement_);
    } else {
        sqlite3_finalize(statement_);
    }
}

Statement::Statement(Statement&& other) noexcept
    : statement_{std::exchange(other.statement_, nullptr)}, cache_{std::move(other.cache_)} {}

void Statement::rewind() {
    // Reset repeats the error of the last step, which was thrown then.
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
}

bool Statement::step() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) {
        return true;
    }
    if (code != SQLITE_DONE) {
        check(code);
    }
    return false;
}

void Statement::run() {
    while (step()) {
    }
    sqlite3_reset(statement_);
}

int Statement::columns() const noexcept { return sqlite3_column_count(statement_); }

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

double Statement::real(int column) const { return sqlite3_column_double(statement_, column); }

std::string_view Statement::view(int column) const {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

void Statement::bind_integer(int position, std::int64_t value) { check(sqlite3_bind_int64(statement_, position, value)); }

void Statement::bind_real(int position, double value) { check(sqlite3_bind_double(statement_, position, value)); }

void Statement::bind_text(int position, std::string_view value) {
    // A null pointer would bind NULL; an empty string is not NULL.
    check(sqlite3_bind_text64(statement_, position, value.empty() ? "" : value.data(), value.size(), SQLITE_TRANSIENT,
                              SQLITE_UTF8));
}

void Statement::bind_blob(int position, std::string_view value) {
    check(sqlite3_bind_blob64(statement_, position, value.empty() ? "" : value.data(), value.size(), SQLITE_TRANSIENT));
}

void Statement::check(int code) {
    if (code != SQLITE_OK) {
        throw_error(sqlite3_db_handle(statement_), code,
                    "SQLite failed at \"" + std::string{sqlite3_sql(statement_)} + "\"");
    }
}

}  // namespace hufu::sqlite
