// Virtual time: what happens next, decided by the seed alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <queue>
#include <sstream>
#include <string>
#include <vector>

#include <hufu/core/random.hpp>
#include <hufu/testing/fake_clock.hpp>

namespace hufu::simulation {

/// The agenda of one run. Events at the same instant run in the order they were planned.
class EventQueue {
public:
    using Duration = std::chrono::nanoseconds;
    using Event = std::function<void()>;

    /// `trace`, if set, gets the lines of `note`.
    EventQueue(testing::FakeClock& clock, Random& random, std::string* trace = nullptr)
        : clock_{clock}, random_{random}, trace_{trace} {}

    void at(SteadyTime when, Event event) { agenda_.push({when, ++planned_, std::move(event)}); }
    void after(Duration wait, Event event) { at(clock_.steady_now() + wait, std::move(event)); }
    /// After a wait drawn uniformly from [low, high].
    void between(Duration low, Duration high, Event event) {
        const auto spread = static_cast<std::uint64_t>((high - low).count()) + 1;
        after(low + Duration{static_cast<std::int64_t>(random_.below(spread))}, std::move(event));
    }

    /// Moves time to the next event and runs it; false when the agenda is empty.
    bool step() {
        if (agenda_.empty()) return false;
        // The top is about to be popped: moving out of it changes nothing the queue looks at.
        Planned next = std::move(const_cast<Planned&>(agenda_.top()));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
        agenda_.pop();
        if (next.when > clock_.steady_now()) clock_.advance(next.when - clock_.steady_now());
        ++steps_;
        next.event();
        return true;
    }

    /// A line for whoever replays the seed: the words are put together only when somebody does.
    template <class... Words>
    void note(const Words&... words) {
        if (trace_ == nullptr) return;
        std::ostringstream line;
        line << std::chrono::duration_cast<std::chrono::microseconds>(now().time_since_epoch() - std::chrono::hours{1})
                    .count()
             << " us: ";
        (line << ... << words);
        *trace_ += line.str() + "\n";
    }

    [[nodiscard]] SteadyTime now() const { return clock_.steady_now(); }
    [[nodiscard]] SystemTime system_now() const { return clock_.system_now(); }
    [[nodiscard]] testing::FakeClock& clock() { return clock_; }
    [[nodiscard]] Random& random() { return random_; }
    [[nodiscard]] bool chance(std::uint64_t one_in) { return random_.below(one_in) == 0; }
    [[nodiscard]] std::uint64_t steps() const { return steps_; }

private:
    struct Planned {
        SteadyTime when;
        std::uint64_t order;
        Event event;
        bool operator<(const Planned& other) const { return when != other.when ? when > other.when : order > other.order; }
    };

    testing::FakeClock& clock_;
    Random& random_;
    std::string* trace_;
    std::priority_queue<Planned> agenda_;
    std::uint64_t planned_ = 0;
    std::uint64_t steps_ = 0;
};

}  // namespace hufu::simulation
