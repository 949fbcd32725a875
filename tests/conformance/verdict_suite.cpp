#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <latch>
#include <stdexcept>
#include <thread>

#include "scripted_broker.hpp"
#include "suites.hpp"

namespace hufu::conformance {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using txmsg::Decision;
using txmsg::Seen;
using txmsg::Verdict;
using State = txmsg::TransactionResult::State;

/// The machine's clock, set wrong by an amount.
class WrongClock final : public Clock {
public:
    explicit WrongClock(std::chrono::hours by) : by_{by} {}
    SystemTime system_now() const noexcept override { return system_clock().system_now() + by_.load(); }
    SteadyTime steady_now() const noexcept override { return system_clock().steady_now(); }
    void sleep_until(SteadyTime until, std::stop_token stop) override { system_clock().sleep_until(until, std::move(stop)); }
    void set(std::chrono::hours by) { by_ = by; }

private:
    std::atomic<std::chrono::hours> by_;
};

std::vector<Message> one() { return {{.topic = "orders", .ordering_key = "7", .body = "paid"}}; }

Decision commit() { return Decision::commit; }

txmsg::TransactionId new_id(Clock& clock = system_clock()) { return MessageIdGenerator{clock, system_random()}.next(); }

class Timed {
public:
    [[nodiscard]] std::chrono::milliseconds elapsed() const {
        return std::chrono::duration_cast<std::chrono::milliseconds>(system_clock().steady_now() - start_);
    }

private:
    SteadyTime start_ = system_clock().steady_now();
};

TEST_P(Verdicts, CommitRowsAndMessagesTogether) {
    ScriptedBroker broker;
    const auto producer = under_test_->producer(broker, "pay", system_clock());
    auto messages = one();
    messages.push_back({.topic = "stock", .body = "reserve"});
    const auto sent = producer->send(messages, commit);
    EXPECT_EQ(sent.state, State::committed);
    EXPECT_EQ(sent.end.state, txmsg::EndOutcome::State::committed);
    const auto at_broker = broker.transaction(sent.transaction);
    EXPECT_THAT(at_broker.ends, ElementsAre(Verdict::commit));
    ASSERT_EQ(at_broker.halves.size(), 2u);
    EXPECT_EQ(at_broker.halves[1].id, sent.messages[1]);
    EXPECT_EQ(at_broker.context.store, under_test_->verdicts().uuid().value());
    EXPECT_EQ(under_test_->entries(), 1);
    EXPECT_EQ(under_test_->verdicts().check(sent.transaction).value(), Seen::committed);
    EXPECT_EQ(under_test_->verdicts().look(sent.transaction).value(), Seen::committed);
}

TEST_P(Verdicts, LeaveNothingWhenTheLocalFunctionRollsBack) {
    ScriptedBroker broker;
    const auto producer = under_test_->producer(broker, "pay", system_clock());
    const auto sent = producer->send(one(), [] { return Decision::rollback; });
    EXPECT_EQ(sent.state, State::rolled_back);
    EXPECT_THAT(broker.transaction(sent.transaction).ends, ElementsAre(Verdict::rollback));
    EXPECT_EQ(under_test_->entries(), 0);
    EXPECT_FALSE(under_test_->verdicts().look(sent.transaction).value());
}

TEST_P(Verdicts, LeaveNothingWhenTheLocalFunctionThrowsAndThrowOn) {
    ScriptedBroker broker;
    txmsg::TransactionId transaction;
    broker.after_prepare = [&](const txmsg::HalfContext& context) { transaction = context.transaction; };
    const auto producer = under_test_->producer(broker, "pay", system_clock());
    EXPECT_THROW(static_cast<void>(producer->send(one(), []() -> Decision { throw std::domain_error{"no money"}; })),
                 std::domain_error);
    EXPECT_THAT(broker.transaction(transaction).ends, ElementsAre(Verdict::rollback));
    EXPECT_EQ(under_test_->entries(), 0);
    EXPECT_EQ(under_test_->verdict_rows(), 0);
}

TEST_P(Verdicts, RunNothingWhenTheBrokerDoesNotTakeTheHalf) {
    ScriptedBroker broker;
    broker.refuse = Error{ErrorCode::busy, Disposition::retry, "too many halves are pending"};
    const auto producer = under_test_->producer(broker, "pay", system_clock());
    bool ran = false;
    const auto sent = producer->send(one(), [&] {
        ran = true;
        return Decision::commit;
    });
    EXPECT_FALSE(ran);
    EXPECT_EQ(sent.state, State::rolled_back);
    EXPECT_EQ(sent.error.code(), ErrorCode::busy);
}

TEST_P(Verdicts, RefuseALocalTransactionThatCheckBackHasRolledBack) {
    ScriptedBroker broker;
    // The process was stopped between half and local transaction; another one of the service answered meanwhile.
    broker.after_prepare = [&](const txmsg::HalfContext& context) {
        EXPECT_EQ(under_test_->verdicts().check(context.transaction).value(), Seen::rolled_back);
    };
    const auto producer = under_test_->producer(broker, "pay", system_clock());
    const auto sent = producer->send(one(), commit);
    EXPECT_EQ(sent.state, State::rolled_back);
    EXPECT_EQ(sent.error.code(), ErrorCode::conflict);
    EXPECT_THAT(sent.error.text(), HasSubstr(sent.transaction.to_string()));
    EXPECT_THAT(broker.transaction(sent.transaction).ends, ElementsAre(Verdict::rollback));
    EXPECT_EQ(under_test_->entries(), 0);
    EXPECT_EQ(under_test_->verdicts().look(sent.transaction).value(), Seen::rolled_back);
}

TEST_P(Verdicts, SettleWhatNeverBegan) {
    const auto id = new_id();
    EXPECT_FALSE(under_test_->verdicts().look(id).value());
    EXPECT_EQ(under_test_->verdicts().check(id).value(), Seen::rolled_back);
    EXPECT_EQ(under_test_->verdicts().check(id).value(), Seen::rolled_back);
    EXPECT_EQ(under_test_->verdicts().look(id).value(), Seen::rolled_back);
    EXPECT_EQ(under_test_->verdict_rows(), 1);
}

TEST_P(Verdicts, CallASlowLocalTransactionOngoingWithinTheBound) {
    ScriptedBroker broker;
    const auto producer = under_test_->producer(broker, "pay", system_clock());
    std::promise<void> inside;
    std::promise<void> go_on;
    txmsg::TransactionId transaction;
    broker.after_prepare = [&](const txmsg::HalfContext& context) { transaction = context.transaction; };
    auto sent = std::async(std::launch::async, [&] {
        return producer->send(one(), [&] {
            inside.set_value();
            go_on.get_future().wait();
            return Decision::commit;
        });
    });
    inside.get_future().wait();
    const Timed timed;
    EXPECT_EQ(under_test_->verdicts().check(transaction).value(), Seen::ongoing);
    const auto took = timed.elapsed();
    RecordProperty("check_ms", static_cast<int>(took.count()));
    EXPECT_GE(took, StoreUnderTest::check_wait - 20ms);
    EXPECT_LT(took, StoreUnderTest::check_wait + 2s) << "bound, and what a loaded machine adds";
    EXPECT_FALSE(under_test_->verdicts().look(transaction).value()) << "a look waits for nobody";
    go_on.set_value();
    EXPECT_EQ(sent.get().state, State::committed);
    EXPECT_EQ(under_test_->verdicts().check(transaction).value(), Seen::committed);
    EXPECT_EQ(under_test_->entries(), 1);
}

TEST_P(Verdicts, NeverSayBothWhenChecksRaceWithCommits) {
    constexpr int rounds = 40;
    ScriptedBroker broker;
    const auto producer = under_test_->producer(broker, "pay", system_clock());
    int committed = 0;
    for (int round = 0; round < rounds; ++round) {
        std::future<Seen> said;
        broker.after_prepare = [&](const txmsg::HalfContext& context) {
            said = std::async(std::launch::async, [this, id = context.transaction] {
                for (;;) {
                    const auto seen = under_test_->verdicts().check(id);
                    if (seen && *seen != Seen::ongoing) {
                        return *seen;
                    }
                }
            });
        };
        const auto sent = producer->send(one(), commit);
        const Seen seen = said.get();
        ASSERT_EQ(sent.state == State::committed, seen == Seen::committed) << "round " << round;
        committed += sent.state == State::committed ? 1 : 0;
    }
    EXPECT_EQ(under_test_->entries(), committed);
}

TEST_P(Verdicts, AnswerChecksForTransactionsOfProcessesThatAreGone) {
    ScriptedBroker broker;
    broker.answer_ends = false;
    txmsg::TransactionId transaction;
    {
        const auto gone = under_test_->producer(broker, "pay", system_clock());
        transaction = gone->send(one(), commit).transaction;
    }
    const auto context = broker.transaction(transaction).context;
    const auto other = under_test_->producer(broker, "pay", system_clock());
    const auto answer = broker.ask(context);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->first, Verdict::commit);
    auto never_begun = context;
    never_begun.transaction = new_id();
    const auto other_answer = broker.ask(never_begun);
    ASSERT_TRUE(other_answer);
    EXPECT_EQ(other_answer->first, Verdict::rollback);
}

TEST_P(Verdicts, KeepSilentAboutAnotherStoresTransactions) {
    const auto elsewhere = GetParam().make();
    ASSERT_NE(elsewhere->verdicts().uuid().value(), under_test_->verdicts().uuid().value());
    EXPECT_EQ(under_test_->verdicts().uuid().value(), under_test_->verdicts().uuid().value());
    ScriptedBroker broker;
    const auto staging = elsewhere->producer(broker, "pay", system_clock());
    const txmsg::HalfContext production{
        .transaction = new_id(), .group = "pay", .store = under_test_->verdicts().uuid().value()};
    EXPECT_FALSE(broker.ask(production));
    EXPECT_EQ(elsewhere->verdict_rows(), 0) << "a tombstone was left in the wrong database";
}

TEST_P(Verdicts, SayNothingOfWhatMayHaveBeenPurged) {
    ScriptedBroker broker;
    WrongClock earlier{-3h};
    const auto producer = under_test_->producer(broker, "pay", earlier);
    const auto old = producer->send(one(), commit);
    ASSERT_EQ(old.state, State::committed);
    under_test_->age_verdicts();
    const auto young = under_test_->producer(broker, "young", system_clock())->send(one(), commit);
    const auto purged = under_test_->verdicts().purge(1h).value();
    EXPECT_EQ(purged.rows, 1u);
    EXPECT_TRUE(purged.finished);
    EXPECT_EQ(under_test_->verdicts().check(old.transaction).value(), Seen::beyond_retention);
    EXPECT_EQ(under_test_->verdict_rows(), 1) << "a tombstone was left for what had been committed";
    EXPECT_EQ(under_test_->verdicts().check(young.transaction).value(), Seen::committed);
    // A process that slept through the purge must not commit either: its tombstone may have been purged.
    const auto late = producer->send(one(), commit);
    EXPECT_EQ(late.state, State::rolled_back);
    EXPECT_EQ(late.error.code(), ErrorCode::conflict);
    EXPECT_THAT(late.error.text(), HasSubstr("older than the verdicts that are kept"));
    EXPECT_EQ(under_test_->entries(), 2);
}

TEST_P(Verdicts, KeepWhatIsYoungByItsIdOrByTheDatabase) {
    ScriptedBroker broker;
    WrongClock wrong{-3h};
    // Minted long ago by a clock that was behind, decided just now.
    const auto behind = under_test_->producer(broker, "behind", wrong)->send(one(), commit);
    EXPECT_EQ(under_test_->verdicts().purge(1h).value().rows, 0u);
    EXPECT_EQ(under_test_->verdicts().check(behind.transaction).value(), Seen::committed);
    // Minted by a clock that was ahead: it may be asked for until that time has passed, and longer.
    wrong.set(48h);
    const auto ahead = under_test_->producer(broker, "ahead", wrong)->send(one(), commit);
    under_test_->age_verdicts();
    EXPECT_EQ(under_test_->verdicts().purge(1h).value().rows, 1u);
    EXPECT_EQ(under_test_->verdicts().check(ahead.transaction).value(), Seen::committed);
}

TEST_P(Verdicts, KeepTheWatermarkWhenRetentionGrows) {
    const auto first = under_test_->verdicts().purge(1h).value();
    const auto second = under_test_->verdicts().purge(24h).value();
    EXPECT_EQ(second.watermark, first.watermark);
    EXPECT_EQ(under_test_->verdicts().purge(0h).error().code(), ErrorCode::invalid_argument);
}

TEST_P(Verdicts, PurgeInBatches) {
    WrongClock earlier{-3h};
    for (int i = 0; i < 30; ++i) {
        ASSERT_EQ(under_test_->verdicts().check(new_id(earlier)).value(), Seen::rolled_back);
    }
    under_test_->age_verdicts();
    EXPECT_EQ(under_test_->verdicts().purge(1h).value().rows, 30u);
    EXPECT_EQ(under_test_->verdict_rows(), 0);
}

TEST_P(Verdicts, SurviveAClockThatStepsBack) {
    ScriptedBroker broker;
    WrongClock clock{0h};
    const auto producer = under_test_->producer(broker, "pay", clock);
    const auto before = producer->send(one(), commit);
    clock.set(-24h);
    const auto after = producer->send(one(), commit);
    EXPECT_EQ(after.state, State::committed);
    EXPECT_GT(after.transaction, before.transaction) << "ids of one producer never go back";
    EXPECT_EQ(under_test_->verdicts().check(before.transaction).value(), Seen::committed);
    EXPECT_EQ(under_test_->verdicts().check(after.transaction).value(), Seen::committed);
}

TEST_P(Verdicts, NameTheWayOutWhenTheTableIsMissing) {
    ScriptedBroker broker;
    const auto producer = under_test_->producer(broker, "pay", system_clock());
    const auto context = [&] {
        const auto sent = producer->send(one(), commit);
        return broker.transaction(sent.transaction).context;
    }();
    under_test_->drop_verdict_table();
    const auto sent = producer->send(one(), commit);
    EXPECT_EQ(sent.state, State::rolled_back);
    EXPECT_EQ(under_test_->entries(), 1);
    EXPECT_FALSE(under_test_->verdicts().check(sent.transaction));
    const auto answer = broker.ask(context);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->first, Verdict::unknown);
    EXPECT_THAT(answer->second, HasSubstr("verdict store failed"));
}

}  // namespace
}  // namespace hufu::conformance
