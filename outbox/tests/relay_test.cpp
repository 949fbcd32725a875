// The shell with its real threads, and the wake-up hints.
#include <gtest/gtest.h>
#include <hufu/outbox/migration.hpp>
#include <hufu/outbox/relay.hpp>

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "memory_lane.hpp"

namespace hufu::outbox::testing {
namespace {

using namespace std::chrono_literals;

class CountingPublisher final : public Publisher {
public:
    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        {
            const std::lock_guard lock{mutex_};
            for (std::size_t index = 0; index < batch.size(); ++index) {
                outcomes[index].status = PublishStatus::confirmed;
                bodies_.push_back(batch[index].body);
            }
            arrived_.notify_all();
        }
        done();
    }
    std::vector<std::string> wait_for(std::size_t count) {
        std::unique_lock lock{mutex_};
        arrived_.wait(lock, [&] { return bodies_.size() >= count; });
        return bodies_;
    }

private:
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::vector<std::string> bodies_;
};

TEST(RelayShell, CarriesRowsUntilItIsStopped) {
    MemoryLane lane;
    MemoryStore store{lane};
    std::vector<std::string> expected;
    for (int row = 0; row < 3'000; ++row) {
        expected.push_back(std::to_string(row));
        lane.append("a", expected.back());
    }
    CountingPublisher publisher;
    MetricsRegistry metrics;
    Relay relay{store, publisher, {}, system_clock(), system_random(), metrics};
    std::jthread runner{[&](const std::stop_token& stop) { EXPECT_TRUE(relay.run(stop).has_value()); }};
    EXPECT_EQ(publisher.wait_for(3'000), expected);
    lane.append("a", "woken");
    relay.wake();
    EXPECT_EQ(publisher.wait_for(3'001).back(), "woken");
    runner.request_stop();
    runner.join();
    EXPECT_TRUE(lane.rows.empty());
    EXPECT_LT(lane.lease_until, lane.now);
    EXPECT_EQ(metrics.counter("hufu_relay_settled_total", "").value(), 3'001U);
}

TEST(RelayShell, EndsWithTheErrorThatStopsIt) {
    MemoryLane lane;
    lane.fail_next = Error{ErrorCode::wrong_version, Disposition::fatal, "schema is newer"};
    MemoryStore store{lane};
    CountingPublisher publisher;
    MetricsRegistry metrics;
    Relay relay{store, publisher, {}, system_clock(), system_random(), metrics};
    const auto result = relay.run({});
    ASSERT_TRUE(result.has_error());
    EXPECT_EQ(result.error().code(), ErrorCode::wrong_version);
}

TEST(RelayShell, RefusesOptionsThatDoNotFit) {
    MemoryLane lane;
    MemoryStore store{lane};
    CountingPublisher publisher;
    MetricsRegistry metrics;
    Relay relay{store, publisher, {.lease = 1'000ms, .lease_margin = 2'000ms}, system_clock(), system_random(), metrics};
    const auto result = relay.run({});
    ASSERT_TRUE(result.has_error());
    EXPECT_EQ(result.error().text(), "relay: lease_margin (2000 ms) must be shorter than lease (1000 ms)");
}

class Flag final : public WakeHint {
public:
    void wake() noexcept override {
        const std::lock_guard lock{mutex_};
        raised_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return raised_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool raised_ = false;
};

TEST(DatagramHint, ReachesEveryReceiverOfItsLane) {
    const std::string lane = "hint test " + std::to_string(::getpid());
    DatagramHint hint{lane};
    hint.wake();  // nobody listens: fine
    Flag first;
    Flag second;
    const auto one = DatagramHintReceiver::open(lane, first);
    const auto two = DatagramHintReceiver::open(lane, second);
    ASSERT_TRUE(one.has_value() && two.has_value());
    hint.wake();
    first.wait();
    second.wait();
}

TEST(DatagramHint, SaysWhenTooManyListen) {
    const std::string lane = "full lane " + std::to_string(::getpid());
    Flag flag;
    std::vector<Result<std::unique_ptr<DatagramHintReceiver>>> receivers;
    for (int count = 0; count < 4; ++count) receivers.push_back(DatagramHintReceiver::open(lane, flag));
    EXPECT_EQ(DatagramHintReceiver::open(lane, flag).error().code(), ErrorCode::busy);
}

TEST(Migration, IsPrintedForReview) {
    const std::vector<Migration> steps{{.number = 1, .name = "create_outbox", .statements = {"create table a(b int)"}}};
    EXPECT_EQ(printed(steps), "-- 1: create_outbox\ncreate table a(b int);\n\n");
    EXPECT_EQ(latest_version(steps), 1);
}

}  // namespace
}  // namespace hufu::outbox::testing
