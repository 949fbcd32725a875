#include <cstring>
#include <memory>
#include <string>

#include <gmock/gmock.h>

#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/transaction_bodies.hpp>
#include <hufu/remoting/transaction_headers.hpp>

namespace hufu::remoting {
namespace {

using ::testing::HasSubstr;

/// A request that went over the wire; owns the bytes.
class Wire {
public:
    template <class Header>
    Wire(RequestCode code, const Header& header, SerializeType type) {
        std::string frame;
        append_request(frame, type, code, 1, header);
        const auto room = decoder_.prepare(frame.size());
        std::memcpy(room.data(), frame.data(), frame.size());
        decoder_.commit(frame.size());
        const auto decoded = decoder_.next();
        EXPECT_TRUE(decoded && *decoded);
        EXPECT_TRUE(decode_command(**decoded, command));
    }
    CommandView command;

private:
    FrameDecoder decoder_;
};

constexpr SerializeType both[] = {SerializeType::json, SerializeType::binary};

TEST(TransactionHeaders, EndTravels) {
    for (const SerializeType type : both) {
        const Wire wire{RequestCode::end_transaction,
                        EndTransactionRequest{.producer_group = "orders-tx",
                                              .topic = "orders",
                                              .half_queue_offset = 7,
                                              .half_log_offset = 4'711,
                                              .verdict = sys_flag::transaction_commit,
                                              .from_check = true,
                                              .message_id = "m",
                                              .transaction_id = "t",
                                              .broker_name = "b",
                                              .reason = "the row is there"},
                        type};
        const auto read = EndTransactionRequest::decode(wire.command);
        ASSERT_TRUE(read) << read.error().text();
        EXPECT_EQ(read->producer_group, "orders-tx");
        EXPECT_EQ(read->topic, "orders");
        EXPECT_EQ(read->half_queue_offset, 7);
        EXPECT_EQ(read->half_log_offset, 4'711);
        EXPECT_EQ(read->verdict, 8);
        EXPECT_TRUE(read->from_check);
        EXPECT_EQ(read->message_id, "m");
        EXPECT_EQ(read->transaction_id, "t");
        EXPECT_EQ(read->broker_name, "b");
        EXPECT_EQ(read->reason, "the row is there");
    }
}

TEST(TransactionHeaders, AnEndWithoutItsOffsetsIsRefusedByName) {
    const Wire wire{RequestCode::end_transaction, RouteRequest{.topic = "orders"}, SerializeType::json};
    const auto read = EndTransactionRequest::decode(wire.command);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().text(), R"(END_TRANSACTION (37): field "producerGroup" is missing)");
}

TEST(TransactionHeaders, TheAnswerToEndTravels) {
    for (const SerializeType type : both) {
        const Wire wire{RequestCode::end_transaction,
                        EndTransactionResponse{.state = transaction_state::committed, .decided_before = true}, type};
        const auto read = EndTransactionResponse::decode(wire.command);
        ASSERT_TRUE(read);
        EXPECT_EQ(read->state, "committed");
        EXPECT_TRUE(read->decided_before);
    }
    const Wire plain{RequestCode::end_transaction, NoFields{}, SerializeType::json};
    EXPECT_EQ(EndTransactionResponse::decode(plain.command)->state, "");
}

TEST(TransactionHeaders, TheQuestionTravels) {
    for (const SerializeType type : both) {
        const Wire wire{RequestCode::check_transaction_state,
                        CheckTransactionRequest{.half_queue_offset = 3,
                                                .half_log_offset = 99,
                                                .message_id = "m",
                                                .transaction_id = "t",
                                                .offset_message_id = "o",
                                                .topic = "orders",
                                                .broker_name = "b",
                                                .times = 2,
                                                .answers_end = true},
                        type};
        const auto read = CheckTransactionRequest::decode(wire.command);
        ASSERT_TRUE(read) << read.error().text();
        EXPECT_EQ(read->half_queue_offset, 3);
        EXPECT_EQ(read->half_log_offset, 99);
        EXPECT_EQ(read->message_id, "m");
        EXPECT_EQ(read->transaction_id, "t");
        EXPECT_EQ(read->offset_message_id, "o");
        EXPECT_EQ(read->topic, "orders");
        EXPECT_EQ(read->broker_name, "b");
        EXPECT_EQ(read->times, 2);
        EXPECT_TRUE(read->answers_end);
    }
}

TEST(TransactionHeaders, ResumeTravels) {
    const Wire wire{RequestCode::resume_check_half_message, ResumeCheckRequest{.topic = "orders", .message_id = "m"},
                    SerializeType::binary};
    const auto read = ResumeCheckRequest::decode(wire.command);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->topic, "orders");
    EXPECT_EQ(read->message_id, "m");
}

TEST(TransactionHeaders, OurOwnCodesFitTheBinaryHeader) {
    for (const RequestCode code : {RequestCode::list_transactions, RequestCode::show_transaction,
                                   RequestCode::decide_transaction, RequestCode::resume_transaction}) {
        const Wire wire{code, NoFields{}, SerializeType::binary};
        EXPECT_EQ(wire.command.request_code(), code);
        EXPECT_THAT(std::string{to_string(code)}, HasSubstr("TRANSACTION"));
    }
}

TransactionData stuck() {
    return {.transaction_id = "0190-t",
            .state = std::string{transaction_state::parked},
            .producer_group = "orders-tx",
            .verdict_store = "0190-s",
            .halves = {{"m1", "orders", 2, "o1", -1, 10, "k", "10.0.0.1:9"}, {"m2", "stock", 0, "o2", 5, 11, "", ""}},
            .prepared_at_ms = 1'700'000'000'000,
            .next_check_at_ms = 1'700'000'006'000,
            .checks_answered = 3,
            .checks_undelivered = 4,
            .reason = "no answer within 3 days",
            .events = {{1'700'000'000'001, "parked", "broker", "no answer within 3 days"}}};
}

TEST(TransactionBodies, ReadWhatTheyWrite) {
    const TransactionData data = stuck();
    EXPECT_EQ(TransactionData::parse(data.to_json()).value(), data);
    const TransactionList list{{data, data}, "next", 7};
    EXPECT_EQ(TransactionList::parse(list.to_json()).value(), list);
    const TransactionFilter filter{"parked", "g", "t", 60, 5, "x"};
    EXPECT_EQ(TransactionFilter::parse(filter.to_json()).value(), filter);
    const TransactionCommand command{"id", "commit", "the bank has it", "ann"};
    EXPECT_EQ(TransactionCommand::parse(command.to_json()).value(), command);
}

TEST(TransactionBodies, AnEmptyFilterListsWhatIsOpen) {
    EXPECT_EQ(TransactionFilter::parse("{}").value(), TransactionFilter{});
}

TEST(TransactionBodies, RefuseWhatCannotBe) {
    const auto text = [](const auto& result) { return result ? std::string{} : result.error().text(); };
    EXPECT_THAT(text(TransactionFilter::parse(R"({"state":"lost"})")), HasSubstr(R"(state "lost" is none of pending)"));
    EXPECT_THAT(text(TransactionFilter::parse(R"({"limit":0})")), HasSubstr("limit 0 is not within 1 and 1000"));
    EXPECT_THAT(text(TransactionFilter::parse(R"({"olderThanSeconds":-1})")), HasSubstr("-1 is negative"));
    EXPECT_THAT(text(TransactionFilter::parse("[]")), HasSubstr("no JSON object"));
    EXPECT_THAT(text(TransactionCommand::parse("{}")), HasSubstr(R"("id" is missing)"));
    EXPECT_THAT(text(TransactionCommand::parse(R"({"id":"x","reason":")" + std::string(1'025, 'r') + R"("})")),
                HasSubstr(R"("reason" has 1025 bytes, at most 1024)"));
    EXPECT_FALSE(TransactionList::parse("x"));
    EXPECT_FALSE(TransactionData::parse("7"));
}

TEST(TransactionBodies, ALongListIsCut) {
    std::string json = R"({"transactions":[)";
    for (int i = 0; i < 1'500; ++i) json += R"({"transactionId":"t"},)";
    json.back() = ']';
    EXPECT_EQ(TransactionList::parse(json + "}").value().transactions.size(), 1'000U);
}

}  // namespace
}  // namespace hufu::remoting
