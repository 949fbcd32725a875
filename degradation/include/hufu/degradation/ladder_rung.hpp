// What a ladder knows of one of its buffers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/random.hpp>
#include <hufu/degradation/buffer.hpp>
#include <hufu/degradation/ladder_options.hpp>

namespace hufu::degradation {

/// Health, settings and size of a buffer, as far as they were heard of. A machine: no I/O, time is handed in. Not thread-safe.
class LadderRung {
public:
    enum class State : std::uint8_t {
        unchecked,  ///< its settings were not read yet
        up,
        away,
    };

    /// Borrows `random` for its life.
    LadderRung(RungOptions options, Random& random) : options_{std::move(options)}, random_{random} {}

    // What happened.
    void epoch_read(const Result<std::uint64_t>& epoch, SteadyTime now);
    void inspected(const Result<LossStatement>& statement, SteadyTime now);
    void sized(const BufferSize& size) { size_ = size; }
    void spilled(std::uint64_t messages, std::uint64_t bytes);
    /// A spill that ended `refused` or `in_doubt`.
    void not_spilled(const SpillOutcome& outcome, SteadyTime now);
    /// It owes an answer for longer than `silence_max`.
    void keeps_silent(SteadyTime now);

    // What follows.
    /// The settings must be read: at the start, every `inspect_every`, and when it is time to look whether it is back. Says so
    /// once.
    [[nodiscard]] bool take_inspection(SteadyTime now);
    [[nodiscard]] std::optional<SteadyTime> next_inspection() const noexcept;
    /// It makes sense to ask for its epoch.
    [[nodiscard]] bool answers() const noexcept { return state_ != State::away; }
    /// A message with this need may go there now.
    [[nodiscard]] bool takes(Loss need, SteadyTime now) const noexcept;
    /// Whether a key may have entries there, by the epoch that was read last.
    [[nodiscard]] bool may_hold(LadderOptions::Silence when_silent) const noexcept;
    /// Something is in it, as far as is known. What has no key raises no epoch.
    [[nodiscard]] bool holds_something() const noexcept { return epoch_.value_or(0) > 0 || size_.entries > 0; }

    [[nodiscard]] const RungOptions& options() const noexcept { return options_; }
    [[nodiscard]] State state() const noexcept { return state_; }
    [[nodiscard]] bool full() const noexcept;
    /// Of the settings read last; while away, empty.
    [[nodiscard]] const std::optional<LossStatement>& statement() const noexcept { return statement_; }
    [[nodiscard]] const BufferSize& size() const noexcept { return size_; }
    /// Why it is away or refuses, for people.
    [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }
    /// It does not take messages just now, for people: "away: …", "full: …".
    [[nodiscard]] std::string describe(Loss need, SteadyTime now) const;

private:
    void gone(std::string why, SteadyTime now);

    const RungOptions options_;
    Random& random_;
    State state_ = State::unchecked;
    bool inspecting_ = false;
    SteadyTime look_at_{};  // once it was looked at
    std::uint32_t failures_ = 0;
    SteadyTime ask_again_at_{};
    std::optional<std::uint64_t> epoch_;
    bool spilled_here_ = false;  // by this process
    std::optional<LossStatement> statement_;
    BufferSize size_;
    std::string trouble_;
};

}  // namespace hufu::degradation
