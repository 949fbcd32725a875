#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/deadletter/ledger.hpp>

namespace hufu::deadletter {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = AuditRecord::Kind;

constexpr std::chrono::milliseconds silence{10'000};

MessageId id_of(std::uint8_t number) { return MessageId{{1, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, number}}; }

AuditRecord record(Kind kind, const std::string& job, std::string text = {}) {
    return {.kind = kind,
            .job = job,
            .act = Act::redrive,
            .topic = "%DLQ%stock",
            .actor = "ann",
            .reason = "repaired",
            .text = std::move(text)};
}

SystemTime at(int second) { return SystemTime{seconds{1'000 + second}}; }

TEST(AuditRecord, ComesBackAsItWasWritten) {
    AuditRecord settled = record(Kind::settled, "j1");
    settled.queue = "broker-a/0";
    settled.letters = {{7, id_of(1)}, {9, id_of(2)}};
    EXPECT_EQ(AuditRecord::parse(settled.to_json()).value(), settled);
    const AuditRecord ended = record(Kind::ended, "j1", "2 settled \"ok\"");
    EXPECT_EQ(AuditRecord::parse(ended.to_json()).value(), ended);
    const Message message = settled.to_message(id_of(3));
    EXPECT_EQ(message.topic, "hufu-dlq-audit");
    EXPECT_EQ(message.ordering_key, "%DLQ%stock");
    EXPECT_TRUE(validate(message));
}

TEST(AuditRecord, RefusesWhatIsNone) {
    for (const auto* text : {"", "{", "[]", "{}", R"({"kind":"settled","act":"redrive","job":"j"})",
                             R"({"kind":"burned","act":"redrive","job":"j","topic":"t"})",
                             R"({"kind":"settled","act":"redrive","job":"j","topic":"t","letters":[[1]]})",
                             R"({"kind":"settled","act":"redrive","job":"j","topic":"t","letters":[["1","x"]]})",
                             R"({"kind":"settled","act":"redrive","job":"j","topic":"t","letters":[[1,"x"]]})",
                             R"({"kind":"settled","act":"redrive","job":"j","topic":"t","letters":5})"}) {
        const auto parsed = AuditRecord::parse(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code(), ErrorCode::corrupt);
        EXPECT_THAT(parsed.error().text(), HasSubstr("hufu-dlq-audit"));
    }
}

TEST(Ledger, KnowsWhatIsSettledByPlaceAndId) {
    Ledger ledger;
    ledger.apply(record(Kind::begun, "j1", "all"), at(0));
    AuditRecord settled = record(Kind::settled, "j1");
    settled.queue = "0";
    settled.letters = {{7, id_of(1)}, {8, id_of(2)}};
    ledger.apply(settled, at(1));
    ledger.apply(settled, at(2));  // a copy
    ASSERT_NE(ledger.settlement("%DLQ%stock", {"0", 7}, id_of(1)), nullptr);
    EXPECT_EQ(ledger.settlement("%DLQ%stock", {"0", 9}, id_of(1)), nullptr);
    EXPECT_EQ(ledger.settlement("%DLQ%stock", {"1", 7}, id_of(1)), nullptr);
    EXPECT_EQ(ledger.settlement("%DLQ%other", {"0", 7}, id_of(1)), nullptr);
    EXPECT_EQ(ledger.settlement("%DLQ%stock", {"0", 7}, id_of(3)), nullptr) << "another message lies there now";
    EXPECT_EQ(ledger.settled_in("%DLQ%stock", {"0", 0, 100}), 2U);
    EXPECT_EQ(ledger.settled_in("%DLQ%stock", {"0", 8, 100}), 1U);
    EXPECT_EQ(ledger.settled_in("%DLQ%stock", {"1", 0, 100}), 0U);
    ASSERT_EQ(ledger.jobs().size(), 1U);
    EXPECT_EQ(ledger.jobs()[0].settled, 2U);
    EXPECT_EQ(ledger.jobs()[0].actor, "ann");
    EXPECT_EQ(ledger.jobs()[0].asked, "all");
    EXPECT_FALSE(ledger.jobs()[0].ended);
    ledger.apply(record(Kind::ended, "j1", "fine"), at(3));
    EXPECT_TRUE(ledger.jobs()[0].ended);
    EXPECT_EQ(ledger.jobs()[0].ending, "fine");
}

TEST(Ledger, AnEarlierJobThatIsHeardOfIsARival) {
    Ledger ledger;
    ledger.apply(record(Kind::begun, "first"), at(0));
    ledger.apply(record(Kind::begun, "second"), at(5));
    ASSERT_NE(ledger.rival_of("second", silence), nullptr);
    EXPECT_EQ(ledger.rival_of("second", silence)->id, "first");
    EXPECT_EQ(ledger.rival_of("first", silence), nullptr) << "the later one waits, not the earlier";
    EXPECT_EQ(ledger.rival_of("unknown", silence), nullptr);

    ledger.apply(record(Kind::alive, "second"), at(10));
    EXPECT_EQ(ledger.rival_of("second", silence), nullptr) << "silent for 10 s: dead";
    EXPECT_THAT(ledger.abandoned_before("second"), ElementsAre("first"));
    ledger.apply(record(Kind::took_over, "second", "first"), at(11));
    EXPECT_EQ(ledger.find("first")->taken_over_by, "second");
    EXPECT_THAT(ledger.abandoned_before("second"), ElementsAre());
}

TEST(Ledger, AnEndedJobOrOneOfAnotherTopicIsNoRival) {
    Ledger ledger;
    ledger.apply(record(Kind::begun, "first"), at(0));
    auto elsewhere = record(Kind::begun, "elsewhere");
    elsewhere.topic = "%DLQ%billing";
    ledger.apply(elsewhere, at(1));
    ledger.apply(record(Kind::ended, "first"), at(2));
    ledger.apply(record(Kind::begun, "second"), at(3));
    EXPECT_EQ(ledger.rival_of("second", silence), nullptr);
    EXPECT_THAT(ledger.abandoned_before("second"), ElementsAre());
}

}  // namespace
}  // namespace hufu::deadletter
