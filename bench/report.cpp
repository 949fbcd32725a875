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

json::value optional_number(const std::optional<double>& value) { return value ? json::value(*value) : json::value(nullptr); }

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

}  // namespace

std::string result_json(std::string_view bench, const std::vector<ResultRow>& rows,
                        const std::vector<std::pair<std::string, std::string>>& facts) {
    utsname system{};
    ::uname(&system);
    cpu_set_t cores;
    CPU_ZERO(&cores);
    ::sched_getaffinity(0, sizeof cores, &cores);
    json::object machine{{"cpu", fact("/proc/cpuinfo", "model name")},
                         {"cores", CPU_COUNT(&cores)},
                         {"memory", fact("/proc/meminfo", "MemTotal")},
                         {"kernel", std::string{system.sysname} + " " + system.release}};
    for (const auto& [name, value] : facts) {
        machine.emplace(name, value);
    }
    json::array list;
    for (const ResultRow& row : rows) {
        list.push_back(json::object{{"case", row.name},
                                    {"unit", row.unit},
                                    {"ours", row.ours},
                                    {"other", optional_number(row.other)},
                                    {"other_name", row.other_name.empty() ? json::value(nullptr) : json::value(row.other_name)},
                                    {"ratio", optional_number(over(row.ours, row.other))},
                                    {"limit", optional_number(row.limit)},
                                    {"of_limit", optional_number(over(row.ours, row.limit))}});
    }
    return json::serialize(json::object{{"bench", json::string{bench}}, {"machine", std::move(machine)}, {"rows", std::move(list)}});
}

std::string result_table(const std::vector<ResultRow>& rows) {
    std::string out;
    char line[200];
    std::snprintf(line, sizeof line, "%-24s %-12s %12s %12s %9s\n", "case", "unit", "ours", "limit", "of limit");
    out += line;
    for (const ResultRow& row : rows) {
        std::snprintf(line, sizeof line, "%-24s %-12s %12s %12s %9s\n", row.name.c_str(), row.unit.c_str(), text_of(row.ours).c_str(),
                      text_of(row.limit).c_str(), text_of(over(row.ours, row.limit)).c_str());
        out += line;
    }
    return out;
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
