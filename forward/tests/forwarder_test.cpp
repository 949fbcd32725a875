#include <hufu/forward/forwarder.hpp>

#include <gtest/gtest.h>

#include <thread>

#include <hufu/core/ids.hpp>
#include <hufu/testing/queued_subscription.hpp>
#include <hufu/testing/recording_publisher.hpp>

namespace hufu::forward {
namespace {

/// Answers when it is told to, from the test's thread.
class SlowPublisher final : public Publisher {
public:
    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        const std::lock_guard lock{mutex_};
        started_ += batch.size();
        waiting_.push_back([outcomes, done = std::move(done)] {
            for (auto& outcome : outcomes) outcome.status = PublishStatus::confirmed;
            done();
        });
        changed_.notify_all();
    }
    void wait_for(std::size_t messages) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return started_ >= messages; });
    }
    void answer() {
        std::vector<std::function<void()>> all;
        {
            const std::lock_guard lock{mutex_};
            all.swap(waiting_);
        }
        for (const auto& one : all) one();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::function<void()>> waiting_;
    std::size_t started_ = 0;
};

Delivery delivery(const std::string& key, const std::string& body, std::uint64_t position) {
    static MessageIdGenerator ids{system_clock(), system_random()};
    Delivery made;
    made.message = {.id = ids.next(), .topic = "orders", .ordering_key = key, .body = body};
    made.tag = {.queue = 0, .position = position, .session = 1};
    return made;
}

ForwardOptions options() {
    return {.group = "g", .retry = RetrySchedule::capped(std::chrono::milliseconds{1}, std::chrono::milliseconds{2})};
}

TEST(Forwarder, CarriesRetriesAndParks) {
    testing::QueuedSubscription source;
    testing::RecordingPublisher target;
    testing::RecordingPublisher dead_letters;
    MetricsRegistry metrics;
    target.answer_next({.status = PublishStatus::in_doubt});
    Forwarder forwarder{source, target, dead_letters, options(), {.metrics = &metrics}};
    std::jthread running{[&](const std::stop_token& stop) { EXPECT_TRUE(forwarder.run(stop)); }};
    source.add(delivery("a", "1", 1));
    source.wait_for_acknowledged(1);
    EXPECT_EQ(target.tried().size(), 2U);
    target.answer_next({.status = PublishStatus::rejected, .error = Error{ErrorCode::too_large, Disposition::reject, "x"}});
    source.add(delivery("a", "2", 2));
    source.wait_for_acknowledged(2);
    ASSERT_EQ(dead_letters.confirmed().size(), 1U);
    EXPECT_EQ(dead_letters.confirmed()[0].body, "2");
    source.add(delivery("b", "3", 3));
    source.wait_for_acknowledged(3);
    running.request_stop();
    running.join();
    EXPECT_EQ(forwarder.figures().forwarded, 2U);
    EXPECT_EQ(forwarder.figures().dead, 1U);
    EXPECT_NE(metrics.text().find("hufu_forward_forwarded_total{group=\"g\"} 2"), std::string::npos) << metrics.text();
    EXPECT_TRUE(forwarder.reopen({"orders", "a"}));
}

TEST(Forwarder, AStopWaitsForWhatIsUnderWay) {
    testing::QueuedSubscription source;
    SlowPublisher target;
    testing::RecordingPublisher dead_letters;
    Forwarder forwarder{source, target, dead_letters, options()};
    std::jthread running{[&](const std::stop_token& stop) { EXPECT_TRUE(forwarder.run(stop)); }};
    source.add(delivery("a", "1", 1));
    target.wait_for(1);
    running.request_stop();
    EXPECT_TRUE(source.acknowledged().empty());
    target.answer();
    running.join();
    EXPECT_EQ(source.acknowledged().size(), 1U);
}

TEST(Forwarder, ASubscriptionThatFailsEndsIt) {
    testing::QueuedSubscription source;
    testing::RecordingPublisher target;
    Forwarder forwarder{source, target, target, options()};
    source.fail(Error{ErrorCode::fenced, Disposition::fatal, "gone"});
    const auto ended = forwarder.run({});
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code(), ErrorCode::fenced);
}

TEST(Forwarder, RefusesOptionsThatMakeNoSense) {
    testing::QueuedSubscription source;
    testing::RecordingPublisher target;
    EXPECT_THROW((Forwarder{source, target, target, {}}), Exception);
}

}  // namespace
}  // namespace hufu::forward
