#include "connection.hpp"

#include <algorithm>
#include <filesystem>

#include "error.hpp"

namespace hufu::sqlite {
namespace {

std::unique_ptr<Error> refuse_path(const std::string& path, const DatabaseOptions& options) {
    namespace fs = std::filesystem;
    const auto error = [](ErrorCode code, std::string text) {
        return std::make_unique<Error>(code, Disposition::fatal, std::move(text));
    };
    if (path.empty() || path == ":memory:") {
        return error(ErrorCode::invalid_argument,
                     "database \"" + path + "\" is not a file: name a path, as in sqlite:/var/lib/orders/orders.db");
    }
    std::error_code problem;
    if (fs::is_directory(path, problem)) {
        return error(ErrorCode::invalid_argument,
                     "database \"" + path + "\" is a folder: name a file, as in \"" + path + "/orders.db\"");
    }
    if (!options.create && !fs::exists(path, problem)) {
        return error(ErrorCode::not_found, "database \"" + path +
                                               "\" does not exist: check the path, or create it with "
                                               "\"hufu outbox migrate --outbox sqlite:" +
                                               path + "\"");
    }
    const auto folder = fs::path{path}.parent_path();
    if (!folder.empty() && !fs::is_directory(folder, problem)) {
        return error(ErrorCode::unavailable, "database \"" + path + "\": folder \"" + folder.string() +
                                                 "\" does not exist; create it or check the path");
    }
    return nullptr;
}

}  // namespace

Connection::Connection(const std::string& path, const DatabaseOptions& options)
    : path_{path}, busy_timeout_{options.busy_timeout} {
    if (const auto refused = refuse_path(path, options)) {
        throw Exception{*refused};
    }
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | (options.create ? SQLITE_OPEN_CREATE : 0);
    sqlite3* raw = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
    handle_.reset(raw);
    if (code != SQLITE_OK) {
        throw_error(raw, code, "cannot open database \"" + path + "\"");
    }
    sqlite3_busy_handler(raw, &Connection::wait_for_turn, this);
    use_write_ahead_log();
    execute("pragma synchronous = full");
    execute("pragma foreign_keys = on");
}

void Connection::execute(const char* sql) {
    const int code = sqlite3_exec(handle(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) {
        throw_error(handle(), code, "database \"" + path_ + "\" failed at \"" + sql + "\"");
    }
}

void Connection::sync_each_commit(bool sync) {
    if (sync != synced_) {
        execute(sync ? "pragma synchronous = full" : "pragma synchronous = normal");
        synced_ = sync;
    }
}

void Connection::use_write_ahead_log() {
    // Two processes that turn a new file to WAL at once can get "busy" without SQLite asking the busy handler.
    for (int calls = 0;; ++calls) {
        const int code = sqlite3_exec(handle(), "pragma journal_mode = wal", nullptr, nullptr, nullptr);
        if (code == SQLITE_OK) {
            return;
        }
        if ((code & 0xff) != SQLITE_BUSY || wait_for_turn(this, calls) == 0) {
            throw_error(handle(), code, "database \"" + path_ + "\" cannot be opened with a write-ahead log");
        }
    }
}

int Connection::wait_for_turn(void* self, int calls) noexcept {
    // SQLite's own handler waits up to 100 ms at a time; a writer's turn is over in less than 1.
    using std::chrono::microseconds;
    auto& connection = *static_cast<Connection*>(self);
    const auto now = system_clock().steady_now();
    if (calls == 0) {
        connection.waiting_since_ = now;
    }
    if (now - connection.waiting_since_ > connection.busy_timeout_) {
        return 0;
    }
    const auto until = now + microseconds{100} * std::min(1 << std::min(calls, 5), 20);
    system_clock().sleep_until(until, std::stop_token{});
    return 1;
}

}  // namespace hufu::sqlite
