#include "chaos.hpp"

#include <signal.h>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <iterator>

namespace shop::demo {
namespace {

constexpr std::chrono::milliseconds grace{1'000};   // for connections and queues to recover after a member is back
constexpr std::chrono::milliseconds frozen{1'000};  // a broker that takes bytes and confirms nothing
constexpr std::chrono::seconds window_timeout{20};

std::int64_t now_us() { return hufu::system_clock().system_now().time_since_epoch().count(); }

void wait(std::chrono::milliseconds time) {
    auto& clock = hufu::system_clock();
    clock.sleep_until(clock.steady_now() + time, {});
}

}  // namespace

Chaos::Chaos(Fleet& fleet, ChaosOptions options, Tell tell, LaneOwner lane_owner)
    : fleet_{fleet}, options_{options}, tell_{std::move(tell)}, lane_owner_{std::move(lane_owner)}, random_{options.seed} {
    // One random moment in each of `kills` equal shares of the load.
    for (std::uint64_t i = 0; i < options_.kills; ++i) {
        due_.push_back((i * 1000 + 100 + random_.below(800)) * options_.orders / (options_.kills * 1000));
    }
    if (fleet_.options().mode != Mode::buffered) return;
    const auto at = [this](std::uint64_t percent) { return percent * options_.orders / 100; };
    outage_ = {{Member::broker, true, at(20)},
               {Member::redis, true, at(30)},
               {Member::redis, false, at(50)},
               {Member::broker, false, at(60)}};
}

void Chaos::step_outage(std::uint64_t accepted) {
    if (outage_steps_ == outage_.size() || accepted < outage_[outage_steps_].accepted) return;
    const Turn& turn = outage_[outage_steps_++];
    tell_(std::string{turn.down ? "kill -9 " : "start "} + std::string{to_string(turn.member)} +
          (turn.down ? ", which stays away" : " again"));
    if (turn.down) {
        fleet_.take_down(turn.member);
    } else {
        fleet_.start(turn.member);
        fleet_.wait_ready(turn.member);
    }
    if (turn.member != Member::broker) return;
    (turn.down ? broker_down_at_ : broker_back_at_) = hufu::system_clock().steady_now();
    if (turn.down) {
        outage_from_us_ = now_us();
    } else {
        windows_.push_back({outage_from_us_, now_us() + std::chrono::microseconds{grace}.count()});
    }
}

void Chaos::step(std::uint64_t accepted) {
    step_outage(accepted);
    if (done_ == options_.kills || accepted < due_[done_]) return;
    const auto from = now_us();
    hit();
    const auto recovery = std::chrono::duration_cast<std::chrono::microseconds>(fleet_.options().lease + grace);
    windows_.push_back({from, now_us() + recovery.count()});
    if (++done_ == options_.kills && fleet_.options().breaking == Break::guard) {
        fleet_.stop_pausing();
        for (const auto member : {Member::payment, Member::stock}) restart(member);
    }
}

void Chaos::hit() {
    switch (fleet_.options().breaking) {
        case Break::guard: return kill_between_effect_and_acknowledgement(done_ % 2 == 0 ? Member::payment : Member::stock);
        case Break::settle: return kill_between_settle_and_confirm();
        case Break::buffer:
        case Break::none: break;
    }
    if (fleet_.options().mode == Mode::buffered) {
        return kill_and_restart(done_ % 2 == 0 ? Member::payment : Member::stock);
    }
    if (fleet_.options().mode == Mode::txmsg) {
        constexpr Member in_turn[] = {Member::order, Member::broker, Member::payment, Member::stock};
        return kill_and_restart(in_turn[done_ % std::size(in_turn)]);
    }
    switch (done_ % 5) {
        case 0: return kill_and_restart(Member::order);
        case 1: return relay_hits_++ % 2 == 0 ? kill_and_restart(owning_relay()) : pause_past_lease(owning_relay());
        case 2: return kill_and_restart(Member::broker);
        case 3: return kill_and_restart(Member::payment);
        default: return kill_and_restart(Member::stock);
    }
}

void Chaos::kill_and_restart(Member member) {
    tell_("kill -9 " + std::string{to_string(member)});
    restart(member);
}

void Chaos::restart(Member member) {
    fleet_.child(member).kill();
    fleet_.start(member);
    fleet_.wait_ready(member);
}

void Chaos::pause_past_lease(Member member) {
    const auto pause = fleet_.options().lease * 2;
    tell_("pause " + std::string{to_string(member)} + " for " + std::to_string(pause.count()) + " ms");
    fleet_.child(member).signal(SIGSTOP);
    wait(pause);
    fleet_.child(member).signal(SIGCONT);
}

void Chaos::kill_between_effect_and_acknowledgement(Member member) {
    auto& clock = hufu::system_clock();
    const auto until = clock.steady_now() + window_timeout;
    while (!fleet_.child(member).stopped()) {
        if (clock.steady_now() > until || fleet_.child(member).ended()) {
            throw hufu::Exception{
                {hufu::ErrorCode::internal, hufu::Disposition::fatal,
                 std::string{to_string(member)} + " never reached the window between effect and acknowledgement"}};
        }
        wait(std::chrono::milliseconds{5});
    }
    tell_("kill -9 " + std::string{to_string(member)} + " between effect and acknowledgement");
    restart(member);
}

void Chaos::kill_between_settle_and_confirm() {
    tell_("kill -9 broker and relays between settle and confirm");
    fleet_.child(Member::broker).signal(SIGSTOP);
    wait(frozen);
    for (const auto member : {Member::broker, Member::relay_a, Member::relay_b}) fleet_.child(member).kill();
    for (const auto member : {Member::broker, Member::relay_a, Member::relay_b}) {
        fleet_.start(member);
        fleet_.wait_ready(member);
    }
}

Member Chaos::owning_relay() const {
    return lane_owner_() == fleet_.owner_name(Member::relay_b) ? Member::relay_b : Member::relay_a;
}

}  // namespace shop::demo
