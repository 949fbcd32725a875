// A relay machine between a lane in memory and a scripted broker, stepped by hand.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/random.hpp>
#include <hufu/outbox/relay_machine.hpp>

#include "memory_lane.hpp"

namespace hufu::outbox::testing {

inline Error away() { return {ErrorCode::unavailable, Disposition::retry, "the broker is away"}; }
inline Error bad() { return {ErrorCode::protocol, Disposition::retry, "the broker stumbled"}; }

/// Keeps the publisher's contract: after a failure, the rest of the key in the batches accepted so far is not sent.
class ScriptedBroker {
public:
    /// What becomes of a message; by default everything is confirmed.
    std::function<PublishOutcome(const Message&)> judge = [](const Message&) {
        return PublishOutcome{.status = PublishStatus::confirmed};
    };
    std::vector<std::string> arrived;  ///< bodies in arrival order, repeats included

    void answer(PublishBatch& batch) {
        for (std::size_t index = 0; index < batch.messages.size(); ++index) {
            const Message& message = batch.messages[index];
            PublishOutcome& outcome = batch.outcomes[index];
            if (!message.ordering_key.empty() && failed_.contains(message.ordering_key)) {
                outcome = {.status = PublishStatus::not_sent, .error = away()};
                continue;
            }
            outcome = judge(message);
            if (outcome.status == PublishStatus::confirmed) {
                arrived.push_back(message.body);
            } else {
                failed_.insert(message.ordering_key);
            }
        }
    }
    /// The failures were reported.
    void reported() { failed_.clear(); }

private:
    std::set<std::string> failed_;
};

class Rig {
public:
    explicit Rig(MemoryLane& lane, std::string owner = "relay-1") : Rig{lane, std::move(owner), [](RelayOptions&) {}} {}
    Rig(MemoryLane& lane, std::string owner, const std::function<void(RelayOptions&)>& adjust)
        : lane_{lane}, store_{lane}, machine{options(std::move(owner), adjust), random_} {}

    /// Obeys the machine until it has nothing to do at this moment. Batches are answered unless `hold_batches`.
    void settle_down() {
        for (int round = 0; round < 10'000; ++round) {
            RelayActions actions = machine.step(now);
            finished = actions.finished;
            bool acted = !actions.publish.empty() || !batches.empty();
            for (auto& batch : actions.publish) batches.push_back(std::move(batch));
            if (!hold_batches) {
                for (auto& batch : batches) broker.answer(*batch);
                broker.reported();
                while (!batches.empty()) give_back();
            } else {
                acted = !actions.publish.empty();
            }
            if (actions.lease) acted = true, machine.lease_done(perform(*actions.lease, *lease_), now);
            if (actions.read) {
                acted = true;
                auto reply = perform(*actions.read, *reader_);
                if (after_read) after_read();
                machine.read_done(std::move(reply), now);
            }
            if (actions.lot) acted = true, machine.lot_done(perform(*actions.lot, *lot, *delayed_), now);
            if (actions.settle) {
                if (hold_settles) {
                    settles.push_back(*actions.settle);
                } else {
                    acted = true;
                    machine.settle_done(perform(*actions.settle, *settler_), now);
                }
            }
            if (!acted) return;
        }
        std::abort();  // it never rests: a bug of the machine
    }
    /// Lets time pass, in the steps the machine asks for or shorter.
    void pass(milliseconds time) {
        const SteadyTime end = now + time;
        while (now < end) {
            settle_down();
            const auto step = std::min<std::chrono::nanoseconds>(milliseconds{5}, end - now);
            now += step;
            lane_.advance(std::chrono::duration_cast<milliseconds>(step));
        }
        settle_down();
    }
    void give_back() {
        auto batch = std::move(batches.front());
        batches.pop_front();
        machine.published(std::move(batch), now);
    }

private:
    static RelayOptions options(std::string owner, const std::function<void(RelayOptions&)>& adjust) {
        RelayOptions made;
        made.owner = std::move(owner);
        made.retry = RetrySchedule::capped(milliseconds{100}, milliseconds{1'000}, 3);
        adjust(made);
        return made;
    }

    MemoryLane& lane_;
    MemoryStore store_;
    SeededRandom random_{1};
    std::unique_ptr<LaneLease> lease_ = store_.lease();
    std::unique_ptr<LaneReader> reader_ = store_.reader();
    std::unique_ptr<LaneSettler> settler_ = store_.settler();
    std::unique_ptr<DelayedRows> delayed_ = store_.delayed_rows();

public:
    std::unique_ptr<ParkingLot> lot = store_.parking_lot();
    ScriptedBroker broker;
    SteadyTime now{std::chrono::hours{1}};
    bool hold_batches = false;
    bool hold_settles = false;
    bool finished = false;
    std::function<void()> after_read;
    std::deque<std::unique_ptr<PublishBatch>> batches;
    std::vector<SettleRequest> settles;
    RelayMachine machine;
};

}  // namespace hufu::outbox::testing
