#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>
#include <hufu/deadletter/redriver.hpp>

#include "shelf.hpp"

namespace hufu::deadletter {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

PublishOutcome confirm(const Message&) { return {.status = PublishStatus::confirmed}; }

class RedriverTest : public ::testing::Test {
protected:
    void TearDown() override { activate_mutant({}); }
    Redriver redriver(RedriveOptions options = {}, Pace pace = {}) {
        return {"%DLQ%stock", std::move(options), {"ann", "repaired", "all"}, pace, {shelf_, shelf_, clock_}};
    }
    Result<void> run(Redriver& redriver) {
        return redriver.run(
            [this](const auto& outcomes, const auto&) {
                outcomes_.insert(outcomes_.end(), outcomes.begin(), outcomes.end());
                return Result<void>{};
            },
            {});
    }
    Ledger audit() {
        Ledger ledger;
        AuditReader reader{shelf_};
        EXPECT_TRUE(reader.read_into(ledger));
        return ledger;
    }
    /// A consumer that lets poison die again, as Hufu's does.
    PublishOutcome consume(const Message& message) {
        if (message.topic == "orders" && message.body.starts_with("poison")) {
            Message letter = message;
            letter.topic = "%DLQ%stock";
            letter.headers.set(header::dead_reason, "still poison");
            letter.headers.set(header::dead_topic, "orders");
            shelf_.put(letter);
        }
        return confirm(message);
    }

    testing::FakeClock clock_{testing::FakeClock::Sleep::advances};
    Shelf shelf_{clock_};
    std::vector<LetterOutcome> outcomes_;
};

TEST_F(RedriverTest, SendsEachLetterOnceAndWritesItDown) {
    for (const auto* body : {"a", "b", "c", "d", "e"}) shelf_.put(dead(body, "k"));
    auto first = redriver({}, {.batch = 2});
    EXPECT_TRUE(run(first));
    EXPECT_THAT(shelf_.bodies("orders"), ElementsAre("a", "b", "c", "d", "e"));
    EXPECT_EQ(outcomes_.size(), 5U);
    const auto ledger = audit();
    ASSERT_EQ(ledger.jobs().size(), 1U);
    EXPECT_EQ(ledger.jobs()[0].settled, 5U);
    EXPECT_EQ(ledger.jobs()[0].actor, "ann");
    EXPECT_EQ(ledger.jobs()[0].reason, "repaired");
    EXPECT_THAT(ledger.jobs()[0].ending, HasSubstr("5 settled"));
    auto second = redriver();
    EXPECT_TRUE(run(second));
    EXPECT_EQ(shelf_.queue("orders").size(), 5U);
    EXPECT_EQ(second.figures().settled_before, 5U);
}

TEST_F(RedriverTest, EndsAlthoughPoisonComesBackAtOnce) {
    for (int i = 0; i < 100; ++i) shelf_.put(dead(i % 10 == 3 ? "poison" + std::to_string(i) : "fine"));
    shelf_.on_publish = [this](const Message& message) { return consume(message); };
    for (int round = 0; round < 5; ++round) {
        auto redriver = this->redriver({}, {.batch = 7});
        EXPECT_TRUE(run(redriver));
        EXPECT_EQ(redriver.figures().settled, round == 0 ? 100U : round < 3 ? 10U : 0U) << round;
        EXPECT_EQ(redriver.figures().refused, round < 3 ? 0U : 10U) << round;
    }
    EXPECT_EQ(shelf_.queue("%DLQ%stock").size(), 130U);
    EXPECT_EQ(shelf_.queue("%DLQ%stock").back().message.headers.get(redrives_header), "3");
}

TEST_F(RedriverTest, GoesOnAfterAKillAndRepeatsAtMostABatch) {
    for (int i = 0; i < 20; ++i) shelf_.put(dead(std::to_string(i), "k"));
    // Killed before the audit of the second batch: an exception that nobody catches is as near as a test comes.
    struct Killed {};
    int settled = 0;
    shelf_.on_publish = [&](const Message& message) {
        if (message.topic == audit_topic && message.tag == "settled" && ++settled == 2) throw Killed{};
        return confirm(message);
    };
    {
        auto killed = redriver({}, {.batch = 5});
        EXPECT_THROW(static_cast<void>(run(killed)), Killed);
    }
    EXPECT_EQ(shelf_.queue("orders").size(), 10U);
    shelf_.on_publish = nullptr;
    auto next = redriver({}, {.batch = 5});
    EXPECT_TRUE(run(next));
    EXPECT_EQ(next.figures().settled_before, 5U);
    EXPECT_EQ(shelf_.queue("orders").size(), 25U) << "the batch that was not written down is sent twice";
    EXPECT_EQ(audit().jobs()[0].taken_over_by, next.job());
}

TEST_F(RedriverTest, WaitsForABrokerThatIsAwayAndGivesUpInTheEnd) {
    for (int i = 0; i < 4; ++i) shelf_.put(dead(std::to_string(i), "k"));
    int failures = 3;
    shelf_.on_publish = [&](const Message& message) {
        if (message.topic == "orders" && failures-- > 0) {
            return PublishOutcome{.status = PublishStatus::in_doubt,
                                  .error = {ErrorCode::timeout, Disposition::in_doubt, "no answer"}};
        }
        return confirm(message);
    };
    auto patient = redriver();
    EXPECT_TRUE(run(patient));
    EXPECT_THAT(shelf_.bodies("orders"), ElementsAre("0", "1", "2", "3"));

    shelf_.put(dead("4"));
    failures = 1'000'000;
    auto impatient = redriver({}, {.patience = seconds{5}});
    const auto result = run(impatient);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), ErrorCode::unavailable);
    EXPECT_THAT(result.error().text(), HasSubstr("no answer"));
    EXPECT_EQ(impatient.figures().failed, 1U);
    EXPECT_TRUE(audit().jobs().back().ended);
}

TEST_F(RedriverTest, TwoJobsDoNotWorkOnOneTopicAtTheSameTime) {
    shelf_.put(dead("a"));
    const AuditRecord other{.kind = AuditRecord::Kind::begun, .job = "other", .topic = "%DLQ%stock", .actor = "bob"};
    shelf_.put(other.to_message({}));
    // It stays alive whenever the later one looks.
    shelf_.on_publish = [&](const Message& message) {
        if (message.tag == "alive") {
            auto alive = other;
            alive.kind = AuditRecord::Kind::alive;
            shelf_.put(alive.to_message({}));
        }
        return confirm(message);
    };
    auto second = redriver();
    const auto busy = run(second);
    ASSERT_FALSE(busy);
    EXPECT_EQ(busy.error().code(), ErrorCode::busy);
    EXPECT_THAT(busy.error().text(), HasSubstr("bob"));
    EXPECT_EQ(shelf_.queue("orders").size(), 0U);

    shelf_.on_publish = nullptr;  // it is silent from now on
    auto third = redriver();
    EXPECT_TRUE(run(third));
    EXPECT_EQ(shelf_.queue("orders").size(), 1U);
    EXPECT_EQ(audit().find("other")->taken_over_by, third.job());
}

TEST_F(RedriverTest, StopsWhenAnotherJobTookItForDead) {
    for (int i = 0; i < 4; ++i) shelf_.put(dead(std::to_string(i)));
    std::string own;
    shelf_.on_publish = [&](const Message& message) {
        if (message.topic == "orders" && message.body == "1") {
            clock_.advance(seconds{30});  // this process stood still
            AuditRecord taken{.kind = AuditRecord::Kind::took_over, .job = "later", .topic = "%DLQ%stock", .text = own};
            shelf_.put(taken.to_message({}));
        }
        return confirm(message);
    };
    auto slow = redriver({}, {.batch = 1, .silence = seconds{10}});
    own = slow.job();
    const auto result = run(slow);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), ErrorCode::fenced);
    EXPECT_THAT(result.error().text(), HasSubstr("later"));
    EXPECT_THAT(shelf_.bodies("orders"), ElementsAre("0", "1")) << "what was under way, and no more";
}

TEST_F(RedriverTest, KeepsItsRate) {
    for (int i = 0; i < 100; ++i) shelf_.put(dead(std::to_string(i)));
    const auto before = clock_.steady_now();
    auto slow = redriver({}, {.per_second = 10});
    EXPECT_TRUE(run(slow));
    const auto took = clock_.steady_now() - before;
    EXPECT_GE(took, std::chrono::milliseconds{9'700});
    EXPECT_LE(took, seconds{11});
}

TEST_F(RedriverTest, ForeignRecordsInTheAuditAreLeftOut) {
    shelf_.put({.topic = std::string{audit_topic}, .body = "hello"});
    shelf_.put(dead("a"));
    auto redriver = this->redriver();
    EXPECT_TRUE(run(redriver));
    EXPECT_EQ(shelf_.queue("orders").size(), 1U);
}

TEST_F(RedriverTest, AnOutcomeFileThatCannotBeWrittenEndsTheJobAfterThePage) {
    for (int i = 0; i < 4; ++i) shelf_.put(dead(std::to_string(i)));
    auto redriver = this->redriver({}, {.batch = 2});
    const auto result = redriver.run(
        [](const auto&, const auto&) {
            return Result<void>{Error{ErrorCode::io, Disposition::reject, "no space left"}};
        },
        {});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().text(), "no space left");
    EXPECT_EQ(audit().jobs()[0].settled, 2U);
    EXPECT_TRUE(audit().jobs()[0].ended);
}

TEST_F(RedriverTest, EachSeededBugIsSeen) {
    activate_mutant("redrive_without_loop_guard");
    shelf_.put([] {
        Message message = dead("poison");
        message.headers.set(redrives_header, "3");
        return message;
    }());
    auto unguarded = redriver();
    EXPECT_TRUE(run(unguarded));
    EXPECT_EQ(unguarded.figures().refused, 0U) << "the bug: nothing is refused";

    // The audit before the publish: a kill between them loses the letter.
    activate_mutant("redrive_audit_before_publish");
    shelf_.put(dead("lost"));
    struct Killed {};
    shelf_.on_publish = [](const Message& message) -> PublishOutcome {
        if (message.body == "lost") throw Killed{};
        return confirm(message);
    };
    {
        auto killed = redriver();
        EXPECT_THROW(static_cast<void>(run(killed)), Killed);
    }
    shelf_.on_publish = nullptr;
    activate_mutant({});
    auto next = redriver();
    EXPECT_TRUE(run(next));
    EXPECT_THAT(shelf_.bodies("orders"), ::testing::Not(::testing::Contains("lost"))) << "the bug: it is taken for settled";
}

}  // namespace
}  // namespace hufu::deadletter
