// The words of an SQL92 expression.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

enum class SqlWord : std::uint8_t {
    end,
    name,
    integer,
    real,
    text,
    open,
    close,
    comma,
    plus,
    minus,
    equal,
    not_equal,
    less,
    less_equal,
    greater,
    greater_equal,
    kw_not,
    kw_and,
    kw_or,
    kw_between,
    kw_in,
    kw_true,
    kw_false,
    kw_null,
    kw_is,
    kw_contains,
    kw_starts_with,
    kw_ends_with,
};

struct SqlToken {
    SqlWord word = SqlWord::end;
    std::uint32_t at = 0;        ///< byte of the text it begins at
    std::string_view text = {};  ///< as written; of a string with its quotes
};

/// An error at byte `at`: `expected` and what stands there.
[[nodiscard]] Error sql_error(std::uint32_t at, std::string_view expected, std::string_view found);

/// Splits the text; the last token is `end`. Comments and white space are left out.
[[nodiscard]] Result<std::vector<SqlToken>> sql_tokens(std::string_view text);

}  // namespace hufu::remoting
