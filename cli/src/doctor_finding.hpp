// What `hufu doctor` found: one line a check.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hufu::cli {

enum class Grade : unsigned char {
    ok,
    warn,  ///< it works, but not as it should: look at it in working hours
    fail,  ///< something does not work, or a promise does not hold: act now
};
[[nodiscard]] std::string_view to_string(Grade grade) noexcept;

struct Finding {
    Grade grade = Grade::ok;
    std::string subject = {};  ///< "database", "relay", "broker", "redis", "verdicts"
    std::string check = {};    ///< "schema version"
    std::string text = {};     ///< what is
    std::string way_out = {};  ///< what to do; empty when it is ok
};

using Findings = std::vector<Finding>;

}  // namespace hufu::cli
