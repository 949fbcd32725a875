#include <gtest/gtest.h>

#include <hufu/txmsg/producer_machine.hpp>

namespace hufu::txmsg {
namespace {

using namespace std::chrono_literals;
using Action = ProducerAction;
using State = TransactionResult::State;

class ProducerMachineTest : public testing::Test {
protected:
    static HalfOutcome stored(std::uint8_t number) {
        return {PublishStatus::confirmed, {}, {MessageId{{number}}, "orders", "token"}};
    }
    static HalfOutcome not_stored(PublishStatus status) {
        return {
            status, Error{ErrorCode::busy, Disposition::retry, "too many halves are pending"}, {MessageId{{9}}, "orders"}};
    }
    static HalfOutcome stored_less_safely(std::uint8_t number) {
        return {PublishStatus::in_doubt,
                Error{ErrorCode::unavailable, Disposition::in_doubt, "stored, but on the master only"},
                {MessageId{{number}}, "orders", "token"}};
    }
    static Error in_doubt() { return {ErrorCode::unavailable, Disposition::in_doubt, "connection lost at COMMIT"}; }
    static EndOutcome silent() {
        return {EndOutcome::State::unknown, false, Error{ErrorCode::timeout, Disposition::retry, "no answer"}};
    }

    void prepare(std::vector<HalfOutcome> outcomes = {stored(1)}) { machine_.prepared(outcomes, now_); }
    void up_to_local() {
        prepare();
        EXPECT_EQ(machine_.next(), Action::begin);
        machine_.done(now_);
        EXPECT_EQ(machine_.next(), Action::insert_verdict);
        machine_.done(now_);
        EXPECT_EQ(machine_.next(), Action::run_local);
    }
    void up_to_lost_commit() {
        up_to_local();
        machine_.returned(Decision::commit);
        EXPECT_EQ(machine_.next(), Action::commit);
        machine_.failed(in_doubt(), now_);
        EXPECT_EQ(machine_.next(), Action::check);
    }
    void expect_end(Verdict verdict) {
        ASSERT_EQ(machine_.next(), Action::end);
        EXPECT_EQ(machine_.verdict(), verdict);
    }

    SteadyTime now_{1h};
    ProducerMachine machine_{{.transaction = TransactionId{{7}}, .group = "pay", .store = "here"}};
};

TEST_F(ProducerMachineTest, GoesFromHalfToCommit) {
    up_to_local();
    machine_.returned(Decision::commit);
    machine_.done(now_);
    expect_end(Verdict::commit);
    EXPECT_EQ(machine_.halves().size(), 1u);
    machine_.ended({EndOutcome::State::committed}, now_);
    ASSERT_EQ(machine_.next(), Action::finished);
    EXPECT_EQ(machine_.result().state, State::committed);
    EXPECT_EQ(machine_.result().end.state, EndOutcome::State::committed);
    EXPECT_EQ(machine_.result().messages, std::vector{MessageId{{1}}});
}

TEST_F(ProducerMachineTest, RunsNothingWhenAHalfIsNotStored) {
    prepare({stored(1), not_stored(PublishStatus::not_sent)});
    expect_end(Verdict::rollback);
    machine_.ended({EndOutcome::State::rolled_back}, now_);
    ASSERT_EQ(machine_.next(), Action::finished);
    EXPECT_EQ(machine_.result().state, State::rolled_back);
    EXPECT_EQ(machine_.result().error.code(), ErrorCode::busy);
}

TEST_F(ProducerMachineTest, SaysNothingToABrokerThatHoldsNothing) {
    prepare({not_stored(PublishStatus::in_doubt)});
    ASSERT_EQ(machine_.next(), Action::finished);
    EXPECT_EQ(machine_.result().state, State::rolled_back);
}

TEST_F(ProducerMachineTest, RunsNothingOnAHalfThatIsStoredLessSafelyAndEndsIt) {
    prepare({stored(1), stored_less_safely(2)});
    expect_end(Verdict::rollback);
    EXPECT_EQ(machine_.halves().size(), 2u) << "its place is known: END names it";
    machine_.ended({EndOutcome::State::rolled_back}, now_);
    EXPECT_EQ(machine_.result().state, State::rolled_back);
    EXPECT_EQ(machine_.result().error.disposition(), Disposition::in_doubt);
}

TEST_F(ProducerMachineTest, GoesOnWithAHalfThatIsStoredLessSafelyWhereThatIsEnough) {
    machine_ = ProducerMachine{{.transaction = TransactionId{{7}}, .group = "pay", .store = "here"},
                               {.half_safety = HalfSafety::stored}};
    prepare({stored(1), stored_less_safely(2)});
    ASSERT_EQ(machine_.next(), Action::begin);
    EXPECT_EQ(machine_.halves().size(), 2u);

    machine_ = ProducerMachine{{.transaction = TransactionId{{8}}, .group = "pay", .store = "here"},
                               {.half_safety = HalfSafety::stored}};
    prepare({stored(1), not_stored(PublishStatus::in_doubt)});
    expect_end(Verdict::rollback);
}

TEST_F(ProducerMachineTest, RollsBackWhatATombstoneForbids) {
    prepare();
    machine_.done(now_);
    machine_.failed({ErrorCode::conflict, Disposition::reject, "a tombstone is there"}, now_);
    ASSERT_EQ(machine_.next(), Action::roll_back);
    machine_.done(now_);
    expect_end(Verdict::rollback);
    machine_.ended({EndOutcome::State::rolled_back, true}, now_);
    EXPECT_EQ(machine_.result().state, State::rolled_back);
    EXPECT_EQ(machine_.result().error.code(), ErrorCode::conflict);
}

TEST_F(ProducerMachineTest, RollsBackWhenTheLocalFunctionDecidesSo) {
    up_to_local();
    machine_.returned(Decision::rollback);
    ASSERT_EQ(machine_.next(), Action::roll_back);
    machine_.done(now_);
    expect_end(Verdict::rollback);
}

TEST_F(ProducerMachineTest, RollsBackWhenTheLocalFunctionThrows) {
    up_to_local();
    machine_.threw({ErrorCode::internal, Disposition::abort_transaction, "boom"});
    ASSERT_EQ(machine_.next(), Action::roll_back);
    machine_.done(now_);
    expect_end(Verdict::rollback);
    EXPECT_EQ(machine_.reason(), "the local function failed: boom");
}

TEST_F(ProducerMachineTest, RollsBackWhenCommitCertainlyFailed) {
    up_to_local();
    machine_.returned(Decision::commit);
    machine_.failed({ErrorCode::busy, Disposition::abort_transaction, "serialisation failure"}, now_);
    ASSERT_EQ(machine_.next(), Action::roll_back);
    machine_.done(now_);
    expect_end(Verdict::rollback);
}

TEST_F(ProducerMachineTest, AsksTheStoreWhenTheAnswerToCommitIsLost) {
    up_to_lost_commit();
    machine_.checked(Seen::ongoing, now_);  // the server has not noticed yet that the connection is gone
    ASSERT_EQ(machine_.next(), Action::wait);
    EXPECT_EQ(machine_.wait_until(), now_ + 20ms);
    now_ += 20ms;
    machine_.waited();
    ASSERT_EQ(machine_.next(), Action::check);
    machine_.checked(Seen::committed, now_);
    expect_end(Verdict::commit);
    machine_.ended({EndOutcome::State::committed}, now_);
    EXPECT_EQ(machine_.result().state, State::committed);
}

TEST_F(ProducerMachineTest, BelievesTheTombstoneAfterALostCommit) {
    up_to_lost_commit();
    machine_.checked(Seen::rolled_back, now_);
    expect_end(Verdict::rollback);
    machine_.ended({EndOutcome::State::rolled_back}, now_);
    EXPECT_EQ(machine_.result().state, State::rolled_back);
}

TEST_F(ProducerMachineTest, LeavesToCheckBackWhatTheStoreCannotSayInTime) {
    up_to_lost_commit();
    const auto start = now_;
    while (machine_.next() != Action::finished) {
        machine_.checked(Error{ErrorCode::unavailable, Disposition::retry, "database down"}, now_);
        if (machine_.next() == Action::wait) {
            now_ = machine_.wait_until();
            machine_.waited();
        }
        ASSERT_LT(now_ - start, 6s);
    }
    EXPECT_GT(now_ - start, 4s);
    EXPECT_EQ(machine_.result().state, State::in_doubt);
    EXPECT_EQ(machine_.result().end.state, EndOutcome::State::unknown);
}

TEST_F(ProducerMachineTest, RepeatsAnUnansweredEndAndGivesUpInTime) {
    up_to_local();
    machine_.returned(Decision::commit);
    machine_.done(now_);
    const auto start = now_;
    int times = 0;
    while (machine_.next() != Action::finished) {
        expect_end(Verdict::commit);
        ++times;
        machine_.ended(silent(), now_);
        if (machine_.next() == Action::wait) {
            now_ = machine_.wait_until();
            machine_.waited();
        }
    }
    EXPECT_EQ(times, 10);  // 20, 40 … 640, 1000 ms, within 5 s
    EXPECT_LE(now_ - start, 5s);
    EXPECT_EQ(machine_.result().state, State::committed) << "the rows are there, whether the broker was told or not";
    EXPECT_EQ(machine_.result().end.state, EndOutcome::State::unknown);
}

TEST_F(ProducerMachineTest, WaitsNoMoreWhenHurried) {
    up_to_local();
    machine_.returned(Decision::commit);
    machine_.done(now_);
    machine_.ended(silent(), now_);
    ASSERT_EQ(machine_.next(), Action::wait);
    machine_.hurry();
    machine_.waited();
    EXPECT_EQ(machine_.next(), Action::finished);
}

TEST_F(ProducerMachineTest, KeepsTheDatabasesTruthWhenTheBrokerRefuses) {
    up_to_local();
    machine_.returned(Decision::commit);
    machine_.done(now_);
    machine_.ended({EndOutcome::State::refused, true,
                    Error{ErrorCode::conflict, Disposition::reject, "rolled back before by an operator"}},
                   now_);
    EXPECT_EQ(machine_.next(), Action::finished);
    EXPECT_EQ(machine_.result().state, State::committed);
    EXPECT_EQ(machine_.result().end.state, EndOutcome::State::refused);
}

}  // namespace
}  // namespace hufu::txmsg
