// The book of receipts: every store answers alike.
#include <gmock/gmock.h>

#include "suites.hpp"

namespace hufu::conformance {

using outbox::Receipt;
using outbox::ReceiptVerdict;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

MessageId id_of(std::uint8_t number) { return MessageId{{number, 0, 0, 0, 0, 0, 0x70}}; }
const MessageId first = id_of(1);
const outbox::Receipts asked{.groups = {"stock", "points"}, .deadline = seconds{30}, .outcome_topic = "ends"};

Receipt done(const MessageId& id, std::string group) { return {.message = id, .group = std::move(group)}; }
Receipt refused(const MessageId& id, std::string group) {
    return {.message = id, .group = std::move(group), .outcome = Receipt::Outcome::refused, .reason = "sold out"};
}

}  // namespace

void ReceiptBook::SetUp() { book_ = under_test_->store().awaiting_rows(); }

void ReceiptBook::append(const MessageId& id, const outbox::Receipts& receipts, const std::string& key) {
    Message message{.id = id, .topic = "orders", .keys = {"invoice-" + key}, .ordering_key = key, .body = "paid"};
    message.headers.set("traceparent", "00-1-2-03");
    under_test_->append_asking(message, receipts);
}

/// The broker confirmed everything in the lane: its rows go, with the receipts they ask for.
void ReceiptBook::settle_all() {
    const auto owner = claim();
    std::vector<outbox::Sequence> settled;
    std::vector<MessageId> awaited;
    for (const auto& row : rows()) {
        settled.push_back(row.seq);
        if (row.message.headers.get(outbox::receipts_header)) awaited.push_back(row.message.id);
    }
    ASSERT_EQ(under_test_->store().settler()->settle(owner, settled, awaited)->ownership, outbox::Ownership::held);
}

std::vector<ReceiptVerdict> ReceiptBook::take(const std::vector<Receipt>& receipts) { return book_->take(receipts).value(); }

outbox::LifeStory ReceiptBook::story(const MessageId& id) { return book_->trace({.id = id}, 10).value().at(0); }

std::vector<std::string> ReceiptBook::events(const MessageId& id) {
    std::vector<std::string> what;
    for (const auto& event : story(id).events) what.push_back(event.what);
    return what;
}

namespace {

TEST_P(ReceiptBook, FollowsAMessageFromItsAppendToItsCompletion) {
    append(first, asked);
    EXPECT_EQ(story(first).state, "pending");
    settle_all();
    EXPECT_THAT(rows(), IsEmpty());
    auto told = story(first);
    EXPECT_EQ(told.state, "awaiting");
    EXPECT_EQ(told.sends, 1U);
    EXPECT_EQ(told.ordering_key, "42");
    EXPECT_THAT(told.missing, ElementsAre("stock", "points"));
    ASSERT_TRUE(told.next_send_in.has_value());
    EXPECT_THAT(*told.next_send_in, AllOf(testing::Gt(seconds{20}), testing::Le(seconds{30})));

    EXPECT_THAT(take({done(first, "points")}), ElementsAre(ReceiptVerdict::taken));
    EXPECT_THAT(story(first).missing, ElementsAre("stock"));
    EXPECT_THAT(take({done(first, "stock")}), ElementsAre(ReceiptVerdict::completed));
    EXPECT_EQ(story(first).state, "completed");
    EXPECT_EQ(story(first).sends, 1U);
    EXPECT_THAT(events(first), ElementsAre("appended", "sent", "receipt", "receipt", "completed"));
    EXPECT_EQ(under_test_->store().status()->awaiting, 0U);

    // The end is a message.
    const auto announced = rows();
    ASSERT_THAT(announced, SizeIs(1));
    EXPECT_EQ(announced[0].message.topic, "ends");
    EXPECT_EQ(announced[0].message.body, "completed");
    EXPECT_EQ(announced[0].message.ordering_key, "42");
    EXPECT_EQ(announced[0].message.headers.get(outbox::receipt_of_header), first.to_string());
}

TEST_P(ReceiptBook, KeepsNothingOfATransactionThatWasRolledBack) {
    Message message{.id = first, .topic = "orders", .body = "paid"};
    under_test_->append_asking(message, asked, false);
    EXPECT_EQ(under_test_->store().status()->awaiting, 0U);
    EXPECT_EQ(book_->trace({.id = first}, 1).error().code(), ErrorCode::not_found);
}

TEST_P(ReceiptBook, AnswersEveryReceiptForItself) {
    append(first, asked);
    append(id_of(2), {.groups = {"stock"}}, "43");
    const std::vector<Receipt> batch{done(first, "stock"),     done(id_of(2), "stock"), done(first, "stock"),
                                     done(first, "fraud"),     done(id_of(9), "stock"), refused(first, "stock"),
                                     done(id_of(2), "points"), done(first, "points")};
    const auto verdicts = take(batch);
    EXPECT_THAT(verdicts, ElementsAre(ReceiptVerdict::taken, ReceiptVerdict::completed, ReceiptVerdict::duplicate,
                                      ReceiptVerdict::unknown_group, ReceiptVerdict::unknown_message,
                                      ReceiptVerdict::duplicate, ReceiptVerdict::unknown_group, ReceiptVerdict::completed));
    EXPECT_THAT(take({}), IsEmpty());
    EXPECT_THAT(take({done(first, "stock"), done(id_of(2), "stock")}), Each(ReceiptVerdict::duplicate));
    EXPECT_THAT(take({done(first, "fraud")}), ElementsAre(ReceiptVerdict::unknown_group));
    EXPECT_THAT(take({{.message = first, .group = std::string(100'000, 'g'), .reason = std::string("\0\n", 2)}}),
                ElementsAre(ReceiptVerdict::unknown_group));
}

TEST_P(ReceiptBook, AReceiptBeforeTheSettleCompletesAllTheSame) {
    append(first, {.groups = {"stock"}});
    EXPECT_THAT(take({done(first, "stock")}), ElementsAre(ReceiptVerdict::completed));
    settle_all();
    under_test_->make_receipts_overdue();
    EXPECT_THAT(book_->claim_overdue(10, seconds{10})->messages, IsEmpty());
    EXPECT_EQ(story(first).state, "completed");
}

TEST_P(ReceiptBook, LendsWhatIsOverdueOnceAndCountsTheSend) {
    append(first, asked);
    append(id_of(2), asked, "43");
    settle_all();
    const auto early = book_->claim_overdue(10, seconds{10}).value();
    EXPECT_THAT(early.messages, IsEmpty());
    ASSERT_TRUE(early.next_due_in.has_value());
    EXPECT_GT(*early.next_due_in, seconds{20});
    under_test_->make_receipts_overdue();
    const auto one = book_->claim_overdue(1, hours{1}).value();
    ASSERT_THAT(one.messages, SizeIs(1));
    const auto rest = under_test_->store().awaiting_rows()->claim_overdue(10, hours{1}).value();
    ASSERT_THAT(rest.messages, SizeIs(1)) << "what one has claimed is not overdue for another";
    EXPECT_NE(one.messages[0].message.id, rest.messages[0].message.id);
    const auto& lent = one.messages[0].message.id == first ? one.messages[0] : rest.messages[0];
    EXPECT_EQ(lent.message.body, "paid");
    EXPECT_EQ(lent.message.ordering_key, "42");
    EXPECT_EQ(lent.message.headers.get("traceparent"), "00-1-2-03");
    EXPECT_TRUE(lent.message.headers.get(header::committed_at).has_value()) << "guards ask how old it is";
    EXPECT_EQ(lent.asked, asked);
    EXPECT_EQ(lent.sends, 1U);
    EXPECT_THAT(lent.missing, ElementsAre("stock", "points"));

    const outbox::SentAgain sent{first, hours{2}};
    ASSERT_TRUE(book_->sent_again({&sent, 1}));
    EXPECT_EQ(story(first).sends, 2U);
    EXPECT_GT(*story(first).next_send_in, hours{1});
}

TEST_P(ReceiptBook, LendsNothingThatIsConfirmedEvenBesideALateSettle) {
    append(first, {.groups = {"stock"}});
    const auto lane = rows();
    take({done(first, "stock")});
    under_test_->leave_due_row(first);  // a settle that saw the message before its receipt was committed
    EXPECT_THAT(book_->claim_overdue(10, seconds{10})->messages, IsEmpty());
    EXPECT_FALSE(book_->claim_overdue(10, seconds{10})->next_due_in.has_value()) << "the leftover is gone";
}

TEST_P(ReceiptBook, ParksARefusedMessageUntilTheGroupThinksBetter) {
    append(first, asked);
    settle_all();
    EXPECT_THAT(take({done(first, "points"), refused(first, "stock")}),
                ElementsAre(ReceiptVerdict::taken, ReceiptVerdict::parked));
    EXPECT_EQ(story(first).state, "parked");
    EXPECT_THAT(events(first), testing::Contains("refused"));
    EXPECT_EQ(under_test_->store().status()->awaiting_parked, 1U);
    ASSERT_THAT(rows(), SizeIs(1));
    EXPECT_EQ(rows()[0].message.body, "parked: stock refused: sold out");
    under_test_->make_receipts_overdue();
    EXPECT_THAT(book_->claim_overdue(10, seconds{10})->messages, IsEmpty()) << "a parked message is sent by nobody";
    EXPECT_THAT(take({refused(first, "stock")}), ElementsAre(ReceiptVerdict::duplicate));
    EXPECT_THAT(take({done(first, "stock")}), ElementsAre(ReceiptVerdict::completed)) << "a receipt after parking counts";
    EXPECT_EQ(story(first).state, "completed");
    EXPECT_EQ(under_test_->store().status()->awaiting_parked, 0U);
}

TEST_P(ReceiptBook, ParksWhatIsExhaustedAndSendsItAgainWhenAskedTo) {
    append(first, asked);
    settle_all();
    const outbox::ParkOverdue parks[] = {{first, "no receipt from stock after 8 sends"}, {id_of(9), "nobody"}};
    ASSERT_TRUE(book_->park_overdue(parks));
    ASSERT_TRUE(book_->park_overdue(parks)) << "parking again must be harmless";
    EXPECT_EQ(story(first).state, "parked");
    EXPECT_THAT(rows(), SizeIs(1)) << "announced once";
    const outbox::SentAgain late{first, hours{1}};
    ASSERT_TRUE(book_->sent_again({&late, 1}));
    EXPECT_EQ(story(first).state, "parked") << "a late answer of the broker revives nothing";

    EXPECT_EQ(book_->resend({.key = "42"}, {.who = "ann", .why = "stock is back"}).value(), 1U);
    EXPECT_EQ(story(first).state, "awaiting");
    const auto lent = book_->claim_overdue(10, seconds{10}).value();
    ASSERT_THAT(lent.messages, SizeIs(1));
    EXPECT_EQ(lent.messages[0].sends, 0U) << "with a fresh count";
    const auto audit = under_test_->store().parking_lot()->audit(10).value();
    ASSERT_THAT(audit, SizeIs(1));
    EXPECT_EQ(audit[0].action, "resend");
    EXPECT_EQ(audit[0].selection.key.ordering_key, "42");
    EXPECT_EQ(audit[0].note.who, "ann");
    EXPECT_THAT(events(first), testing::Contains("resend"));
}

TEST_P(ReceiptBook, SaysWhyItCannotSendAgain) {
    const outbox::AuditNote note{.who = "ann", .why = "why not"};
    EXPECT_EQ(book_->resend({.id = first}, note).error().code(), ErrorCode::not_found);
    append(first, {.groups = {"stock"}});
    const auto early = book_->resend({.id = first}, note);
    ASSERT_TRUE(early.has_error());
    EXPECT_THAT(early.error().text(), HasSubstr("first time"));
    settle_all();
    EXPECT_EQ(book_->resend({.id = first}, note).value(), 1U);
    take({done(first, "stock")});
    const auto late = book_->resend({.id = first}, note);
    ASSERT_TRUE(late.has_error());
    EXPECT_EQ(late.error().code(), ErrorCode::conflict);
    EXPECT_THAT(late.error().text(), HasSubstr("every group has confirmed"));
    EXPECT_THAT(under_test_->store().parking_lot()->audit(10).value(), SizeIs(1)) << "only what was done is audited";
}

TEST_P(ReceiptBook, FindsMessagesByTheirKeys) {
    append(first, asked);
    append(id_of(2), asked);
    append(id_of(3), asked, "43");
    EXPECT_THAT(book_->trace({.key = "42"}, 10).value(), SizeIs(2));
    EXPECT_THAT(book_->trace({.key = "42"}, 1).value(), SizeIs(1));
    EXPECT_EQ(book_->trace({.key = "invoice-43"}, 10)->at(0).id, id_of(3));
    const auto nothing = book_->trace({.key = std::string(100'000, 'k')}, 10);
    ASSERT_TRUE(nothing.has_error());
    EXPECT_LT(nothing.error().text().size(), 400U);
}

TEST_P(ReceiptBook, RefusesASecondMessageOfTheSameId) {
    append(first, asked);
    EXPECT_THROW(append(first, asked), Exception);
    EXPECT_EQ(under_test_->store().status()->awaiting, 1U);
    EXPECT_THROW(append(id_of(2), {}), Exception) << "nobody is asked";
    EXPECT_EQ(rows().size(), 1U);
}

TEST_P(ReceiptBook, StartsWhenAParkedRowIsSentAfterAll) {
    append(first, asked);
    const auto owner = claim();
    const outbox::ParkRow row{rows().at(0).seq, 10, "too large", false};
    const auto lot = under_test_->store().parking_lot();
    ASSERT_EQ(lot->park(owner, {&row, 1}).value(), outbox::Ownership::held);
    EXPECT_EQ(story(first).state, "pending");
    ASSERT_EQ(lot->settle(owner, {&row.seq, 1}, {&first, 1}).value(), outbox::Ownership::held);
    EXPECT_EQ(story(first).state, "awaiting");
}

TEST_P(ReceiptBook, EndsWithTheRowThatAPersonDiscards) {
    append(first, asked);
    const outbox::ParkRow row{rows().at(0).seq, 10, "too large", false};
    const auto lot = under_test_->store().parking_lot();
    ASSERT_EQ(lot->park(claim(), {&row, 1}).value(), outbox::Ownership::held);
    ASSERT_EQ(lot->discard({.key = {"orders", "42"}}, {.who = "ann", .why = "test data"}).value(), 1U);
    EXPECT_EQ(story(first).state, "discarded");
    EXPECT_EQ(under_test_->store().status()->awaiting, 0U);
}

TEST_P(ReceiptBook, AFormerOwnerStartsNothing) {
    append(first, asked);
    const auto former = claim("one");
    const auto seq = rows().at(0).seq;
    under_test_->expire_lease();
    (void)claim("two");
    EXPECT_EQ(under_test_->store().settler()->settle(former, {&seq, 1}, {&first, 1})->ownership, outbox::Ownership::fenced);
    EXPECT_EQ(story(first).state, "pending");
}

TEST_P(ReceiptBook, ForgetsOldStoriesAlone) {
    append(first, {.groups = {"stock"}});
    append(id_of(2), {.groups = {"stock"}});
    settle_all();
    take({done(first, "stock")});
    EXPECT_EQ(book_->forget(hours{1}, 10).value(), 0U);
    EXPECT_EQ(book_->forget(milliseconds{-60'000}, 10).value(), 1U);
    EXPECT_EQ(book_->trace({.id = first}, 1).error().code(), ErrorCode::not_found);
    EXPECT_EQ(story(id_of(2)).state, "awaiting");
    EXPECT_THAT(take({done(first, "stock")}), ElementsAre(ReceiptVerdict::unknown_message));
}

/// A consumer with `once` writes its receipt in the effect's transaction.
TEST_P(ReceiptBook, IsWrittenByTheGuardedEffectAndAgainByADuplicate) {
    const auto message = outbox::with_receipts({.id = first, .topic = "orders"}, {.groups = {"stock"}});
    const auto receipts = [&] {
        std::vector<Receipt> found;
        for (const auto& row : rows()) found.push_back(outbox::read_receipt(row.message).value());
        return found;
    };
    const auto consume = [&](const char* group, Handled says) {
        return under_test_->consume(group, message, [&] { return idempotency::EffectResult{says, "", "sold out"}; });
    };
    EXPECT_EQ(consume("stock", Handled::retry).handled, Handled::retry);
    EXPECT_THAT(receipts(), IsEmpty());
    EXPECT_EQ(consume("stock", Handled::reject).handled, Handled::reject);
    EXPECT_THAT(receipts(), ElementsAre(refused(first, "stock")));
    EXPECT_EQ(under_test_->effects(), 0);
    EXPECT_EQ(consume("stock", Handled::done).handled, Handled::done);
    EXPECT_THAT(receipts(), ElementsAre(refused(first, "stock"), done(first, "stock")));
    EXPECT_EQ(consume("stock", Handled::done).handled, Handled::already_done);
    EXPECT_THAT(receipts(), SizeIs(3));
    EXPECT_EQ(under_test_->effects(), 1);
    EXPECT_EQ(consume("points", Handled::done).handled, Handled::done);
    EXPECT_THAT(receipts(), SizeIs(3)) << "a group that was not named owes nothing";
}

}  // namespace
}  // namespace hufu::conformance
