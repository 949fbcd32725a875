// A libpq connection that speaks in flights: any number of statements out, one wait.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/ids.hpp>

struct pg_conn;
struct pg_result;

namespace hufu::postgres {

/// Values for `$1`, `$2` … of a statement. `add` sends text, whose type the statement decides; `add_binary` and the
/// arrays send PostgreSQL's binary form, so the statement should name the type (`$1::bytea`). A plain value; keep and
/// `clear` one to save allocations.
class Parameters {
public:
    Parameters& add(std::string_view text);
    Parameters& add(const char* text) { return add(std::string_view{text}); }
    Parameters& add(std::int64_t number) { return add(std::string_view{std::to_string(number)}); }
    Parameters& add(int number) { return add(static_cast<std::int64_t>(number)); }
    Parameters& add_null();
    Parameters& add_binary(std::string_view bytes);
    Parameters& add_int8(std::int64_t number);
    Parameters& add_uuid(const MessageId& id);
    Parameters& add_timestamp(SystemTime time);
    Parameters& add_int8_array(std::span<const std::int64_t> numbers);
    Parameters& add_uuid_array(std::span<const MessageId> ids);
    Parameters& add_text_array(std::span<const std::string_view> texts);
    Parameters& add_bytea_array(std::span<const std::string_view> values);
    void clear() noexcept;
    void reserve(std::size_t values, std::size_t bytes);

private:
    friend class Connection;
    struct Slot {
        std::size_t begin = 0;
        int length = 0;
        int format = 0;  // 0 text, 1 binary
        bool null = false;
    };
    void put(std::string_view bytes, int format);
    void begin_array(std::size_t count, std::uint32_t element_type);
    void end_array();
    Parameters& add_bytes_array(std::span<const std::string_view> values, std::uint32_t element_type);

    std::string bytes_;
    std::vector<Slot> slots_;
};

/// `parameters("text", 5)`: each by `Parameters::add`.
template <class... T>
[[nodiscard]] Parameters parameters(const T&... values) {
    Parameters all;
    (all.add(values), ...);
    return all;
}

/// The answer to one statement, in binary form. Rows and columns count from 0. The typed readers expect the column's type
/// to match (`int8` for bigint, and so on) and assert it by its size. Movable; views live as long as it does.
class Rows {
public:
    Rows() = default;
    explicit Rows(pg_result* result);

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_null(std::size_t row, std::size_t column) const;
    [[nodiscard]] std::string_view text(std::size_t row, std::size_t column) const;  ///< text, bytea: the bytes
    [[nodiscard]] std::int64_t int8(std::size_t row, std::size_t column) const;
    [[nodiscard]] std::int32_t int4(std::size_t row, std::size_t column) const;
    [[nodiscard]] bool boolean(std::size_t row, std::size_t column) const;
    [[nodiscard]] MessageId uuid(std::size_t row, std::size_t column) const;
    [[nodiscard]] SystemTime timestamp(std::size_t row, std::size_t column) const;
    /// Rows that an insert, update or delete touched.
    [[nodiscard]] std::int64_t touched() const;

private:
    struct Clear {
        void operator()(pg_result* result) const noexcept;
    };
    std::unique_ptr<pg_result, Clear> result_;
    std::size_t size_ = 0;
};

/// One statement of a flight. Borrows both.
struct Step {
    std::string_view sql;
    const Parameters* parameters = nullptr;  ///< none: the statement has no `$n`
    bool keep = true;                        ///< prepare and keep; false: plan anew with these very values
};

/// What a flight came to: an answer per step, up to the first that failed. When `error` is set, `answers` holds the steps
/// that succeeded before it.
struct Flight {
    std::vector<Rows> answers;
    bool failed = false;
    Error error;
    std::string sqlstate;  ///< the server's own word for `error`; empty where none came
};

struct ConnectionOptions {
    std::string application_name = "hufu";
    std::chrono::milliseconds connect_timeout{5000};
    /// No answer for this long: the connection is given up. Longer than any lock the statements may wait for.
    std::chrono::milliseconds answer_timeout{30000};
};

enum class Setting : unsigned char;  // src/errors.hpp

/// A connection of one's own. Statements are prepared at their first use, in the same flight, and kept by their text.
/// Not thread-safe; may move between threads. A failed connection stays failed (`usable()` is false); open a new one.
class Connection {
public:
    /// `url`: a libpq URL or keyword string. Errors: `unavailable`/retry, `permission` and `not_found` (database)/fatal.
    static Result<std::unique_ptr<Connection>> open(const std::string& url, const ConnectionOptions& options = {});
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Sends all steps at once and waits for all answers. Without BEGIN among them they are one transaction of their own.
    /// The server stops at the first error. A connection lost in between is `in_doubt` where the flight could have
    /// committed (no transaction left open at its end), else `abort_transaction`.
    Flight fly(std::span<const Step> steps);
    /// One statement.
    Result<Rows> run(std::string_view sql, const Parameters& parameters = {});
    /// Several statements without parameters, separated by ';', as one transaction unless they say otherwise.
    Result<void> run_script(const std::string& script);

    [[nodiscard]] bool usable() const noexcept;
    /// Inside a transaction block, failed or not.
    [[nodiscard]] bool in_transaction() const noexcept;
    /// The server this is connected to, for messages: "host:port/database".
    [[nodiscard]] const std::string& peer() const noexcept { return peer_; }
    /// Mints message ids for transactions on this connection, from the machine's clock and chance.
    [[nodiscard]] MessageIdGenerator& ids() noexcept { return ids_; }

private:
    explicit Connection(pg_conn* connection, const ConnectionOptions& options);
    bool send(const Step& step);
    bool flush();
    pg_result* next_result();
    bool wait(bool for_writing);
    bool collect(std::span<const Step> steps, Setting setting, Flight& flight);
    Error lost(bool may_have_committed) const;

    pg_conn* connection_;
    ConnectionOptions options_;
    std::string peer_;
    MessageIdGenerator ids_{system_clock(), system_random()};
    struct TextHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
    };
    std::unordered_map<std::string, std::string, TextHash, std::equal_to<>> prepared_;
    std::vector<bool> sent_prepares_;  // per sent message of the flight: is it a Prepare
    std::vector<std::string> new_statements_;
    std::uint64_t statements_ = 0;
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
    bool timed_out_ = false;
    bool broken_ = false;
};

/// "host:port/database" of a URL that need not be reachable, for messages: no user, no password.
[[nodiscard]] std::string peer_of(const std::string& url);

}  // namespace hufu::postgres
