// Transactions for operators, and for those who look for messages.
#include <gmock/gmock.h>

#include <hufu/remoting/transaction_bodies.hpp>

#include "transactions_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class TransactionAdminTest : public TransactionsTest {
protected:
    remoting::TransactionList list(const remoting::TransactionFilter& filter = {}) {
        const Sent answer = ask(RequestCode::list_transactions, remoting::NoFields{}, filter.to_json());
        EXPECT_EQ(answer.response(), ResponseCode::success) << answer.remark;
        return remoting::TransactionList::parse(answer.body).value();
    }
    static std::vector<std::string> ids(const remoting::TransactionList& list) {
        std::vector<std::string> found;
        for (const auto& one : list.transactions) found.push_back(one.transaction_id);
        return found;
    }
    Sent command(RequestCode code, const std::string& id, const std::string& verdict = {}, const std::string& reason = {}) {
        remoting::TransactionCommand wanted;
        wanted.id = id;
        wanted.verdict = verdict;
        wanted.reason = reason;
        wanted.operator_ = "alice";
        return ask(code, remoting::NoFields{}, wanted.to_json());
    }
    remoting::TransactionData show(const std::string& id) {
        const Sent answer = command(RequestCode::show_transaction, id);
        EXPECT_EQ(answer.response(), ResponseCode::success) << answer.remark;
        return remoting::TransactionData::parse(answer.body).value();
    }
    static std::vector<std::string> what(const remoting::TransactionData& data) {
        std::vector<std::string> found;
        for (const auto& event : data.events) found.push_back(event.what);
        return found;
    }
    static std::vector<Seen> records_in(const Sent& answer) { return split_records(std::as_bytes(std::span{answer.body})); }
    Sent query(std::string_view topic, std::string_view key, bool unique) {
        remoting::QueryMessageRequest header;
        header.topic = topic;
        header.key = key;
        header.end_timestamp = std::numeric_limits<std::int64_t>::max();
        header.unique_key = unique;
        // The field _UNIQUE_KEY_QUERY is not among the header's own.
        return ask(RequestCode::query_message, header);
    }
};

TEST_F(TransactionAdminTest, ListsWhatHasNoVerdictPageByPage) {
    start();
    for (int i = 0; i < 5; ++i) {
        pass(10s, 10s);
        half(i % 2 == 0 ? "orders" : "stock", "m", half_properties("id-" + std::to_string(i)));
    }
    end(half("orders", "m", half_properties("gone")), commit);
    EXPECT_THAT(ids(list()), ElementsAre("id-0", "id-1", "id-2", "id-3", "id-4"));
    remoting::TransactionFilter filter;
    filter.limit = 2;
    auto page = list(filter);
    EXPECT_THAT(ids(page), ElementsAre("id-0", "id-1"));
    filter.after = page.next;
    page = list(filter);
    EXPECT_THAT(ids(page), ElementsAre("id-2", "id-3"));
    filter.after = page.next;
    page = list(filter);
    EXPECT_THAT(ids(page), ElementsAre("id-4"));
    EXPECT_EQ(page.next, "");
    filter = {};
    filter.topic = "stock";
    EXPECT_THAT(ids(list(filter)), ElementsAre("id-1", "id-3"));
    filter = {};
    filter.producer_group = "others";
    EXPECT_THAT(ids(list(filter)), IsEmpty());
    filter = {};
    filter.older_than_s = 25;
    EXPECT_THAT(ids(list(filter)), ElementsAre("id-0", "id-1"));
    filter = {};
    filter.state = "parked";
    EXPECT_THAT(ids(list(filter)), IsEmpty());
    filter.state = "committed";
    EXPECT_EQ(ask(RequestCode::list_transactions, remoting::NoFields{}, filter.to_json()).response(),
              ResponseCode::invalid_parameter);
}

TEST_F(TransactionAdminTest, ShowsATransactionByAnyOfItsIds) {
    start();
    const HalfSent first = half("orders", "abc", half_properties("id-1", "tx-1", property("KEYS", "o-7")));
    half("stock", "defg", half_properties("id-2", "tx-1", property("HUFU_TX_STORE", "store-1")));
    for (const std::string& id : {std::string{"tx-1"}, std::string{"id-2"}, first.answer.field("msgId")}) {
        const auto data = show(id);
        EXPECT_EQ(data.transaction_id, "tx-1") << id;
        EXPECT_EQ(data.state, "pending");
        EXPECT_EQ(data.producer_group, "payments");
        ASSERT_EQ(data.halves.size(), 2U);
        EXPECT_EQ(data.halves[0].message_id, "id-1");
        EXPECT_EQ(data.halves[0].topic, "orders");
        EXPECT_EQ(data.halves[0].keys, "o-7");
        EXPECT_EQ(data.halves[0].body_bytes, 3);
        EXPECT_EQ(data.halves[0].offset_message_id, first.answer.field("msgId"));
        EXPECT_EQ(data.halves[0].queue_offset, -1);
        EXPECT_EQ(data.halves[0].born_host, "10.0.0.2:4711");
        EXPECT_EQ(data.next_check_at_ms, clock.now_ms + 6'000);
        EXPECT_THAT(what(data), ElementsAre("prepared"));
    }
    send("orders", 0, "before");
    end(first, commit);
    const auto data = show("tx-1");
    EXPECT_EQ(data.state, "committed");
    ASSERT_EQ(data.halves.size(), 2U);
    EXPECT_EQ(data.halves[0].queue_offset, 1);
    EXPECT_EQ(data.decided_at_ms, clock.now_ms);
    EXPECT_THAT(what(data), ElementsAre("prepared", "committed"));
    EXPECT_EQ(data.events.at(1).who, "producer 10.0.0.2:4711");
    const Sent nothing = command(RequestCode::show_transaction, "nothing");
    EXPECT_EQ(nothing.response(), ResponseCode::query_not_found);
    EXPECT_THAT(nothing.remark, HasSubstr("\"nothing\""));
}

TEST_F(TransactionAdminTest, AnOperatorDecidesAndItIsRemembered) {
    start();
    const HalfSent sent = half("orders", "paid", half_properties("id-1"));
    EXPECT_EQ(command(RequestCode::decide_transaction, "id-1", "commit").response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(command(RequestCode::decide_transaction, "id-1", "perhaps", "x").response(), ResponseCode::invalid_parameter);
    const Sent done = command(RequestCode::decide_transaction, "id-1", "commit", "order 7 was paid, see ticket 12");
    EXPECT_EQ(done.response(), ResponseCode::success) << done.remark;
    EXPECT_EQ(remoting::TransactionData::parse(done.body).value().state, "committed");
    EXPECT_THAT(visible(), ElementsAre("paid"));
    EXPECT_EQ(end(sent, rollback).response(), ResponseCode::illegal_operation);
    restart();
    const auto data = show("id-1");
    ASSERT_EQ(data.events.size(), 2U);
    EXPECT_EQ(data.events[1].who, "admin alice from 10.0.0.2:4711");
    EXPECT_EQ(data.events[1].reason, "order 7 was paid, see ticket 12");
    EXPECT_EQ(command(RequestCode::decide_transaction, "id-1", "rollback", "no").response(),
              ResponseCode::illegal_operation);
    EXPECT_EQ(command(RequestCode::decide_transaction, "nothing", "rollback", "no").response(),
              ResponseCode::query_not_found);
}

TEST_F(TransactionAdminTest, DecisionsLeaveALineInTheAuditLog) {
    start();
    half();
    command(RequestCode::decide_transaction, "id-1", "rollback", "order was never made");
    EXPECT_THAT(
        dispatcher->take_audit(),
        ElementsAre("admin alice from 10.0.0.2:4711 decides transaction \"id-1\": rollback, because order was never made"));
}

TEST_F(TransactionAdminTest, AParkedTransactionIsResumedWithANewBudget) {
    start();
    half();
    pass(2h, 10s);
    ASSERT_EQ(show("id-1").state, "parked");
    EXPECT_THAT(show("id-1").reason, HasSubstr("no producer of group \"payments\" is connected"));
    EXPECT_THAT(what(show("id-1")), ElementsAre("prepared", "parked"));
    const Sent resumed = command(RequestCode::resume_transaction, "id-1", {}, "the service is back");
    EXPECT_EQ(resumed.response(), ResponseCode::success) << resumed.remark;
    EXPECT_EQ(remoting::TransactionData::parse(resumed.body).value().state, "pending");
    join(client);
    pass(1s, 100ms);
    EXPECT_EQ(checks(client).size(), 1U);
    restart();
    EXPECT_EQ(show("id-1").state, "pending");
    pass(30min, 10s);
    EXPECT_EQ(show("id-1").state, "pending");
    pass(1h, 10s);
    EXPECT_EQ(show("id-1").state, "parked");
}

TEST_F(TransactionAdminTest, MqadminResumesByOffsetIdOrKey) {
    start();
    const HalfSent sent = half();
    pass(2h, 10s);
    const auto resume = [&](const std::string& id) {
        return ask(RequestCode::resume_check_half_message, RawFields{{{"topic", "orders"}, {"msgId", id}}});
    };
    EXPECT_EQ(resume(sent.answer.field("msgId")).response(), ResponseCode::success);
    EXPECT_EQ(show("id-1").state, "pending");
    EXPECT_EQ(resume("id-1").response(), ResponseCode::success);
    EXPECT_EQ(resume("other").response(), ResponseCode::query_not_found);
    end(sent, commit);
    EXPECT_EQ(resume("id-1").response(), ResponseCode::illegal_operation);
}

TEST_F(TransactionAdminTest, AConflictIsShownAndSettled) {
    start();
    const HalfSent one = half("orders", "one", half_properties("id-1"));
    const HalfSent two = half("orders", "two", half_properties("id-2"));
    for (const HalfSent& sent : {one, two}) {
        end(sent, rollback, true);
        end(sent, commit);
    }
    remoting::TransactionFilter filter;
    filter.state = "conflict";
    EXPECT_THAT(ids(list(filter)), ElementsAre("id-1", "id-2"));
    const auto data = show("id-1");
    EXPECT_EQ(data.state, "conflict");
    EXPECT_THAT(what(data), ElementsAre("prepared", "rolled_back", "late_commit_refused"));
    EXPECT_EQ(data.events.at(1).who, "check of producer 10.0.0.2:4711");
    EXPECT_EQ(command(RequestCode::resume_transaction, "id-1").response(), ResponseCode::illegal_operation);
    EXPECT_EQ(command(RequestCode::decide_transaction, "id-1", "commit", "rows are there").response(),
              ResponseCode::success);
    EXPECT_EQ(command(RequestCode::decide_transaction, "id-2", "rollback", "no rows").response(), ResponseCode::success);
    EXPECT_THAT(visible(), ElementsAre("one"));
    EXPECT_THAT(ids(list(filter)), IsEmpty());
    restart();
    EXPECT_THAT(ids(list(filter)), IsEmpty());
    EXPECT_EQ(end(two, commit).response(), ResponseCode::illegal_operation);
    EXPECT_THAT(ids(list(filter)), IsEmpty()) << "it was looked at already";
    EXPECT_EQ(end(one, commit).field("transactionState"), "committed");
}

TEST_F(TransactionAdminTest, ADeletedTopicComesBackAndItsCommitIsResumed) {
    start();
    const HalfSent sent = half();
    ask(RequestCode::delete_topic_in_broker, RawFields{{{"topic", "orders"}}});
    end(sent, commit);
    EXPECT_EQ(show("id-1").state, "parked");
    EXPECT_THAT(show("id-1").reason, HasSubstr("topic \"orders\" does not exist"));
    send("orders", 0, "new");
    EXPECT_EQ(command(RequestCode::resume_transaction, "id-1").response(), ResponseCode::success);
    EXPECT_EQ(show("id-1").state, "committed");
    EXPECT_THAT(visible(), ElementsAre("new", "paid"));
}

TEST_F(TransactionAdminTest, HalvesAreFoundByKeyAndIdAndSayWhatTheyAre) {
    start();
    const HalfSent sent = half("orders", "paid", half_properties("id-1", {}, property("KEYS", "o-7")));
    constexpr auto bits = remoting::sys_flag::transaction_mask;
    const auto found = [&] { return records_in(query("orders", "o-7", false)); };
    const auto viewed = [&] {
        remoting::ViewMessageRequest header;
        header.offset = sent.log_offset;
        return records_in(ask(RequestCode::view_message_by_id, header));
    };
    ASSERT_EQ(found().size(), 1U);
    EXPECT_EQ(found()[0].sys_flag & bits, remoting::sys_flag::transaction_prepared);
    EXPECT_EQ(viewed().at(0).sys_flag & bits, remoting::sys_flag::transaction_prepared);
    send("orders", 0, "before");
    end(sent, commit);
    ASSERT_EQ(found().size(), 1U);
    EXPECT_EQ(found()[0].sys_flag & bits, remoting::sys_flag::transaction_commit);
    EXPECT_EQ(found()[0].queue_offset, 1);
    EXPECT_EQ(viewed().at(0).queue_offset, 1);
    end(half("orders", "x", half_properties("id-2", {}, property("KEYS", "o-8"))), rollback);
    const auto gone = records_in(query("orders", "o-8", false));
    ASSERT_EQ(gone.size(), 1U);
    EXPECT_EQ(gone[0].sys_flag & bits, remoting::sys_flag::transaction_rollback);
}

TEST_F(TransactionAdminTest, AConsumerCanSendACommittedMessageBack) {
    start();
    const HalfSent sent = half();
    const auto send_back = [&] {
        return ask(RequestCode::consumer_send_message_back, RawFields{{{"group", "consumers"},
                                                                       {"offset", std::to_string(sent.log_offset)},
                                                                       {"delayLevel", "1"},
                                                                       {"originMsgId", "id-1"},
                                                                       {"originTopic", "orders"},
                                                                       {"unitMode", "false"},
                                                                       {"maxReconsumeTimes", "16"}}});
    };
    EXPECT_NE(send_back().response(), ResponseCode::success) << "nobody has consumed a half";
    end(sent, commit);
    EXPECT_EQ(send_back().response(), ResponseCode::success);
    pass(2s, 100ms);
    EXPECT_THAT(visible("%RETRY%consumers"), ElementsAre("paid"));
}

TEST_F(TransactionAdminTest, RetentionKeepsWhatHasNoVerdict) {
    log_options.first_segment_bytes = 64U << 10U;
    log_options.segment_bytes = 64U << 10U;
    log_options.record_bytes_max = 8U << 10U;
    options.keep_bytes = 128U << 10U;
    start();
    const HalfSent first = half("orders", "a", half_properties("id-1", "tx-1", property("KEYS", "o-7")));
    half("orders", "b", half_properties("id-2", "tx-1"));
    const HalfSent early = half("orders", "e", half_properties("id-3"));
    const HalfSent parked = half("orders", "p", half_properties("id-4"));
    end(early, rollback);
    ask(RequestCode::delete_topic_in_broker, RawFields{{{"topic", "orders"}}});
    end(parked, commit);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 150; ++i) send("filler", 0, std::string(2'000, 'x'));
        pass(30s, 1s);
        if (round == 1) restart();
    }
    ASSERT_GT(log->start_offset(), static_cast<std::uint64_t>(parked.log_offset)) << "what they stood in is gone";
    EXPECT_EQ(end(early, rollback).response(), ResponseCode::query_not_found);
    EXPECT_THAT(end(early, rollback).remark, HasSubstr("has expired"));
    EXPECT_EQ(show("tx-1").halves.size(), 2U);
    EXPECT_EQ(show("id-4").state, "parked");
    EXPECT_THAT(show("id-4").reason, HasSubstr("topic \"orders\" does not exist"));
    EXPECT_EQ(records_in(query("orders", "o-7", false)).size(), 1U);
    send("orders", 0, "new");
    EXPECT_EQ(end(first, commit).field("transactionState"), "committed") << "by the offsets that the sender knows";
    EXPECT_THAT(visible(), ElementsAre("new", "a", "b"));
    EXPECT_EQ(records("orders", 0).at(1).property("HUFU_TX_HOME"), "(absent)");
    EXPECT_EQ(records("orders", 0).at(1).prepared_offset, first.log_offset);
    restart();
    EXPECT_EQ(end(first, commit).field("decidedBefore"), "true");
    EXPECT_EQ(end(parked, commit).field("transactionState"), "committed");
    EXPECT_EQ(visible().size(), 4U);
}

}  // namespace
}  // namespace hufu::broker::testing
