#include "guard_judge.hpp"

namespace hufu::simulation {

void GuardJudge::effect(const LeasedAttempt& attempt, std::uint64_t forgotten) {
    Seen& seen = messages_[attempt.message];
    seen.excused = seen.excused || attempt.disturbed || forgotten > 0;
    if (++seen.effects == 1) return;
    ++doubles_;
    if (!seen.excused) {
        complain("message " + std::to_string(attempt.message) +
                 " has a second effect, and nothing happened that allows one (best_effort)");
    }
}

void GuardJudge::recorded(const LeasedAttempt& attempt, const std::string& result, std::uint64_t forgotten) {
    Seen& seen = messages_[attempt.message];
    if (seen.recorded && seen.recorded_after == forgotten && *seen.recorded != result) {
        complain("the recorded result of message " + std::to_string(attempt.message) + " was overwritten by a late holder");
    }
    seen.recorded = result;
    seen.recorded_after = forgotten;
}

void GuardJudge::answered(int message, const std::string& result, std::uint64_t forgotten) {
    const Seen& seen = messages_[message];
    if (seen.recorded && seen.recorded_after == forgotten && *seen.recorded != result) {
        complain("a duplicate of message " + std::to_string(message) + " got another result than the recorded one");
    }
}

void GuardJudge::acknowledged(int message) {
    Seen& seen = messages_[message];
    seen.acknowledged = true;
    if (seen.effects == 0) complain("message " + std::to_string(message) + " was acknowledged, and has no effect");
}

bool GuardJudge::settled(int message) const {
    const auto found = messages_.find(message);
    return found != messages_.end() && found->second.acknowledged;
}

}  // namespace hufu::simulation
