// What receipts look like as text, what is refused, and the intake.
#include <gmock/gmock.h>

#include <thread>

#include <hufu/outbox/receipt_intake.hpp>
#include <hufu/testing/queued_subscription.hpp>

#include "memory_lane.hpp"

namespace hufu::outbox::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const MessageId id{{1, 2, 3}};

std::string refusal(const Receipts& receipts) {
    const auto checked = validate(receipts);
    if (!checked.has_error()) return "accepted";
    EXPECT_EQ(checked.error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(checked.error().disposition(), Disposition::reject);
    return checked.error().text();
}

TEST(Receipts, ComeBackFromTheirHeaderAsTheyWere) {
    const Receipts asked{.groups = {"stock", "points%v2|eu"},
                         .deadline = 5s,
                         .backoff_cap = 1h,
                         .sends_max = 3,
                         .receipts_topic = "order-receipts",
                         .outcome_topic = "order-outcomes"};
    EXPECT_EQ(decode_receipts(encode(asked)).value(), asked);
    const Receipts plain{.groups = {"stock"}};
    EXPECT_EQ(decode_receipts(encode(plain)).value(), plain);
}

TEST(Receipts, AreRefusedWithTheWayOut) {
    EXPECT_THAT(refusal({}), HasSubstr("no group is named"));
    EXPECT_THAT(refusal({.groups = {"stock", "stock"}}), HasSubstr("named twice"));
    EXPECT_THAT(refusal({.groups = {"a,b"}}), HasSubstr("\"a,b\""));
    EXPECT_THAT(refusal({.groups = {""}}), HasSubstr("1 to 127 characters"));
    EXPECT_THAT(refusal({.groups = {std::string(10'000, 'x')}}), HasSubstr("xxx…"));
    EXPECT_LT(refusal({.groups = {std::string(10'000, 'x')}}).size(), 200U);
    EXPECT_THAT(refusal({.groups = {"a"}, .deadline = -1s}), HasSubstr("deadline of -1000 ms must lie in the future"));
    EXPECT_THAT(refusal({.groups = {"a"}, .deadline = 0s}), HasSubstr("deadline"));
    EXPECT_THAT(refusal({.groups = {"a"}, .deadline = 1h, .backoff_cap = 1s}), HasSubstr("backoff_cap"));
    EXPECT_THAT(refusal({.groups = {"a"}, .sends_max = 0}), HasSubstr("sends_max"));
    EXPECT_THAT(refusal({.groups = {"a"}, .receipts_topic = ""}), HasSubstr("receipts_topic"));
    EXPECT_THAT(refusal({.groups = {"a"}, .outcome_topic = "no spaces"}), HasSubstr("outcome_topic"));
    std::vector<std::string> many;
    for (int group = 0; group < 33; ++group) many.push_back("g" + std::to_string(group));
    EXPECT_THAT(refusal({.groups = many}), HasSubstr("33 groups"));
    EXPECT_THROW((void)with_receipts({.topic = "orders", .ordering_key = std::string(100'000, 'k')}, {.groups = {"a"}}),
                 Exception);
}

TEST(Receipts, HeadersOfOtherHandsAreRefusedNotMisread) {
    for (const char* text : {"", "1", "2;a;1;2;3;t;", "1;;1000;2000;3;t;", "1;a;x;2000;3;t;", "1;a;1000;2000;-3;t;",
                             "1;a;1000;2000;99999999999;t;", "1;a;99999999999999999999;1;1;t;", "1;a;1000;2000;3"}) {
        EXPECT_TRUE(decode_receipts(text).has_error()) << text;
    }
}

TEST(Receipts, ReadTheirOwnMessages) {
    const Receipt refused{.message = id, .group = "stock", .outcome = Receipt::Outcome::refused, .reason = "sold\nout"};
    const Message message = receipt_message("hufu-receipts", refused);
    EXPECT_EQ(message.topic, "hufu-receipts");
    EXPECT_EQ(read_receipt(message).value(), refused);
    for (const std::string& body :
         {std::string{}, std::string{"hello"}, std::string(1'000'000, 'x'),
          std::string{"hufu-receipt/1\nno-id\nstock\ndone\n"}, "hufu-receipt/1\n" + id.to_string() + "\n\ndone\n",
          "hufu-receipt/1\n" + id.to_string() + "\nstock\nmaybe\n"}) {
        const auto read = read_receipt({.topic = "t", .body = body});
        ASSERT_TRUE(read.has_error());
        EXPECT_EQ(read.error().code(), ErrorCode::protocol);
        EXPECT_LT(read.error().text().size(), 400U);
    }
}

TEST(Receipts, AreOwedByTheGroupsThatAreNamed) {
    const Message message = with_receipts({.id = id, .topic = "orders"}, {.groups = {"stock"}, .receipts_topic = "r"});
    EXPECT_FALSE((ReceiptDuty{"points", message}.owed()));
    EXPECT_FALSE((ReceiptDuty{"points", message}.with_effect(Handled::done).has_value()));
    EXPECT_FALSE((ReceiptDuty{"stock", Message{.id = id}}.owed()));
    EXPECT_FALSE((ReceiptDuty{"stock", Message{.id = id}}.afterwards(Handled::reject, "", false).has_value()));
    const ReceiptDuty duty{"stock", message};
    ASSERT_TRUE(duty.owed());
    EXPECT_EQ(duty.with_effect(Handled::done)->topic, "r");
    EXPECT_EQ(read_receipt(*duty.with_effect(Handled::done)).value(), (Receipt{.message = id, .group = "stock"}));
    EXPECT_FALSE(duty.with_effect(Handled::retry).has_value());
    EXPECT_FALSE(duty.with_effect(Handled::reject).has_value());
    EXPECT_FALSE(duty.afterwards(Handled::done, "", true).has_value());
    EXPECT_FALSE(duty.afterwards(Handled::retry, "", true).has_value()) << "what was written was rolled back";
    EXPECT_FALSE(duty.afterwards(Handled::already_done, "", true).has_value());
    EXPECT_EQ(read_receipt(*duty.afterwards(Handled::already_done, "", false)).value(),
              (Receipt{.message = id, .group = "stock"}));
    EXPECT_EQ(read_receipt(*duty.afterwards(Handled::reject, std::string(5'000, 'r'), false))->reason.size(), 1'000U);
}

Delivery delivery(std::uint64_t position, Message message) {
    return {.message = std::move(message), .tag = {.queue = 1, .position = position}};
}

TEST(ReceiptIntake, AcknowledgesWhatTheBookHasAndCountsTheRest) {
    MemoryLane lane;
    MemoryStore store{lane};
    lane.book.append({.id = id, .topic = "orders"}, {.groups = {"stock"}});
    hufu::testing::QueuedSubscription subscription;
    subscription.add(delivery(1, receipt_message("r", {.message = id, .group = "stock"})));
    subscription.add(delivery(2, receipt_message("r", {.message = id, .group = "stock"})));
    subscription.add(delivery(3, receipt_message("r", {.message = id, .group = "points"})));
    subscription.add(delivery(4, receipt_message("r", {.message = MessageId{{9}}, .group = "stock"})));
    subscription.add(delivery(5, {.topic = "r", .body = "hello"}));
    MetricsRegistry metrics;
    ReceiptIntake intake{store, subscription, {}, system_clock(), system_random(), metrics};
    std::jthread runner{[&](const std::stop_token& stop) { EXPECT_TRUE(intake.run(stop).has_value()); }};
    subscription.wait_for_acknowledged(5);
    runner.request_stop();
    runner.join();
    const auto counted = [&](const char* verdict) {
        return metrics.counter("hufu_receipts_total", "", {{"verdict", verdict}}).value();
    };
    EXPECT_EQ(counted("completed"), 1U);
    EXPECT_EQ(counted("duplicate"), 1U);
    EXPECT_EQ(counted("unknown_group"), 1U);
    EXPECT_EQ(counted("unknown_message"), 1U);
    EXPECT_EQ(metrics.counter("hufu_receipts_malformed_total", "").value(), 1U);
    EXPECT_EQ(lane.book.rows.at(id).state, "completed");
}

}  // namespace
}  // namespace hufu::outbox::testing
