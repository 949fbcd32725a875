#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/consumer.hpp>
#include <hufu/testing/fake_clock.hpp>
#include <hufu/testing/queued_subscription.hpp>
#include <hufu/testing/recording_publisher.hpp>

#include <atomic>
#include <future>
#include <map>
#include <thread>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::FakeClock;
using ::testing::HasSubstr;
using testing::QueuedSubscription;
using testing::RecordingPublisher;
using ::testing::SizeIs;

Delivery delivery(std::uint64_t position, std::string ordering_key = {}, std::uint64_t queue = 1) {
    return {.message = {.id = MessageId{{static_cast<std::uint8_t>(position), 1}},
                        .topic = "orders",
                        .ordering_key = std::move(ordering_key)},
            .tag = {.queue = queue, .position = position, .session = 1}};
}

class ConsumerTest : public ::testing::Test {
protected:
    Consumer& start(ConsumerOptions options, Handler handler) {
        options.group = "stock";
        consumer_ = std::make_unique<Consumer>(subscription, publisher, std::move(options),
                                               ConsumerEnvironment{.clock = clock, .random = random, .metrics = &metrics});
        outcome = std::async(std::launch::async,
                             [this, run = std::move(handler)] { return consumer_->run(run, stop_source.get_token()); });
        return *consumer_;
    }
    Result<void> stop() {
        stop_source.request_stop();
        return outcome.get();
    }
    void TearDown() override {
        if (!outcome.valid()) return;
        EXPECT_TRUE(stop().has_value());
    }
    std::uint64_t counted(std::string_view name) { return metrics.counter(name, "", {{"group", "stock"}}).value(); }

    QueuedSubscription subscription;
    RecordingPublisher publisher;
    FakeClock clock;
    SeededRandom random{1};
    MetricsRegistry metrics;
    std::stop_source stop_source;
    std::unique_ptr<Consumer> consumer_;
    std::future<Result<void>> outcome;
};

TEST_F(ConsumerTest, AcknowledgesWhatTheHandlerDid) {
    start({}, [](const Delivery&) { return Handled::done; });
    for (std::uint64_t position = 1; position <= 100; ++position)
        subscription.add(delivery(position, "k" + std::to_string(position % 7)));
    subscription.wait_for_acknowledged(100);
    EXPECT_TRUE(stop().has_value());
    EXPECT_EQ(counted("hufu_consumer_handled_total"), 100u);
    EXPECT_THAT(metrics.text(), HasSubstr("hufu_consumer_handler_seconds_count{group=\"stock\"} 100"));
    EXPECT_THAT(metrics.text(), HasSubstr("hufu_consumer_in_flight{group=\"stock\"} 0"));
    EXPECT_THAT(metrics.text(), HasSubstr("hufu_consumer_held{group=\"stock\"} 0"));
}

TEST_F(ConsumerTest, HandlesOneKeyInOrderOnManyThreads) {
    std::mutex mutex;
    std::map<std::string, std::vector<std::uint64_t>> seen;
    start({.running_max = 8}, [&](const Delivery& received) {
        const std::lock_guard lock{mutex};
        seen[received.message.ordering_key].push_back(received.tag.position);
        return Handled::done;
    });
    for (std::uint64_t position = 1; position <= 2'000; ++position)
        subscription.add(delivery(position, std::to_string(position % 13)));
    subscription.wait_for_acknowledged(2'000);
    EXPECT_TRUE(stop().has_value());
    for (const auto& [key, positions] : seen) EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end())) << key;
}

TEST_F(ConsumerTest, RunsHandlersAtTheSameTime) {
    std::promise<void> second_runs;
    start({.running_max = 2}, [&](const Delivery& received) {
        if (received.tag.position == 1) {
            second_runs.get_future().wait();  // ends only if the other handler runs beside this one
        } else {
            second_runs.set_value();
        }
        return Handled::done;
    });
    subscription.add(delivery(1, "a"));
    subscription.add(delivery(2, "b"));
    subscription.wait_for_acknowledged(2);
}

TEST_F(ConsumerTest, RetriesOnTheLadderAfterAnException) {
    std::atomic<int> runs{0};
    std::promise<void> failed;
    start({.retry = RetrySchedule::ladder({10s})}, [&](const Delivery&) -> HandlerResult {
        if (++runs == 1) {
            failed.set_value();
            throw std::runtime_error{"database away"};
        }
        return Handled::done;
    });
    subscription.add(delivery(1));
    failed.get_future().wait();
    // The ladder's wait begins when the consumer took note of the failure, which is not visible from here: move until it ends.
    while (runs.load() < 2) {
        clock.advance(10s);
        std::this_thread::yield();
    }
    subscription.wait_for_acknowledged(1);
    EXPECT_EQ(counted("hufu_consumer_retried_total"), 1u);
}

TEST_F(ConsumerTest, AnExceptionOfAnyTypeEndsAsADeadLetterWithItsText) {
    start({.retry = RetrySchedule::ladder({})}, [](const Delivery& received) -> HandlerResult {
        if (received.tag.position == 1) throw std::runtime_error{"database away"};
        throw 42;
    });
    subscription.add(delivery(1));
    subscription.wait_for_acknowledged(1);
    subscription.add(delivery(2));
    subscription.wait_for_acknowledged(2);
    EXPECT_TRUE(stop().has_value());
    const auto letters = publisher.confirmed();
    ASSERT_THAT(letters, SizeIs(2));
    EXPECT_EQ(letters[0].topic, "%DLQ%stock");
    EXPECT_EQ(letters[0].id, delivery(1).message.id);
    EXPECT_EQ(letters[0].headers.get(header::dead_reason), "the handler threw: database away");
    EXPECT_EQ(letters[1].headers.get(header::dead_reason), "the handler threw something that is not a std::exception");
    EXPECT_EQ(counted("hufu_consumer_dead_total"), 2u);
}

TEST_F(ConsumerTest, PublishesADeadLetterAgainBeforeAcknowledging) {
    publisher.answer_next(
        {.status = PublishStatus::in_doubt, .error = {ErrorCode::timeout, Disposition::in_doubt, "no answer"}});
    start({}, [](const Delivery&) { return HandlerResult{Handled::reject, "bad"}; });
    subscription.add(delivery(1, "a"));
    publisher.wait_for_tries(1);
    EXPECT_THAT(subscription.acknowledged(), SizeIs(0));
    while (publisher.tried().size() < 2) {
        clock.advance(1s);
        std::this_thread::yield();
    }
    subscription.wait_for_acknowledged(1);
    EXPECT_TRUE(stop().has_value());
    EXPECT_EQ(publisher.tried()[0].id, publisher.tried()[1].id);
    EXPECT_EQ(counted("hufu_consumer_dead_letter_failures_total"), 1u);
}

TEST_F(ConsumerTest, DeadLettersALongTailOfAKeyWithoutRecursion) {
    start({.held_max = 100'000}, [](const Delivery&) { return HandlerResult{Handled::reject, "bad"}; });
    for (std::uint64_t position = 1; position <= 5'000; ++position) subscription.add(delivery(position, "a"));
    subscription.wait_for_acknowledged(5'000);
    EXPECT_TRUE(stop().has_value());
    EXPECT_THAT(publisher.confirmed(), SizeIs(5'000));
    EXPECT_THAT(consumer_->dead_keys(), ElementsAre(ConsumerKey{"orders", "a"}));
    EXPECT_TRUE(consumer_->reopen({"orders", "a"}));
}

TEST_F(ConsumerTest, StopWaitsForRunningHandlersAndHandsOverTheirAcknowledgement) {
    std::promise<void> entered;
    std::promise<void> leave;
    start({.running_max = 1}, [&](const Delivery&) {
        entered.set_value();
        leave.get_future().wait();
        return Handled::done;
    });
    subscription.add(delivery(1, "a"));
    subscription.add(delivery(2, "a"));
    entered.get_future().wait();
    stop_source.request_stop();
    EXPECT_EQ(outcome.wait_for(0s), std::future_status::timeout);
    leave.set_value();
    EXPECT_TRUE(outcome.get().has_value());
    EXPECT_THAT(subscription.acknowledged(), ElementsAre(DeliveryTag{1, 1, 1})) << "the second one comes again";
}

TEST_F(ConsumerTest, ReceivesNoMoreThanItMayHold) {
    std::atomic<int> running{0};
    std::promise<void> leave;
    const auto left = leave.get_future().share();
    start({.running_max = 1, .held_max = 3}, [&](const Delivery&) {
        ++running;
        left.wait();
        return Handled::done;
    });
    for (std::uint64_t position = 1; position <= 10; ++position) subscription.add(delivery(position));
    clock.wait_for_sleepers(2);  // the attendant, and the receiver that found no room
    EXPECT_EQ(metrics.gauge("hufu_consumer_held", "", {{"group", "stock"}}).value(), 3);
    leave.set_value();
    subscription.wait_for_acknowledged(10);
}

TEST_F(ConsumerTest, DoesNotAcknowledgeForALostQueue) {
    std::promise<void> entered;
    std::promise<void> leave;
    start({.running_max = 1}, [&](const Delivery& received) {
        if (received.tag.queue == 1) {
            entered.set_value();
            leave.get_future().wait();
        }
        return Handled::done;
    });
    subscription.add(delivery(1, "a", 1));
    entered.get_future().wait();
    subscription.lose(1);
    while (subscription.pending_losses() > 0) std::this_thread::yield();
    subscription.add(delivery(5, "b", 2));
    leave.set_value();
    subscription.wait_for_acknowledged(1);
    EXPECT_TRUE(stop().has_value());
    EXPECT_THAT(subscription.acknowledged(), ElementsAre(DeliveryTag{2, 5, 1}));
}

TEST_F(ConsumerTest, ReportsAnOverdueHandler) {
    std::promise<void> entered;
    std::promise<void> leave;
    start({.handler_timeout = 5s}, [&](const Delivery&) {
        entered.set_value();
        leave.get_future().wait();
        return Handled::done;
    });
    subscription.add(delivery(1));
    entered.get_future().wait();
    while (counted("hufu_consumer_overdue_total") == 0) {
        clock.advance(5s);
        std::this_thread::yield();
    }
    leave.set_value();
    subscription.wait_for_acknowledged(1);
}

TEST_F(ConsumerTest, EndsWithTheSubscriptionsError) {
    start({}, [](const Delivery&) { return Handled::done; });
    subscription.fail({ErrorCode::permission, Disposition::fatal, "group \"stock\" may not read topic \"orders\""});
    const auto result = outcome.get();
    ASSERT_TRUE(result.has_error());
    EXPECT_EQ(result.error().code(), ErrorCode::permission);
}

TEST_F(ConsumerTest, RunsAgainAfterAStop) {
    Consumer& consumer = start({}, [](const Delivery&) { return Handled::done; });
    subscription.add(delivery(1));
    subscription.wait_for_acknowledged(1);
    EXPECT_TRUE(stop().has_value());
    std::stop_source again;
    outcome = std::async(std::launch::async,
                         [&] { return consumer.run([](const Delivery&) { return Handled::done; }, again.get_token()); });
    subscription.add(delivery(2));
    subscription.wait_for_acknowledged(2);
    again.request_stop();
    EXPECT_TRUE(outcome.get().has_value());
}

TEST(ConsumerConstruction, RefusesOptionsThatMakeNoSense) {
    QueuedSubscription subscription;
    RecordingPublisher publisher;
    try {
        const Consumer consumer{subscription, publisher, {}};
        FAIL() << "an empty group was accepted";
    } catch (const Exception& refused) {
        EXPECT_EQ(refused.error().code(), ErrorCode::invalid_argument);
        EXPECT_THAT(refused.error().text(), HasSubstr("group is empty"));
    }
    Consumer consumer{subscription, publisher, {.group = "stock"}};
    EXPECT_EQ(consumer.run(Handler{}, {}).error().code(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace hufu
