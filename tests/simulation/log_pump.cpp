#include "log_pump.hpp"

#include <algorithm>
#include <chrono>

namespace hufu::simulation {

using namespace std::chrono_literals;

template <class Event>
void LogPump::later(Event event) {
    events_.between(50us, 800us, [alive = std::weak_ptr{alive_}, event = std::move(event)] {
        if (!alive.expired()) event();
    });
}

void LogPump::pump() {
    while (broker::LogGroup* group = log_.take_group()) {
        flights_.push_back(std::make_shared<Flight>(Flight{group, false, {}}));
        write_next();
    }
    if (chore_out_) return;
    if (auto chore = log_.take_chore()) {
        chore_ = std::move(chore);
        chore_out_ = true;
        later([this] {
            chore_->run();
            later([this] {
                chore_out_ = false;
                settled_(log_.finished(std::move(chore_)));
                pump();
            });
        });
    } else if (const auto due = log_.next_chore_at(); due && !chore_planned_) {
        chore_planned_ = true;
        events_.at(std::max(*due, events_.now() + 1ms), [this, alive = std::weak_ptr{alive_}] {
            if (alive.expired()) return;
            chore_planned_ = false;
            pump();
        });
    }
}

void LogPump::write_next() {
    later([this, flight = flights_.back()] {
        if (const auto written = broker::Log::write(*flight->group); !written) flight->error = written.error();
        later([this, flight] {
            if (!flight->error) {
                if (const auto synced = broker::Log::sync(*flight->group); !synced) flight->error = synced.error();
            }
            flight->synced = true;
            finish_flights();
        });
    });
}

void LogPump::finish_flights() {
    while (!flights_.empty() && flights_.front()->synced) {
        const auto flight = flights_.front();
        flights_.pop_front();
        settled_(flight->error ? log_.failed(flight->group, *flight->error) : log_.completed(flight->group));
    }
    pump();
}

}  // namespace hufu::simulation
