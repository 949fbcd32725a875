// A ladder that runs over a Redis to which something happens meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>

#include <hufu/core/ids.hpp>
#include <hufu/core/random.hpp>
#include <hufu/degradation/buffering_publisher.hpp>
#include <hufu/redis/stream_buffer.hpp>
#include <hufu/test_support/redis_server.hpp>

namespace hufu {
namespace {

using degradation::Loss;
using std::chrono::milliseconds;
using std::chrono::seconds;

class Broker final : public Publisher {
public:
    Broker(const std::atomic<bool>& away, std::atomic<int>& confirmed) : away_{away}, confirmed_{confirmed} {}
    void publish(std::span<const Message>, std::span<PublishOutcome> outcomes, Done done) override {
        for (auto& outcome : outcomes) {
            if (away_) {
                outcome = {.status = PublishStatus::not_sent,
                           .error = {ErrorCode::unavailable, Disposition::retry, "connection refused"}};
            } else {
                outcome = {.status = PublishStatus::confirmed};
                ++confirmed_;
            }
        }
        done();
    }

private:
    const std::atomic<bool>& away_;
    std::atomic<int>& confirmed_;
};

class LadderRedis : public testing::Test {
protected:
    LadderRedis() {
        degradation::Ladder ladder;
        ladder.brokers.push_back(std::make_unique<Broker>(away_, confirmed_));
        auto buffer = std::make_unique<redis::StreamBuffer>(
            client_, redis::StreamBufferOptions{
                         .shards = 1, .on_loss = [this](const redis::BufferLoss& loss) { lost_ += loss.entries_max; }});
        ladder.rungs.push_back({std::move(buffer), {.name = "redis", .inspect_every = milliseconds{100}}});
        publisher_ = std::make_unique<degradation::BufferingPublisher>(std::move(ladder));
    }
    PublishOutcome publish(const std::string& key) {
        const std::vector<Message> messages{{.id = ids_.next(), .topic = "orders", .ordering_key = key, .body = "42"}};
        std::vector<PublishOutcome> outcomes(1);
        std::promise<void> done;
        publisher_->publish(messages, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        return outcomes[0];
    }
    static bool comes_true(const std::function<bool()>& condition) {
        Clock& clock = system_clock();
        const SteadyTime until = clock.steady_now() + seconds{20};
        while (!condition() && clock.steady_now() < until) clock.sleep_until(clock.steady_now() + milliseconds{5}, {});
        return condition();
    }
    [[nodiscard]] std::optional<Loss> loss() const {
        const auto statement = publisher_->status().rungs[0].statement;
        return statement ? std::optional{statement->loss} : std::nullopt;
    }

    test_support::RedisServer server_{{.durable = true}};
    redis::Client client_{server_.url()};
    MessageIdGenerator ids_{system_clock(), system_random()};
    std::atomic<std::uint64_t> lost_ = 0;
    std::atomic<bool> away_ = true;
    std::atomic<int> confirmed_ = 0;
    std::unique_ptr<degradation::BufferingPublisher> publisher_;
};

TEST_F(LadderRedis, NoticesWhatIsDeletedWhileItRunsAndLowersTheBarriers) {
    for (int i = 0; i < 5; ++i) EXPECT_EQ(publish("k").broker_id, "buffer:redis");
    server_.command({"DEL", "hufu:buffer:{default:0}:entries"});
    EXPECT_TRUE(comes_true([&] { return lost_ == 5; })) << lost_ << " reported";
    EXPECT_TRUE(comes_true([&] { return server_.command({"EXISTS", "hufu:buffer:{default:0}:epoch"}) == "0"; }));
}

TEST_F(LadderRedis, ReplaysWhatHasNoKeyAndBarsNobody) {
    EXPECT_EQ(publish("").broker_id, "buffer:redis");
    Clock& clock = system_clock();
    clock.sleep_until(clock.steady_now() + milliseconds{1'500}, {});  // its epoch was read meanwhile
    away_ = false;
    EXPECT_TRUE(comes_true([&] { return confirmed_ == 1; }));
    EXPECT_TRUE(comes_true([&] { return publisher_->status().rungs[0].size.entries == 0; }));
}

TEST_F(LadderRedis, NoticesSettingsThatAreChangedWhileItRuns) {
    EXPECT_EQ(loss(), Loss::nothing);
    EXPECT_EQ(publish("k").broker_id, "buffer:redis");
    server_.config_set("appendfsync", "everysec");
    EXPECT_TRUE(comes_true([&] { return loss() == Loss::last_second; }));
    EXPECT_EQ(publish("k").status, PublishStatus::not_sent) << "the topic needs more";
    server_.config_set("appendfsync", "always");
    EXPECT_TRUE(comes_true([&] { return loss() == Loss::nothing; }));
    EXPECT_EQ(publish("k").broker_id, "buffer:redis");
    server_.config_set("maxmemory", "100mb");
    server_.config_set("maxmemory-policy", "allkeys-lru");
    EXPECT_TRUE(comes_true([&] { return loss() == Loss::everything; }));
}

}  // namespace
}  // namespace hufu
