#include "publish_machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>
#include <hufu/testing/fake_clock.hpp>

namespace hufu::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto confirmed = PublishStatus::confirmed;
constexpr auto in_doubt = PublishStatus::in_doubt;
constexpr auto not_sent = PublishStatus::not_sent;
constexpr auto rejected = PublishStatus::rejected;

class Machine : public ::testing::Test {
protected:
    using Item = PublishMachine::Item;

    /// One call of `publish`; its storage lives as long as the test.
    struct Call {
        std::vector<Message> batch;
        std::vector<PublishOutcome> outcomes;
        std::shared_ptr<Job> job;
        [[nodiscard]] std::vector<PublishStatus> statuses() const {
            std::vector<PublishStatus> all;
            for (const auto& outcome : outcomes) all.push_back(outcome.status);
            return all;
        }
    };
    Call& publish(std::vector<Message> batch) {
        Call& call = *calls.emplace_back(std::make_unique<Call>());
        call.batch = std::move(batch);
        call.outcomes.resize(call.batch.size());
        call.job = std::make_shared<Job>(Job{.batch = call.batch, .outcomes = call.outcomes, .done = [] {}});
        machine.accept(call.job);
        take();
        return call;
    }
    Message message(const std::string& key, const std::string& body) {
        return {.id = ids.next(), .topic = "t", .ordering_key = key, .body = body};
    }
    void take() {
        for (Item* item : machine.take_ready()) out.push_back(item);
    }
    std::vector<std::string> bodies() const {
        std::vector<std::string> all;
        for (const Item* item : out) all.push_back(item->message().body);
        return all;
    }
    void land(const std::string& body, PublishStatus status = confirmed) {
        const auto found =
            std::find_if(out.begin(), out.end(), [&](const Item* item) { return item->message().body == body; });
        ASSERT_NE(found, out.end()) << body;
        Item* item = *found;
        out.erase(found);
        machine.landed(item, {.status = status});
        take();
    }
    std::size_t finish() {
        const auto finished = machine.take_finished();
        for (const auto& job : finished) {
            machine.reporting(*job);
            machine.reported(*job);
        }
        return finished.size();
    }

    testing::FakeClock clock;
    MessageIdGenerator ids{clock, system_random()};
    PublisherOptions options{.queue_messages_max = 8};
    PublishMachine machine{options, clock, ids};
    std::vector<std::unique_ptr<Call>> calls;
    std::vector<Item*> out;
};

TEST_F(Machine, OfAKeyOneMessageIsOutAtATime) {
    Call& call = publish({message("a", "a1"), message("a", "a2"), message("b", "b1"), message("", "x"), message("", "y")});
    EXPECT_THAT(bodies(), ElementsAre("a1", "b1", "x", "y"));
    land("a1");
    EXPECT_THAT(bodies(), ElementsAre("b1", "x", "y", "a2"));
    for (const auto& body : {"x", "b1", "a2"}) land(body);
    EXPECT_EQ(finish(), 0U);
    land("y");
    EXPECT_EQ(finish(), 1U);
    EXPECT_THAT(call.statuses(), ::testing::Each(confirmed));
}

TEST_F(Machine, AFailureRefusesTheSuccessorsOfItsKeyOnly) {
    Call& first = publish({message("a", "a1"), message("a", "a2"), message("b", "b1"), message("b", "b2")});
    Call& second = publish({message("a", "a3")});
    land("a1", in_doubt);
    land("b1");
    land("b2");
    EXPECT_THAT(first.statuses(), ElementsAre(in_doubt, not_sent, confirmed, confirmed));
    EXPECT_THAT(second.statuses(), ElementsAre(not_sent));
    EXPECT_EQ(first.outcomes[1].error.code(), ErrorCode::cancelled);
    EXPECT_THAT(bodies(), IsEmpty());
}

TEST_F(Machine, UntilTheCallerKnowsOfTheFailureTheKeyIsClosed) {
    publish({message("a", "a1")});
    land("a1", not_sent);
    Call& early = publish({message("a", "a2")});
    EXPECT_THAT(early.statuses(), ElementsAre(not_sent));
    EXPECT_EQ(finish(), 2U);
    publish({message("a", "a1")});
    EXPECT_THAT(bodies(), ElementsAre("a1"));
}

TEST_F(Machine, FromInsideDoneTheFailedMessageOpensItsKeyAgain) {
    Call& first = publish({message("a", "a1")});
    land("a1", in_doubt);
    ASSERT_EQ(machine.take_finished().size(), 1U);
    machine.reporting(*first.job);
    publish({first.batch[0], message("a", "a3")});
    EXPECT_THAT(bodies(), ElementsAre("a1"));
    machine.reported(*first.job);
    land("a1");
    EXPECT_THAT(bodies(), ElementsAre("a3"));
}

TEST_F(Machine, NobodyOvertakesWhileAFailureIsReported) {
    Call& first = publish({message("a", "a1")});
    land("a1", in_doubt);
    ASSERT_EQ(machine.take_finished().size(), 1U);
    machine.reporting(*first.job);
    EXPECT_THAT(publish({message("a", "a2")}).statuses(), ElementsAre(not_sent));
    machine.reported(*first.job);
    EXPECT_THAT(publish({first.batch[0]}).statuses(), ElementsAre(not_sent)) << "the failure of a2 is not reported yet";
    EXPECT_EQ(finish(), 2U);
    publish({first.batch[0]});
    EXPECT_THAT(bodies(), ElementsAre("a1"));
}

TEST_F(Machine, TheSeededBugOfTwoMessagesOfAKeyIsSeen) {
    activate_mutant("kafka_pipelines_a_key");
    publish({message("a", "a1"), message("a", "a2")});
    activate_mutant({});
    EXPECT_THAT(bodies(), ElementsAre("a1", "a2"));
    land("a1", not_sent);
    land("a2");
    EXPECT_THAT(calls[0]->statuses(), ElementsAre(not_sent, confirmed)) << "not a prefix any more";
}

TEST_F(Machine, ARejectedMessageIsAFailureOfItsKey) {
    Message late = message("a", "a1");
    late.deliver_at = clock.system_now() + std::chrono::hours{1};
    Call& call = publish({late, message("a", "a2"), message("b", "b1")});
    EXPECT_THAT(call.statuses(), ElementsAre(rejected, not_sent, in_doubt));
    EXPECT_EQ(call.outcomes[0].error.code(), ErrorCode::unsupported);
    EXPECT_THAT(bodies(), ElementsAre("b1"));
    Message due = message("c", "c1");
    due.deliver_at = clock.system_now();
    Message nameless = message("d", "d1");
    nameless.topic = "";
    EXPECT_THAT(publish({due, nameless}).statuses(), ElementsAre(in_doubt, rejected));
}

TEST_F(Machine, HoldsNoMoreThanItsQueue) {
    std::vector<Message> batch;
    for (int i = 0; i < 10; ++i) batch.push_back(message("", std::to_string(i)));
    Call& call = publish(batch);
    EXPECT_EQ(out.size(), 8U);
    EXPECT_EQ(call.outcomes[8].status, not_sent);
    EXPECT_EQ(call.outcomes[9].error.code(), ErrorCode::busy);
    land("0");
    publish({message("", "more")});
    EXPECT_EQ(out.size(), 8U);
}

TEST_F(Machine, HoldsNoMoreBytesThanItsQueue) {
    PublishMachine tight{PublisherOptions{.queue_bytes_max = 1'000, .record_bytes_max = 900}, clock, ids};
    std::vector<Message> batch{message("", std::string(600, 'x')), message("", std::string(600, 'y'))};
    std::vector<PublishOutcome> outcomes(2);
    tight.accept(std::make_shared<Job>(Job{.batch = batch, .outcomes = outcomes, .done = [] {}}));
    const auto ready = tight.take_ready();
    ASSERT_EQ(ready.size(), 1U);
    EXPECT_EQ(outcomes[1].error.code(), ErrorCode::busy);
    tight.landed(ready[0], {.status = confirmed});
}

TEST_F(Machine, ClosingRefusesWhatWaitsAndWhatComes) {
    Call& first = publish({message("a", "a1"), message("a", "a2")});
    machine.close();
    Call& late = publish({message("", "x")});
    EXPECT_THAT(late.statuses(), ElementsAre(not_sent));
    EXPECT_EQ(machine.out(), 1U);
    land("a1", in_doubt);
    EXPECT_THAT(first.statuses(), ElementsAre(in_doubt, not_sent));
    EXPECT_EQ(finish(), 2U);
}

TEST_F(Machine, MintsAnIdWhereThereIsNone) {
    publish({{.topic = "t", .body = "x"}});
    ASSERT_EQ(out.size(), 1U);
    EXPECT_FALSE(out[0]->id.is_nil());
    publish({{.topic = "t", .body = "y"}});
    EXPECT_NE(out[0]->id, out[1]->id);
}

TEST_F(Machine, AnEmptyBatchIsDoneAtOnce) {
    publish({});
    EXPECT_EQ(finish(), 1U);
}

}  // namespace
}  // namespace hufu::kafka
