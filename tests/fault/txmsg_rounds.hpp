// One step of a transaction message, one victim, so many rounds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "txmsg_judge.hpp"
#include "txmsg_scene.hpp"

namespace hufu::fault {

inline constexpr const char* tx_steps[] = {
    "before_half", "half_stored", "after_half", "during_local", "between_commit_and_end", "during_check", "during_forward"};
inline constexpr const char* tx_victims[] = {"producer", "database", "broker", "responder", "forwarder", "target"};
/// Who can die at the step.
[[nodiscard]] std::vector<std::string> victims_of(const std::string& step);

/// What the rounds of one step and victim came to.
struct TxRounds {
    int rounds = 0;
    std::uint64_t kills = 0;
    std::uint64_t transactions = 0;
    std::uint64_t checks_answered = 0;
    std::uint64_t undecided = 0;  ///< not decided a minute after everything ran again
    TxVerdict verdict;

    void add(const TxRounds& other);
    [[nodiscard]] bool held() const { return undecided == 0 && verdict.held(); }
};

/// In a scene of its own under `root`; see `Scene`.
TxRounds kill_at(const TxPrograms& programs, test_support::PostgresServer& server, TxBroker* original,
                 const std::string& root, const std::string& step, const std::string& victim, int rounds);

}  // namespace hufu::fault
