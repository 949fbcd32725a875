// Transaction messages: halves, verdicts, what clients are answered, and what consumers see.
#include <gmock/gmock.h>

#include "transactions_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST_F(TransactionsTest, AHalfIsInvisibleUntilItIsCommitted) {
    start();
    const HalfSent sent = half("paid", "id-1");
    EXPECT_EQ(sent.answer.response(), ResponseCode::success) << sent.answer.remark;
    EXPECT_EQ(sent.queue_offset, 0);
    EXPECT_EQ(sent.transaction, "id-1");
    EXPECT_THAT(visible(), IsEmpty());

    const Sent ended = end(sent, commit);
    EXPECT_EQ(ended.response(), ResponseCode::success) << ended.remark;
    EXPECT_EQ(ended.field("transactionState"), "committed");
    EXPECT_EQ(ended.field("decidedBefore"), "false");
    EXPECT_THAT(visible(), ElementsAre("paid"));
}

TEST_F(TransactionsTest, ACommittedMessageLooksLikeRocketMqs) {
    start();
    const HalfSent sent = half("orders", "paid", half_properties("id-1", {}, property("KEYS", "o-7")));
    end(sent, commit);
    const auto seen = records("orders", 0);
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].topic, "orders");
    EXPECT_EQ(seen[0].queue_offset, 0);
    EXPECT_EQ(seen[0].sys_flag & remoting::sys_flag::transaction_mask, remoting::sys_flag::transaction_commit);
    EXPECT_EQ(seen[0].prepared_offset, sent.log_offset);
    EXPECT_EQ(seen[0].property("TRAN_MSG"), "true");
    EXPECT_EQ(seen[0].property("PGROUP"), "payments");
    EXPECT_EQ(seen[0].property("UNIQ_KEY"), "id-1");
    EXPECT_EQ(seen[0].property("KEYS"), "o-7");
}

TEST_F(TransactionsTest, ARolledBackHalfNeverShows) {
    start();
    const HalfSent sent = half();
    const Sent ended = end(sent, rollback);
    EXPECT_EQ(ended.response(), ResponseCode::success) << ended.remark;
    EXPECT_EQ(ended.field("transactionState"), "rolled_back");
    pass(1min);
    EXPECT_THAT(visible(), IsEmpty());
}

TEST_F(TransactionsTest, TheFirstVerdictCountsAndIsAnsweredEachTime) {
    start();
    const HalfSent sent = half();
    end(sent, commit);
    for (int i = 0; i < 3; ++i) {
        const Sent again = end(sent, commit);
        EXPECT_EQ(again.response(), ResponseCode::success) << again.remark;
        EXPECT_EQ(again.field("transactionState"), "committed");
        EXPECT_EQ(again.field("decidedBefore"), "true");
        const Sent other = end(sent, rollback);
        EXPECT_EQ(other.response(), ResponseCode::illegal_operation);
        EXPECT_THAT(other.remark, HasSubstr("was committed by producer 10.0.0.2:4711"));
        EXPECT_EQ(other.field("transactionState"), "committed");
        restart();
    }
    EXPECT_THAT(visible(), ElementsAre("paid"));
}

TEST_F(TransactionsTest, ACommitAfterARollbackIsRefusedCountedAndShown) {
    start();
    const HalfSent sent = half();
    end(sent, rollback);
    const Sent late = end(sent, commit);
    EXPECT_EQ(late.response(), ResponseCode::illegal_operation);
    EXPECT_THAT(late.remark, HasSubstr("was rolled_back by producer"));
    EXPECT_EQ(end(sent, commit).remark, late.remark);
    EXPECT_THAT(visible(), IsEmpty());
    EXPECT_EQ(metric("hufu_broker_transactions_conflicts_total"), 1);
    EXPECT_EQ(metric("hufu_broker_transactions_conflicts"), 1);
    EXPECT_EQ(metric("hufu_broker_transactions_refused_verdicts_total"), 2);
    EXPECT_THAT(dispatcher->take_alarms(), ElementsAre(HasSubstr("the commit was refused")));
    EXPECT_EQ(end(sent, rollback).response(), ResponseCode::success);
    restart();
    EXPECT_EQ(end(sent, commit).remark, late.remark);
    EXPECT_EQ(metric("hufu_broker_transactions_conflicts"), 1);
    EXPECT_THAT(visible(), IsEmpty());
}

TEST_F(TransactionsTest, AVerdictIsAnsweredWhenItIsDurable) {
    start();
    const HalfSent sent = half();
    request(client, RequestCode::end_transaction, 9, end_header(sent, commit));
    request(client, RequestCode::end_transaction, 10, end_header(sent, commit));
    request(client, RequestCode::end_transaction, 11, end_header(sent, rollback));
    EXPECT_THAT(take(client), IsEmpty());
    settle_log();
    const auto answers = take(client);
    ASSERT_EQ(answers.size(), 3U);
    EXPECT_EQ(answers[0].opaque, 9);
    EXPECT_EQ(answers[0].field("decidedBefore"), "false");
    EXPECT_EQ(answers[1].response(), ResponseCode::success);
    EXPECT_EQ(answers[1].field("decidedBefore"), "true");
    EXPECT_EQ(answers[2].response(), ResponseCode::illegal_operation);
    EXPECT_THAT(visible(), ElementsAre("paid"));
}

TEST_F(TransactionsTest, AnAsynchronousTopicAnswersAtOnce) {
    options.answer_before_durable = true;
    start();
    request(client, RequestCode::send_message_v2, 8, half_header("orders", half_properties("id-1")), "paid");
    const HalfSent sent = half_of(take_one(client));
    ASSERT_EQ(sent.queue_offset, 0);
    // The half is not on the disk: it cannot be delivered yet, so its verdict waits, and is not lost.
    request(client, RequestCode::end_transaction, 9, end_header(sent, commit));
    settle_log();
    EXPECT_EQ(take_one(client).field("transactionState"), "committed");
    settle_log();
    EXPECT_THAT(visible(), ElementsAre("paid"));
}

TEST_F(TransactionsTest, OneWayVerdictsAreObeyedAndNotAnswered) {
    start();
    const HalfSent sent = half();
    request(client, RequestCode::end_transaction, 9, end_header(sent, unknown), {}, true);
    request(client, RequestCode::end_transaction, 9, end_header(sent, commit), {}, true);
    settle_log();
    EXPECT_THAT(take(client), IsEmpty());
    EXPECT_THAT(visible(), ElementsAre("paid"));
}

TEST_F(TransactionsTest, UnknownChangesNothing) {
    start();
    const HalfSent sent = half();
    const Sent asked = end(sent, unknown);
    EXPECT_EQ(asked.response(), ResponseCode::success);
    EXPECT_EQ(asked.field("transactionState"), "pending");
    EXPECT_EQ(end(sent, commit).field("decidedBefore"), "false");
    EXPECT_EQ(end(sent, unknown).field("transactionState"), "committed");
}

TEST_F(TransactionsTest, OneVerdictDecidesAllHalvesOfATransaction) {
    start();
    const HalfSent first = half("orders", "a", half_properties("id-1", "tx-1"));
    const HalfSent second = half("stock", "b", half_properties("id-2", "tx-1"));
    const HalfSent other = half("orders", "c", half_properties("id-3", "tx-2"));
    EXPECT_EQ(end(second, commit).response(), ResponseCode::success);
    EXPECT_THAT(visible("orders"), ElementsAre("a"));
    EXPECT_THAT(visible("stock"), ElementsAre("b"));
    EXPECT_EQ(end(first, commit).field("decidedBefore"), "true");
    EXPECT_EQ(end(first, rollback).response(), ResponseCode::illegal_operation);
    EXPECT_EQ(end(other, rollback).field("decidedBefore"), "false");
}

TEST_F(TransactionsTest, AVerdictMayNameTheTransactionAlone) {
    start();
    half("orders", "a", half_properties("id-1", "tx-1"));
    half("stock", "b", half_properties("id-2", "tx-1"));
    HalfSent nameless;
    nameless.transaction = "tx-1";
    EXPECT_EQ(end(nameless, commit).field("transactionState"), "committed");
    EXPECT_THAT(visible("stock"), ElementsAre("b"));
    EXPECT_EQ(end(nameless, commit).field("decidedBefore"), "true");
    nameless.transaction = "tx-2";
    const Sent nothing = end(nameless, commit);
    EXPECT_EQ(nothing.response(), ResponseCode::query_not_found);
    EXPECT_THAT(nothing.remark, HasSubstr("transaction \"tx-2\" is unknown"));
}

TEST_F(TransactionsTest, AHalfAfterItsVerdictIsRefused) {
    start();
    const HalfSent first = half("orders", "a", half_properties("id-1", "tx-1"));
    end(first, commit);
    const HalfSent late = half("orders", "b", half_properties("id-2", "tx-1"));
    EXPECT_EQ(late.answer.response(), ResponseCode::illegal_operation);
    EXPECT_THAT(late.answer.remark, HasSubstr("transaction \"tx-1\" was committed"));
    restart();
    EXPECT_EQ(half("orders", "a", half_properties("id-1", "tx-1")).answer.response(), ResponseCode::illegal_operation);
    EXPECT_THAT(visible(), ElementsAre("a"));
}

TEST_F(TransactionsTest, AHalfThatIsSentAgainIsTheSameHalf) {
    start();
    const HalfSent first = half("paid", "id-1");
    const HalfSent again = half("paid", "id-1");
    EXPECT_EQ(again.answer.response(), ResponseCode::success);
    EXPECT_EQ(again.queue_offset, first.queue_offset);
    EXPECT_EQ(again.log_offset, first.log_offset);
    // Also while the first is on its way.
    request(client, RequestCode::send_message_v2, 1, half_header("orders", half_properties("id-2")), "x");
    request(client, RequestCode::send_message_v2, 2, half_header("orders", half_properties("id-2")), "x");
    settle_log();
    const auto answers = take(client);
    ASSERT_EQ(answers.size(), 2U);
    EXPECT_EQ(answers[0].field("msgId"), answers[1].field("msgId"));
    end(again, commit);
    EXPECT_THAT(visible(), ElementsAre("paid"));
}

TEST_F(TransactionsTest, BadHalvesAreRefused) {
    start();
    const auto refusal = [&](std::string properties, std::string_view body = "x", std::string_view topic = "orders") {
        const HalfSent sent = half(topic, body, properties);
        EXPECT_NE(sent.answer.response(), ResponseCode::success);
        return sent.answer;
    };
    EXPECT_THAT(refusal(property("TRAN_MSG", "true") + property("UNIQ_KEY", "id")).remark, HasSubstr("PGROUP"));
    EXPECT_THAT(refusal(property("TRAN_MSG", "true") + property("PGROUP", "a b") + property("UNIQ_KEY", "id")).remark,
                HasSubstr("group"));
    EXPECT_THAT(refusal(half_properties("id with space")).remark, HasSubstr("UNIQ_KEY"));
    EXPECT_THAT(refusal(half_properties("id", std::string(129, 'x'))).remark, HasSubstr("HUFU_TX_ID"));
    EXPECT_THAT(refusal(half_properties("id", {}, property("CHECK_IMMUNITY_TIME_IN_SECONDS", "soon"))).remark,
                HasSubstr("CHECK_IMMUNITY_TIME_IN_SECONDS"));
    EXPECT_THAT(refusal(half_properties("id", {}, property("X", std::string(32'600, 'x')))).remark,
                HasSubstr("properties of a transaction message"));
    EXPECT_THAT(refusal(half_properties("id"), std::string(remoting::body_bytes_max + 1, 'x')).remark, HasSubstr("bytes"));
    EXPECT_THAT(refusal(half_properties("id", {}, property("DELAY", "x"))).remark, HasSubstr("DELAY"));
    EXPECT_EQ(metric("hufu_broker_transactions_pending"), 0);
}

TEST_F(TransactionsTest, OnlyTopicsThatTakeTransactionsTakeHalves) {
    start();
    const auto declare = [&](std::string_view topic, std::string_view type) {
        ask(RequestCode::update_and_create_topic, RawFields{{{"topic", std::string{topic}},
                                                             {"readQueueNums", "1"},
                                                             {"writeQueueNums", "1"},
                                                             {"perm", "6"},
                                                             {"attributes", "+message.type=" + std::string{type}}}});
    };
    declare("fifo", "FIFO");
    declare("normal", "NORMAL");
    declare("delay", "DELAY");
    declare("tx", "TRANSACTION");
    EXPECT_EQ(half("tx", "x", half_properties("a")).answer.response(), ResponseCode::success);
    for (const char* topic : {"fifo", "normal", "delay"}) {
        const HalfSent sent = half(topic, "x", half_properties("b"));
        EXPECT_EQ(sent.answer.response(), ResponseCode::message_illegal);
        EXPECT_THAT(sent.answer.remark, HasSubstr("takes no TRANSACTION message"));
    }
    EXPECT_EQ(send("tx", 0, "x").response(), ResponseCode::message_illegal);
}

TEST_F(TransactionsTest, AHalfWithoutAnIdGetsOne) {
    start();
    std::string properties = property("TRAN_MSG", "true") + property("PGROUP", "payments");
    const HalfSent sent = half("orders", "x", properties);
    EXPECT_EQ(sent.transaction.size(), 32U);
    EXPECT_EQ(end(sent, commit).field("transactionState"), "committed");
    EXPECT_EQ(records("orders", 0).at(0).property("UNIQ_KEY"), sent.transaction);
}

TEST_F(TransactionsTest, VerdictsThatNameNothingAreRefused) {
    start();
    const HalfSent sent = half();
    HalfSent wrong = sent;
    wrong.queue_offset = 7;
    EXPECT_EQ(end(wrong, commit).response(), ResponseCode::query_not_found);
    wrong = sent;
    wrong.log_offset += 8;
    const Sent moved = end(wrong, commit);
    EXPECT_EQ(moved.response(), ResponseCode::no_permission);
    EXPECT_THAT(moved.remark, HasSubstr("does not stand at offset"));
    auto foreign = end_header(sent, commit);
    foreign.producer_group = "others";
    const Sent refused = ask(RequestCode::end_transaction, foreign);
    EXPECT_EQ(refused.response(), ResponseCode::no_permission);
    EXPECT_THAT(refused.remark, HasSubstr("another producer group than \"others\""));
    EXPECT_EQ(end(sent, 5).response(), ResponseCode::invalid_parameter);
    foreign = end_header(sent, commit);
    foreign.producer_group = "";
    EXPECT_EQ(ask(RequestCode::end_transaction, foreign).response(), ResponseCode::invalid_parameter);
    EXPECT_THAT(visible(), IsEmpty());
    EXPECT_EQ(end(sent, commit).response(), ResponseCode::success);
    foreign = end_header(sent, commit);
    foreign.producer_group = "others";
    EXPECT_EQ(ask(RequestCode::end_transaction, foreign).response(), ResponseCode::no_permission);
}

TEST_F(TransactionsTest, ABatchOfHalvesIsRefused) {
    start();
    remoting::SendRequest header = send_header("orders", 0);
    header.batch = true;
    header.sys_flag = remoting::sys_flag::transaction_prepared;
    EXPECT_EQ(ask(RequestCode::send_batch_message, header, "x").response(), ResponseCode::message_illegal);
}

TEST_F(TransactionsTest, PendingHalvesAreLimited) {
    options.transactions.pending_max = 2;
    start();
    const HalfSent first = half("a", "1");
    half("b", "2");
    const HalfSent third = half("c", "3");
    EXPECT_EQ(third.answer.response(), ResponseCode::system_busy);
    EXPECT_THAT(third.answer.remark, HasSubstr("2 transaction messages have no verdict"));
    EXPECT_EQ(metric("hufu_broker_transactions_busy_total"), 1);
    end(first, rollback);
    EXPECT_EQ(half("c", "3").answer.response(), ResponseCode::success);
}

TEST_F(TransactionsTest, HalvesOfATransactionAreLimited) {
    options.transactions.halves_max = 2;
    start();
    half("orders", "a", half_properties("1", "tx"));
    half("orders", "b", half_properties("2", "tx"));
    const HalfSent third = half("orders", "c", half_properties("3", "tx"));
    EXPECT_EQ(third.answer.response(), ResponseCode::message_illegal);
    EXPECT_THAT(third.answer.remark, HasSubstr("at most 2"));
}

TEST_F(TransactionsTest, ACommitWithADelayGoesToTheTimers) {
    start();
    const HalfSent sent = half("orders", "later", half_properties("id-1", {}, property("TIMER_DELAY_MS", "30000")));
    ASSERT_EQ(sent.answer.response(), ResponseCode::success) << sent.answer.remark;
    pass(20s);
    EXPECT_EQ(end(sent, commit).field("transactionState"), "committed");
    pass(29s);
    EXPECT_THAT(visible(), IsEmpty()) << "the delay counts from the commit";
    pass(2s);
    EXPECT_THAT(visible(), ElementsAre("later"));
    EXPECT_EQ(records("orders", 0).at(0).sys_flag & remoting::sys_flag::transaction_mask,
              remoting::sys_flag::transaction_commit);
    EXPECT_EQ(end(sent, commit).field("decidedBefore"), "true");
}

TEST_F(TransactionsTest, ATransactionKeepsItsQueue) {
    start();
    remoting::SendRequest header = half_header("orders", "");
    const std::string properties = half_properties("id-1", {}, property("__SHARDINGKEY", "k"));
    header.properties = properties;
    header.queue_id = 1;
    const HalfSent sent = half_of(ask(RequestCode::send_message_v2, header, "keyed"));
    EXPECT_EQ(sent.answer.field("queueId"), "1");
    end(sent, commit);
    EXPECT_THAT(visible("orders", 1), ElementsAre("keyed"));
}

TEST_F(TransactionsTest, ACommitToADeletedTopicIsParked) {
    start();
    const HalfSent sent = half();
    ask(RequestCode::delete_topic_in_broker, RawFields{{{"topic", "orders"}}});
    const Sent ended = end(sent, commit);
    EXPECT_EQ(ended.response(), ResponseCode::success) << ended.remark;
    EXPECT_EQ(ended.field("transactionState"), "parked");
    EXPECT_THAT(dispatcher->take_alarms(), ElementsAre(HasSubstr("topic \"orders\" does not exist")));
    EXPECT_EQ(end(sent, rollback).response(), ResponseCode::illegal_operation);
    restart();
    EXPECT_EQ(end(sent, commit).field("transactionState"), "parked");
    EXPECT_EQ(end(sent, commit).field("decidedBefore"), "true");
    send("orders", 0, "first of the new topic");
    EXPECT_EQ(end(sent, commit).field("transactionState"), "committed");
    EXPECT_THAT(visible(), ElementsAre("first of the new topic", "paid"));
}

TEST_F(TransactionsTest, PendingHalvesOutliveARestart) {
    start();
    std::vector<HalfSent> sent;
    for (int i = 0; i < 20; ++i) sent.push_back(half("m" + std::to_string(i), "id-" + std::to_string(i)));
    for (int i = 0; i < 20; i += 2) end(sent[static_cast<std::size_t>(i)], i % 4 == 0 ? commit : rollback);
    restart();
    EXPECT_EQ(metric("hufu_broker_transactions_pending"), 10);
    for (int i = 1; i < 20; i += 2) {
        EXPECT_EQ(end(sent[static_cast<std::size_t>(i)], commit).field("decidedBefore"), "false");
        EXPECT_EQ(end(sent[static_cast<std::size_t>(i - 1)], unknown).field("transactionState"),
                  (i - 1) % 4 == 0 ? "committed" : "rolled_back");
    }
    EXPECT_EQ(visible().size(), 15U);
}

}  // namespace
}  // namespace hufu::broker::testing
