// Breaks things on purpose, in turn and at random moments, and writes down when.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/random.hpp>

#include "fleet.hpp"
#include "oracle.hpp"

namespace shop::demo {

struct ChaosOptions {
    std::uint64_t kills = 20;
    std::uint64_t orders = 0;  ///< of the load, over which the hits are spread
    std::uint64_t seed = 1;
};

/// Hits order, relay, broker, payment and stock in turn with SIGKILL and starts them again at once; every second relay
/// hit is a SIGSTOP past the lease instead. Without relays, the others in turn. In `Mode::buffered` the order service is spared,
/// whose death between commit and hand-over loses messages; instead the broker stays away while two fifths of the orders come,
/// and Redis for a half of that. With `Break::guard` and `Break::settle`, hits only inside the window that this break opens.
class Chaos {
public:
    using Tell = std::function<void(const std::string&)>;

    /// The name of the relay that holds the lane now, as its database says; empty if none does.
    using LaneOwner = std::function<std::string()>;

    /// Borrows `fleet`. `tell` gets a line for each hit. A relay hit is one at the lane's owner: a standby is no loss.
    Chaos(Fleet& fleet, ChaosOptions options, Tell tell, LaneOwner lane_owner);

    /// Hits if a hit is due after so many accepted orders. Returns when the victim is back.
    void step(std::uint64_t accepted);
    [[nodiscard]] bool finished() const noexcept { return done_ == options_.kills && outage_steps_ == outage_.size(); }
    [[nodiscard]] std::uint64_t kills() const noexcept { return done_; }
    [[nodiscard]] const std::vector<Window>& windows() const noexcept { return windows_; }
    /// How long the broker stayed away, and when it was back. Buffered mode only.
    [[nodiscard]] std::chrono::nanoseconds outage() const noexcept { return broker_back_at_ - broker_down_at_; }
    [[nodiscard]] hufu::SteadyTime broker_back_at() const noexcept { return broker_back_at_; }

private:
    /// One end of an absence, due after so many accepted orders.
    struct Turn {
        Member member;
        bool down;
        std::uint64_t accepted;
    };

    void hit();
    void step_outage(std::uint64_t accepted);
    void kill_and_restart(Member member);
    void restart(Member member);
    void pause_past_lease(Member member);
    void kill_between_effect_and_acknowledgement(Member member);
    void kill_between_settle_and_confirm();
    [[nodiscard]] Member owning_relay() const;

    Fleet& fleet_;
    ChaosOptions options_;
    Tell tell_;
    LaneOwner lane_owner_;
    hufu::SeededRandom random_;
    std::vector<std::uint64_t> due_;  // accepted orders at which each hit happens
    std::uint64_t done_ = 0;
    std::uint64_t relay_hits_ = 0;
    std::vector<Window> windows_;
    std::vector<Turn> outage_;
    std::size_t outage_steps_ = 0;
    std::int64_t outage_from_us_ = 0;
    hufu::SteadyTime broker_down_at_{};
    hufu::SteadyTime broker_back_at_{};
};

}  // namespace shop::demo
