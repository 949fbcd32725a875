#include <gtest/gtest.h>

#include <gmock/gmock.h>

#include <hufu/txmsg/responder_machine.hpp>

namespace hufu::txmsg {
namespace {

using namespace std::chrono_literals;
using Kind = ResponderAction::Kind;

class ResponderMachineTest : public testing::Test {
protected:
    static ResponderRules rules() {
        return {.store = "here",
                .handlers = {"", "paid"},
                .checkers = {"paid"},
                .answer_within = 10s,
                .running_per_handler = 2,
                .waiting_max = 3};
    }
    static HalfContext half(std::string handler = "", std::string store = "here") {
        return {.transaction = TransactionId{{7}}, .group = "pay", .handler = std::move(handler), .store = std::move(store)};
    }
    ResponderAction only() {
        const auto actions = machine_.take();
        EXPECT_EQ(actions.size(), 1u);
        return actions.empty() ? ResponderAction{} : actions.front();
    }

    void drop() { (void)machine_.take(); }

    SteadyTime now_{1h};
    ResponderMachine machine_{rules()};
};

TEST_F(ResponderMachineTest, AnswersFromTheStore) {
    const std::pair<Seen, Verdict> cases[] = {{Seen::committed, Verdict::commit},
                                              {Seen::rolled_back, Verdict::rollback},
                                              {Seen::ongoing, Verdict::unknown},
                                              {Seen::beyond_retention, Verdict::unknown}};
    CheckNumber number = 0;
    for (const auto& [seen, verdict] : cases) {
        machine_.arrived(++number, half(), now_);
        EXPECT_EQ(only().kind, Kind::ask_store);
        machine_.store_said(number, seen, now_);
        const auto action = only();
        EXPECT_EQ(action.kind, Kind::answer);
        EXPECT_EQ(action.verdict, verdict);
    }
    EXPECT_EQ(machine_.figures().committed, 1u);
    EXPECT_EQ(machine_.figures().rolled_back, 1u);
    EXPECT_EQ(machine_.figures().unknown, 2u);
    EXPECT_FALSE(machine_.next_deadline());
}

TEST_F(ResponderMachineTest, KeepsSilentAboutAnotherStoresTransaction) {
    machine_.arrived(1, half("", "elsewhere"), now_);
    EXPECT_EQ(only().kind, Kind::stay_silent);
    machine_.arrived(2, half("paid", "elsewhere"), now_);
    EXPECT_EQ(only().kind, Kind::stay_silent);
    EXPECT_EQ(machine_.figures().foreign, 2u);
}

TEST_F(ResponderMachineTest, KeepsSilentOnADatabaseThatMustNotAnswer) {
    machine_.arrived(1, half(), now_);
    drop();
    machine_.store_said(1, Error{ErrorCode::fenced, Disposition::retry, "a replica"}, now_);
    EXPECT_EQ(only().kind, Kind::stay_silent);
    EXPECT_EQ(machine_.figures().foreign, 1u);
}

TEST_F(ResponderMachineTest, KeepsSilentForAHandlerNobodyRegistered) {
    machine_.arrived(1, half("refund"), now_);
    EXPECT_EQ(only().kind, Kind::stay_silent);
    EXPECT_EQ(machine_.figures().unknown_handler, 1u);
}

TEST_F(ResponderMachineTest, AnswersUnknownWhenNobodyCouldKnow) {
    machine_.arrived(1, half("", ""), now_);
    const auto action = only();
    EXPECT_EQ(action.kind, Kind::answer);
    EXPECT_EQ(action.verdict, Verdict::unknown);
}

TEST_F(ResponderMachineTest, AnswersUnknownWithTheReasonWhenTheStoreFails) {
    machine_.arrived(1, half(), now_);
    drop();
    machine_.store_said(1, Error{ErrorCode::wrong_version, Disposition::fatal, "no table"}, now_);
    const auto action = only();
    EXPECT_EQ(action.verdict, Verdict::unknown);
    EXPECT_THAT(action.reason, testing::HasSubstr("no table"));
    EXPECT_EQ(machine_.figures().failed, 1u);
}

TEST_F(ResponderMachineTest, AsksTheUsersCheckerOfAHandler) {
    machine_.arrived(1, half("paid", ""), now_);
    EXPECT_EQ(only().kind, Kind::ask_checker);
    machine_.checker_said(1, Verdict::commit, "order 7 is paid", now_);
    const auto action = only();
    EXPECT_EQ(action.verdict, Verdict::commit);
    EXPECT_EQ(action.reason, "order 7 is paid");
}

TEST_F(ResponderMachineTest, AnswersUnknownWhenTheCheckerThrowsOrTalksNonsense) {
    machine_.arrived(1, half("paid"), now_);
    machine_.arrived(2, half("paid"), now_);
    drop();
    machine_.checker_failed(1, "boom", now_);
    EXPECT_EQ(only().verdict, Verdict::unknown);
    machine_.checker_said(2, static_cast<Verdict>(77), {}, now_);
    EXPECT_EQ(only().verdict, Verdict::unknown);
    EXPECT_EQ(machine_.figures().failed, 1u);
    EXPECT_EQ(machine_.figures().nonsense, 1u);
}

TEST_F(ResponderMachineTest, AnswersUnknownInTimeAndDropsWhatComesLate) {
    machine_.arrived(1, half("paid"), now_);
    drop();
    EXPECT_EQ(machine_.next_deadline(), now_ + 10s);
    machine_.tick(now_ + 10s - 1ns);
    EXPECT_TRUE(machine_.take().empty());
    machine_.tick(now_ + 10s);
    EXPECT_EQ(only().verdict, Verdict::unknown);
    EXPECT_EQ(machine_.running(), 1u) << "the checker still holds its place";
    machine_.checker_said(1, Verdict::commit, {}, now_ + 20s);
    EXPECT_TRUE(machine_.take().empty()) << "a second answer";
    EXPECT_EQ(machine_.running(), 0u);
    EXPECT_EQ(machine_.figures().timed_out, 1u);
    EXPECT_EQ(machine_.figures().late, 1u);
}

TEST_F(ResponderMachineTest, DropsAnAnswerThatComesAfterItsTurnWithoutATick) {
    machine_.arrived(1, half("paid"), now_);
    drop();
    machine_.checker_said(1, Verdict::commit, {}, now_ + 11s);
    const auto action = only();
    EXPECT_EQ(action.verdict, Verdict::unknown);
    EXPECT_EQ(machine_.figures().late, 1u);
}

TEST_F(ResponderMachineTest, LetsAHangingHandlerHoldUpOnlyItself) {
    for (CheckNumber number = 1; number <= 4; ++number) {
        machine_.arrived(number, half("paid"), now_);
    }
    EXPECT_EQ(machine_.take().size(), 2u);
    EXPECT_EQ(machine_.waiting(), 2u);
    machine_.arrived(5, half(), now_ + 1s);
    EXPECT_EQ(only().kind, Kind::ask_store);
    machine_.store_said(5, Seen::committed, now_ + 1s);
    EXPECT_EQ(only().verdict, Verdict::commit);
    machine_.tick(now_ + 10s);
    EXPECT_EQ(machine_.take().size(), 4u);  // two that run, two that wait: all are answered
    EXPECT_EQ(machine_.waiting(), 0u);
    EXPECT_EQ(machine_.figures().timed_out, 4u);
}

TEST_F(ResponderMachineTest, RefusesToQueueWithoutBound) {
    for (CheckNumber number = 1; number <= 6; ++number) {
        machine_.arrived(number, half("paid"), now_);
    }
    const auto actions = machine_.take();
    ASSERT_EQ(actions.size(), 3u);  // two run, three wait
    EXPECT_EQ(actions.back().kind, Kind::answer);
    EXPECT_EQ(actions.back().verdict, Verdict::unknown);
    EXPECT_EQ(machine_.figures().overloaded, 1u);
}

TEST_F(ResponderMachineTest, StartsWhatWaitsWhenAPlaceIsFree) {
    for (CheckNumber number = 1; number <= 3; ++number) {
        machine_.arrived(number, half("paid"), now_);
    }
    drop();
    machine_.checker_said(1, Verdict::rollback, {}, now_);
    const auto actions = machine_.take();
    ASSERT_EQ(actions.size(), 2u);
    EXPECT_EQ(actions[0].kind, Kind::answer);
    EXPECT_EQ(actions[1].kind, Kind::ask_checker);
    EXPECT_EQ(actions[1].number, 3u);
}

TEST_F(ResponderMachineTest, LeavesTheRestUnansweredWhenItStops) {
    machine_.arrived(1, half(), now_);
    drop();
    machine_.stop();
    EXPECT_EQ(only().kind, Kind::stay_silent);
    machine_.store_said(1, Seen::committed, now_);
    EXPECT_TRUE(machine_.take().empty());
}

}  // namespace
}  // namespace hufu::txmsg
