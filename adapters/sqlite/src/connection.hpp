// One open connection of a database.
#pragma once

#include <memory>
#include <string>

#include <sqlite3.h>

#include <hufu/sqlite/database.hpp>

#include "statement_cache.hpp"

namespace hufu::sqlite {

class Connection {
public:
    Connection(const std::string& path, const DatabaseOptions& options);
    ~Connection() { cache_->retire(); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    [[nodiscard]] sqlite3* handle() const noexcept { return handle_.get(); }
    [[nodiscard]] const std::shared_ptr<StatementCache>& cache() const noexcept { return cache_; }
    /// For statements without parameters or rows.
    void execute(const char* sql);
    /// Not inside a transaction.
    void sync_each_commit(bool sync);

private:
    struct Close {
        void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
    };
    static int wait_for_turn(void* self, int calls) noexcept;
    void use_write_ahead_log();

    std::unique_ptr<sqlite3, Close> handle_;
    std::string path_;
    std::chrono::milliseconds busy_timeout_;
    SteadyTime waiting_since_{};
    bool synced_ = true;
    std::shared_ptr<StatementCache> cache_ = std::make_shared<StatementCache>();  // shared with statements that are out
};

}  // namespace hufu::sqlite
