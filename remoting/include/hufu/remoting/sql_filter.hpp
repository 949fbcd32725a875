// RocketMQ's SQL92 filter: which messages a consumer wants, said in terms of their properties.
//
// Grammar and meaning are those of apache/rocketmq's filter module (SelectorParser, ComparisonExpression,
// UnaryExpression, LogicExpression, ConstantExpression), so that a subscription selects the same messages here. On purpose
// different: text behind a whole expression is refused instead of ignored, whole numbers have 64 bits everywhere (there:
// 32 where the literal fits), and `0.0` is a number.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

inline constexpr std::size_t sql_text_bytes_max = 32U * 1024U;
inline constexpr std::size_t sql_nesting_max = 64;   ///< parentheses, NOT and signs within each other
inline constexpr std::size_t sql_steps_max = 4096;   ///< about three for each comparison
inline constexpr std::size_t sql_names_max = 128;    ///< different properties
inline constexpr std::size_t sql_searches_max = 64;  ///< CONTAINS, STARTSWITH and ENDSWITH

struct SqlProgram;

/// A compiled expression. Immutable, so any thread may use it; cheap to move.
class SqlFilter {
public:
    /// Errors: `invalid_argument` (names the position, what was expected and what stands there), `too_large` (a limit
    /// from above).
    static Result<SqlFilter> compile(std::string_view text);
    ~SqlFilter();
    SqlFilter(SqlFilter&& other) noexcept;
    SqlFilter& operator=(SqlFilter&& other) noexcept;

    /// Whether a message with these encoded properties (properties.hpp) is wanted. A property that is missing or empty is
    /// unknown, and so is every comparison with it; unknown is not wanted, nor is a message for which a comparison makes
    /// no sense (a number against "abc"). Of two properties with one name the last counts. Does not allocate.
    [[nodiscard]] bool matches(std::string_view properties) const noexcept;

    /// How much work `matches` is, in steps.
    [[nodiscard]] std::size_t steps() const noexcept;
    /// Bytes that the compiled form takes, about.
    [[nodiscard]] std::size_t memory_bytes() const noexcept;

private:
    explicit SqlFilter(std::unique_ptr<const SqlProgram> program) noexcept;
    std::unique_ptr<const SqlProgram> program_;
};

}  // namespace hufu::remoting
