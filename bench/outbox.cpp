// hufu-bench-outbox: what the outbox costs and carries on PostgreSQL, everything on the same two cores.
#include <sched.h>

#include <charconv>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "outbox_cases.hpp"
#include "report.hpp"
#include "outbox_stage.hpp"

namespace {

using namespace hufu::bench;

constexpr const char* usage =
    "usage: hufu-bench-outbox [--json] [--rows N] [--seconds N] [--rounds N] [--only CASE]\n"
    "  --rows N      backlog of relay_drain (default 1000000)\n"
    "  --seconds N   length of each measured leg (default 10)\n"
    "  --rounds N    interleaved rounds of append_overhead (default 5)\n"
    "  --only CASE   append_overhead, relay_drain, relay_sustained or commit_to_delivered\n"
    "Progress goes to standard error. Exits 0 when the run was valid and nothing was lost or reordered.\n";

bool read_number(std::string_view text, auto& into) {
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), into);
    return problem == std::errc{} && end == text.data() + text.size() && into > 0;
}

/// Machines with more cores measure on two of them as well; children inherit it.
void stay_on_two_cores() {
    cpu_set_t all;
    CPU_ZERO(&all);
    if (::sched_getaffinity(0, sizeof all, &all) != 0) return;
    cpu_set_t two;
    CPU_ZERO(&two);
    for (std::size_t core = 0; core < CPU_SETSIZE && CPU_COUNT(&two) < 2; ++core) {
        if (CPU_ISSET(core, &all)) CPU_SET(core, &two);
    }
    ::sched_setaffinity(0, sizeof two, &two);
}

int bench(const Options& options) {
    stay_on_two_cores();
    Stage stage;
    std::vector<ResultRow> rows;
    bool held = true;
    const auto wanted = [&](std::string_view name) { return options.only.empty() || name == options.only; };
    if (wanted("append_overhead")) append_overhead(stage, options, rows);
    if (wanted("relay_drain")) relay_drain(stage, options, rows);
    if (wanted("relay_sustained")) held = relay_sustained(stage, options, rows) && held;
    if (wanted("commit_to_delivered")) held = commit_to_delivered(stage, options, rows) && held;
    if (options.json) {
        std::printf("%s\n", result_json("outbox", rows, {{"postgresql", stage.version()}}).c_str());
    } else {
        std::printf("%s", result_table(rows).c_str());
    }
    return held ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    Options options;
    std::string relay_of;
    std::string relay_to;
    for (int i = 1; i < count; ++i) {
        const std::string_view flag = arguments[i];
        const std::string_view value = i + 1 < count ? arguments[i + 1] : "";
        bool good = true;
        if (flag == "--json") {
            options.json = true;
            continue;
        }
        if (flag == "--rows") {
            good = read_number(value, options.rows);
        } else if (flag == "--seconds") {
            good = read_number(value, options.seconds);
        } else if (flag == "--rounds") {
            good = read_number(value, options.rounds);
        } else if (flag == "--only") {
            options.only = value;
            good = value == "append_overhead" || value == "relay_drain" || value == "relay_sustained" ||
                   value == "commit_to_delivered";
        } else if (flag == "--relay-of") {
            relay_of = value;
        } else if (flag == "--relay-to") {
            relay_to = value;
        } else {
            good = false;
        }
        if (!good) {
            std::fprintf(stderr, "hufu-bench-outbox: cannot use \"%s %s\"\n%s", arguments[i], std::string{value}.c_str(),
                         usage);
            return 2;
        }
        ++i;
    }
    try {
        return relay_of.empty() ? bench(options) : run_relay_process(relay_of, relay_to);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-bench-outbox: %s\n", error.what());
        return 1;
    }
}
