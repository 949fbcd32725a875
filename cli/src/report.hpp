// Results, for people and for programs.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include <hufu/core/clock.hpp>

namespace hufu::cli {

/// The one JSON object of a command, on one line of standard output.
void print_json(const boost::json::object& object);

/// Aligned columns on standard output; the first row is the heading. Control characters in cells are replaced by '?'.
void print_table(const std::vector<std::vector<std::string>>& rows);

/// "2026-01-02T03:04:05.678Z"
[[nodiscard]] std::string time_text(SystemTime time);
/// "1h 2m", "3.4s", "15ms"
[[nodiscard]] std::string duration_text(std::chrono::milliseconds duration);

/// `bytes` as a JSON string if they are UTF-8; otherwise an object {"hex": …}.
[[nodiscard]] boost::json::value bytes_json(const std::string& bytes);

}  // namespace hufu::cli
