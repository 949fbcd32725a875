// hufu-fault-broker: breaks the bundled broker's process and disk, and checks that every message acknowledged as durable is
// there once, in order per queue, and that nothing was invented.
//
// kill, page_loss, torn_pages: killed under full load, the last two with what was not synced lost. sync_failure: every sync
// call of a run of 200 sends made to fail once. full_disk: no space for a while.
#include "full_disk.hpp"
#include "kill_rounds.hpp"
#include "sync_failures.hpp"

#include <hufu/core/random.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace hufu::fault {
namespace {

struct Options {
    int rounds = 50;
    int sync_step = 0;    // every how manyth sync call fails in a run of its own; 0: every one from 50 rounds on, else few
    int full_rounds = 0;  // 0: a tenth of the rounds
    bool json = false;
    std::uint64_t seed = 1;
    Programs programs;
};

struct Totals {
    KillRounds kills;
    SyncFailures syncs;
    FullDisk full;
    [[nodiscard]] bool held() const { return kills.verdict.held() && syncs.held() && full.held(); }
    [[nodiscard]] Verdict verdict() const {
        Verdict all = kills.verdict;
        all.add(syncs.verdict);
        all.add(full.verdict);
        return all;
    }
};

Totals run(const Options& options) {
    char pattern[] = "/tmp/hufu-fault-XXXXXX";
    if (::mkdtemp(pattern) == nullptr) throw std::runtime_error{"no private folder under /tmp"};
    const std::string root = pattern;
    SeededRandom random{options.seed};
    Totals totals;
    totals.kills = kill_under_load(options.programs, root, options.rounds, random);
    if (totals.held()) totals.syncs = fail_every_sync(options.programs, root, options.sync_step, random);
    if (totals.held()) totals.full = fill_the_disk(options.programs, root, options.full_rounds, random);
    if (totals.held()) {
        std::filesystem::remove_all(root);
    } else {
        std::fprintf(stderr, "the store is kept in %s\n", root.c_str());
    }
    return totals;
}

void print_json(const Totals& totals) {
    const Verdict verdict = totals.verdict();
    const auto& rounds = totals.kills.rounds;
    std::printf(
        "{\"fault\":\"broker\",\"held\":%s,\"rounds\":{\"kill\":%d,\"page_loss\":%d,\"torn_pages\":%d,"
        "\"sync_failure\":%d,\"full_disk\":%d},\"acknowledged\":%lu,\"acknowledged_in_batches\":%lu,\"acknowledged_"
        "delayed\":%lu,\"lost\":%lu,\"duplicated\":%lu,\"reordered\":%lu,"
        "\"invented\":%lu,\"moved\":%lu,\"writes_taken_back\":%lu,\"recovery_ms_max\":%ld,"
        "\"sync_failure\":{\"sync_calls\":%lu,\"refused\":%lu,\"not_healed\":%lu},"
        "\"full_disk\":{\"not_refused\":%lu,\"not_healed\":%lu}}\n",
        totals.held() ? "true" : "false", rounds[0], rounds[1], rounds[2], totals.syncs.runs, totals.full.rounds,
        totals.kills.acknowledged + totals.syncs.acknowledged + totals.full.acknowledged,
        totals.kills.acknowledged_in_batches, totals.kills.acknowledged_delayed, verdict.lost, verdict.duplicated,
        verdict.reordered, verdict.invented, verdict.moved, totals.kills.writes_taken_back, totals.kills.recovery_ms_max,
        totals.syncs.sync_calls, totals.syncs.refused, totals.syncs.not_healed, totals.full.not_refused,
        totals.full.not_healed);
}

void print_text(const Totals& totals) {
    const Verdict verdict = totals.verdict();
    const auto& rounds = totals.kills.rounds;
    std::printf(
        "%s: %d kills, %d page losses, %d torn, %d failed syncs, %d full disks; %lu acknowledged, %lu lost, "
        "%lu duplicated, %lu reordered, %lu invented, %lu moved; longest recovery %ld ms\n",
        totals.held() ? "held" : "BROKEN", rounds[0], rounds[1], rounds[2], totals.syncs.runs, totals.full.rounds,
        totals.kills.acknowledged + totals.syncs.acknowledged + totals.full.acknowledged, verdict.lost, verdict.duplicated,
        verdict.reordered, verdict.invented, verdict.moved, totals.kills.recovery_ms_max);
}

long number_after(int count, char** arguments, int& at) {
    if (at + 1 >= count) throw std::invalid_argument{std::string{arguments[at]} + " needs a number"};
    char* end = nullptr;
    const long value = std::strtol(arguments[++at], &end, 10);
    if (*end != '\0' || value < 1 || value > 1'000'000) {
        throw std::invalid_argument{std::string{arguments[at - 1]} + " needs a number from 1 to 1000000, not \"" +
                                    arguments[at] + "\""};
    }
    return value;
}

Options parse(int count, char** arguments) {
    Options options;
    options.programs.folder = std::filesystem::canonical("/proc/self/exe").parent_path();
    for (int at = 1; at < count; ++at) {
        const std::string_view argument = arguments[at];
        if (argument == "--json") {
            options.json = true;
        } else if (argument == "--rounds") {
            options.rounds = static_cast<int>(number_after(count, arguments, at));
        } else if (argument == "--sync-step") {
            options.sync_step = static_cast<int>(number_after(count, arguments, at));
        } else if (argument == "--break" && at + 1 < count && std::string_view{arguments[at + 1]} == "sync") {
            ++at;
            options.programs.break_sync = true;
        } else if (argument == "--seed") {
            options.seed = static_cast<std::uint64_t>(number_after(count, arguments, at));
        } else {
            throw std::invalid_argument{"unknown argument \"" + std::string{argument} +
                                        "\"; known: --rounds N, --sync-step N, --seed S, --break sync, --json"};
        }
    }
    if (options.sync_step == 0) options.sync_step = options.rounds >= 50 ? 1 : 25;
    if (options.full_rounds == 0) options.full_rounds = std::clamp(options.rounds / 10, 2, 50);
    return options;
}

}  // namespace
}  // namespace hufu::fault

int main(int count, char** arguments) {
    try {
        const auto options = hufu::fault::parse(count, arguments);
        const auto totals = hufu::fault::run(options);
        options.json ? hufu::fault::print_json(totals) : hufu::fault::print_text(totals);
        return totals.held() ? 0 : 1;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "hufu-fault-broker: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-fault-broker: %s\n", error.what());
        return 1;
    }
}
