#include "report.hpp"

#include <sched.h>
#include <sys/utsname.h>

#include <boost/json.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace hufu::bench {
namespace {

namespace json = boost::json;

std::string quoted(std::string_view text) { return json::serialize(json::string{text}); }

/// Plain decimals: json::serialize writes 1.5E1.
std::string number(const std::optional<double>& value) {
    if (!value) {
        return "null";
    }
    char text[40];
    std::snprintf(text, sizeof text, "%.6f", *value);
    std::string trimmed = text;
    trimmed.erase(trimmed.find_last_not_of('0') + 1);
    if (trimmed.back() == '.') {
        trimmed.pop_back();
    }
    return trimmed;
}

std::optional<double> over(double ours, const std::optional<double>& other) {
    return other && *other > 0 ? std::optional{ours / *other} : std::nullopt;
}

/// What follows the colon in the first line of `path` that begins with `name`.
std::string fact(const char* path, std::string_view name) {
    std::ifstream file{path};
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(name)) {
            const std::size_t begin = line.find_first_not_of(" \t:", line.find(':'));
            return begin == std::string::npos ? std::string{} : line.substr(begin);
        }
    }
    return {};
}

std::string text_of(const std::optional<double>& value) {
    if (!value) {
        return "-";
    }
    char text[32];
    std::snprintf(text, sizeof text, *value < 10 ? "%.2f" : "%.0f", *value);
    return text;
}

/// "ratio >= 3 or of_limit >= 0.85"
std::string aim_text(const ResultRow& row) {
    std::string text;
    const auto add = [&](const char* what, const std::optional<double>& bound) {
        if (bound) {
            text += (text.empty() ? "" : " or ") + std::string{what} + (row.better == Better::higher ? " >= " : " <= ") +
                    number(*bound);
        }
    };
    add("ratio", row.aim.ratio);
    add("of_limit", row.aim.of_limit);
    add("ours", row.aim.ours);
    return text;
}

}  // namespace

std::string result_json(std::string_view bench, const std::vector<ResultRow>& rows,
                        const std::vector<std::pair<std::string, std::string>>& facts) {
    utsname system{};
    ::uname(&system);
    cpu_set_t cores;
    CPU_ZERO(&cores);
    ::sched_getaffinity(0, sizeof cores, &cores);
    std::string out =
        "{\"bench\":" + quoted(bench) + ",\"machine\":{\"cpu\":" + quoted(fact("/proc/cpuinfo", "model name")) +
        ",\"cores\":" + std::to_string(CPU_COUNT(&cores)) + ",\"memory\":" + quoted(fact("/proc/meminfo", "MemTotal")) +
        ",\"kernel\":" + quoted(std::string{system.sysname} + " " + system.release);
    for (const auto& [name, value] : facts) {
        out += "," + quoted(name) + ":" + quoted(value);
    }
    out += "},\"rows\":[";
    for (const ResultRow& row : rows) {
        const auto met = row.met();
        out += out.back() == '[' ? "" : ",";
        out += "{\"case\":" + quoted(row.name) + ",\"unit\":" + quoted(row.unit) + ",\"ours\":" + number(row.ours) +
               ",\"other\":" + number(row.other) +
               ",\"other_name\":" + (row.other_name.empty() ? "null" : quoted(row.other_name)) +
               ",\"better\":" + (row.better == Better::higher ? "\"higher\"" : "\"lower\"") +
               ",\"ratio\":" + number(row.ratio()) + ",\"limit\":" + number(row.limit) +
               ",\"of_limit\":" + number(row.of_limit()) + ",\"aim\":" + (row.aim.any() ? quoted(aim_text(row)) : "null") +
               ",\"met\":" + (met ? (*met ? "true" : "false") : "null");
        for (const auto& [name, value] : row.beside) {
            out += "," + quoted(name) + ":" + number(value);
        }
        out += "}";
    }
    return out + "]}";
}

std::string result_table(const std::vector<ResultRow>& rows) {
    std::string out;
    char line[240];
    const auto add = [&](const char* name, const char* unit, const std::string& ours, const std::string& other,
                         const std::string& ratio, const std::string& limit, const std::string& of_limit,
                         const std::string& aim) {
        std::snprintf(line, sizeof line, "%-24s %-12s %12s %12s %9s %12s %9s  %s\n", name, unit, ours.c_str(), other.c_str(),
                      ratio.c_str(), limit.c_str(), of_limit.c_str(), aim.c_str());
        out += line;
    };
    add("case", "unit", "ours", "other", "ratio", "limit", "of limit", "aim");
    for (const ResultRow& row : rows) {
        const auto met = row.met();
        add(row.name.c_str(), row.unit.c_str(), text_of(row.ours), text_of(row.other), text_of(row.ratio()),
            text_of(row.limit), text_of(row.of_limit()), met ? aim_text(row) + (*met ? ": met" : ": NOT met") : "");
    }
    return out;
}

std::optional<double> ResultRow::ratio() const { return over(ours, other); }

std::optional<double> ResultRow::of_limit() const { return over(ours, limit); }

std::optional<bool> ResultRow::met() const {
    if (!aim.any()) {
        return std::nullopt;
    }
    const auto reached = [&](const std::optional<double>& value, const std::optional<double>& bound) {
        return value && bound && (better == Better::higher ? *value >= *bound : *value <= *bound);
    };
    return reached(ratio(), aim.ratio) || reached(of_limit(), aim.of_limit) || reached(ours, aim.ours);
}

double median(std::vector<double> values) {
    if (values.empty()) {
        return 0;
    }
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

void tell(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

}  // namespace hufu::bench
