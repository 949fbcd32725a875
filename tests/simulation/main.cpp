// hufu-sim: runs seeds of the simulated house, replays one, or proves that seeded bugs are found.
#include "end_storm.hpp"
#include "guard_world.hpp"
#include "ladder_world.hpp"
#include "receipt_world.hpp"
#include "transaction_world.hpp"
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
    std::uint64_t known_seed;  ///< 0: an END storm finds it
};
constexpr Mutant mutants[] = {
    {"ack_before_sync", 1},
    {"retry_after_failed_fsync", 2},
    {"torn_tail_accepted", 67},
    {"settle_before_confirm", 3},
    {"naive_cursor", 2},
    {"reused_sqlite_rowid", 13},
    {"gap_forgotten_early", 5},
    {"position_trusted_after_failover", 46},
    {"read_above_durable_watermark", 1},
    {"offset_reused_after_power_loss", 1},
    {"lease_never_fenced", 18},
    {"guard_after_effect", 1},
    {"check_then_set", 3},
    {"mark_before_effect", 1},
    {"duplicate_not_waiting", 1},
    {"completion_without_token_compare", 2},
    {"guard_past_its_horizon", 1},
    {"update_without_token", 4},
    {"successor_overtakes_parked_key", 2},
    {"unfenced_check", 2},
    {"tombstone_after_cleanup", 5},
    {"foreign_store_answers", 2},
    {"late_commit_accepted", 0},
    {"verdict_not_durable", 0},
    {"verdict_answered_before_durable", 0},
    {"decisions_forgotten_at_start", 0},
    {"half_sent_again_stored_again", 0},
    {"refused_verdict_kept", 33},
    {"undelivered_check_counted", 3},
    {"discard_after_n_checks", 5},
    {"stale_claim_sent", 4},
    {"outage_counts_as_send", 2},
    {"duplicate_keeps_silent", 4},
    {"claim_forgets_completion", 1},
    {"first_receipt_completes", 1},
    {"newer_message_overtakes_buffer", 1},
    {"barrier_per_process", 3},
    {"trim_before_confirm", 1},
    {"drain_trims_before_confirm", 3},
};
constexpr std::uint64_t mutant_seeds_max = 5000;
constexpr std::size_t storm_length = 6;        // every sequence of so many events, when asked for storms
constexpr std::size_t storm_length_short = 3;  // beside seeds and for mutants
constexpr std::uint64_t storms_per_seed = 10;  // random ones
constexpr std::uint64_t storms_in_one_broker = 500;

struct Options {
    std::uint64_t first = 1;
    std::uint64_t count = 1000;
    bool one = false;
    bool mutants = false;
    std::uint64_t end_storms = 0;  ///< random ones; nothing but storms is run
    std::string storm = {};        ///< one sequence; nothing else is run
    std::string mutant;
    bool json = false;
    unsigned threads = std::max(1U, std::thread::hardware_concurrency());
};

struct Totals {
    std::uint64_t seeds = 0;
    std::uint64_t steps = 0;
    std::uint64_t messages = 0;
    std::uint64_t crashes = 0;
    std::uint64_t transactions = 0;
    std::uint64_t end_storms = 0;
    std::uint64_t storm_events = 0;
    std::uint64_t violations = 0;
    std::uint64_t failed_seed = 0;  ///< lowest, 0: none
};

/// The house of outbox, relays and guards, that of transaction messages, that of leases and locks, that of receipts, and that
/// of the outage ladder, under one seed.
RunResult run_both(std::uint64_t seed, TransactionRunResult& second, std::string* trace = nullptr) {
    RunResult result = run_seed(seed, trace);
    if (trace != nullptr) *trace += "-- transaction messages\n";
    second = run_transaction_seed(seed, trace);
    result.steps += second.steps;
    result.messages += second.messages;
    result.crashes += second.crashes;
    for (auto& violation : second.violations) result.violations.push_back(std::move(violation));
    if (trace != nullptr) *trace += "-- leases and locks\n";
    const GuardRunResult guards = run_guard_seed(seed, trace);
    result.steps += guards.steps;
    result.messages += guards.messages;
    result.crashes += guards.crashes;
    result.violations.insert(result.violations.end(), guards.violations.begin(), guards.violations.end());
    if (trace != nullptr) *trace += "-- receipts\n";
    ReceiptRunResult third = run_receipt_seed(seed, trace);
    result.steps += third.steps;
    result.messages += third.messages;
    result.crashes += third.crashes;
    for (auto& violation : third.violations) result.violations.push_back(std::move(violation));
    if (trace != nullptr) *trace += "-- the ladder\n";
    const LadderRunResult ladder = run_ladder_seed(seed, trace);
    result.steps += ladder.steps;
    result.messages += ladder.messages;
    result.crashes += ladder.crashes;
    result.violations.insert(result.violations.end(), ladder.violations.begin(), ladder.violations.end());
    return result;
}

/// Calls `work(n)` for n from 0 to `count` - 1, on all threads, until one says false.
template <class Work>
void spread(std::uint64_t count, unsigned threads, Work work) {
    std::atomic<std::uint64_t> next{0};
    std::vector<std::jthread> workers;
    for (unsigned thread = 0; thread < threads; ++thread) {
        workers.emplace_back([&] {
            for (std::uint64_t n = next.fetch_add(1); n < count; n = next.fetch_add(1))
                if (!work(n)) next = count;
        });
    }
}

void print(const RunResult& result) {
    std::fprintf(stderr, "seed %lu broke a promise:\n", result.seed);
    for (const Violation& violation : result.violations) {
        std::fprintf(stderr, "  %s: %s\n", violation.promise.c_str(), violation.text.c_str());
    }
}

/// Runs seeds in parallel; with `stop_at_first`, only until one fails.
Totals run_many(std::uint64_t first, std::uint64_t count, unsigned threads, bool stop_at_first, bool quiet) {
    std::mutex mutex;
    Totals totals;  // guarded by mutex
    spread(count, threads, [&](std::uint64_t n) {
        TransactionRunResult second;
        const RunResult result = run_both(first + n, second);
        const std::lock_guard lock{mutex};
        ++totals.seeds;
        totals.steps += result.steps;
        totals.messages += result.messages;
        totals.crashes += result.crashes;
        totals.transactions += second.transactions;
        totals.violations += result.violations.size();
        if (!quiet && totals.seeds % 500 == 0) std::fprintf(stderr, "%lu of %lu seeds\n", totals.seeds, count);
        if (result.violations.empty()) return true;
        if (totals.failed_seed == 0 || first + n < totals.failed_seed) totals.failed_seed = first + n;
        if (!quiet && totals.violations < 50) print(result);
        return !stop_at_first;
    });
    return totals;
}

/// Every storm of `length` events, and `random` random ones.
void run_storms(std::size_t length, std::uint64_t first_seed, std::uint64_t random, unsigned threads, bool stop_at_first,
                bool quiet, Totals& totals) {
    const std::uint64_t parts = end_storm_parts(length);
    std::mutex mutex;
    StormResult all;  // guarded by mutex
    spread(parts + (random + storms_in_one_broker - 1) / storms_in_one_broker, threads, [&](std::uint64_t n) {
        StormResult result =
            n < parts ? run_end_storm_part(length, n) : run_random_end_storms(first_seed + n - parts, storms_in_one_broker);
        const std::lock_guard lock{mutex};
        const bool held = result.violations.empty();
        all.add(std::move(result));
        return held || !stop_at_first;
    });
    totals.end_storms += all.sequences;
    totals.storm_events += all.events;
    totals.violations += all.violations.size();
    if (quiet) return;
    for (const Violation& violation : all.violations)
        std::fprintf(stderr, "%s: %s\n", violation.promise.c_str(), violation.text.c_str());
}

int report(const Options& options, const Totals& totals) {
    const bool held = totals.violations == 0;
    std::printf(options.json
                    ? "{\"held\":%s,\"seeds\":%lu,\"violations\":%lu,\"steps\":%lu,\"messages\":%lu,\"crashes\":%lu,"
                      "\"transactions\":%lu,\"end_storms\":%lu,\"end_storm_events\":%lu}\n"
                    : "held: %s, seeds: %lu, violations: %lu, steps: %lu, messages: %lu, crashes: %lu, "
                      "transactions: %lu, END storms: %lu, events in them: %lu\n",
                held ? "true" : "false", totals.seeds, totals.violations, totals.steps, totals.messages, totals.crashes,
                totals.transactions, totals.end_storms, totals.storm_events);
    return held ? 0 : 1;
}

int run_seeds(const Options& options) {
    Totals totals = run_many(options.first, options.count, options.threads, false, false);
    run_storms(storm_length_short, options.first, options.count * storms_per_seed, options.threads, false, false, totals);
    return report(options, totals);
}

int run_only_storms(const Options& options) {
    Totals totals;
    run_storms(storm_length, options.first, options.end_storms, options.threads, false, false, totals);
    return report(options, totals);
}

int run_one_storm(const Options& options) {
    const StormResult result = run_end_storm(options.storm);
    for (const Violation& violation : result.violations)
        std::fprintf(stderr, "%s: %s\n", violation.promise.c_str(), violation.text.c_str());
    return report(options,
                  {.end_storms = result.sequences, .storm_events = result.events, .violations = result.violations.size()});
}

int replay(const Options& options) {
    std::string trace;
    TransactionRunResult second;
    const RunResult result = run_both(options.first, second, &trace);
    std::fputs(trace.c_str(), stderr);
    if (!result.violations.empty()) print(result);
    const bool held = result.violations.empty();
    std::printf(options.json ? "{\"held\":%s,\"seed\":%lu,\"seeds\":1,\"violations\":%zu,\"steps\":%lu,\"messages\":%lu,"
                               "\"crashes\":%lu,\"transactions\":%lu}\n"
                             : "held: %s, seed: %lu, violations: %zu, steps: %lu, messages: %lu, crashes: %lu, "
                               "transactions: %lu\n",
                held ? "true" : "false", result.seed, result.violations.size(), result.steps, result.messages,
                result.crashes, second.transactions);
    return held ? 0 : 1;
}

int prove_mutants(const Options& options) {
    std::string json;
    bool all_killed = true;
    for (const auto& [name, known_seed] : mutants) {
        activate_mutant(name);
        Totals totals;
        if (known_seed > 0) {
            totals = run_many(known_seed, 1, 1, true, true);
        } else {
            run_storms(storm_length_short, options.first, storms_in_one_broker, options.threads, true, true, totals);
        }
        const bool by_storm = totals.end_storms > 0 && totals.violations > 0;
        if (totals.violations == 0) totals = run_many(options.first, mutant_seeds_max, options.threads, true, true);
        const bool killed = totals.violations > 0;
        all_killed = all_killed && killed;
        std::fprintf(stderr, "%-34s %s\n", std::string{name}.c_str(),
                     !killed    ? "NOT FOUND"
                     : by_storm ? "found by an END storm"
                                : ("found by seed " + std::to_string(totals.failed_seed)).c_str());
        json += json.empty() ? "" : ",";
        json += "{\"name\":\"" + std::string{name} + "\",\"killed\":" + (killed ? "true" : "false") +
                ",\"seed\":" + (killed && !by_storm ? std::to_string(totals.failed_seed) : "null") +
                ",\"end_storm\":" + (by_storm ? "true" : "false") + "}";
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
        } else if (argument == "--end-storms") {
            options.end_storms = number(at);
        } else if (argument == "--storm" && at + 1 < count) {
            options.storm = arguments[++at];
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
                "\"; known: --seeds N, --first S, --seed S, --end-storms N, --storm EVENTS, --mutants, --mutant NAME, "
                "--threads N, --json"};
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
        if (!options.storm.empty()) return run_one_storm(options);
        if (options.end_storms > 0) return run_only_storms(options);
        return options.one ? replay(options) : run_seeds(options);
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "hufu-sim: %s\n", error.what());
        return 2;
    }
}
