#include <hufu/degradation/ladder_rung.hpp>

#include <algorithm>
#include <utility>

#include <hufu/core/mutant.hpp>

namespace hufu::degradation {

void LadderRung::epoch_read(const Result<std::uint64_t>& epoch, SteadyTime now) {
    if (epoch) {
        epoch_ = *epoch;
        return;
    }
    gone(epoch.error().text(), now);
}

void LadderRung::inspected(const Result<LossStatement>& statement, SteadyTime now) {
    inspecting_ = false;
    if (!statement) {
        state_ = State::unchecked;  // so that this failure counts
        gone(statement.error().text(), now);
        return;
    }
    if (state_ != State::up || now >= ask_again_at_) {
        trouble_.clear();
    }
    statement_ = *statement;
    state_ = State::up;
    failures_ = 0;
    look_at_ = now + options_.inspect_every;
}

void LadderRung::spilled(std::uint64_t messages, std::uint64_t bytes) {
    // Read or not: from now on there is something.
    epoch_ = std::max<std::uint64_t>(epoch_.value_or(0), 1);
    spilled_here_ = true;
    size_.entries += messages;
    size_.bytes += bytes;
}

void LadderRung::not_spilled(const SpillOutcome& outcome, SteadyTime now) {
    const ErrorCode code = outcome.error.code();
    if (outcome.status == SpillOutcome::Status::in_doubt) {
        epoch_ = std::max<std::uint64_t>(epoch_.value_or(0), 1);  // it may be there
        spilled_here_ = true;
    }
    if (code == ErrorCode::unavailable || code == ErrorCode::timeout || code == ErrorCode::fenced) {
        gone(outcome.error.text(), now);
    } else if (outcome.error.disposition() != Disposition::reject) {  // else it is the message's fault
        trouble_ = outcome.error.text();
        ask_again_at_ = now + options_.ask_again_after;
    }
}

void LadderRung::keeps_silent(SteadyTime now) {
    gone("no answer within " + std::to_string(options_.silence_max.count()) + " ms", now);
}

void LadderRung::gone(std::string why, SteadyTime now) {
    if (state_ == State::away) {
        return;  // known already: many requests end together
    }
    state_ = State::away;
    statement_.reset();
    trouble_ = std::move(why);
    const auto wait = options_.look_after.wait_after(++failures_, random_);
    look_at_ = now + wait.value_or(std::chrono::milliseconds{1'000});
}

bool LadderRung::take_inspection(SteadyTime now) {
    const bool due = state_ == State::unchecked || now >= look_at_;
    if (inspecting_ || !due) {
        return false;
    }
    inspecting_ = true;
    return true;
}

std::optional<SteadyTime> LadderRung::next_inspection() const noexcept {
    if (inspecting_ || state_ == State::unchecked) {
        return {};
    }
    return look_at_;
}

bool LadderRung::takes(Loss need, SteadyTime now) const noexcept {
    return state_ == State::up && statement_ && statement_->loss <= need && now >= ask_again_at_ && !full();
}

bool LadderRung::may_hold(LadderOptions::Silence when_silent) const noexcept {
    if (mutant_active("barrier_per_process")) {
        return spilled_here_;
    }
    if (state_ == State::away && when_silent == LadderOptions::Silence::holds_every_key) {
        return true;
    }
    return !epoch_ || *epoch_ > 0;
}

bool LadderRung::full() const noexcept {
    return (options_.entries_max > 0 && size_.entries >= options_.entries_max) ||
           (options_.bytes_max > 0 && size_.bytes >= options_.bytes_max) ||
           (options_.age_max.count() > 0 && size_.oldest_age && *size_.oldest_age >= options_.age_max);
}

std::string LadderRung::describe(Loss need, SteadyTime now) const {
    if (state_ == State::away) {
        return "away: " + trouble_;
    }
    if (!statement_) {
        return "not looked at yet";
    }
    if (statement_->loss > need) {
        return "may lose " + std::string{to_string(statement_->loss)} + " (" + statement_->why + ")";
    }
    if (full()) {
        return "full: " + std::to_string(size_.entries) + " entries, " + std::to_string(size_.bytes) + " bytes";
    }
    return now < ask_again_at_ ? "refuses: " + trouble_ : "takes messages";
}

}  // namespace hufu::degradation
