// hufu outbox trace, resend and receipts on an outbox with one message that is awaiting and one that was never sent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/outbox_store.hpp>
#include <hufu/sqlite/schema.hpp>

#include "tests/program.hpp"

namespace hufu::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class CliReceipts : public testing::Test {
protected:
    void SetUp() override {
        auto database = std::make_shared<sqlite::Database>(path_);
        ASSERT_TRUE(sqlite::migrate(*database));
        sqlite::Outbox outbox;
        {
            sqlite::Transaction tx{*database};
            sent_ = outbox.append(tx, {.topic = "orders", .ordering_key = "42", .body = "first"}, asked_).to_string();
            pending_ = outbox.append(tx, {.topic = "orders", .ordering_key = "43", .body = "second"}, asked_).to_string();
            tx.commit();
        }
        const auto store = sqlite::outbox_store(database);
        const auto claim = store->lease()->acquire("test", std::chrono::seconds{5}).value().value();
        const outbox::Sequence first = 1;
        const MessageId id = MessageId::parse(sent_).value();
        ASSERT_EQ(store->settler()->settle(claim, {&first, 1}, {&id, 1})->ownership, outbox::Ownership::held);
    }
    Said outbox(std::vector<std::string> words) const {
        words.insert(words.begin(), "outbox");
        words.insert(words.end(), {"--outbox", "sqlite:" + path_});
        return program_.run(words);
    }
    /// The receipts of `lines`, by the batch call.
    Said receipts(const std::string& lines) {
        program_.give(lines);
        return outbox({"receipts", "--json"});
    }

    Program program_;
    std::string path_ = program_.file("orders.db");
    outbox::Receipts asked_{.groups = {"stock", "points"}};
    std::string sent_;
    std::string pending_;
};

TEST_F(CliReceipts, TracesAMessageThroughItsLife) {
    EXPECT_THAT(outbox({"trace", sent_}).out,
                AllOf(HasSubstr("awaiting, sent 1 times, missing: stock, points, next send in"), HasSubstr("appended"),
                      HasSubstr("asks stock, points")));
    EXPECT_THAT(outbox({"trace", "43"}).out, AllOf(HasSubstr(pending_), HasSubstr("pending, sent 0 times")));
    const auto counted = receipts(sent_ + " points\n" + sent_ + " stock\n" + sent_ + " stock\n" + sent_ + " fraud\n");
    EXPECT_EQ(counted.exit_code, 0) << counted.err;
    EXPECT_EQ(counted.out,
              "{\"taken\":1,\"completed\":1,\"parked\":0,\"duplicate\":1,\"unknown_group\":1,\"unknown_message\":0,"
              "\"malformed\":0}\n");
    const auto told = outbox({"trace", "42", "--json"});
    EXPECT_THAT(told.out, AllOf(HasSubstr("\"state\":\"completed\""),
                                HasSubstr("\"what\":\"receipt\",\"detail\":\"points\""), HasSubstr("\"missing\":[]")));
    EXPECT_THAT(outbox({"status", "--json"}).out, HasSubstr("\"awaiting\":1,\"awaiting_parked\":0"));
}

TEST_F(CliReceipts, SendsAgainWithAnAudit) {
    EXPECT_EQ(outbox({"resend", sent_}).exit_code, 2) << "without who and why";
    EXPECT_EQ(receipts(sent_ + " stock refused sold out").exit_code, 0);
    EXPECT_THAT(outbox({"trace", sent_}).out, HasSubstr("stock refused: sold out"));
    const auto again = outbox({"resend", sent_, "--who", "ann", "--why", "stock is back", "--json"});
    EXPECT_EQ(again.exit_code, 0) << again.err;
    EXPECT_EQ(again.out, "{\"resent\":1}\n");
    EXPECT_THAT(outbox({"trace", sent_}).out, AllOf(HasSubstr("asked by ann: stock is back"), HasSubstr("overdue")));
    EXPECT_THAT(outbox({"audit"}).out, AllOf(HasSubstr("resend"), HasSubstr("ann"), HasSubstr("stock is back")));
}

TEST_F(CliReceipts, SaysWhatItCannotDo) {
    EXPECT_EQ(outbox({"trace"}).exit_code, 2);
    const auto unknown = outbox({"trace", "44"});
    EXPECT_EQ(unknown.exit_code, 1);
    EXPECT_THAT(unknown.err, HasSubstr("knows nothing of key \"44\""));
    const auto early = outbox({"resend", pending_, "--who", "ann", "--why", "now"});
    EXPECT_EQ(early.exit_code, 1);
    EXPECT_THAT(early.err, HasSubstr("waits to be sent for the first time"));
    const auto malformed = receipts("hello\n" + sent_ + "\n" + sent_ + " stock maybe\n" + sent_ + " stock\n");
    EXPECT_EQ(malformed.exit_code, 1);
    EXPECT_THAT(malformed.out, AllOf(HasSubstr("\"taken\":1"), HasSubstr("\"malformed\":3")));
    EXPECT_THAT(malformed.err, AllOf(HasSubstr("\"hello\" is no receipt"), Not(HasSubstr("unknown"))));
}

}  // namespace
}  // namespace hufu::cli
