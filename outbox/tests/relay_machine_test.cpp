#include <gtest/gtest.h>
#include <hufu/outbox/relay_machine.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "rig.hpp"

namespace hufu::outbox::testing {
namespace {

using namespace std::chrono_literals;
using Bodies = std::vector<std::string>;

const AuditNote note{.who = "ops", .why = "broker fixed"};
const Key key_a{.topic = "orders", .ordering_key = "a"};

PublishOutcome confirmed() { return {.status = PublishStatus::confirmed}; }

TEST(Relay, SendsABacklogInOrderOnceAndSettlesIt) {
    MemoryLane lane;
    Bodies of_key;
    Bodies without_key;
    for (int row = 0; row < 5'000; ++row) {
        const bool loose = row % 3 == 0;
        lane.append(loose ? "" : "a", std::to_string(row));
        (loose ? without_key : of_key).push_back(std::to_string(row));
    }
    Rig rig{lane};
    rig.pass(1s);
    Bodies arrived_of_key;
    Bodies arrived_without_key;
    for (const auto& body : rig.broker.arrived) {
        (std::stoi(body) % 3 == 0 ? arrived_without_key : arrived_of_key).push_back(body);
    }
    EXPECT_EQ(arrived_of_key, of_key);
    EXPECT_EQ(arrived_without_key, without_key);
    EXPECT_TRUE(lane.rows.empty());
    EXPECT_EQ(rig.machine.figures().settled, 5'000U);
    EXPECT_EQ(rig.machine.figures().rows_held, 0U);
    EXPECT_EQ(rig.machine.figures().bytes_held, 0U);
}

TEST(Relay, SendsFromTheFirstUnconfirmedRowAgain) {
    MemoryLane lane;
    Rig rig{lane};
    int failures = 2;
    rig.broker.judge = [&](const Message& message) {
        if (message.body == "a2" && failures-- > 0)
            return PublishOutcome{.status = PublishStatus::in_doubt, .error = away()};
        return confirmed();
    };
    for (const char* body : {"a1", "a2", "a3"}) lane.append("a", body);
    lane.append("b", "b1");
    rig.settle_down();
    EXPECT_EQ(rig.broker.arrived, (Bodies{"a1", "b1"}));
    lane.append("a", "a4");
    rig.pass(2s);
    EXPECT_EQ(rig.broker.arrived, (Bodies{"a1", "b1", "a2", "a3", "a4"}));
    EXPECT_TRUE(lane.rows.empty());
    EXPECT_EQ(rig.machine.figures().resent, 3U);  // a2 twice, a3 once
}

TEST(Relay, ParksNothingWhileTheBrokerIsAway) {
    MemoryLane lane;
    Rig rig{lane};
    bool down = true;
    rig.broker.judge = [&](const Message&) {
        return down ? PublishOutcome{.status = PublishStatus::not_sent, .error = away()} : confirmed();
    };
    for (const char* body : {"a1", "a2"}) lane.append("a", body);
    lane.append("", "loose");
    rig.pass(60s);
    EXPECT_TRUE(lane.lot.empty());
    down = false;
    rig.pass(2s);
    EXPECT_EQ(rig.broker.arrived.size(), 3U);
    EXPECT_TRUE(lane.rows.empty());
}

TEST(Relay, ParksAKeyAfterItsLastAttemptAndSendsItInOrderWhenReleased) {
    MemoryLane lane;
    Rig rig{lane};
    bool broken = true;
    rig.broker.judge = [&](const Message& message) {
        return broken && message.body == "a1" ? PublishOutcome{.status = PublishStatus::not_sent, .error = bad()}
                                              : confirmed();
    };
    for (const char* body : {"a1", "a2"}) lane.append("a", body);
    rig.pass(5s);
    ASSERT_EQ(lane.lot.size(), 2U);
    EXPECT_EQ(lane.lot.at(1).attempts, 3U);
    EXPECT_EQ(lane.lot.at(1).reason, "the broker stumbled");
    EXPECT_EQ(lane.lot.at(2).reason, "waits behind row 1");
    EXPECT_EQ(rig.machine.figures().keys_parked, 1U);
    lane.append("a", "a3");
    rig.pass(1s);
    EXPECT_EQ(lane.lot.size(), 3U);

    broken = false;
    ASSERT_EQ(rig.lot->release({.key = key_a}, note).value(), 3U);
    lane.append("a", "a4");
    rig.pass(2s);
    lane.append("a", "a5");
    rig.pass(1s);
    EXPECT_EQ(rig.broker.arrived, (Bodies{"a1", "a2", "a3", "a4", "a5"}));
    EXPECT_TRUE(lane.lot.empty());
    EXPECT_TRUE(lane.rows.empty());
    EXPECT_EQ(rig.machine.figures().keys_parked, 0U);
}

TEST(Relay, HoldsAReleasedKeyThatFailsAgain) {
    MemoryLane lane;
    Rig rig{lane};
    rig.broker.judge = [](const Message& message) {
        return message.body == "a1" ? PublishOutcome{.status = PublishStatus::rejected, .error = bad()} : confirmed();
    };
    for (const char* body : {"a1", "a2"}) lane.append("a", body);
    rig.pass(1s);
    ASSERT_EQ(rig.lot->release({.key = key_a}, note).value(), 2U);
    rig.pass(2s);
    EXPECT_TRUE(rig.broker.arrived.empty());
    ASSERT_EQ(lane.lot.size(), 2U);
    EXPECT_FALSE(lane.lot.at(1).released || lane.lot.at(2).released);
    // The poison row is thrown away; the rest can go.
    ASSERT_EQ(rig.lot->discard({.key = key_a, .seq = 1}, note).value(), 1U);
    ASSERT_EQ(rig.lot->release({.key = key_a}, note).value(), 1U);
    rig.pass(2s);
    EXPECT_EQ(rig.broker.arrived, Bodies{"a2"});
}

TEST(Relay, OpensAKeyWhoseRowsWereAllDiscarded) {
    MemoryLane lane;
    Rig rig{lane};
    rig.broker.judge = [](const Message& message) {
        return message.body == "a1" ? PublishOutcome{.status = PublishStatus::rejected, .error = bad()} : confirmed();
    };
    lane.append("a", "a1");
    rig.pass(1s);
    ASSERT_EQ(rig.lot->discard({.key = key_a}, note).value(), 1U);
    rig.pass(1s);
    lane.append("a", "a2");
    rig.pass(1s);
    EXPECT_EQ(rig.broker.arrived, Bodies{"a2"});
}

TEST(Relay, ParksAndReleasesRowsWithoutAKeyOneByOne) {
    MemoryLane lane;
    Rig rig{lane};
    bool broken = true;
    rig.broker.judge = [&](const Message& message) {
        return broken && message.body != "y" ? PublishOutcome{.status = PublishStatus::rejected, .error = bad()}
                                             : confirmed();
    };
    for (const char* body : {"x", "y", "z"}) lane.append("", body);
    rig.pass(1s);
    EXPECT_EQ(rig.broker.arrived, Bodies{"y"});
    EXPECT_EQ(lane.lot.size(), 2U);
    broken = false;
    ASSERT_EQ(rig.lot->release({.key = {.topic = "orders", .ordering_key = {}}, .seq = 3}, note).value(), 1U);
    rig.pass(2s);
    EXPECT_EQ(rig.broker.arrived, (Bodies{"y", "z"}));
    EXPECT_EQ(lane.lot.size(), 1U);
}

TEST(Relay, FindsParkedKeysAtItsStart) {
    MemoryLane lane;
    {
        Rig first{lane};
        first.broker.judge = [](const Message&) {
            return PublishOutcome{.status = PublishStatus::rejected, .error = bad()};
        };
        lane.append("a", "a1");
        first.pass(1s);
        first.machine.stop();
        first.pass(1s);
        EXPECT_TRUE(first.finished);
    }
    lane.append("a", "a2");
    Rig second{lane, "relay-2"};
    second.pass(1s);
    EXPECT_TRUE(second.broker.arrived.empty());
    EXPECT_EQ(lane.lot.size(), 2U);
}

TEST(Relay, LetsOthersFlowWhenAFailingKeyFillsItsMemory) {
    MemoryLane lane;
    Rig rig{lane, "relay-1", [](RelayOptions& options) {
                options.page_rows = 10;
                options.window_rows = 40;
            }};
    bool down = true;
    rig.broker.judge = [&](const Message& message) {
        return down && message.ordering_key == "a" ? PublishOutcome{.status = PublishStatus::not_sent, .error = away()}
                                                   : confirmed();
    };
    Bodies of_a;
    for (int row = 0; row < 300; ++row) {
        of_a.push_back("a" + std::to_string(row));
        lane.append("a", of_a.back());
        lane.append("b", "b");
    }
    rig.pass(10s);
    EXPECT_EQ(std::count(rig.broker.arrived.begin(), rig.broker.arrived.end(), "b"), 300);
    down = false;
    rig.pass(10s);
    std::erase(rig.broker.arrived, "b");
    EXPECT_EQ(rig.broker.arrived, of_a);
    EXPECT_TRUE(lane.rows.empty() && lane.lot.empty());
}

TEST(Relay, RepeatsASettleWhoseAnswerWasLost) {
    MemoryLane lane;
    Rig rig{lane};
    rig.pass(10ms);
    lane.lose_answer_of_settle = Error{ErrorCode::unavailable, Disposition::in_doubt, "connection lost"};
    lane.append("a", "a1");
    rig.pass(2s);
    EXPECT_EQ(rig.broker.arrived, Bodies{"a1"});
    EXPECT_EQ(rig.machine.figures().rows_held, 0U);
    EXPECT_EQ(rig.machine.figures().store_errors, 1U);
}

TEST(Relay, StopsForAFatalErrorAndSaysWhich) {
    MemoryLane lane;
    Rig rig{lane};
    lane.fail_next = Error{ErrorCode::wrong_version, Disposition::fatal, "schema 3 is newer than this program"};
    rig.pass(1s);
    EXPECT_TRUE(rig.finished);
    ASSERT_TRUE(rig.machine.error());
    EXPECT_EQ(rig.machine.error()->code(), ErrorCode::wrong_version);
}

TEST(Relay, SettlesWhatIsConfirmedAndReleasesTheLaneWhenStopped) {
    MemoryLane lane;
    Rig rig{lane};
    rig.hold_batches = true;
    lane.append("a", "a1");
    rig.pass(50ms);
    ASSERT_EQ(rig.batches.size(), 1U);
    rig.machine.stop();
    lane.append("a", "a2");
    rig.pass(50ms);
    EXPECT_FALSE(rig.finished);
    rig.broker.answer(*rig.batches.front());
    rig.give_back();
    rig.pass(50ms);
    EXPECT_TRUE(rig.finished);
    EXPECT_EQ(lane.rows.size(), 1U);
    EXPECT_LT(lane.lease_until, lane.now);
}

TEST(Relay, StandsByAndTakesOverWithoutLossOrReordering) {
    MemoryLane lane;
    Rig first{lane, "relay-1"};
    Rig second{lane, "relay-2"};
    first.pass(100ms);
    first.hold_batches = true;
    lane.append("a", "a1");
    first.pass(100ms);
    second.pass(1s);
    EXPECT_TRUE(second.broker.arrived.empty());
    // The first owner dies here.
    lane.append("a", "a2");
    second.pass(8s);
    EXPECT_EQ(second.broker.arrived, (Bodies{"a1", "a2"}));
    EXPECT_EQ(second.machine.figures().epoch, 2U);
}

TEST(Relay, DoesNotSendARowAgainThatWasSettledWhileAPageWasUnderWay) {
    MemoryLane lane;
    MemoryLane::Writer open{lane};  // keeps the reader in existence mode
    lane.append("a", "a1");
    Rig rig{lane};
    rig.hold_settles = true;
    rig.pass(20ms);
    ASSERT_EQ(rig.settles.size(), 1U);
    // The next page is read, then the settle is answered, then the page arrives.
    rig.after_read = [&] {
        if (rig.settles.empty()) return;
        lane.rows.clear();
        rig.settles.clear();
        rig.machine.settle_done(Settled{.transaction = lane.draw_xid()}, rig.now);
    };
    rig.pass(2s);
    EXPECT_EQ(rig.broker.arrived, Bodies{"a1"});
    open.commit();
}

TEST(Relay, MovesDelayedRowsWhenTheyAreDue) {
    MemoryLane lane;
    Row row{.seq = 0, .created_at = lane.now};
    row.message = {.topic = "orders", .body = "later"};
    lane.delayed.emplace(lane.now + 3s, row);
    Rig rig{lane};
    rig.pass(2s);
    EXPECT_TRUE(rig.broker.arrived.empty());
    rig.pass(1500ms);
    EXPECT_EQ(rig.broker.arrived, Bodies{"later"});
}

TEST(Relay, ReadsAtOnceWhenWoken) {
    MemoryLane lane;
    Rig rig{lane};
    rig.pass(5s);  // polls every 500 ms by now
    lane.append("a", "a1");
    rig.settle_down();
    EXPECT_TRUE(rig.broker.arrived.empty());
    rig.machine.wake();
    rig.settle_down();
    EXPECT_EQ(rig.broker.arrived, Bodies{"a1"});
}

TEST(Relay, StampsTheTimeOfAppend) {
    MemoryLane lane;
    Rig rig{lane};
    rig.hold_batches = true;
    lane.append("a", "a1");
    rig.pass(50ms);
    ASSERT_EQ(rig.batches.size(), 1U);
    EXPECT_EQ(rig.batches.front()->messages.front().headers.get(header::committed_at), "3600000000");
}

/// Writers that hold a key's row lock until they commit, a broker that fails, owners that come and go.
void random_run(std::uint64_t seed, bool commits_in_order) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random{seed};
    MemoryLane lane;
    lane.commits_in_order = commits_in_order;
    auto rig = std::make_unique<Rig>(lane, "relay-0");
    struct Open {
        MemoryLane::Writer writer;
        std::string key;
        std::string body;
    };
    std::vector<Open> open;
    std::map<std::string, int> version;
    std::map<std::string, Bodies> committed;
    Bodies arrived;
    bool clean = true;
    const auto judge = [&](const Message&) {
        if (random.below(50) != 0) return confirmed();
        return PublishOutcome{.status = random.below(2) == 0 ? PublishStatus::in_doubt : PublishStatus::not_sent,
                              .error = away()};
    };
    const auto collect = [&] {
        arrived.insert(arrived.end(), rig->broker.arrived.begin(), rig->broker.arrived.end());
        rig->broker.arrived.clear();
    };
    rig->broker.judge = judge;
    for (int step = 0; step < 400; ++step) {
        const std::string key = "k" + std::to_string(random.below(5));
        const bool locked = std::any_of(open.begin(), open.end(), [&](const Open& held) { return held.key == key; });
        if (!locked && open.size() < (commits_in_order ? 1U : 4U)) {
            open.push_back({MemoryLane::Writer{lane}, key, key + ":" + std::to_string(version[key] + 1)});
            open.back().writer.append(key, open.back().body);
        }
        if (!open.empty() && random.below(2) == 0) {
            const auto chosen = open.begin() + static_cast<std::ptrdiff_t>(random.below(open.size()));
            if (random.below(8) == 0) {
                chosen->writer.roll_back();
            } else {
                chosen->writer.commit();
                ++version[chosen->key];
                committed[chosen->key].push_back(chosen->body);
            }
            open.erase(chosen);
        }
        if (random.below(4) == 0) rig->pass(milliseconds{static_cast<std::int64_t>(random.below(30))});
        if (random.below(60) == 0) {
            collect();
            lane.restart("start " + std::to_string(step));
            for (Open& held : open) held.writer.roll_back();
            open.clear();
            clean = false;
        }
        if (random.below(80) == 0) {
            collect();
            rig = std::make_unique<Rig>(lane, "relay-" + std::to_string(step));
            rig->broker.judge = judge;
            lane.advance(6s);
            clean = false;
        }
    }
    for (Open& held : open) held.writer.roll_back();
    rig->broker.judge = [](const Message&) { return confirmed(); };
    rig->pass(20s);
    collect();
    EXPECT_TRUE(lane.rows.empty());
    EXPECT_EQ(rig->machine.figures().late_rows, 0U);
    std::map<std::string, Bodies> effects;
    std::set<std::string> seen;
    for (const std::string& body : arrived) {
        if (seen.insert(body).second) effects[body.substr(0, body.find(':'))].push_back(body);
    }
    EXPECT_EQ(effects, committed);
    if (clean) {
        EXPECT_EQ(seen.size(), arrived.size());
    }
}

TEST(Relay, KeepsItsPromisesOverRandomRuns) {
    for (std::uint64_t seed = 1; seed <= 60 && !::testing::Test::HasFailure(); ++seed) random_run(seed, seed % 4 == 0);
}

}  // namespace
}  // namespace hufu::outbox::testing
