// hufu-fault-txmsg: kills producer, database, broker and responder at every step of transaction messages, and checks from
// rows and visible messages alone that both are there or both absent.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>

#include <hufu/core/clock.hpp>

#include "txmsg_rounds.hpp"

namespace hufu::fault {
namespace {

struct Options {
    int rounds = 20;
    bool json = false;
    std::string only_step = {};
    std::string only_victim = {};
    TxPrograms programs = {};
};

struct Totals {
    TxRounds all = {};
    std::map<std::string, TxRounds> by_step = {};
    double seconds = 0;
    /// Something must have been committed: an empty database and empty topics agree as well.
    [[nodiscard]] bool held() const { return all.held() && all.verdict.rows > 0; }
};

Totals run(const Options& options) {
    char root[] = "/tmp/hufu-fault-txmsg-XXXXXX";
    if (::mkdtemp(root) == nullptr) throw std::runtime_error{"no private folder under /tmp"};
    Totals totals;
    Clock& clock = system_clock();
    const SteadyTime start = clock.steady_now();
    {
        test_support::PostgresServer server;
        for (const char* step : tx_steps) {
            if (!options.only_step.empty() && options.only_step != step) continue;
            for (const char* victim : tx_victims) {
                if (!options.only_victim.empty() && options.only_victim != victim) continue;
                const TxRounds rounds = kill_at(options.programs, server, root, step, victim, options.rounds);
                totals.by_step[step].add(rounds);
                totals.all.add(rounds);
            }
        }
    }
    totals.seconds = std::chrono::duration<double>(clock.steady_now() - start).count();
    if (totals.all.held()) {
        std::filesystem::remove_all(root);
    } else {
        std::fprintf(stderr, "logs and stores are kept in %s\n", root);
    }
    return totals;
}

void print_counts(const TxRounds& rounds) {
    const TxVerdict& verdict = rounds.verdict;
    std::printf(
        "\"rounds\":%d,\"kills\":%lu,\"transactions\":%lu,\"committed\":%lu,\"messages\":%lu,\"checks_answered\":%lu,"
        "\"undecided\":%lu,\"rows_without_message\":%lu,\"message_without_rows\":%lu,\"committed_twice\":%lu,"
        "\"visible_before_commit\":%lu",
        rounds.rounds, rounds.kills, rounds.transactions, verdict.rows, verdict.messages, rounds.checks_answered,
        rounds.undecided, verdict.rows_without_message, verdict.message_without_rows, verdict.committed_twice,
        verdict.visible_before_commit);
}

void print_json(const Totals& totals) {
    std::printf("{\"fault\":\"txmsg\",\"broker\":\"hufu\",\"held\":%s,", totals.held() ? "true" : "false");
    print_counts(totals.all);
    std::printf(",\"steps\":{");
    const char* comma = "";
    for (const auto& [step, rounds] : totals.by_step) {
        std::printf("%s\"%s\":{", comma, step.c_str());
        print_counts(rounds);
        std::printf("}");
        comma = ",";
    }
    std::printf("},\"seconds\":%.1f}\n", totals.seconds);
}

void print_text(const Totals& totals) {
    const TxRounds& all = totals.all;
    std::printf(
        "%s: %d rounds, %lu kills; %lu transactions, %lu committed, %lu checks answered, %lu undecided; %lu rows without "
        "message, %lu message without rows, %lu committed twice, %lu visible before commit; %.0f s\n",
        totals.held() ? "held" : "BROKEN", all.rounds, all.kills, all.transactions, all.verdict.rows, all.checks_answered,
        all.undecided, all.verdict.rows_without_message, all.verdict.message_without_rows, all.verdict.committed_twice,
        all.verdict.visible_before_commit, totals.seconds);
}

template <std::size_t Count>
std::string one_of(const char* const (&names)[Count], std::string_view flag, std::string_view value) {
    std::string known;
    for (const char* name : names) {
        if (value == name) return name;
        known += std::string{known.empty() ? "" : ", "} + name;
    }
    throw std::invalid_argument{std::string{flag} + " needs one of: " + known + " (got \"" + std::string{value} + "\")"};
}

int rounds_from(const std::string& text) {
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 1 || value > 10'000) {
        throw std::invalid_argument{"--rounds needs a number from 1 to 10000, not \"" + text + "\""};
    }
    return static_cast<int>(value);
}

Options parse(int count, char** words) {
    Options options;
    options.programs.folder = std::filesystem::canonical("/proc/self/exe").parent_path();
    for (int at = 1; at < count; ++at) {
        const std::string word = words[at];
        const std::string value = at + 1 < count ? words[at + 1] : "";
        if (word == "--json") {
            options.json = true;
            continue;
        }
        if (word == "--rounds") {
            options.rounds = rounds_from(value);
        } else if (word == "--step") {
            options.only_step = one_of(tx_steps, word, value);
        } else if (word == "--victim") {
            options.only_victim = one_of(tx_victims, word, value);
        } else if (word == "--break" && value == "check") {
            options.programs.lie = true;
        } else {
            throw std::invalid_argument{"unknown argument \"" + word +
                                        "\"; known: --rounds N, --step STEP, --victim VICTIM, --break check, --json"};
        }
        ++at;
    }
    return options;
}

}  // namespace
}  // namespace hufu::fault

int main(int count, char** words) {
    try {
        const auto options = hufu::fault::parse(count, words);
        const auto totals = hufu::fault::run(options);
        options.json ? hufu::fault::print_json(totals) : hufu::fault::print_text(totals);
        return totals.held() ? 0 : 1;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "hufu-fault-txmsg: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-fault-txmsg: %s\n", error.what());
        return 1;
    }
}
