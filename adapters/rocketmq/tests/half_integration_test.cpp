// The half publisher against the bundled broker as a process of its own.
#include <gmock/gmock.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <set>

#include <hufu/core/ids.hpp>
#include <hufu/rocketmq/half_publisher.hpp>
#include <hufu/rocketmq/transaction_admin.hpp>

#include "broker_under_test.hpp"

namespace hufu::rocketmq {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using State = txmsg::EndOutcome::State;
using txmsg::Verdict;

class Halves : public ::testing::Test {
protected:
    txmsg::HalfContext context(std::string handler = {}) {
        return {.transaction = ids.next(), .group = "shop", .handler = std::move(handler), .store = "store-1"};
    }
    Message message(std::string topic, std::string body, std::string key = "k") {
        return {.id = ids.next(), .topic = std::move(topic), .ordering_key = std::move(key), .body = std::move(body)};
    }
    static std::vector<txmsg::Half> prepare(txmsg::HalfPublisher& publisher, const txmsg::HalfContext& of,
                                            const std::vector<Message>& messages) {
        std::vector<txmsg::HalfOutcome> outcomes(messages.size());
        std::promise<void> done;
        publisher.prepare(of, messages, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        std::vector<txmsg::Half> halves;
        for (const auto& outcome : outcomes) {
            EXPECT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
            halves.push_back(outcome.half);
        }
        return halves;
    }
    static txmsg::EndOutcome end(txmsg::HalfPublisher& publisher, const txmsg::HalfContext& of,
                                 const std::vector<txmsg::Half>& halves, Verdict verdict) {
        txmsg::EndOutcome outcome;
        std::promise<void> done;
        publisher.end(of, halves, verdict, "test", outcome, [&done] { done.set_value(); });
        done.get_future().wait();
        return outcome;
    }
    /// What a new group sees of `topics` until `count` messages came or nothing came for a while.
    std::vector<Message> seen(const std::vector<std::string>& topics, std::size_t count) {
        const auto subscription =
            open_subscription(broker.tcp(), {.group = "reader-" + ids.next().to_string(), .topics = topics}).value();
        std::vector<Message> all;
        while (all.size() < count) {
            auto some = subscription->receive(100, 20s, {}).value();
            if (some.empty()) break;
            for (Delivery& delivery : some) all.push_back(std::move(delivery.message));
        }
        return all;
    }

    MessageIdGenerator ids{system_clock(), system_random()};
    BrokerUnderTest broker;
};

TEST_F(Halves, OfOneTransactionBecomeVisibleTogetherAndOnce) {
    const auto publisher = open_half_publisher(broker.tcp()).value();
    const auto of = context();
    const std::vector<Message> messages{message("orders", "a"), message("orders", "b"), message("stock", "c")};
    const auto halves = prepare(*publisher, of, messages);
    const auto other = context();
    const auto dropped = prepare(*publisher, other, {message("orders", "never")});
    EXPECT_EQ(end(*publisher, other, dropped, Verdict::rollback).state, State::rolled_back);
    const auto first = end(*publisher, of, halves, Verdict::commit);
    EXPECT_EQ(first.state, State::committed) << first.error.text();
    EXPECT_FALSE(first.decided_before);
    const auto again = end(*publisher, of, halves, Verdict::commit);
    EXPECT_EQ(again.state, State::committed);
    EXPECT_TRUE(again.decided_before);
    const auto late = end(*publisher, other, dropped, Verdict::commit);
    EXPECT_EQ(late.state, State::refused);
    EXPECT_THAT(late.error.text(), HasSubstr("the first verdict counts"));

    const auto last = context();
    EXPECT_EQ(
        end(*publisher, last, prepare(*publisher, last, {message("orders", "d"), message("stock", "e")}), Verdict::commit)
            .state,
        State::committed);
    std::multiset<std::pair<MessageId, std::string>> got;
    for (const Message& one : seen({"orders", "stock"}, 5)) got.emplace(one.id, one.body);
    EXPECT_EQ(got.size(), 5U);
    for (const Message& one : messages) EXPECT_EQ(got.count({one.id, one.body}), 1U);
}

TEST_F(Halves, AreEndedByAVerdictThatOutlivesARestartOfTheBroker) {
    const auto publisher = open_half_publisher(broker.tcp()).value();
    const auto of = context();
    const auto halves = prepare(*publisher, of, {message("orders", "a")});
    broker.kill();
    txmsg::EndOutcome outcome;
    std::promise<void> done;
    publisher->end(of, halves, Verdict::commit, "test", outcome, [&done] { done.set_value(); });
    broker.start();
    done.get_future().wait();
    EXPECT_EQ(outcome.state, State::committed) << outcome.error.text();
    EXPECT_EQ(seen({"orders"}, 1).size(), 1U);
}

TEST_F(Halves, WithoutAnEndAreAskedAboutAtWhoeverServesTheirHandler) {
    struct {
        std::mutex mutex;
        std::vector<txmsg::Check> checks;
    } heard;
    const auto responder = open_half_publisher(broker.tcp()).value();
    ASSERT_TRUE(responder->serve_checks("shop", {"paid"}, [&](txmsg::Check check, txmsg::HalfPublisher::Answer answer) {
        answer(Verdict::commit, "the row is there");
        const std::lock_guard lock{heard.mutex};
        heard.checks.push_back(std::move(check));
    }));
    const auto stranger = open_half_publisher(broker.tcp()).value();
    ASSERT_TRUE(stranger->serve_checks("shop", {"other"}, [](txmsg::Check, txmsg::HalfPublisher::Answer) {
        ADD_FAILURE() << "a check for another handler";
    }));
    const auto producer = open_half_publisher(broker.tcp()).value();
    auto of = context("paid");
    of.first_check_after = 1s;
    const auto halves = prepare(*producer, of, {message("orders", "a")});
    const auto got = seen({"orders"}, 1);
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].id, halves[0].id);
    const std::lock_guard lock{heard.mutex};
    ASSERT_FALSE(heard.checks.empty());
    EXPECT_EQ(heard.checks[0].context, of);
    EXPECT_EQ(heard.checks[0].message.body, "a");
    const auto late = end(*producer, of, halves, Verdict::commit);
    EXPECT_EQ(late.state, State::committed);
    EXPECT_TRUE(late.decided_before);
}

TEST_F(Halves, MayBeMeantForLater) {
    const auto publisher = open_half_publisher(broker.tcp()).value();
    const auto of = context();
    Message later = message("orders", "later");
    later.deliver_at = system_clock().system_now() + 2s;
    const auto halves = prepare(*publisher, of, {later});
    const auto outcome = end(*publisher, of, halves, Verdict::commit);
    EXPECT_EQ(outcome.state, State::committed) << outcome.error.text();
    ASSERT_EQ(seen({"orders"}, 1).size(), 1U);
    EXPECT_GE(system_clock().system_now(), *later.deliver_at);
}

TEST_F(Halves, CanBeSeenAndSettledByAnOperator) {
    const auto publisher = open_half_publisher(broker.tcp()).value();
    const auto admin = open_transaction_admin(broker.tcp()).value();
    const auto of = context();
    const auto halves = prepare(*publisher, of, {message("orders", "a"), message("stock", "b")});
    const auto open = admin->list({});
    ASSERT_TRUE(open) << open.error().text();
    ASSERT_EQ(open->transactions.size(), 1U);
    EXPECT_EQ(open->transactions[0].transaction_id, of.transaction.to_string());
    EXPECT_EQ(open->transactions[0].state, "pending");
    EXPECT_EQ(open->transactions[0].producer_group, "shop");
    EXPECT_EQ(open->transactions[0].halves.size(), 2U);
    const auto decided = admin->decide({of.transaction.to_string(), "commit", "the bank has it", "ann"});
    ASSERT_TRUE(decided) << decided.error().text();
    EXPECT_EQ(decided->state, "committed");
    EXPECT_EQ(seen({"orders", "stock"}, 2).size(), 2U);
    EXPECT_EQ(admin->decide({of.transaction.to_string(), "rollback", "no", "bob"}).error().code(), ErrorCode::conflict);
    EXPECT_EQ(admin->show(ids.next().to_string()).error().code(), ErrorCode::not_found);
}

}  // namespace
}  // namespace hufu::rocketmq
