// What an SQL92 expression is compiled to: steps of a small stack machine, so that no text can overflow the call stack.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/remoting/sql_filter.hpp>

namespace hufu::remoting {

/// "a b c" below: values on the stack, c on top. A jump keeps the stack as it is.
enum class SqlOp : std::uint8_t {
    property,       ///< -> value of name `argument`, or null
    constant,       ///< -> constant `argument`
    negate,         ///< a -> -a; null when a is no number
    cast,           ///< a -> null when a is null, else false: a property alone is never true
    invert,         ///< a -> NOT a
    jump_if_false,  ///< to step `argument`
    jump_if_true,
    jump_if_null,
    both,     ///< a b -> a AND b; a is not false
    either,   ///< a b -> a OR b; a is not true
    equal,    ///< a b -> a = b
    is_null,  ///< a -> whether a is null
    less,     ///< a b -> a < b
    less_equal,
    greater,
    greater_equal,
    in,        ///< a -> whether a is in list `argument`
    contains,  ///< a -> whether text a contains constant `argument`
    starts_with,
    ends_with,
    duplicate,   ///< a -> a a
    over,        ///< a b -> a b a
    drop_below,  ///< a b -> b
};

struct SqlStep {
    SqlOp op;
    bool negated = false;  ///< of in, contains, starts_with, ends_with: NOT
    std::uint32_t argument = 0;
};

enum class SqlKind : std::uint8_t { null, boolean, integer, real, text };

struct SqlConstant {
    SqlKind kind = SqlKind::null;
    bool yes = false;
    std::int64_t integer = 0;
    double real = 0;
    std::string text = {};
};

/// Per level of nesting: the left sides of OR, AND and an equality, and up to three values of a BETWEEN.
inline constexpr std::size_t sql_stack_max = 6 * (sql_nesting_max + 1);

struct SqlProgram {
    std::vector<SqlStep> steps;
    std::vector<SqlConstant> constants;
    std::vector<std::string> names;               ///< sorted
    std::vector<std::vector<std::string>> lists;  ///< each sorted
    std::size_t bytes = 0;
};

Result<SqlProgram> compile_sql(std::string_view text);

/// What Java's Long.valueOf and Double.valueOf make of a text; false where they throw.
[[nodiscard]] bool read_integer(std::string_view text, std::int64_t& into) noexcept;
[[nodiscard]] bool read_real(std::string_view text, double& into) noexcept;

}  // namespace hufu::remoting
