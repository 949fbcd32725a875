// One step of a transaction message, one victim, so many rounds.
#pragma once

#include <cstdint>
#include <string>

#include <hufu/test_support/postgres_server.hpp>

#include "txmsg_judge.hpp"

namespace hufu::fault {

inline constexpr const char* tx_steps[] = {"before_half", "after_half", "during_local", "between_commit_and_end",
                                           "during_check"};
inline constexpr const char* tx_victims[] = {"producer", "database", "broker", "responder"};

struct TxPrograms {
    std::string folder;  ///< of hufu-broker and hufu-fault-txmsg-service
    bool lie = false;    ///< checks are answered with commit, whatever the database says: the judge must see it
};

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

/// A database and a broker store of its own, under `root`.
TxRounds kill_at(const TxPrograms& programs, test_support::PostgresServer& server, const std::string& root,
                 const std::string& step, const std::string& victim, int rounds);

}  // namespace hufu::fault
