// hufu-fault-txmsg: kills producer, database, broker and responder at every step of transaction messages, and checks from
// rows and visible messages alone that both are there or both absent. With `--broker rocketmq` the broker is a real one: what
// it breaks though it was told the truth is counted apart.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <hufu/core/clock.hpp>

#include "txmsg_report.hpp"

namespace hufu::fault {
namespace {

constexpr const char* brokers[] = {"hufu", "rocketmq"};
constexpr int rounds_ours = 20;
constexpr int rounds_original = 3;

struct Options {
    std::optional<int> rounds = {};
    bool json = false;
    std::string broker = "hufu";
    std::string only_step = {};
    std::string only_victim = {};
    TxPrograms programs = {};
    [[nodiscard]] bool original() const { return broker == "rocketmq"; }
};

/// A broker that cannot do without it is not asked to.
bool is_wanted(const Options& options, const std::string& step, const std::string& victim) {
    if (options.original() && step == "during_forward") return false;  // forwarding is for brokers without halves
    return (options.only_step.empty() || options.only_step == step) &&
           (options.only_victim.empty() || options.only_victim == victim);
}

void run_rounds(const Options& options, const std::string& root, TxTotals& totals) {
    test_support::PostgresServer server;
    const auto original = options.original() ? original_broker(root) : nullptr;
    for (const std::string step : tx_steps) {
        for (const auto& victim : victims_of(step)) {
            if (!is_wanted(options, step, victim)) continue;
            const TxRounds rounds = kill_at(options.programs, server, original.get(), root, step, victim,
                                            options.rounds.value_or(options.original() ? rounds_original : rounds_ours));
            totals.by_step[step].add(rounds);
            totals.all.add(rounds);
        }
    }
}

TxTotals run(const Options& options) {
    char root[] = "/tmp/hufu-fault-txmsg-XXXXXX";
    if (::mkdtemp(root) == nullptr) throw std::runtime_error{"no private folder under /tmp"};
    TxTotals totals{.broker = options.original() ? "rocketmq-5.3.3" : "hufu", .original = options.original()};
    Clock& clock = system_clock();
    const SteadyTime start = clock.steady_now();
    run_rounds(options, root, totals);
    totals.seconds = std::chrono::duration<double>(clock.steady_now() - start).count();
    if (totals.all.held()) {
        std::filesystem::remove_all(root);
    } else {
        std::fprintf(stderr, "logs and stores are kept in %s\n", root);
    }
    return totals;
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

/// There must be something to do.
void check_choice(const Options& options) {
    for (const std::string step : tx_steps) {
        const auto victims = victims_of(step);
        if (std::any_of(victims.begin(), victims.end(),
                        [&](const auto& victim) { return is_wanted(options, step, victim); }))
            return;
    }
    throw std::invalid_argument{"at step \"" + options.only_step + "\" of broker " + options.broker + " no \"" +
                                options.only_victim + "\" can die: leave --victim or --step out"};
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
        } else if (word == "--broker") {
            options.broker = one_of(brokers, word, value);
        } else if (word == "--step") {
            options.only_step = one_of(tx_steps, word, value);
        } else if (word == "--victim") {
            options.only_victim = one_of(tx_victims, word, value);
        } else if (word == "--break" && value == "check") {
            options.programs.lie = true;
        } else {
            throw std::invalid_argument{"unknown argument \"" + word +
                                        "\"; known: --rounds N, --broker hufu|rocketmq, --step STEP, --victim VICTIM, "
                                        "--break check, --json"};
        }
        ++at;
    }
    check_choice(options);
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
