// The shell around a simulated process's log: two groups in flight, chores, and a disk that takes its time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include <hufu/broker/log.hpp>

#include "event_queue.hpp"

namespace hufu::simulation {

/// Does what a log wants done, until it is destroyed: then the process is dead, and nothing of it happens any more.
/// Borrows all of what it is given for its life.
class LogPump {
public:
    using Settled = std::function<void(const broker::Outcome&)>;

    LogPump(EventQueue& events, broker::Log& log, Settled settled)
        : events_{events}, log_{log}, settled_{std::move(settled)} {}

    /// After anything was appended, and once at the start.
    void pump();

private:
    struct Flight {
        broker::LogGroup* group;
        bool synced = false;
        std::optional<Error> error;
    };
    void write_next();
    void finish_flights();
    /// Runs `event` after a disk-like wait, unless the process died meanwhile.
    template <class Event>
    void later(Event event);

    EventQueue& events_;
    broker::Log& log_;
    Settled settled_;
    std::deque<std::shared_ptr<Flight>> flights_;
    std::unique_ptr<broker::LogChore> chore_;
    bool chore_out_ = false;
    bool chore_planned_ = false;
    std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace hufu::simulation
