// hufu-bench-guard: what one effect per message costs, everything on the same two cores.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>

#include <hufu/core/clock.hpp>

#include "guard_cases.hpp"

namespace hufu::bench {

double rate_of(const std::function<void()>& once, double seconds, double worth) {
    Clock& clock = system_clock();
    const SteadyTime begin = clock.steady_now();
    const auto length = std::chrono::duration<double>{seconds};
    std::int64_t count = 0;
    std::chrono::duration<double> passed{0};
    do {
        once();
        ++count;
        passed = clock.steady_now() - begin;
    } while (passed < length);
    return static_cast<double>(count) * worth / passed.count();
}

ResultRow compare(const std::string& name, const std::string& unit, const GuardOptions& options,
                  const std::function<double(double)>& ours, const std::function<double(double)>& other,
                  const std::string& other_name) {
    std::vector<double> mine, theirs, ratios;
    for (int round = 0; round < options.rounds; ++round) {
        // Every second round the other way round, so that neither side is always the later.
        const bool other_first = round % 2 == 0;
        for (const bool is_other : {other_first, !other_first}) {
            (is_other ? theirs : mine).push_back((is_other ? other : ours)(options.seconds));
        }
        ratios.push_back(mine.back() / theirs.back());
        tell(name + " round " + std::to_string(round + 1) + ": " + std::to_string(mine.back()) + " against " +
             std::to_string(theirs.back()));
    }
    const double rate = median(theirs);
    return {.name = name, .unit = unit, .ours = rate * median(ratios), .other = rate, .other_name = other_name};
}

}  // namespace hufu::bench

int main(int count, char** arguments) {
    using namespace hufu::bench;
    CLI::App app{"What one effect per message costs. Progress goes to standard error; exits 0 when the run was valid.",
                 "hufu-bench-guard"};
    GuardOptions options;
    bool json = false;
    std::string only;
    app.add_flag("--json", json, "one JSON object instead of a table");
    app.add_option("--seconds", options.seconds, "length of each measured leg")->check(CLI::Range(1, 600));
    app.add_option("--rounds", options.rounds, "interleaved rounds")->check(CLI::Range(1, 1000));
    app.add_option("--only", only, "one part")->check(CLI::IsMember({"redis", "database", "http"}));
    std::int64_t inbox_rows = 0;
    app.add_option("--inbox-rows", inbox_rows, "instead: the guard table with so many rows (10000000 takes minutes)")
        ->check(CLI::Range(std::int64_t{10'000}, std::int64_t{1'000'000'000}));
    CLI11_PARSE(app, count, arguments);
    try {
        std::vector<ResultRow> rows;
        if (inbox_rows > 0) {
            guard_inbox(options, inbox_rows, rows);
            only = "inbox";
        }
        if (only.empty() || only == "redis") redis_guard(options, rows);
        if (only.empty() || only == "database") database_guard(options, rows);
        if (only.empty() || only == "http") http_guard(options, rows);
        if (json) {
            std::printf("%s\n", result_json("guard", rows,
                                            {{"redis", "private server, no append-only file"},
                                             {"postgresql", "private server, fsync and synchronous_commit on"}})
                                    .c_str());
        } else {
            std::printf("%s", result_table(rows).c_str());
        }
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-bench-guard: %s\n", error.what());
        return 1;
    }
}
