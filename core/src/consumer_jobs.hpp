// What the consumer machine knows of each held message; for its own sources.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/consumer_machine.hpp>

namespace hufu {

using Notice = ConsumerActions::Notice;

constexpr std::string_view behind_dead_letter = "behind a dead letter of its key";
constexpr std::string_view queue_lost = "its queue belongs to another member";
constexpr std::string_view stopped = "the consumer stops";

struct ConsumerMachine::Job {
    enum class State : std::uint8_t {
        waiting,  // behind another message of its key
        asking,   // `AttemptRows` is asked about it
        ready,    // will start when a thread and a token are free
        running,
        backing_off,  // failed, waits for its next attempt
        publishing,   // its dead letter is on its way
        dying,        // its dead letter failed and waits for its next attempt
    };

    ConsumerJob id = 0;
    Delivery delivery = {};
    Lane* lane = nullptr;
    State state = State::waiting;
    bool lost = false;
    bool tried = false;     // its handler was started here
    bool doubtful = false;  // its handler may have been started by a process that is gone
    bool asked = false;     // `AttemptRows` was asked about it
    bool has_row = false;   // and has a row of it now
    bool alone = false;     // its handler never answered an earlier start
    bool parks = false;     // its dead letter is the first of its key
    std::uint32_t attempts = 0;
    std::uint32_t publish_failures = 0;
    SteadyTime started_at = {};
    std::vector<SteadyTime> failed_at = {};  // the failures that counted, latest last; a few
    std::optional<Wakes::iterator> wake = {};
    std::string reason = {};
    Message dead_letter = {};

    [[nodiscard]] bool busy() const noexcept { return state == State::running || state == State::publishing; }
    [[nodiscard]] std::uint32_t attempts_in_all() const noexcept { return delivery.broker_attempts + attempts; }
    [[nodiscard]] ConsumerKey key() const { return {delivery.message.topic, delivery.message.ordering_key}; }
    [[nodiscard]] Notice notice(Notice::Kind kind, std::string why) const {
        return {
            .kind = kind, .id = delivery.message.id, .key = key(), .attempts = attempts_in_all(), .reason = std::move(why)};
    }
};

/// The held messages of one key, in delivery order. Only the first is ever asked about, ready, backing off or dying; with
/// batches of runs several from the first on may be running.
struct ConsumerMachine::Lane {
    ConsumerKey key;
    std::deque<Job*> jobs = {};
};

}  // namespace hufu
