// What the guards promised in one run, and whether the effects agree.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ledger.hpp"

namespace hufu::simulation {

/// One attempt to run an effect under a lease, as the judge sees it.
struct LeasedAttempt {
    std::uint64_t number = 0;
    int message = 0;
    bool effect_ran = false;
    bool recorded = false;
    /// Its process was killed, stood still, or had no Redis for a good part of a lease: docs/guards.md allows a double then.
    bool disturbed = false;
};

/// Knows every effect of every message, and which doubles the grade allows.
class GuardJudge {
public:
    /// `forgotten`: how often Redis has forgotten the message's key by now.
    void effect(const LeasedAttempt& attempt, std::uint64_t forgotten);
    /// The effect of an earlier attempt, or its recording, is no longer under its lease's protection.
    void excuse(int message) { messages_[message].excused = true; }
    void recorded(const LeasedAttempt& attempt, const std::string& result, std::uint64_t forgotten);
    /// Redis told a duplicate this result.
    void answered(int message, const std::string& result, std::uint64_t forgotten);
    /// A delivery was acknowledged.
    void acknowledged(int message);
    [[nodiscard]] bool settled(int message) const;

    void complain(const std::string& what) {
        if (violations_.size() < 20) violations_.push_back({"P3", what});
    }
    [[nodiscard]] const std::vector<Violation>& violations() const { return violations_; }
    [[nodiscard]] std::uint64_t doubles() const { return doubles_; }

private:
    struct Seen {
        int effects = 0;
        bool excused = false;
        bool acknowledged = false;
        std::optional<std::string> recorded;
        std::uint64_t recorded_after = 0;  // so often had its key been forgotten
    };

    std::map<int, Seen> messages_;
    std::vector<Violation> violations_;
    std::uint64_t doubles_ = 0;
};

}  // namespace hufu::simulation
