// Checks: who is asked, when, how often, what counts, and what is parked.
#include <gmock/gmock.h>

#include "transactions_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(TransactionsTest, AProducerIsAskedOnceTheFirstDelayIsOver) {
    start();
    join(client);
    const HalfSent sent = half("paid", "id-1");
    pass(5s);
    EXPECT_THAT(checks(client), IsEmpty());
    pass(2s);
    const auto asked = checks(client);
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_EQ(asked[0].field("tranStateTableOffset"), std::to_string(sent.queue_offset));
    EXPECT_EQ(asked[0].field("commitLogOffset"), std::to_string(sent.log_offset));
    EXPECT_EQ(asked[0].field("transactionId"), "id-1");
    EXPECT_EQ(asked[0].field("msgId"), "id-1");
    EXPECT_EQ(asked[0].flag & remoting::flag_bit::one_way, remoting::flag_bit::one_way);
    const auto body = split_records(std::as_bytes(std::span{asked[0].body}));
    ASSERT_EQ(body.size(), 1U);
    EXPECT_EQ(body[0].topic, "orders");
    EXPECT_EQ(body[0].body, "paid");
    EXPECT_EQ(body[0].property("PGROUP"), "payments");

    EXPECT_EQ(end(half_of_check(asked[0]), commit, true).field("transactionState"), "committed");
    EXPECT_THAT(visible(), ElementsAre("paid"));
    pass(5min);
    EXPECT_THAT(checks(client), IsEmpty());
    EXPECT_EQ(metric("hufu_broker_transactions_checks_sent_total"), 1);
    EXPECT_EQ(metric("hufu_broker_transactions_checks_answered_total"), 1);
}

TEST_F(TransactionsTest, TheFirstCheckWaitsAsTheMessageWants) {
    start();
    join(client);
    half("orders", "x", half_properties("id-1", {}, property("CHECK_IMMUNITY_TIME_IN_SECONDS", "30")));
    pass(29s);
    EXPECT_THAT(checks(client), IsEmpty());
    pass(2s);
    EXPECT_EQ(checks(client).size(), 1U);
}

TEST_F(TransactionsTest, QuestionsComeMoreAndMoreSeldom) {
    start();
    join(client);
    half();
    std::vector<std::int64_t> at;
    const std::int64_t begin = clock.now_ms;
    for (int i = 0; i < 200; ++i) {
        pass(1s);
        join(client);
        if (!checks(client).empty()) at.push_back((clock.now_ms - begin) / 1000);
    }
    EXPECT_THAT(at, ElementsAre(6, 16, 36, 76, 116, 156, 196));
}

TEST_F(TransactionsTest, ATopicHasItsOwnTimes) {
    start();
    join(client);
    ask(RequestCode::update_and_create_topic,
        RawFields{{{"topic", "quick"},
                   {"readQueueNums", "1"},
                   {"writeQueueNums", "1"},
                   {"perm", "6"},
                   {"attributes",
                    "+transaction.first.check.ms=1000,+transaction.check.interval.ms=2000,"
                    "+transaction.check.interval.max.ms=3000,+transaction.budget.ms=20000"}}});
    half("quick", "x", half_properties("id-1"));
    std::vector<std::int64_t> at;
    const std::int64_t begin = clock.now_ms;
    for (int i = 0; i < 40; ++i) {
        pass(1s);
        if (!checks(client).empty()) at.push_back((clock.now_ms - begin) / 1000);
    }
    EXPECT_THAT(at, ElementsAre(1, 3, 6, 9, 12, 15, 18, 21));
    EXPECT_EQ(metric("hufu_broker_transactions_parked"), 1);
}

TEST_F(TransactionsTest, NobodyIsAskedWithoutAProducerAndTheNewOneAtOnce) {
    start();
    half();
    pass(10min);
    EXPECT_EQ(metric("hufu_broker_transactions_checks_sent_total"), 0);
    EXPECT_GT(metric("hufu_broker_transactions_checks_unreachable_total"), 2);
    join(client, "others");
    pass(100ms, 100ms);
    EXPECT_THAT(checks(client), IsEmpty());
    join(client, "payments");
    pass(100ms, 100ms);
    EXPECT_EQ(checks(client).size(), 1U);
}

TEST_F(TransactionsTest, TheSendersOwnConnectionIsPreferred) {
    start();
    const ConnectionId other = dispatcher->connected({{10, 0, 0, 3}, 4712});
    const ConnectionId sender = dispatcher->connected({{10, 0, 0, 4}, 4713});
    join(client, "payments", "c1");
    join(other, "payments", "c2");
    join(sender, "payments", "c3");
    for (int i = 0; i < 4; ++i) {
        request(sender, RequestCode::send_message_v2, i, half_header("orders", half_properties("id-" + std::to_string(i))),
                "x");
        settle_log();
    }
    pass(7s);
    EXPECT_EQ(checks(sender).size(), 4U);
    dispatcher->disconnected(sender, now());
    pass(10s);
    const std::size_t at_client = checks(client).size();
    EXPECT_EQ(at_client + checks(other).size(), 4U);
    EXPECT_EQ(at_client, 2U) << "they take turns";
}

TEST_F(TransactionsTest, WhenTheSenderKeepsSilentOthersOfItsGroupAreAsked) {
    start();
    const ConnectionId sender = dispatcher->connected({{10, 0, 0, 4}, 4713});
    join(client, "payments", "c1");
    join(sender, "payments", "c2");
    request(sender, RequestCode::send_message_v2, 1, half_header("orders", half_properties("id-1")), "x");
    settle_log();
    pass(7s);
    EXPECT_EQ(checks(sender).size(), 1U);
    EXPECT_THAT(checks(client), IsEmpty());
    std::size_t asked_of_others = 0;
    for (int i = 0; i < 300 && asked_of_others == 0; ++i) {
        pass(1s);
        asked_of_others = checks(client).size();
    }
    EXPECT_EQ(asked_of_others, 1U);
}

TEST_F(TransactionsTest, OnlyAnswersCount) {
    options.transactions.checks_max = 3;
    start();
    join(client);
    const HalfSent sent = half();
    // Twenty questions that nobody answers.
    for (int i = 0; i < 20; ++i) {
        pass(40s);
        join(client);
    }
    EXPECT_GT(checks(client).size(), 10U);
    EXPECT_EQ(metric("hufu_broker_transactions_parked"), 0);
    std::size_t answered = 0;
    for (int i = 0; i < 20 && metric("hufu_broker_transactions_parked") == 0; ++i) {
        pass(40s);
        join(client);
        for (const Sent& check : checks(client)) {
            EXPECT_EQ(check.field("hufuCheckTimes"), answered == 0 ? "(absent)" : std::to_string(answered));
            request(client, RequestCode::end_transaction, 1, end_header(half_of_check(check), unknown, true), {}, true);
            ++answered;
        }
    }
    EXPECT_EQ(answered, 3U);
    EXPECT_EQ(metric("hufu_broker_transactions_parked"), 1);
    EXPECT_THAT(dispatcher->take_alarms(), ElementsAre(HasSubstr("producers answered 3 checks without a verdict")));
    EXPECT_EQ(end(sent, commit).field("transactionState"), "committed") << "a parked half still takes a verdict";
    EXPECT_THAT(visible(), ElementsAre("paid"));
}

TEST_F(TransactionsTest, AHalfWhoseBudgetIsOverIsParkedAndNeverDiscarded) {
    start();
    const HalfSent sent = half();
    pass(2h, 10s);
    EXPECT_EQ(metric("hufu_broker_transactions_parked"), 1);
    EXPECT_EQ(metric("hufu_broker_transactions_pending"), 0);
    const auto alarms = dispatcher->take_alarms();
    ASSERT_EQ(alarms.size(), 1U);
    EXPECT_THAT(alarms[0], HasSubstr("of producer group \"payments\" is parked"));
    EXPECT_THAT(alarms[0], HasSubstr("no producer of group \"payments\" is connected"));
    EXPECT_EQ(end(sent, unknown).field("transactionState"), "parked");
    join(client);
    pass(1h, 10s);
    EXPECT_THAT(checks(client), IsEmpty()) << "a parked half is not asked about";
    restart();
    EXPECT_EQ(metric("hufu_broker_transactions_parked"), 1);
    EXPECT_EQ(end(sent, commit).field("transactionState"), "committed");
    EXPECT_THAT(visible(), ElementsAre("paid"));
}

TEST_F(TransactionsTest, AWallClockThatJumpsAheadParksNothing) {
    start();
    join(client);
    half();
    pass(7s);
    EXPECT_EQ(checks(client).size(), 1U);
    clock.wall_shift_ms += 10LL * 24 * 3600 * 1000;
    pass(10s);
    clock.wall_shift_ms = 0;
    pass(2min);
    join(client);
    EXPECT_EQ(metric("hufu_broker_transactions_parked"), 0);
    EXPECT_GT(checks(client).size(), 1U);
}

TEST_F(TransactionsTest, AWallClockThatStepsBackStopsNoCheck) {
    start();
    join(client);
    half();
    clock.wall_shift_ms -= 30LL * 24 * 3600 * 1000;
    pass(7s);
    EXPECT_EQ(checks(client).size(), 1U);
}

TEST_F(TransactionsTest, ChecksAreLimitedInRateAndInFlight) {
    options.transactions.checks_per_second = 10;
    options.transactions.checks_out_max = 25;
    options.transactions.answer_within = 30s;
    options.transactions.check_interval = 1h;
    options.transactions.check_interval_max = 1h;
    start();
    join(client);
    for (int i = 0; i < 100; ++i) half("x", "id-" + std::to_string(i));
    pass(8s, 100ms);
    const auto first = checks(client);
    EXPECT_GE(first.size(), 10U);
    EXPECT_LE(first.size(), 22U);
    pass(10s, 100ms);
    std::size_t asked = first.size() + checks(client).size();
    EXPECT_EQ(asked, 25U) << "no more while none is answered";
    for (const Sent& check : first) end(half_of_check(check), commit, true);
    pass(10s, 100ms);
    EXPECT_EQ(asked + checks(client).size(), 25U + first.size());
    pass(60s, 100ms);
    join(client);
    EXPECT_GT(checks(client).size(), 20U) << "what is not answered in time frees its place";
}

TEST_F(TransactionsTest, ChecksGoOnAfterARestart) {
    start();
    half();
    restart();
    join(client);
    pass(5s);
    EXPECT_THAT(checks(client), IsEmpty());
    pass(2s);
    ASSERT_EQ(metric("hufu_broker_transactions_pending"), 1);
    const auto asked = checks(client);
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_EQ(end(half_of_check(asked[0]), rollback, true).field("transactionState"), "rolled_back");
}

}  // namespace
}  // namespace hufu::broker::testing
