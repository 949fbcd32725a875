// The ladder with its threads, on the machine's clock: what a broker refuses is buffered, and comes back in order.
#include <hufu/degradation/buffering_publisher.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>

#include <hufu/testing/memory_buffer.hpp>

namespace hufu::degradation {
namespace {

using namespace std::chrono_literals;

/// A broker that can be away.
class Broker final : public Publisher {
public:
    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        {
            const std::lock_guard lock{mutex_};
            for (std::size_t i = 0; i < batch.size(); ++i) {
                if (away) {
                    outcomes[i] = {.status = PublishStatus::not_sent,
                                   .error = {ErrorCode::unavailable, Disposition::retry, "connection refused"}};
                } else {
                    outcomes[i].status = PublishStatus::confirmed;
                    bodies_.push_back(batch[i].body);
                }
            }
        }
        done();
    }
    [[nodiscard]] std::vector<std::string> bodies() {
        const std::lock_guard lock{mutex_};
        return bodies_;
    }
    std::atomic<bool> away = false;

private:
    std::mutex mutex_;
    std::vector<std::string> bodies_;  // guarded by mutex_
};

class Shared final : public Publisher {
public:
    explicit Shared(Broker& broker) : broker_{broker} {}
    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        broker_.publish(batch, outcomes, std::move(done));
    }

private:
    Broker& broker_;
};

PublishOutcome publish(Publisher& publisher, const std::string& body, const std::string& key = "k") {
    static std::uint8_t last = 0;
    const std::vector<Message> batch{{.id = MessageId{{1, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, ++last}},
                                      .topic = "orders",
                                      .ordering_key = key,
                                      .body = body}};
    std::vector<PublishOutcome> outcomes(1);
    std::promise<void> done;
    publisher.publish(batch, outcomes, [&done] { done.set_value(); });
    done.get_future().wait();
    return outcomes[0];
}

TEST(BufferingPublisher, BuffersWhatTheBrokerRefusesAndReplaysItInOrder) {
    Broker broker;
    Ladder ladder;
    ladder.brokers.push_back(std::make_unique<Shared>(broker));
    ladder.rungs.push_back({std::make_unique<testing::MemoryBuffer>(system_clock()), {.name = "redis"}});
    BufferingPublisher publisher{std::move(ladder)};
    EXPECT_EQ(publish(publisher, "1").status, PublishStatus::confirmed);
    EXPECT_THAT(broker.bodies(), ::testing::ElementsAre("1"));

    broker.away = true;
    for (const auto* body : {"2", "3", "4"}) {
        const auto outcome = publish(publisher, body);
        EXPECT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
        EXPECT_EQ(outcome.broker_id, "buffer:redis");
    }
    EXPECT_TRUE(publisher.status().degraded);
    EXPECT_THAT(broker.bodies(), ::testing::ElementsAre("1"));

    broker.away = false;
    EXPECT_EQ(publish(publisher, "5").status, PublishStatus::confirmed);
    for (int i = 0; i < 1'000 && broker.bodies().size() < 5; ++i) {
        system_clock().sleep_until(system_clock().steady_now() + 10ms, {});
    }
    EXPECT_THAT(broker.bodies(), ::testing::ElementsAre("1", "2", "3", "4", "5"));
}

TEST(BufferingPublisher, ARungThatMayLoseMoreThanATopicToleratesIsPassedOver) {
    Broker broker;
    broker.away = true;
    Ladder ladder;
    ladder.brokers.push_back(std::make_unique<Shared>(broker));
    ladder.rungs.push_back({std::make_unique<testing::MemoryBuffer>(system_clock(), Loss::everything), {.name = "redis"}});
    ladder.rungs.push_back({std::make_unique<testing::MemoryBuffer>(system_clock()), {.name = "journal"}});
    BufferingPublisher publisher{std::move(ladder)};
    EXPECT_EQ(publish(publisher, "1").broker_id, "buffer:journal");
}

TEST(BufferingPublisher, BehindABufferThatIsAwayOnlyWhatHasNoKeyIsReplayed) {
    Broker broker;
    broker.away = true;
    auto shared = std::make_unique<testing::MemoryBuffer>(system_clock());
    testing::MemoryBuffer& redis = *shared;
    redis.go_away();
    Ladder ladder;
    ladder.brokers.push_back(std::make_unique<Shared>(broker));
    ladder.rungs.push_back({std::move(shared), {.name = "redis"}});
    ladder.rungs.push_back({std::make_unique<testing::MemoryBuffer>(system_clock()), {.name = "journal"}});
    BufferingPublisher publisher{std::move(ladder)};
    for (const auto* body : {"1", "2", "3"}) EXPECT_EQ(publish(publisher, body, "").broker_id, "buffer:journal");
    EXPECT_EQ(publish(publisher, "4", "k").broker_id, "buffer:journal");
    EXPECT_EQ(publish(publisher, "5", "").broker_id, "buffer:journal");
    broker.away = false;
    const auto arrive = [&](std::size_t number) {
        for (int i = 0; i < 2'000 && broker.bodies().size() < number; ++i) {
            system_clock().sleep_until(system_clock().steady_now() + 10ms, {});
        }
        return broker.bodies();
    };
    EXPECT_THAT(arrive(3), ::testing::ElementsAre("1", "2", "3"));
    redis.come_back();
    EXPECT_THAT(arrive(5), ::testing::ElementsAre("1", "2", "3", "4", "5"));
}

TEST(BufferingPublisher, SaysSoWhenNothingTakesAMessage) {
    Broker broker;
    broker.away = true;
    Ladder ladder;
    ladder.brokers.push_back(std::make_unique<Shared>(broker));
    BufferingPublisher publisher{std::move(ladder)};
    EXPECT_NE(publish(publisher, "1").status, PublishStatus::confirmed);
    EXPECT_THROW(BufferingPublisher{Ladder{}}, Exception);
}

}  // namespace
}  // namespace hufu::degradation
