// The promises that the seeded bugs break: each scenario runs once clean and once with its mutant.
#include <gtest/gtest.h>
#include <hufu/core/mutant.hpp>

#include <algorithm>
#include <string>

#include "rig.hpp"

namespace hufu::outbox::testing {
namespace {

using namespace std::chrono_literals;

// Each returns what it found broken, or nothing.

std::string row_stays_until_confirmed() {
    MemoryLane lane;
    Rig rig{lane};
    rig.hold_batches = true;
    lane.append("a", "a1");
    rig.pass(100ms);
    if (rig.batches.empty()) return "nothing was sent";
    return lane.rows.size() == 1 ? "" : "a row was settled that no broker confirmed";
}

std::string late_commit_is_sent() {
    MemoryLane lane;
    Rig rig{lane};
    rig.pass(10ms);
    MemoryLane::Writer slow{lane};
    slow.append("a", "a1");
    lane.append("b", "b1");
    rig.pass(1s);
    if (rig.broker.arrived != std::vector<std::string>{"b1"}) return "a commit waited for an open transaction";
    slow.commit();
    rig.pass(1s);
    return rig.broker.arrived.size() == 2 ? "" : "the row that was committed late was never sent";
}

std::string position_is_forgotten_after_failover() {
    MemoryLane lane;
    Rig rig{lane};
    for (int row = 1; row <= 3; ++row) lane.append("a", "old");
    rig.pass(1s);
    if (!lane.rows.empty()) return "the rows before the failover were not sent";
    // The standby had not yet seen the last two commits: their numbers are given out again.
    lane.restart("system 1, timeline 2, start 2");
    lane.last_seq = 1;
    lane.append("a", "new");
    rig.pass(3s);
    return rig.broker.arrived.back() == "new" ? "" : "a row below the old position was not sent";
}

std::string paused_owner_sends_nothing() {
    MemoryLane lane;
    Rig paused{lane, "relay-1"};
    Rig other{lane, "relay-2"};
    paused.pass(100ms);
    lane.advance(6s);
    other.hold_batches = true;
    lane.append("a", "a1");
    other.pass(100ms);
    if (other.batches.empty()) return "the lane was not taken over";
    paused.now += 6s;
    paused.pass(500ms);
    return paused.broker.arrived.empty() ? "" : "the old owner sent although its lease had run out";
}

std::string successors_of_a_parked_key_wait() {
    MemoryLane lane;
    Rig rig{lane};
    rig.broker.judge = [](const Message& message) {
        return PublishOutcome{.status = message.body == "a1" ? PublishStatus::rejected : PublishStatus::confirmed,
                              .error = bad()};
    };
    lane.append("a", "a1");
    rig.pass(100ms);
    lane.append("a", "a2");
    lane.append("b", "b1");
    rig.pass(1s);
    if (rig.broker.arrived != std::vector<std::string>{"b1"}) return "not exactly the other key's row was sent";
    return lane.rows.empty() && lane.lot.size() == 2 ? "" : "the key's rows are not in the lot";
}

struct Promise {
    const char* mutant;
    std::string (*scenario)();
};

class Promises : public ::testing::TestWithParam<Promise> {
protected:
    void TearDown() override { activate_mutant(""); }
};

TEST_P(Promises, Hold) { EXPECT_EQ(GetParam().scenario(), ""); }

TEST_P(Promises, AreSeenBroken) {
    activate_mutant(GetParam().mutant);
    EXPECT_NE(GetParam().scenario(), "");
}

INSTANTIATE_TEST_SUITE_P(Relay, Promises,
                         ::testing::Values(Promise{"settle_before_confirm", row_stays_until_confirmed},
                                           Promise{"naive_cursor", late_commit_is_sent},
                                           Promise{"gap_forgotten_early", late_commit_is_sent},
                                           Promise{"position_trusted_after_failover", position_is_forgotten_after_failover},
                                           Promise{"lease_never_fenced", paused_owner_sends_nothing},
                                           Promise{"successor_overtakes_parked_key", successors_of_a_parked_key_wait}),
                         [](const auto& promise) { return std::string{promise.param.mutant}; });

}  // namespace
}  // namespace hufu::outbox::testing
