// The consumer's threads with what outlives a process (parked keys, attempt rows), with batches, and at the end of a drain.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/consumer.hpp>
#include <hufu/testing/fake_clock.hpp>
#include <hufu/testing/memory_consumer_ports.hpp>
#include <hufu/testing/queued_subscription.hpp>
#include <hufu/testing/recording_publisher.hpp>

#include <atomic>
#include <functional>
#include <future>
#include <thread>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::FakeClock;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MemoryAttemptRows;
using testing::MemoryParkedKeys;
using testing::QueuedSubscription;
using testing::RecordingPublisher;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

const Error away{ErrorCode::unavailable, Disposition::retry, "database away"};
const ConsumerKey key_a{"orders", "a"};

Delivery delivery(std::uint64_t position, std::string ordering_key = {}) {
    return {.message = {.id = MessageId{{static_cast<std::uint8_t>(position), 1}},
                        .topic = "orders",
                        .ordering_key = std::move(ordering_key)},
            .tag = {.queue = 1, .position = position, .session = 1}};
}

/// What handlers were called with, in order. Safe from any thread.
class Calls {
public:
    void note(std::uint64_t position) {
        const std::lock_guard lock{mutex_};
        seen_.push_back(position);
        changed_.notify_all();
    }
    [[nodiscard]] std::vector<std::uint64_t> seen() const {
        const std::lock_guard lock{mutex_};
        return seen_;
    }
    void wait_for(std::size_t count) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return seen_.size() >= count; });
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::uint64_t> seen_;  // guarded by mutex_
};

/// One process: a subscription and a consumer of its own. The group's memory and the clock are the test's.
class Process {
public:
    Process(ConsumerOptions options, Clock& clock, ParkedKeys* parked_keys, AttemptRows* attempt_rows)
        : consumer_{subscription, publisher, named(std::move(options)),
                    ConsumerEnvironment{.clock = clock,
                                        .random = random_,
                                        .metrics = &metrics_,
                                        .parked_keys = parked_keys,
                                        .attempt_rows = attempt_rows}} {}
    ~Process() {
        if (!outcome.valid()) return;
        EXPECT_TRUE(stop().has_value());
    }
    template <class AnyHandler>
    void start(AnyHandler handler) {
        outcome = std::async(std::launch::async,
                             [this, run = std::move(handler)] { return consumer_.run(run, source_.get_token()); });
    }
    void ask_for_stop() { source_.request_stop(); }
    Result<void> stop() {
        ask_for_stop();
        return outcome.get();
    }
    Consumer& operator*() { return consumer_; }
    Consumer* operator->() { return &consumer_; }
    std::uint64_t counted(std::string_view name) { return metrics_.counter(name, "", {{"group", "stock"}}).value(); }
    [[nodiscard]] std::string reason(std::size_t letter) const {
        return std::string{publisher.confirmed().at(letter).headers.get(header::dead_reason).value_or("")};
    }

    QueuedSubscription subscription;
    RecordingPublisher publisher;
    std::future<Result<void>> outcome;

private:
    static ConsumerOptions named(ConsumerOptions options) {
        options.group = "stock";
        return options;
    }
    SeededRandom random_{1};
    MetricsRegistry metrics_;
    std::stop_source source_;
    Consumer consumer_;
};

class ConsumerShell : public ::testing::Test {
protected:
    /// Rejects what is at `bad`, and keeps a book.
    Handler rejecting(std::uint64_t bad) {
        return [this, bad](const Delivery& received) -> HandlerResult {
            calls.note(received.tag.position);
            if (received.tag.position == bad) return {Handled::reject, "bad amount"};
            return Handled::done;
        };
    }
    /// Lets time pass until `ready`: what waits on the clock is on other threads.
    void pass_until(const std::function<bool()>& ready, std::chrono::milliseconds step = 1s) {
        while (!ready()) {
            clock.advance(step);
            std::this_thread::yield();
        }
    }

    FakeClock clock;
    MemoryParkedKeys parked;
    MemoryAttemptRows attempts;
    Calls calls;
};

TEST_F(ConsumerShell, AnotherProcessKnowsTheParkedKey) {
    {
        Process first{{}, clock, &parked, nullptr};
        first.start(rejecting(1));
        first.subscription.add(delivery(1, "a"));
        first.subscription.wait_for_acknowledged(1);
        EXPECT_THAT(parked.parked(), ElementsAre(key_a));
    }
    Process second{{}, clock, &parked, nullptr};
    second.start(rejecting(1));
    second.subscription.add(delivery(2, "a"));
    second.subscription.add(delivery(3, "b"));
    second.subscription.wait_for_acknowledged(2);
    EXPECT_THAT(calls.seen(), ElementsAre(1, 3));
    EXPECT_EQ(second.reason(0), "behind a dead letter of its key");
    EXPECT_TRUE(second->reopen(key_a).value());
    EXPECT_FALSE(second->reopen(key_a).value());
    EXPECT_THAT(parked.parked(), IsEmpty());
    second.subscription.add(delivery(4, "a"));
    second.subscription.wait_for_acknowledged(3);
    EXPECT_THAT(calls.seen(), ElementsAre(1, 3, 4));
}

TEST_F(ConsumerShell, PublishesNoDeadLetterBeforeItsKeyIsParked) {
    Process process{{}, clock, &parked, nullptr};
    process.start(rejecting(2));
    process.subscription.add(delivery(1, "b"));
    process.subscription.wait_for_acknowledged(1);  // the parked keys were read
    parked.fail(away);
    process.subscription.add(delivery(2, "a"));
    process.subscription.add(delivery(3, "a"));
    pass_until([&] { return process.counted("hufu_consumer_dead_letter_failures_total") >= 3; });
    EXPECT_THAT(process.publisher.tried(), IsEmpty());
    EXPECT_THAT(process.subscription.acknowledged(), SizeIs(1));
    EXPECT_FALSE(process->reopen(key_a).has_value()) << "it stays parked here when that cannot be written";
    EXPECT_THAT(process->dead_keys(), ElementsAre(key_a));
    parked.fail({});
    pass_until([&] { return process.subscription.acknowledged().size() == 3; });
    EXPECT_EQ(process.reason(0), "bad amount");
    EXPECT_EQ(process.reason(1), "behind a dead letter of its key");
    EXPECT_THAT(calls.seen(), ElementsAre(1, 2));
}

TEST_F(ConsumerShell, HandlesNothingBeforeTheParkedKeysAreKnown) {
    ASSERT_TRUE(parked.park({key_a, delivery(1).message.id, "bad amount"}));
    parked.fail(away);
    Process process{{}, clock, &parked, nullptr};
    process.start(rejecting(0));
    process.subscription.add(delivery(2, "a"));
    process.subscription.add(delivery(3, "b"));
    pass_until([&] { return process.counted("hufu_consumer_port_failures_total") >= 3; });
    EXPECT_THAT(calls.seen(), IsEmpty());
    parked.fail({});
    pass_until([&] { return process.subscription.acknowledged().size() == 2; });
    EXPECT_THAT(calls.seen(), ElementsAre(3));
}

TEST_F(ConsumerShell, StopsAlsoWhileParkedKeysCannotBeRead) {
    parked.fail(away);
    Process process{{}, clock, &parked, nullptr};
    process.start(rejecting(0));
    process.subscription.add(delivery(1, "a"));
    parked.wait_for_calls(1);
    EXPECT_TRUE(process.stop().has_value());
    EXPECT_THAT(calls.seen(), IsEmpty());
    EXPECT_THAT(process.subscription.acknowledged(), IsEmpty());
}

TEST_F(ConsumerShell, LearnsThatAKeyWasReopenedElsewhere) {
    ASSERT_TRUE(parked.park({key_a, delivery(1).message.id, "bad amount"}));
    Process process{{.parked_keys_every = 10s}, clock, &parked, nullptr};
    process.start(rejecting(0));
    process.subscription.add(delivery(2, "a"));
    process.subscription.wait_for_acknowledged(1);
    ASSERT_TRUE(parked.reopen(key_a).value());
    pass_until([&] { return process->dead_keys().empty(); }, 10s);
    process.subscription.add(delivery(3, "a"));
    process.subscription.wait_for_acknowledged(2);
    EXPECT_THAT(calls.seen(), ElementsAre(3));
}

TEST_F(ConsumerShell, ARowIsThereWhileTheHandlerRunsAndGoesWithItsAnswer) {
    Process process{{}, clock, nullptr, &attempts};
    std::promise<std::uint32_t> during;
    process.start([&](const Delivery& received) {
        during.set_value(attempts.starts(received.message.id));
        return Handled::done;
    });
    process.subscription.add(delivery(1));
    EXPECT_EQ(during.get_future().get(), 1u);
    process.subscription.wait_for_acknowledged(1);
    EXPECT_TRUE(process.stop().has_value());
    EXPECT_EQ(attempts.starts(delivery(1).message.id), 0u);
}

TEST_F(ConsumerShell, AMessageThatEndedItsProcessTooOftenIsADeadLetter) {
    attempts.remember(delivery(1).message.id, 3);
    attempts.remember(delivery(2).message.id, 2);
    Process process{{.kills_max = 3}, clock, nullptr, &attempts};
    process.start(rejecting(0));
    process.subscription.add(delivery(1));
    process.subscription.add(delivery(2));
    process.subscription.wait_for_acknowledged(2);
    EXPECT_TRUE(process.stop().has_value());
    EXPECT_THAT(calls.seen(), ElementsAre(2)) << "that one has a last chance";
    EXPECT_THAT(process.reason(0), HasSubstr("started 3 times and never answered"));
    EXPECT_EQ(attempts.starts(delivery(1).message.id), 0u);
    EXPECT_EQ(attempts.starts(delivery(2).message.id), 0u);
}

TEST_F(ConsumerShell, StartsNoHandlerBeforeItsRowIsThere) {
    attempts.fail(away);
    Process process{{}, clock, nullptr, &attempts};
    process.start(rejecting(0));
    process.subscription.add(delivery(1));
    pass_until([&] { return process.counted("hufu_consumer_port_failures_total") >= 3; });
    EXPECT_THAT(calls.seen(), IsEmpty());
    attempts.fail({});
    pass_until([&] { return process.subscription.acknowledged().size() == 1; });
    EXPECT_THAT(calls.seen(), ElementsAre(1));
}

TEST_F(ConsumerShell, ARowThatCannotBeDeletedIsDeletedLater) {
    Process process{{}, clock, nullptr, &attempts};
    process.start([&](const Delivery& received) {
        calls.note(received.tag.position);
        attempts.fail(away);
        return Handled::done;
    });
    process.subscription.add(delivery(1));
    process.subscription.wait_for_acknowledged(1);  // what was done is done, rows or not
    pass_until([&] { return process.counted("hufu_consumer_port_failures_total") >= 2; });
    EXPECT_EQ(attempts.starts(delivery(1).message.id), 1u);
    attempts.fail({});
    pass_until([&] { return attempts.starts(delivery(1).message.id) == 0; });
}

class BatchBook {
public:
    void note(std::span<const Delivery* const> batch) {
        const std::lock_guard lock{mutex_};
        batches_.emplace_back();
        for (const Delivery* one : batch) batches_.back().push_back(one->tag.position);
    }
    [[nodiscard]] std::vector<std::vector<std::uint64_t>> batches() const {
        const std::lock_guard lock{mutex_};
        return batches_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::vector<std::uint64_t>> batches_;  // guarded by mutex_
};

/// A batch handler whose first call waits until the rest has been received, so that the batches behind it are known.
class ConsumerShellBatches : public ConsumerShell {
protected:
    static ConsumerOptions options() { return {.running_max = 1, .retry = RetrySchedule::ladder({10s}), .batch_max = 3}; }
    void start(Process& process, std::uint64_t count, BatchHandler after_the_first) {
        process.start(BatchHandler{[this, after = std::move(after_the_first),
                                    gate = go.get_future().share()](std::span<const Delivery* const> batch) {
            book.note(batch);
            gate.wait();
            return batch.front()->tag.position == 1 ? std::vector<HandlerResult>(batch.size(), Handled::done) : after(batch);
        }});
        process.subscription.add(delivery(1));
        while (book.batches().empty()) std::this_thread::yield();
        for (std::uint64_t position = 2; position <= count; ++position)
            process.subscription.add(delivery(position, "k" + std::to_string(position)));
        while (process->state().held < count) std::this_thread::yield();
        go.set_value();
    }

    std::promise<void> go;
    BatchBook book;
};

TEST_F(ConsumerShellBatches, HandOverUpToTheirSizeAndTakeAnAnswerForEach) {
    Process process{options(), clock, nullptr, nullptr};
    start(process, 6, [](std::span<const Delivery* const> batch) {
        std::vector<HandlerResult> answers;
        for (const Delivery* one : batch) {
            if (one->tag.position == 3) {
                answers.emplace_back(Handled::reject, "bad amount");
            } else {
                answers.emplace_back(one->tag.position == 4 ? Handled::already_done : Handled::done);
            }
        }
        return answers;
    });
    process.subscription.wait_for_acknowledged(6);
    EXPECT_TRUE(process.stop().has_value());
    EXPECT_THAT(book.batches(), ElementsAre(ElementsAre(1), ElementsAre(2, 3, 4), ElementsAre(5, 6)));
    EXPECT_THAT(process.publisher.confirmed(), ElementsAre(::testing::Field(&Message::id, delivery(3).message.id)));
    EXPECT_EQ(process.counted("hufu_consumer_handled_total"), 4u);
    EXPECT_EQ(process.counted("hufu_consumer_absorbed_total"), 1u);
}

TEST_F(ConsumerShellBatches, WithAnotherNumberOfAnswersAreTriedAgain) {
    Process process{options(), clock, nullptr, nullptr};
    std::atomic<bool> well{false};
    start(process, 4, [&](std::span<const Delivery* const> batch) {
        return std::vector<HandlerResult>(well ? batch.size() : 1, Handled::done);
    });
    process.subscription.wait_for_acknowledged(1);
    while (process.counted("hufu_consumer_retried_total") < 3) std::this_thread::yield();
    EXPECT_THAT(process.subscription.acknowledged(), SizeIs(1)) << "nobody knows which one the answer is of";
    well = true;
    pass_until([&] { return process.subscription.acknowledged().size() == 4; }, 10s);
}

TEST_F(ConsumerShellBatches, ThatThrowAreTriedAgainAndEndAsDeadLettersWithTheText) {
    Process process{options(), clock, nullptr, nullptr};
    start(process, 3,
          [](std::span<const Delivery* const>) -> std::vector<HandlerResult> { throw std::runtime_error{"database away"}; });
    pass_until([&] { return process.subscription.acknowledged().size() == 3; }, 10s);
    EXPECT_EQ(process.reason(0), "the handler threw: database away");
    EXPECT_THAT(process.publisher.confirmed(), SizeIs(2));
}

TEST_F(ConsumerShell, ADrainThatTakesTooLongGivesUpOnItsHandlers) {
    std::promise<void> leave;
    {
        Process process{{.running_max = 1, .drain_max = 5s}, clock, nullptr, &attempts};
        process.start([&](const Delivery& received) {
            calls.note(received.tag.position);
            leave.get_future().wait();
            return Handled::done;
        });
        process.subscription.add(delivery(1));
        process.subscription.add(delivery(2));
        calls.wait_for(1);
        while (process->state().held < 2) std::this_thread::yield();
        process.ask_for_stop();
        EXPECT_EQ(process.outcome.wait_for(0s), std::future_status::timeout);
        pass_until([&] { return process.outcome.wait_for(0s) == std::future_status::ready; });
        const auto ended = process.outcome.get();
        ASSERT_TRUE(ended.has_error());
        EXPECT_EQ(ended.error().code(), ErrorCode::timeout);
        EXPECT_EQ(ended.error().disposition(), Disposition::fatal);
        EXPECT_THAT(ended.error().text(), HasSubstr("1 handlers still ran 5000 ms after the stop"));
        EXPECT_EQ(process->state().running, 1u);
        EXPECT_EQ(process->state().dropped, 1u);
        EXPECT_EQ(process->run([](const Delivery&) { return Handled::done; }, {}).error().code(), ErrorCode::busy);
        leave.set_value();
        while (process->state().running > 0) std::this_thread::yield();
        EXPECT_THAT(process.subscription.acknowledged(), IsEmpty()) << "the subscription was only lent until the run's end";
    }
    EXPECT_EQ(attempts.starts(delivery(1).message.id), 1u) << "as if the process had ended under it";
    Process next{{}, clock, nullptr, &attempts};
    next.start(rejecting(0));
    next.subscription.add(delivery(1));
    next.subscription.add(delivery(2));
    next.subscription.wait_for_acknowledged(2);
    EXPECT_THAT(calls.seen(), UnorderedElementsAre(1, 1, 2));
}

TEST_F(ConsumerShell, ADrainInTimeHandsOverAndCountsWhatWaits) {
    std::promise<void> leave;
    Process process{{.running_max = 1, .drain_max = 5s}, clock, nullptr, nullptr};
    process.start([&](const Delivery& received) {
        calls.note(received.tag.position);
        leave.get_future().wait();
        return Handled::done;
    });
    for (std::uint64_t position = 1; position <= 4; ++position) process.subscription.add(delivery(position));
    calls.wait_for(1);
    while (process->state().held < 4) std::this_thread::yield();
    process.ask_for_stop();
    while (process->state().dropped < 3) std::this_thread::yield();
    leave.set_value();
    EXPECT_TRUE(process.outcome.get().has_value());
    EXPECT_THAT(process.subscription.acknowledged(), ElementsAre(delivery(1).tag));
    EXPECT_EQ(process->state().running, 0u);
    EXPECT_EQ(process->state().held, 0u);
}

}  // namespace
}  // namespace hufu
