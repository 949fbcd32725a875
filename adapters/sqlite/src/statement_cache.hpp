// Statements that a connection has prepared before.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include <sqlite3.h>

namespace hufu::sqlite {

class StatementCache {
public:
    StatementCache() = default;
    ~StatementCache() {
        for (const auto& [sql, statement] : statements_) {
            sqlite3_finalize(statement);
        }
    }
    StatementCache(const StatementCache&) = delete;
    StatementCache& operator=(const StatementCache&) = delete;

    /// Null where there is none. Either way, one more statement is out.
    [[nodiscard]] sqlite3_stmt* take(std::string_view sql) {
        ++out_;
        const auto found = statements_.find(sql);
        if (found == statements_.end()) {
            return nullptr;
        }
        sqlite3_stmt* statement = found->second;
        statements_.erase(found);
        return statement;
    }

    /// Takes back what `take` (or whoever prepared in its place) had out; null only counts.
    void give(sqlite3_stmt* statement) {
        --out_;
        if (statement == nullptr) {
            return;
        }
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        if (retired_ || statements_.size() >= statements_max) {
            sqlite3_finalize(statement);
            return;
        }
        statements_.emplace(sqlite3_sql(statement), statement);
    }

    /// Statements that have not come back.
    [[nodiscard]] std::size_t out() const noexcept { return out_; }
    /// The connection is going away; what comes back later is finalised.
    void retire() noexcept { retired_ = true; }

private:
    static constexpr std::size_t statements_max = 64;
    std::multimap<std::string, sqlite3_stmt*, std::less<>> statements_;
    std::size_t out_ = 0;
    bool retired_ = false;
};

}  // namespace hufu::sqlite
