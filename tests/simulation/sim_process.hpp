// A process that dies and stands still. What reaches it was meant for one of its lives.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "event_queue.hpp"

namespace hufu::simulation {

class SimProcess {
public:
    explicit SimProcess(EventQueue& events) : events_{events} {}

    void begin() {
        up_ = true;
        ++life_;
        still_until_ = {};
    }
    void end() {
        up_ = false;
        ++life_;
    }
    /// SIGSTOP for a while: what is due meanwhile happens afterwards.
    void stand_still(EventQueue::Duration how_long) { still_until_ = std::max(still_until_, events_.now() + how_long); }

    [[nodiscard]] bool is_up() const { return up_; }
    [[nodiscard]] std::uint64_t life() const { return life_; }

    /// In this life, after a wait.
    void after(EventQueue::Duration wait, EventQueue::Event event) { hear(life_, wait, std::move(event)); }
    /// After a wait, if the process still lives that life.
    void hear(std::uint64_t life, EventQueue::Duration wait, EventQueue::Event event) {
        events_.after(wait, [this, life, event = std::move(event)] { now_or_later(life, event); });
    }

private:
    void now_or_later(std::uint64_t life, const EventQueue::Event& event) {
        if (life != life_) return;
        if (events_.now() < still_until_) {
            events_.at(still_until_, [this, life, event] { now_or_later(life, event); });
            return;
        }
        event();
    }

    EventQueue& events_;
    bool up_ = false;
    std::uint64_t life_ = 0;
    SteadyTime still_until_{};
};

}  // namespace hufu::simulation
