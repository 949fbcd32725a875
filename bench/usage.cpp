#include "usage.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace hufu::bench {
namespace {

/// The number after `name` in /proc/PID/FILE.
double number_in(pid_t pid, const char* file, std::string_view name) {
    std::ifstream in{"/proc/" + std::to_string(pid) + "/" + file};
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with(name)) {
            return std::strtod(line.c_str() + name.size(), nullptr);
        }
    }
    return 0;
}

double cpu_seconds(pid_t pid) {
    std::ifstream in{"/proc/" + std::to_string(pid) + "/stat"};
    std::string line;
    std::getline(in, line);
    const std::size_t name_end = line.rfind(')');  // the name before it may hold anything
    if (name_end == std::string::npos) {
        return 0;
    }
    std::istringstream rest{line.substr(name_end + 1)};
    std::string skipped;
    for (int field = 3; field < 14; ++field) {
        rest >> skipped;
    }
    double user = 0;
    double system = 0;
    rest >> user >> system;
    return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

/// Bytes written so far by the block device that holds `folder`.
std::optional<double> disk_bytes(const std::string& folder) {
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) {
        return std::nullopt;
    }
    std::ifstream in{"/proc/diskstats"};
    for (std::string line; std::getline(in, line);) {
        std::istringstream fields{line};
        unsigned major_number = 0;
        unsigned minor_number = 0;
        std::string name;
        double reads = 0, reads_merged = 0, sectors_read = 0, read_ms = 0, writes = 0, writes_merged = 0, sectors = 0;
        fields >> major_number >> minor_number >> name >> reads >> reads_merged >> sectors_read >> read_ms >> writes >>
            writes_merged >> sectors;
        if (fields && major_number == major(status.st_dev) && minor_number == minor(status.st_dev)) {
            return sectors * 512;
        }
    }
    return std::nullopt;
}

std::optional<double> between(const std::optional<double>& after, const std::optional<double>& before) {
    return after && before ? std::optional{*after - *before} : std::nullopt;
}

}  // namespace

Usage usage_of(pid_t pid, const test_support::SyncCounter* syncs, const std::string& folder) {
    Usage usage{.cpu_seconds = cpu_seconds(pid), .disk_bytes = disk_bytes(folder)};
    if (syncs != nullptr) {
        usage.syncs = static_cast<double>(syncs->count());
    }
    return usage;
}

Usage operator-(const Usage& after, const Usage& before) {
    return {.cpu_seconds = after.cpu_seconds - before.cpu_seconds,
            .disk_bytes = between(after.disk_bytes, before.disk_bytes),
            .syncs = between(after.syncs, before.syncs)};
}

double rss_anon_mb(pid_t pid) { return number_in(pid, "status", "RssAnon:") * 1024 / 1e6; }

}  // namespace hufu::bench
