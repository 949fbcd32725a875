// hufu-sim: runs seeds of the simulated house, replays one, or proves that seeded bugs are found.
#include "world.hpp"

#include <hufu/core/mutant.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace hufu::simulation {
namespace {

/// A seeded bug, by its name in the code (`mutant_active`), and a seed that has found it: tried first, others after it.
struct Mutant {
    std::string_view name;
    std::uint64_t known_seed;
};
constexpr Mutant mutants[] = {
    {"ack_before_sync", 1},
    {"retry_after_failed_fsync", 13},
    {"torn_tail_accepted", 1526},
    {"settle_before_confirm", 1},
    {"naive_cursor", 2},
    {"reused_sqlite_rowid", 7},
    {"gap_forgotten_early", 5},
    {"position_trusted_after_failover", 54},
    {"read_above_durable_watermark", 1},
    {"offset_reused_after_power_loss", 1},
    {"lease_never_fenced", 1},
    {"guard_after_effect", 1},
    {"check_then_set", 3},
    {"successor_overtakes_parked_key", 1},
};
constexpr std::uint64_t mutant_seeds_max = 5000;

struct Options {
    std::uint64_t first = 1;
    std::uint64_t count = 1000;
    bool one = false;
    bool mutants = false;
    std::string mutant;
    bool json = false;
    unsigned threads = std::max(1U, std::thread::hardware_concurrency());
};

struct Totals {
    std::uint64_t seeds = 0;
    std::uint64_t steps = 0;
    std::uint64_t messages = 0;
    std::uint64_t crashes = 0;
    std::uint64_t violations = 0;
    std::uint64_t failed_seed = 0;  ///< lowest, 0: none
};

void print(const RunResult& result) {
    std::fprintf(stderr, "seed %lu broke a promise:\n", result.seed);
    for (const Violation& violation : result.violations) {
        std::fprintf(stderr, "  %s: %s\n", violation.promise.c_str(), violation.text.c_str());
    }
}

/// Runs seeds in parallel; with `stop_at_first`, only until one fails.
Totals run_many(std::uint64_t first, std::uint64_t count, unsigned threads, bool stop_at_first, bool quiet) {
    std::atomic<std::uint64_t> next{first};
    std::mutex mutex;
    Totals totals;  // guarded by mutex
    const auto work = [&] {
        for (;;) {
            const std::uint64_t seed = next.fetch_add(1);
            if (seed >= first + count) return;
            const RunResult result = run_seed(seed);
            const std::lock_guard lock{mutex};
            ++totals.seeds;
            totals.steps += result.steps;
            totals.messages += result.messages;
            totals.crashes += result.crashes;
            totals.violations += result.violations.size();
            if (!result.violations.empty()) {
                if (totals.failed_seed == 0 || seed < totals.failed_seed) totals.failed_seed = seed;
                if (!quiet && totals.violations < 50) print(result);
                if (stop_at_first) next = first + count;
            }
            if (!quiet && totals.seeds % 500 == 0) std::fprintf(stderr, "%lu of %lu seeds\n", totals.seeds, count);
        }
    };
    std::vector<std::jthread> workers;
    for (unsigned thread = 0; thread < threads; ++thread) workers.emplace_back(work);
    workers.clear();
    return totals;
}

int run_seeds(const Options& options) {
    const Totals totals = run_many(options.first, options.count, options.threads, false, false);
    const bool held = totals.violations == 0;
    std::printf(options.json
                    ? "{\"held\":%s,\"seeds\":%lu,\"violations\":%lu,\"steps\":%lu,\"messages\":%lu,\"crashes\":%lu}\n"
                    : "held: %s, seeds: %lu, violations: %lu, steps: %lu, messages: %lu, crashes: %lu\n",
                held ? "true" : "false", totals.seeds, totals.violations, totals.steps, totals.messages, totals.crashes);
    return held ? 0 : 1;
}

int replay(const Options& options) {
    std::string trace;
    const RunResult result = run_seed(options.first, &trace);
    std::fputs(trace.c_str(), stderr);
    if (!result.violations.empty()) print(result);
    const bool held = result.violations.empty();
    std::printf(
        options.json
            ? "{\"held\":%s,\"seed\":%lu,\"seeds\":1,\"violations\":%zu,\"steps\":%lu,\"messages\":%lu,\"crashes\":%lu}\n"
            : "held: %s, seed: %lu, violations: %zu, steps: %lu, messages: %lu, crashes: %lu\n",
        held ? "true" : "false", result.seed, result.violations.size(), result.steps, result.messages, result.crashes);
    return held ? 0 : 1;
}

int prove_mutants(const Options& options) {
    std::string json;
    bool all_killed = true;
    for (const auto& [name, known_seed] : mutants) {
        activate_mutant(name);
        Totals totals = run_many(known_seed, 1, 1, true, true);
        if (totals.failed_seed == 0) totals = run_many(options.first, mutant_seeds_max, options.threads, true, true);
        const bool killed = totals.failed_seed != 0;
        all_killed = all_killed && killed;
        std::fprintf(stderr, "%-34s %s\n", std::string{name}.c_str(),
                     killed ? ("found by seed " + std::to_string(totals.failed_seed)).c_str() : "NOT FOUND");
        json += json.empty() ? "" : ",";
        json += "{\"name\":\"" + std::string{name} + "\",\"killed\":" + (killed ? "true" : "false") +
                ",\"seed\":" + (killed ? std::to_string(totals.failed_seed) : "null") + "}";
    }
    activate_mutant({});
    if (options.json) {
        std::printf("{\"held\":%s,\"mutants\":[%s]}\n", all_killed ? "true" : "false", json.c_str());
    } else {
        std::printf("every seeded bug found: %s\n", all_killed ? "yes" : "NO");
    }
    return all_killed ? 0 : 1;
}

Options parse(int count, char** arguments) {
    Options options;
    const auto number = [&](int& at) -> std::uint64_t {
        if (at + 1 >= count) throw std::invalid_argument{std::string{arguments[at]} + " needs a number"};
        char* end = nullptr;
        const std::uint64_t value = std::strtoull(arguments[++at], &end, 10);
        if (*end != '\0' || value == 0) {
            throw std::invalid_argument{std::string{arguments[at - 1]} + " needs a positive number, not \"" + arguments[at] +
                                        "\""};
        }
        return value;
    };
    for (int at = 1; at < count; ++at) {
        const std::string_view argument = arguments[at];
        if (argument == "--json") {
            options.json = true;
        } else if (argument == "--mutants") {
            options.mutants = true;
        } else if (argument == "--seeds") {
            options.count = number(at);
        } else if (argument == "--first") {
            options.first = number(at);
        } else if (argument == "--seed") {
            options.first = number(at);
            options.one = true;
        } else if (argument == "--threads") {
            options.threads = static_cast<unsigned>(number(at));
        } else if (argument == "--mutant" && at + 1 < count) {
            options.mutant = arguments[++at];
        } else {
            throw std::invalid_argument{
                "unknown argument \"" + std::string{argument} +
                "\"; known: --seeds N, --first S, --seed S, --mutants, --mutant NAME, --threads N, --json"};
        }
    }
    return options;
}

}  // namespace
}  // namespace hufu::simulation

int main(int count, char** arguments) {
    using namespace hufu::simulation;
    try {
        const Options options = parse(count, arguments);
        if (options.mutants) return prove_mutants(options);
        hufu::activate_mutant(options.mutant);
        return options.one ? replay(options) : run_seeds(options);
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "hufu-sim: %s\n", error.what());
        return 2;
    }
}
