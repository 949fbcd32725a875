// Rows of a benchmark and how they are printed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hufu::bench {

enum class Better : std::uint8_t { higher, lower };

/// What a row is to reach; any one of the conditions will do. A bound is a least value where higher is better, and a
/// greatest value where lower is.
struct Aim {
    std::optional<double> ratio = {};
    std::optional<double> of_limit = {};
    std::optional<double> ours = {};
    [[nodiscard]] bool any() const { return ratio || of_limit || ours; }
};

/// One line of a result. What is not there prints as null; `ratio` is ours / other and `of_limit` ours / limit, whichever
/// way is better.
struct ResultRow {
    std::string name = {};
    std::string unit = {};
    double ours = 0;
    std::optional<double> other = {};
    std::string other_name = {};
    std::optional<double> limit = {};
    Better better = Better::higher;
    Aim aim = {};
    /// More figures, printed under their own names.
    std::vector<std::pair<std::string, std::optional<double>>> beside = {};

    [[nodiscard]] std::optional<double> ratio() const;
    [[nodiscard]] std::optional<double> of_limit() const;
    /// Nothing without an aim.
    [[nodiscard]] std::optional<bool> met() const;
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
