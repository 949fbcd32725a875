// A prepared statement: parameters in, rows out.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace hufu::sqlite {

/// Bytes for a BLOB parameter (a plain string is bound as TEXT).
struct Blob {
    std::string_view bytes;
};

/// Where connections keep statements that may be used again.
class StatementCache;

/// One statement, prepared on one connection; used by the thread that uses the connection.
///
/// Values are bound by position from 1, columns are read by position from 0. Everything throws `hufu::Exception` with
/// the statement's text in the sentence; the transaction is then to be rolled back.
class Statement {
public:
    /// Prepares `sql` on a caller's connection.
    Statement(sqlite3* handle, std::string_view sql);
    /// Takes the statement from `cache` where it was used before, and gives it back in the end.
    Statement(sqlite3* handle, std::string_view sql, std::shared_ptr<StatementCache> cache);
    ~Statement();
    Statement(Statement&& other) noexcept;
    Statement& operator=(Statement&&) = delete;
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;

    /// Binds all parameters in order: integers, bool, double, strings (TEXT), `Blob`, `nullptr` and optionals of these.
    /// Values are copied. Rewinds, so one statement serves many rows.
    template <class... Values>
    Statement& bind(const Values&... values) {
        rewind();
        int position = 0;
        (bind_one(++position, values), ...);
        return *this;
    }

    /// Goes to the next row; false when there is none.
    bool step();
    /// Steps to the end.
    void run();

    /// How many columns a row has; 0 where the statement gives none.
    [[nodiscard]] int columns() const noexcept;
    [[nodiscard]] bool is_null(int column) const;
    [[nodiscard]] std::int64_t integer(int column) const;
    [[nodiscard]] double real(int column) const;
    /// Text or blob. The view holds until the next step.
    [[nodiscard]] std::string_view view(int column) const;
    [[nodiscard]] std::string text(int column) const { return std::string{view(column)}; }

private:
    void rewind();
    template <class Value>
    void bind_one(int position, const Value& value) {
        if constexpr (std::floating_point<Value>) {
            bind_real(position, value);
        } else if constexpr (std::integral<Value>) {
            bind_integer(position, static_cast<std::int64_t>(value));
        } else if constexpr (std::same_as<Value, Blob>) {
            bind_blob(position, value.bytes);
        } else if constexpr (std::same_as<Value, std::nullptr_t>) {
            // Unbound parameters are NULL.
        } else if constexpr (std::convertible_to<const Value&, std::string_view>) {
            bind_text(position, value);
        } else {
            if (value) {
                bind_one(position, *value);
            }
        }
    }
    void bind_integer(int position, std::int64_t value);
    void bind_real(int position, double value);
    void bind_text(int position, std::string_view value);
    void bind_blob(int position, std::string_view value);
    void check(int code);

    sqlite3_stmt* statement_ = nullptr;
    std::shared_ptr<StatementCache> cache_;
};

}  // namespace hufu::sqlite
