#include <gmock/gmock.h>

#include <hufu/core/mutant.hpp>
#include <hufu/outbox/awaiting_machine.hpp>
#include <hufu/outbox/relay_machine.hpp>

#include "memory_lane.hpp"
#include "rig.hpp"

namespace hufu::outbox::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const MessageId id{{1}};
const Receipts asked{.groups = {"stock", "points"}, .deadline = 1s, .backoff_cap = 4s, .sends_max = 3};

/// A machine between a book in memory and a broker that answers as told.
class Bench {
public:
    explicit Bench(AwaitingOptions options = quick()) : machine{std::move(options), random_} {
        book.append({.id = id, .topic = "orders", .body = "42"}, asked);
    }
    static AwaitingOptions quick() {
        AwaitingOptions options;
        options.jitter = 0;
        return options;
    }
    /// Sent for the first time.
    void start() { book.start({&id, 1}); }
    void receipt(const char* group, Receipt::Outcome outcome = Receipt::Outcome::done) {
        const Receipt word{.message = id, .group = group, .outcome = outcome, .reason = "sold out"};
        book.take({&word, 1});
    }
    void pass(milliseconds time) {
        for (const SteadyTime end = now + time; now < end; now += 10ms, wall += 10ms) obey();
    }
    void obey() {
        for (int round = 0; round < 100; ++round) {
            AwaitingActions actions = machine.step(now);
            finished = actions.finished;
            if (actions.publish) {
                for (std::size_t at = 0; at < actions.publish->messages.size(); ++at) {
                    ++sent;
                    actions.publish->outcomes[at] = answer;
                }
                machine.published(std::move(actions.publish), now);
            }
            if (!actions.ask) return;
            auto reply = store_fails ? Result<AwaitingReply>{*store_fails} : perform(*actions.ask, rows_);
            now += answer_takes;
            wall += answer_takes;
            machine.done(std::move(reply), now);
        }
    }

    SystemTime wall{24h};
    SteadyTime now{1h};
    MemoryBook book{[this] { return wall; }};
    PublishOutcome answer{.status = PublishStatus::confirmed};
    milliseconds answer_takes{0};
    std::optional<Error> store_fails;
    int sent = 0;
    bool finished = false;

private:
    std::recursive_mutex mutex_;
    MemoryAwaiting rows_{book, mutex_};
    SeededRandom random_{7};

public:
    AwaitingMachine machine;
};

TEST(Awaiting, SendsNothingBeforeTheFirstSendWasSettled) {
    Bench bench;
    bench.pass(60s);
    EXPECT_EQ(bench.sent, 0);
    EXPECT_EQ(bench.book.rows.at(id).sends, 0U);
}

TEST(Awaiting, SendsAgainOnItsBackoffThenParksWithTheGroupsThatAreMissing) {
    Bench bench;
    bench.start();
    bench.pass(900ms);
    EXPECT_EQ(bench.sent, 0);
    bench.pass(1'200ms);
    EXPECT_EQ(bench.sent, 1) << "one second after the first send";
    bench.receipt("points");
    bench.pass(3'500ms);
    EXPECT_EQ(bench.sent, 2) << "two seconds later";
    bench.pass(10s);
    EXPECT_EQ(bench.sent, 2);
    EXPECT_EQ(bench.book.rows.at(id).parked, "no receipt from stock after 3 sends");
    EXPECT_EQ(bench.machine.figures().parked, 1U);
}

TEST(Awaiting, SendsNothingAfterTheLastReceipt) {
    Bench bench;
    bench.start();
    bench.pass(1'500ms);
    ASSERT_EQ(bench.sent, 1);
    bench.receipt("points");
    bench.receipt("stock");
    bench.pass(60s);
    EXPECT_EQ(bench.sent, 1);
    EXPECT_EQ(bench.book.rows.at(id).state, "completed");
}

TEST(Awaiting, StopsAtARefusalAndGoesOnWhenAPersonSays) {
    Bench bench;
    bench.start();
    bench.receipt("stock", Receipt::Outcome::refused);
    bench.pass(60s);
    EXPECT_EQ(bench.sent, 0);
    EXPECT_EQ(bench.book.rows.at(id).parked, "stock refused: sold out");
    EXPECT_EQ(bench.book.resend(id), 1U);
    bench.pass(1s);
    EXPECT_EQ(bench.sent, 1) << "at the next look";
    bench.receipt("stock");
    bench.receipt("points");
    EXPECT_EQ(bench.book.rows.at(id).state, "completed");
}

TEST(Awaiting, ParksWhatTheBrokerRefuses) {
    Bench bench;
    bench.start();
    bench.answer = {.status = PublishStatus::rejected, .error = {ErrorCode::too_large, Disposition::reject, "too large"}};
    bench.pass(3s);
    EXPECT_EQ(bench.book.rows.at(id).parked, "the broker refuses it: too large");
}

bool outage_costs_no_attempt() {
    Bench bench;
    bench.start();
    bench.answer = {.status = PublishStatus::not_sent, .error = {ErrorCode::unavailable, Disposition::retry, "away"}};
    bench.pass(10min);
    const bool untouched = bench.sent > 3 && bench.book.rows.at(id).sends == 1 && !bench.book.rows.at(id).parked;
    bench.answer = {.status = PublishStatus::confirmed};
    bench.pass(16s);
    return untouched && bench.book.rows.at(id).sends > 1;
}

TEST(Awaiting, AnOutageOfTheBrokerCostsNoAttempt) {
    EXPECT_TRUE(outage_costs_no_attempt());
    activate_mutant("outage_counts_as_send");
    EXPECT_FALSE(outage_costs_no_attempt());
    activate_mutant({});
}

bool stale_claims_are_dropped() {
    Bench bench;
    bench.start();
    bench.pass(900ms);
    bench.answer_takes = 5s;  // the process stood still between the claim and its answer
    bench.pass(7s);
    return bench.sent == 0 && bench.machine.figures().stale > 0;
}

TEST(Awaiting, AClaimThatIsTooOldIsNotSent) {
    EXPECT_TRUE(stale_claims_are_dropped());
    activate_mutant("stale_claim_sent");
    EXPECT_FALSE(stale_claims_are_dropped());
    activate_mutant({});
}

TEST(Awaiting, WaitsForTheStoreAndEndsWithItsFatalError) {
    Bench bench;
    bench.start();
    bench.store_fails = Error{ErrorCode::unavailable, Disposition::retry, "away"};
    bench.pass(10s);
    EXPECT_GT(bench.machine.figures().store_errors, 3U);
    EXPECT_LT(bench.machine.figures().store_errors, 50U);
    bench.store_fails.reset();
    bench.pass(3s);
    EXPECT_GE(bench.sent, 1);
    bench.store_fails = Error{ErrorCode::wrong_version, Disposition::fatal, "schema is newer"};
    bench.pass(3s);
    EXPECT_TRUE(bench.finished);
    ASSERT_TRUE(bench.machine.error().has_value());
    EXPECT_EQ(bench.machine.error()->code(), ErrorCode::wrong_version);
}

TEST(Awaiting, ForgetsWhatEndedLongAgo) {
    Bench bench;
    bench.receipt("stock");
    bench.receipt("points");
    bench.pass(2min);
    EXPECT_EQ(bench.book.rows.size(), 1U);
    bench.wall += 24h * 8;
    bench.pass(2min);
    EXPECT_EQ(bench.book.rows.size(), 0U);
}

TEST(Awaiting, RefusesOptionsThatDoNotFit) {
    AwaitingOptions options;
    options.hold = options.trust - 1ms;
    ASSERT_TRUE(validate(options).has_error());
    EXPECT_THAT(validate(options).error().text(), HasSubstr("hold"));
}

/// The relay's part: the settle names the messages that ask for receipts.
std::vector<MessageId> started_by_a_relay(bool park_first) {
    MemoryLane lane;
    Rig rig{lane};
    MemoryLane::Writer writer{lane};
    const Sequence plain = writer.append("a", "plain");
    const Sequence asking = writer.append("b", "asking");
    writer.commit();
    lane.rows.at(plain).message.id = MessageId{{5}};
    Message& message = lane.rows.at(asking).message;
    message.id = id;
    message = with_receipts(message, asked);
    if (park_first) {
        rig.broker.judge = [](const Message& judged) {
            return judged.body == "asking" ? PublishOutcome{.status = PublishStatus::rejected, .error = bad()}
                                           : PublishOutcome{.status = PublishStatus::confirmed};
        };
        rig.pass(1s);
        EXPECT_TRUE(lane.started.empty());
        rig.broker.judge = [](const Message&) { return PublishOutcome{.status = PublishStatus::confirmed}; };
        EXPECT_TRUE(rig.lot->release({.key = {"orders", "b"}}, {.who = "ann", .why = "fixed"}).has_value());
    }
    rig.pass(2s);
    EXPECT_TRUE(lane.rows.empty());
    EXPECT_TRUE(lane.lot.empty());
    return lane.started;
}

TEST(Awaiting, BeginsWithTheSettleOfItsRow) {
    EXPECT_EQ(started_by_a_relay(false), std::vector{id});
    EXPECT_EQ(started_by_a_relay(true), std::vector{id}) << "out of the parking lot";
    activate_mutant("settle_forgets_receipts");
    EXPECT_TRUE(started_by_a_relay(false).empty());
    activate_mutant({});
}

}  // namespace
}  // namespace hufu::outbox::testing
