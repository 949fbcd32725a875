// hufu-fault-receipts: kills consumers at every step, relays, database and broker while receipts are on their way, and checks
// from the tables and the copies at the broker: each message ends confirmed or parked, each effect is there once, and nothing
// is sent again after its confirmation.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <hufu/core/clock.hpp>

#include "receipts_scene.hpp"

namespace hufu::fault {
namespace {

struct Options {
    int rounds = 10;
    int messages = 40;  ///< in each round of each death
    std::uint64_t seed = 1;
    bool json = false;
    std::string only;
    ReceiptPrograms programs;
};

struct Outcome {
    ReceiptVerdictCounts verdict;
    int rounds = 0;
    std::uint64_t kills = 0;
    double seconds = 0;
};

Outcome run(const Options& options) {
    char root[] = "/tmp/hufu-fault-receipts-XXXXXX";
    if (::mkdtemp(root) == nullptr) throw std::runtime_error{"no private folder under /tmp"};
    SeededRandom random{options.seed};
    Clock& clock = system_clock();
    const SteadyTime begin = clock.steady_now();
    Outcome outcome;
    {
        ReceiptScene scene{options.programs, root};
        for (int round = 0; round < options.rounds; ++round) {
            for (const auto& death : receipt_deaths) {
                if (!options.only.empty() && options.only != death.victim) continue;
                std::fprintf(stderr, "round %d/%d: %s %s\n", round + 1, options.rounds, death.victim, death.step);
                scene.round(death, options.messages, random);
            }
            ++outcome.rounds;
        }
        outcome.verdict = scene.verdict();
        outcome.kills = scene.kills();
    }
    outcome.seconds = std::chrono::duration<double>(clock.steady_now() - begin).count();
    if (outcome.verdict.held()) {
        std::filesystem::remove_all(root);
    } else {
        std::fprintf(stderr, "logs are kept in %s\n", root);
    }
    return outcome;
}

void print(const Outcome& outcome, bool json) {
    const auto& v = outcome.verdict;
    const char* const form =
        json ? "{\"fault\":\"receipts\",\"held\":%s,\"rounds\":%d,\"kills\":%lu,\"messages\":%lu,\"completed\":%lu,"
               "\"parked\":%lu,\"open\":%lu,\"forgotten\":%lu,\"parked_wrongly\":%lu,\"effects_missing\":%lu,"
               "\"effects_twice\":%lu,\"receipts_without_effect\":%lu,\"copies\":%lu,\"copies_again\":%lu,"
               "\"copies_after_confirmation\":%lu,\"seconds\":%.1f}\n"
             : "%s: %d rounds, %lu kills; %lu messages, %lu completed, %lu parked, %lu open, %lu forgotten, %lu parked "
               "wrongly; %lu effects missing, %lu effects twice, %lu receipts without effect; %lu copies, %lu sent again, "
               "%lu "
               "after the confirmation; %.0f s\n";
    const char* const held = json ? (v.held() ? "true" : "false") : (v.held() ? "held" : "BROKEN");
    std::printf(form, held, outcome.rounds, outcome.kills, v.messages, v.completed, v.parked, v.open, v.forgotten,
                v.parked_wrongly, v.effects_missing, v.effects_twice, v.receipts_without_effect, v.copies, v.copies_again,
                v.copies_after_confirmation, outcome.seconds);
}

int number_from(const std::string& flag, const std::string& text, long most) {
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 1 || value > most) {
        throw std::invalid_argument{flag + " needs a number from 1 to " + std::to_string(most) + ", not \"" + text + "\""};
    }
    return static_cast<int>(value);
}

std::string victim_from(const std::string& text) {
    std::string known;
    for (const auto& death : receipt_deaths) {
        if (text == death.victim) return text;
        if (known.find(death.victim) == std::string::npos) known += std::string{known.empty() ? "" : ", "} + death.victim;
    }
    throw std::invalid_argument{"--victim needs one of: " + known + " (got \"" + text + "\")"};
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
            options.rounds = number_from(word, value, 10'000);
        } else if (word == "--messages") {
            options.messages = number_from(word, value, 100'000);
        } else if (word == "--seed") {
            options.seed = static_cast<std::uint64_t>(number_from(word, value, 2'000'000'000));
        } else if (word == "--victim") {
            options.only = victim_from(value);
        } else if (word == "--break" && value == "guard") {
            options.programs.unguarded = true;
        } else {
            throw std::invalid_argument{
                "unknown argument \"" + word +
                "\"; known: --rounds N, --messages N, --seed S, --victim VICTIM, --break guard, --json"};
        }
        ++at;
    }
    if (options.messages < 10) throw std::invalid_argument{"--messages needs at least 10"};
    return options;
}

}  // namespace
}  // namespace hufu::fault

int main(int count, char** words) {
    try {
        const auto options = hufu::fault::parse(count, words);
        const auto outcome = hufu::fault::run(options);
        hufu::fault::print(outcome, options.json);
        return outcome.verdict.held() ? 0 : 1;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "hufu-fault-receipts: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-fault-receipts: %s\n", error.what());
        return 1;
    }
}
