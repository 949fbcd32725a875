// Rows of a benchmark and how they are printed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hufu::bench {

/// One line of a result. What is not there prints as null; `ratio` is ours / other, `of_limit` ours / limit.
struct ResultRow {
    std::string name = {};
    std::string unit = {};
    double ours = 0;
    std::optional<double> other = {};
    std::string other_name = {};
    std::optional<double> limit = {};
};

/// {"bench":NAME,"machine":{…},"rows":[…]}. `facts` are added to the machine's own.
[[nodiscard]] std::string result_json(std::string_view bench, const std::vector<ResultRow>& rows,
                                      const std::vector<std::pair<std::string, std::string>>& facts);
/// The same as a table for people.
[[nodiscard]] std::string result_table(const std::vector<ResultRow>& rows);

/// The middle value; 0 of none.
[[nodiscard]] double median(std::vector<double> values);

/// A line on standard error.
void tell(const std::string& line);

}  // namespace hufu::bench
