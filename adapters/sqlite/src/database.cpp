#include <hufu/sqlite/database.hpp>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <utility>
#include <vector>

#include <hufu/core/assert.hpp>
#include <hufu/outbox/wake.hpp>

#include "connection.hpp"
#include "error.hpp"

namespace hufu::sqlite {

namespace {

/// The same for every way to spell the path.
std::string lane_name_of(const std::string& path) {
    std::error_code problem;
    const auto canonical = std::filesystem::weakly_canonical(path, problem);
    return "sqlite:" + (problem ? path : canonical.string());
}

}  // namespace

struct Database::Impl {
    Impl(std::string path_, DatabaseOptions options_)
        : path{std::move(path_)}, options{options_}, lane_name{lane_name_of(path)}, hint{lane_name} {}

    std::unique_ptr<Connection> take() {
        {
            const std::scoped_lock lock{mutex};
            if (!idle.empty()) {
                auto connection = std::move(idle.back());
                idle.pop_back();
                return connection;
            }
        }
        return std::make_unique<Connection>(path, options);
    }

    void give(std::unique_ptr<Connection> connection) {
        if (connection->cache()->out() > 0) {
            return;  // a statement outlived its transaction; another thread must not get its connection
        }
        const std::scoped_lock lock{mutex};
        if (idle.size() < options.idle_connections_max) {
            idle.push_back(std::move(connection));
        }
    }

    /// Threads of one process queue here rather than at the file, where waiting means polling.
    bool take_turn() {
        std::unique_lock lock{mutex};
        if (!turn_free.wait_for(lock, options.busy_timeout, [this] { return !writing; })) {
            return false;
        }
        writing = true;
        return true;
    }

    void give_turn() {
        {
            const std::scoped_lock lock{mutex};
            writing = false;
        }
        turn_free.notify_one();
    }

    const std::string path;
    const DatabaseOptions options;
    const std::string lane_name;
    outbox::DatagramHint hint;

    std::mutex mutex;
    std::condition_variable turn_free;
    bool writing = false;                           // guarded by mutex
    std::vector<std::unique_ptr<Connection>> idle;  // guarded by mutex
};

Database::Database(std::string path, DatabaseOptions options) : impl_{std::make_unique<Impl>(std::move(path), options)} {
    impl_->give(impl_->take());  // refuses here rather than at first use
}

Database::~Database() { HUFU_ASSERT(!impl_->writing); }

const std::string& Database::path() const noexcept { return impl_->path; }

Clock& Database::clock() const noexcept { return impl_->options.clock ? *impl_->options.clock : system_clock(); }

void Database::announce_append() noexcept { impl_->hint.wake(); }

const std::string& Database::lane_name() const noexcept { return impl_->lane_name; }

Transaction::Transaction(Database& database, Access access) : database_{database}, access_{access} {
    auto& impl = *database.impl_;
    if (access == Access::read) {
        connection_ = impl.take();
        connection_->execute("begin");
        return;
    }
    if (!impl.take_turn()) {
        throw Exception{Error{ErrorCode::busy, Disposition::retry,
                              "database \"" + impl.path + "\": no turn to write within " +
                                  std::to_string(impl.options.busy_timeout.count()) +
                                  " ms; another transaction of this process holds it (end transactions sooner, never open "
                                  "two in one thread)"}};
    }
    try {
        connection_ = impl.take();
        connection_->sync_each_commit(access == Access::write);
        connection_->execute("begin immediate");
    } catch (const Exception& exception) {
        connection_.reset();
        impl.give_turn();
        const auto& error = exception.error();
        if (error.code() == ErrorCode::busy) {
            throw Exception{Error{ErrorCode::busy, Disposition::retry, error.text()}};
        }
        throw;
    } catch (...) {
        connection_.reset();
        impl.give_turn();
        throw;
    }
}

Transaction::~Transaction() { roll_back(); }

Statement Transaction::prepare(std::string_view sql) {
    HUFU_ASSERT(connection_ != nullptr);
    return Statement{connection_->handle(), sql, connection_->cache()};
}

std::int64_t Transaction::last_insert_rowid() const noexcept { return sqlite3_last_insert_rowid(handle()); }

std::int64_t Transaction::changes() const noexcept { return sqlite3_changes64(handle()); }

void Transaction::commit() {
    HUFU_ASSERT(connection_ != nullptr);
    const int code = sqlite3_exec(handle(), "commit", nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) {
        Error error = error_of(handle(), code, "database \"" + database_.path() + "\" failed to commit");
        roll_back();
        if (error.code() == ErrorCode::io) {
            error = Error{ErrorCode::io, Disposition::in_doubt, error.text()};
        }
        throw Exception{std::move(error)};
    }
    give_back();
    if (appended_) {
        database_.announce_append();
    }
}

void Transaction::roll_back() noexcept {
    if (connection_ == nullptr) {
        return;
    }
    if (sqlite3_get_autocommit(handle()) == 0) {
        sqlite3_exec(handle(), "rollback", nullptr, nullptr, nullptr);
    }
    if (sqlite3_get_autocommit(handle()) == 0) {
        connection_.reset();  // a connection that cannot roll back is closed, which does
        if (access_ != Access::read) {
            database_.impl_->give_turn();
        }
        return;
    }
    give_back();
}

void Transaction::give_back() noexcept {
    database_.impl_->give(std::move(connection_));
    if (access_ != Access::read) {
        database_.impl_->give_turn();
    }
}

sqlite3* Transaction::handle() const noexcept { return connection_->handle(); }

}  // namespace hufu::sqlite
