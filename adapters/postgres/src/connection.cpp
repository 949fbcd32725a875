#include <hufu/postgres/connection.hpp>

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include <hufu/core/assert.hpp>

#include "errors.hpp"

namespace hufu::postgres {
namespace {

std::string_view state_of(const PGresult* result) {
    const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state == nullptr ? std::string_view{} : std::string_view{state};
}

std::string message_of(const PGresult* result) {
    const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (primary == nullptr) return PQresultErrorMessage(result);
    std::string text = primary;
    if (const char* detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL); detail != nullptr) {
        text += " (" + std::string{detail} + ")";
    }
    return text;
}

/// The statement's beginning, enough to find it.
std::string about(std::string_view sql) {
    constexpr std::size_t shown = 60;
    std::string text = "PostgreSQL, statement \"";
    for (const char character : sql.substr(0, shown)) text += character == '\n' ? ' ' : character;
    text += sql.size() > shown ? "…\"" : "\"";
    return text;
}

bool is_word(std::string_view sql, std::string_view word) {
    const auto begin = sql.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos || sql.size() - begin < word.size()) return false;
    return std::equal(word.begin(), word.end(), sql.begin() + static_cast<std::ptrdiff_t>(begin),
                      [](char left, char right) { return left == static_cast<char>(right | 0x20); });
}

}  // namespace

Connection::Connection(pg_conn* connection, const ConnectionOptions& options) : connection_{connection}, options_{options} {
    const auto text = [](const char* value) { return std::string{value == nullptr ? "" : value}; };
    peer_ = text(PQhost(connection_)) + ":" + text(PQport(connection_)) + "/" + text(PQdb(connection_));
}

Connection::~Connection() { PQfinish(connection_); }

Result<std::unique_ptr<Connection>> Connection::open(const std::string& url, const ConnectionOptions& options) {
    char* wrong = nullptr;
    PQconninfoOption* parsed = PQconninfoParse(url.c_str(), &wrong);
    PQconninfoFree(parsed);
    if (parsed == nullptr) {
        const std::string reason = wrong == nullptr ? "" : wrong;
        PQfreemem(wrong);
        return Error{ErrorCode::invalid_argument, Disposition::fatal,
                     "database address is not a PostgreSQL URL: " + reason + "; write postgresql://user@host:port/database"};
    }
    const std::string seconds = std::to_string(
        std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(options.connect_timeout).count()));
    const std::string unanswered_ms = std::to_string(options.answer_timeout.count());
    // What the URL itself says comes later and wins.
    const char* names[] = {"connect_timeout",  "tcp_user_timeout", "keepalives_idle", "keepalives_interval",
                           "keepalives_count", "application_name", "dbname",          nullptr};
    const char* values[] = {
        seconds.c_str(), unanswered_ms.c_str(), "10", "5", "3", options.application_name.c_str(), url.c_str(), nullptr};
    PGconn* raw = PQconnectdbParams(names, values, 1);
    HUFU_ASSERT(raw != nullptr);
    std::unique_ptr<Connection> connection{new Connection{raw, options}};
    if (PQstatus(raw) != CONNECTION_OK) {
        const std::string_view message = PQerrorMessage(raw);
        // libpq keeps no SQLSTATE of a failed connection; its text is the server's.
        std::string_view state = "08001";
        if (message.find("does not exist") != std::string_view::npos) {
            state = message.find("role") != std::string_view::npos ? "28000" : "3D000";
        } else if (message.find("authentication failed") != std::string_view::npos ||
                   message.find("no pg_hba.conf entry") != std::string_view::npos ||
                   message.find("no password supplied") != std::string_view::npos) {
            state = "28000";
        } else if (message.find("too many") != std::string_view::npos) {
            state = "53300";
        }
        return error_from(state, message, Setting::connecting, "connect to PostgreSQL at " + connection->peer());
    }
    PQsetnonblocking(raw, 1);
    PQsetNoticeProcessor(
        raw, [](void*, const char*) {}, nullptr);  // "already exists, skipping" and the like
    return connection;
}

bool Connection::usable() const noexcept { return !broken_ && PQstatus(connection_) == CONNECTION_OK; }

bool Connection::in_transaction() const noexcept {
    const auto status = PQtransactionStatus(connection_);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

Error Connection::lost(bool may_have_committed) const {
    const std::string what = "PostgreSQL at " + peer_;
    if (timed_out_) {
        return Error{
            ErrorCode::timeout, may_have_committed ? Disposition::in_doubt : Disposition::abort_transaction,
            what + ": no answer within " + std::to_string(options_.answer_timeout.count()) +
                " ms; the connection was given up" +
                (may_have_committed ? "; whether the transaction was committed is unknown, look before repeating" : "")};
    }
    return error_from({}, PQerrorMessage(connection_), may_have_committed ? Setting::committing : Setting::in_transaction,
                      what);
}

bool Connection::wait(bool for_writing) {
    pollfd socket{};
    socket.fd = PQsocket(connection_);
    socket.events = static_cast<short>(POLLIN | (for_writing ? POLLOUT : 0));
    for (;;) {
        const int ready = ::poll(&socket, 1, static_cast<int>(options_.answer_timeout.count()));
        if (ready > 0) return true;
        if (ready == 0) {
            timed_out_ = true;
            return false;
        }
        if (errno != EINTR) return false;
    }
}

bool Connection::flush() {
    for (;;) {
        const int left = PQflush(connection_);
        if (left == 0) return true;
        if (left < 0 || !wait(true)) return false;
        // The server may be unable to read on before we have read its answers.
        if (PQconsumeInput(connection_) == 0) return false;
    }
}

pg_result* Connection::next_result() {
    while (PQisBusy(connection_) != 0) {
        if (!wait(false) || PQconsumeInput(connection_) == 0) {
            broken_ = true;
            return nullptr;
        }
    }
    return PQgetResult(connection_);
}

bool Connection::send(const Step& step) {
    static const Parameters none;
    const Parameters& parameters = step.parameters == nullptr ? none : *step.parameters;
    values_.clear();
    lengths_.clear();
    formats_.clear();
    for (const auto& slot : parameters.slots_) {
        values_.push_back(slot.null ? nullptr : parameters.bytes_.data() + slot.begin);
        lengths_.push_back(slot.length);
        formats_.push_back(slot.format);
    }
    const int count = static_cast<int>(values_.size());
    constexpr int binary_answer = 1;
    if (!step.keep) {
        sent_prepares_.push_back(false);
        return PQsendQueryParams(connection_, std::string{step.sql}.c_str(), count, nullptr, values_.data(), lengths_.data(),
                                 formats_.data(), binary_answer) == 1;
    }
    auto known = prepared_.find(step.sql);
    if (known == prepared_.end()) {
        known = prepared_.emplace(std::string{step.sql}, "hufu_" + std::to_string(++statements_)).first;
        sent_prepares_.push_back(true);
        new_statements_.push_back(known->first);
        if (PQsendPrepare(connection_, known->second.c_str(), known->first.c_str(), 0, nullptr) != 1) return false;
    }
    sent_prepares_.push_back(false);
    return PQsendQueryPrepared(connection_, known->second.c_str(), count, values_.data(), lengths_.data(), formats_.data(),
                               binary_answer) == 1;
}

Flight Connection::fly(std::span<const Step> steps) {
    Flight flight;
    HUFU_ASSERT(!steps.empty());
    bool opens = in_transaction();
    bool commits = false;
    for (const Step& step : steps) {
        if (is_word(step.sql, "begin")) opens = true;
        if (is_word(step.sql, "commit")) {
            commits = true;
            opens = false;
        }
    }
    // A flight that neither begins nor continues a transaction commits itself at its end.
    const bool may_commit = commits || !opens;
    const Setting setting = commits ? Setting::committing : opens ? Setting::in_transaction : Setting::own_transaction;
    if (!usable()) {
        flight.failed = true;
        flight.error = lost(false);
        return flight;
    }
    sent_prepares_.clear();
    new_statements_.clear();
    timed_out_ = false;
    bool sent = PQenterPipelineMode(connection_) == 1;
    for (const Step& step : steps) sent = sent && send(step);
    sent = sent && PQpipelineSync(connection_) == 1 && flush();
    flight.answers.reserve(steps.size());
    if (!sent) {
        broken_ = true;
        flight.failed = true;
        flight.error = lost(may_commit);
        return flight;
    }
    if (!collect(steps, setting, flight)) {
        broken_ = true;
        // Once a statement was refused the server skipped the rest, COMMIT included.
        if (!flight.failed) {
            flight.failed = true;
            flight.error = lost(may_commit);
        }
        return flight;
    }
    PQexitPipelineMode(connection_);
    if (flight.failed) {
        // A statement whose Prepare was skipped does not exist; forgetting one that does costs only its name.
        for (const auto& sql : new_statements_) prepared_.erase(sql);
    }
    return flight;
}

/// Reads all answers up to the synchronisation point. False: the connection is lost.
bool Connection::collect(std::span<const Step> steps, Setting setting, Flight& flight) {
    std::size_t step = 0;
    for (const bool is_prepare : sent_prepares_) {
        pg_result* result = next_result();
        if (result == nullptr) return false;
        const auto status = PQresultStatus(result);
        if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE || status == PGRES_NONFATAL_ERROR) {
            const bool session_ended = PQstatus(connection_) != CONNECTION_OK;
            if (!flight.failed) {
                flight.failed = true;
                // What fails before COMMIT keeps COMMIT from running.
                const bool before_commit = setting == Setting::committing && !is_word(steps[step].sql, "commit");
                flight.sqlstate = state_of(result);
                flight.error = error_from(state_of(result), message_of(result),
                                          before_commit ? Setting::in_transaction : setting, about(steps[step].sql));
            }
            PQclear(result);
            if (session_ended) return false;
        } else if (is_prepare || status == PGRES_PIPELINE_ABORTED) {
            PQclear(result);
        } else {
            flight.answers.emplace_back(result);
        }
        if (!is_prepare) ++step;
        // Each answer is followed by a null; a lost connection shows as null in the next answer's place.
        if (PGresult* end = next_result(); end != nullptr) {
            PQclear(end);
            return false;
        }
        if (broken_) return false;
    }
    pg_result* sync = next_result();
    const bool synced = sync != nullptr && PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
    PQclear(sync);
    return synced;
}

Result<Rows> Connection::run(std::string_view sql, const Parameters& parameters) {
    const Step step{.sql = sql, .parameters = &parameters};
    Flight flight = fly({&step, 1});
    if (flight.failed) return std::move(flight.error);
    return std::move(flight.answers.front());
}

Result<void> Connection::run_script(const std::string& script) {
    if (!usable()) return lost(false);
    timed_out_ = false;
    if (PQsendQuery(connection_, script.c_str()) != 1 || !flush()) {
        broken_ = true;
        return lost(true);
    }
    Error error;
    bool failed = false;
    while (pg_result* result = next_result()) {
        if (const auto status = PQresultStatus(result); status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && !failed) {
            failed = true;
            error = error_from(state_of(result), message_of(result), Setting::own_transaction, about(script));
        }
        PQclear(result);
    }
    if (failed) return error;
    if (broken_ || PQstatus(connection_) != CONNECTION_OK) return lost(true);
    return {};
}

std::string peer_of(const std::string& url) {
    std::string host = "localhost";
    std::string port = "5432";
    std::string database;
    PQconninfoOption* options = PQconninfoParse(url.c_str(), nullptr);
    for (PQconninfoOption* option = options; option != nullptr && option->keyword != nullptr; ++option) {
        if (option->val == nullptr) continue;
        const std::string_view keyword = option->keyword;
        if (keyword == "host") host = option->val;
        if (keyword == "port") port = option->val;
        if (keyword == "dbname") database = option->val;
    }
    PQconninfoFree(options);
    return host + ":" + port + "/" + database;
}

}  // namespace hufu::postgres
