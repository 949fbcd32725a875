#include "report.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

namespace hufu::cli {
namespace {

std::string printable(const std::string& cell) {
    std::string safe = cell;
    for (char& character : safe) {
        if (static_cast<unsigned char>(character) < 0x20 || character == 0x7f) {
            character = '?';
        }
    }
    return safe;
}

/// Characters, not bytes, so that columns stay aligned beside UTF-8.
std::size_t width_of(const std::string& text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string hex_of(const std::string& bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const char byte : bytes) {
        text += digits[static_cast<unsigned char>(byte) >> 4];
        text += digits[static_cast<unsigned char>(byte) & 15];
    }
    return text;
}

}  // namespace

void print_json(const boost::json::object& object) {
    std::printf("%s\n", boost::json::serialize(object).c_str());
    std::fflush(stdout);
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t column = 0; column < row.size(); ++column) {
            widths[column] = std::max(widths[column], width_of(printable(row[column])));
        }
    }
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t column = 0; column < row.size(); ++column) {
            const auto cell = printable(row[column]);
            line += cell;
            if (column + 1 < row.size()) {
                line.append(widths[column] - width_of(cell) + 2, ' ');
            }
        }
        std::printf("%s\n", line.c_str());
    }
}

std::string time_text(SystemTime time) {
    using namespace std::chrono;
    const auto day = floor<days>(time);
    const year_month_day date{day};
    const hh_mm_ss clock{floor<milliseconds>(time - day)};
    char text[40];
    std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                  static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
    return text;
}

std::string duration_text(std::chrono::milliseconds duration) {
    const std::int64_t ms = duration.count();
    char text[40];
    if (ms < 1'000) {
        std::snprintf(text, sizeof text, "%" PRId64 "ms", ms);
    } else if (ms < 60'000) {
        std::snprintf(text, sizeof text, "%.1fs", static_cast<double>(ms) / 1'000.0);
    } else if (ms < 3'600'000) {
        std::snprintf(text, sizeof text, "%" PRId64 "m %" PRId64 "s", ms / 60'000, ms / 1'000 % 60);
    } else {
        std::snprintf(text, sizeof text, "%" PRId64 "h %" PRId64 "m", ms / 3'600'000, ms / 60'000 % 60);
    }
    return text;
}

boost::json::value bytes_json(const std::string& bytes) {
    // Parsing it as a JSON string is the UTF-8 check: serialising does not make one.
    boost::system::error_code problem;
    static_cast<void>(boost::json::parse(boost::json::serialize(boost::json::value(bytes)), problem));
    if (!problem) {
        return boost::json::value(bytes);
    }
    return boost::json::object{{"hex", hex_of(bytes)}};
}

}  // namespace hufu::cli
