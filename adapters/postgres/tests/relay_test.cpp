#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <hufu/core/metrics.hpp>
#include <hufu/outbox/relay.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/store.hpp>
#include <hufu/postgres/transaction.hpp>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using namespace std::chrono_literals;

/// Confirms at once and remembers. The test waits on what has arrived.
class RecordingPublisher final : public Publisher {
public:
    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        {
            const std::lock_guard lock{mutex_};
            for (std::size_t i = 0; i < batch.size(); ++i) {
                outcomes[i].status = PublishStatus::confirmed;
                if (seen_.insert(batch[i].body).second) bodies_[batch[i].ordering_key].push_back(batch[i].body);
                ++sent_;
            }
        }
        arrived_.notify_all();
        done();
    }

    /// Different bodies so far reach `count` within a minute.
    bool wait_for(std::size_t count) {
        std::unique_lock lock{mutex_};
        return arrived_.wait_for(lock, 60s, [&] { return seen_.size() >= count; });
    }
    std::size_t distinct() {
        const std::lock_guard lock{mutex_};
        return seen_.size();
    }
    /// First arrivals per key.
    std::map<std::string, std::vector<std::string>> bodies() {
        const std::lock_guard lock{mutex_};
        return bodies_;
    }

private:
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::set<std::string> seen_;                              // guarded by mutex_
    std::map<std::string, std::vector<std::string>> bodies_;  // guarded by mutex_
    std::size_t sent_ = 0;                                    // guarded by mutex_
};

outbox::RelayOptions quick() {
    outbox::RelayOptions options;
    options.lease = 1000ms;
    options.lease_margin = 300ms;
    options.renew_every = 100ms;
    options.poll_max = 20ms;
    options.delayed_poll = 20ms;
    options.page_rows = 200;
    options.store_retry = RetrySchedule::capped(10ms, 100ms);
    return options;
}

class RunningRelay {
public:
    RunningRelay(const std::string& url, Publisher& publisher)
        : store_{url},
          relay_{store_, publisher, quick(), system_clock(), system_random(), metrics_},
          thread_{[this](const std::stop_token& stop) { result_ = relay_.run(stop); }} {}
    ~RunningRelay() { (void)stop(); }
    Result<void> stop() {
        thread_.request_stop();
        if (thread_.joinable()) thread_.join();
        return result_;
    }

private:
    Store store_;
    MetricsRegistry metrics_;
    outbox::Relay relay_;
    Result<void> result_;
    std::jthread thread_;
};

/// "key:0001" … in one transaction.
void append_numbered(Connection& connection, const std::string& key, int from, int count) {
    Transaction transaction{connection};
    std::vector<Message> messages;
    for (int i = from; i < from + count; ++i) {
        const auto number = std::to_string(100000 + i);
        messages.push_back(message("orders", key, key + ":" + number));
    }
    transaction.append(messages);
    transaction.commit();
}

void expect_each_key_in_order(RecordingPublisher& publisher, int count) {
    for (const auto& [key, bodies] : publisher.bodies()) {
        EXPECT_EQ(bodies.size(), static_cast<std::size_t>(count)) << key;
        EXPECT_TRUE(std::is_sorted(bodies.begin(), bodies.end())) << key;
    }
}

TEST(Relay, LosesAndReordersNothingBesideRollbacksAndATransactionHeldOpen) {
    const auto url = migrated_database();
    auto holder = connect(url);
    Transaction held{*holder};
    held.append(message("orders", "held", "held:1"));
    (void)held.query("select 1");  // its sequence number is drawn and invisible from here on

    RecordingPublisher publisher;
    RunningRelay relay{url, publisher};
    constexpr int writers = 4;
    constexpr int transactions = 60;
    {
        std::vector<std::jthread> threads;
        for (int writer = 0; writer < writers; ++writer) {
            threads.emplace_back([&url, writer] {
                auto connection = connect(url);
                for (int i = 0; i < transactions; ++i) {
                    if (i % 7 == 3) {  // leaves a hole for ever
                        Transaction undone{*connection};
                        undone.append(message("orders", "undone", "undone"));
                        (void)undone.query("select 1");
                    }
                    append_numbered(*connection, "key-" + std::to_string(writer), i * 5, 5);
                }
            });
        }
    }
    ASSERT_TRUE(publisher.wait_for(writers * transactions * 5));
    EXPECT_EQ(publisher.bodies().count("held"), 0U);
    expect_each_key_in_order(publisher, transactions * 5);
    held.commit();
    ASSERT_TRUE(publisher.wait_for(writers * transactions * 5 + 1));
    EXPECT_EQ(publisher.bodies().count("undone"), 0U);
    EXPECT_TRUE(relay.stop());
    EXPECT_EQ(Store{url}.status().value().pending, 0U);
}

TEST(Relay, GoesOnAfterTheServerRestarts) {
    test_support::PostgresServer own;
    const auto url = own.create_database();
    migrate(url).value();
    RecordingPublisher publisher;
    RunningRelay relay{url, publisher};
    int count = 0;
    for (const auto mode : {test_support::StopMode::fast, test_support::StopMode::immediate, test_support::StopMode::kill}) {
        append_numbered(*connect(url), "key", count, 500);
        count += 500;
        own.restart(mode);
    }
    append_numbered(*connect(url), "key", count, 10);
    const bool all = publisher.wait_for(static_cast<std::size_t>(count) + 10);
    const auto ended = relay.stop();
    ASSERT_TRUE(all) << (ended ? "the relay ran on" : ended.error().text());
    expect_each_key_in_order(publisher, count + 10);
    EXPECT_TRUE(ended);
}

TEST(Relay, GoesOnAfterABackendIsKilled) {
    test_support::PostgresServer own;
    const auto url = own.create_database();
    migrate(url).value();
    RecordingPublisher publisher;
    RunningRelay relay{url, publisher};
    append_numbered(*connect(url), "key", 0, 300);
    ASSERT_TRUE(publisher.wait_for(300));
    const auto pid = own.query("select pid from pg_stat_activity where application_name = 'hufu-reader'");
    ASSERT_FALSE(pid.empty());
    const auto identity = [&] {
        const auto start = Store{url}.reader()->start();
        return start ? start->identity : std::string{};
    };
    const auto before = identity();
    ::kill(std::stoi(pid), SIGKILL);
    // The whole server recovers, which is another history: unflushed numbers may be handed out again.
    for (std::string now = before; now.empty() || now == before;) now = identity();
    append_numbered(*connect(url), "key", 300, 300);
    ASSERT_TRUE(publisher.wait_for(600));
    expect_each_key_in_order(publisher, 600);
}

TEST(Relay, ForgetsItsPositionWhenTheDatabaseHasForgotten) {
    test_support::PostgresServer own;
    const auto url = own.create_database();
    migrate(url).value();
    own.stop();
    own.save_copy();
    own.start();
    RecordingPublisher publisher;
    RunningRelay relay{url, publisher};
    append_numbered(*connect(url), "key", 0, 400);
    ASSERT_TRUE(publisher.wait_for(400));
    own.stop();
    own.restore_copy();
    own.start();
    // Their sequence numbers lie below what the relay has read in the other history.
    append_numbered(*connect(url), "new", 0, 5);
    ASSERT_TRUE(publisher.wait_for(405));
    EXPECT_EQ(publisher.bodies().at("new").size(), 5U);
}

TEST(Relay, TwoOnOneLaneTakeTurnsWithoutLoss) {
    const auto url = migrated_database();
    RecordingPublisher publisher;
    RunningRelay first{url, publisher};
    RunningRelay second{url, publisher};
    auto connection = connect(url);
    int count = 0;
    for (int turn = 0; turn < 3; ++turn) {
        append_numbered(*connection, "key", count, 300);
        count += 300;
        // Someone takes the lane and is gone at once: the owner is fenced, and one of the two comes back.
        connection->run("update hufu.lane set epoch = epoch + 1, owner = 'thief', lease_until = clock_timestamp()").value();
        append_numbered(*connection, "key", count, 300);
        count += 300;
    }
    ASSERT_TRUE(publisher.wait_for(static_cast<std::size_t>(count)));
    expect_each_key_in_order(publisher, count);
    EXPECT_TRUE(first.stop());
    append_numbered(*connection, "key", count, 10);
    ASSERT_TRUE(publisher.wait_for(static_cast<std::size_t>(count) + 10));
    EXPECT_TRUE(second.stop());
    EXPECT_EQ(Store{url}.status().value().pending, 0U);
}

TEST(Relay, DeliversAtTheTimeAskedForByTheDatabasesClock) {
    const auto url = migrated_database();
    auto connection = connect(url);
    Transaction transaction{*connection};
    Message later = message("orders", "key", "later");
    later.deliver_at = system_clock().system_now() + 300ms;
    transaction.append(later);
    transaction.append(message("orders", "key", "now"));
    transaction.commit();
    RecordingPublisher publisher;
    RunningRelay relay{url, publisher};
    ASSERT_TRUE(publisher.wait_for(2));
    EXPECT_GE(system_clock().system_now(), *later.deliver_at);
    EXPECT_THAT(publisher.bodies().at("key"), testing::ElementsAre("now", "later"));
}

}  // namespace
}  // namespace hufu::postgres
