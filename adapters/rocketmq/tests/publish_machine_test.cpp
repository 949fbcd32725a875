#include "src/publish_machine.hpp"

#include <gtest/gtest.h>

#include <hufu/remoting/batch.hpp>

#include "scripted_peer.hpp"

namespace hufu::rocketmq {
namespace {

using namespace std::chrono_literals;
using remoting::RequestCode;
using remoting::ResponseCode;

struct Call {
    std::vector<Message> batch;
    std::vector<PublishOutcome> outcomes;
    std::shared_ptr<Job> job;
};

class PublishMachineTest : public ::testing::Test {
protected:
    PublishMachineTest() { peer.topics["orders"] = 1; }

    void make(PublisherOptions options) {
        machine = std::make_unique<PublishMachine>(cluster, options, clock, ids);
        cluster.on_link([this](SteadyTime now, const std::string& address, bool up) { machine->link(now, address, up); });
    }
    Message message(std::string key, std::string body = "b") {
        return {.id = ids.next(), .topic = "orders", .ordering_key = std::move(key), .body = std::move(body)};
    }
    std::unique_ptr<Call> publish(std::vector<Message> batch) {
        if (!machine) {
            make({});
        }
        auto call = std::make_unique<Call>();
        call->batch = std::move(batch);
        call->outcomes.resize(call->batch.size());
        call->job = std::make_shared<Job>(Job{.batch = call->batch, .outcomes = call->outcomes, .done = {}});
        machine->accept(peer.now(), call->job);
        peer.run();
        return call;
    }
    /// Plays the shell's part: reports what is finished. True when `call` was.
    bool report(const Call& call) {
        bool found = false;
        for (const auto& job : machine->take_finished()) {
            machine->reporting(*job);
            machine->reported(*job);
            found = found || job == call.job;
        }
        return found;
    }
    void confirm(const Asked& request, std::int64_t offset = 0, std::string_view id = "ID") {
        peer.answer(request, ResponseCode::success,
                    remoting::SendResponse{.message_id = id, .queue_id = 0, .queue_offset = offset});
        peer.run();
    }
    static std::vector<PublishStatus> statuses(const Call& call) {
        std::vector<PublishStatus> found;
        for (const auto& outcome : call.outcomes) {
            found.push_back(outcome.status);
        }
        return found;
    }

    testing::FakeClock clock;
    SeededRandom random{1};
    MessageIdGenerator ids{clock, random};
    Cluster cluster{client_options(), random, no_log()};
    ScriptedPeer peer{cluster, clock};
    std::unique_ptr<PublishMachine> machine;
};

constexpr auto confirmed = PublishStatus::confirmed;
constexpr auto not_sent = PublishStatus::not_sent;
constexpr auto in_doubt = PublishStatus::in_doubt;
constexpr auto rejected = PublishStatus::rejected;

TEST_F(PublishMachineTest, SendsOneMessageAsItself) {
    Message one = message("k", "body");
    one.tag = "paid";
    const auto call = publish({one});
    const auto request = peer.take(RequestCode::send_message_v2);
    const auto header = remoting::SendRequest::decode(request->command);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->topic, "orders");
    EXPECT_EQ(header->queue_id, 0);
    EXPECT_FALSE(header->batch);
    EXPECT_EQ(request->command.body, "body");
    EXPECT_FALSE(report(*call));
    confirm(*request, 7, "7F0000010000");
    EXPECT_TRUE(report(*call));
    EXPECT_EQ(call->outcomes[0].status, confirmed);
    EXPECT_EQ(call->outcomes[0].broker_id, "7F0000010000");
}

TEST_F(PublishMachineTest, HasOneBatchInFlightPerQueue) {
    const auto first = publish({message("a"), message("b"), message("a")});
    const auto second = publish({message("a"), message("b")});
    ASSERT_EQ(peer.count(RequestCode::send_batch_message), 1U);
    const auto batch = peer.take(RequestCode::send_batch_message);
    EXPECT_TRUE(remoting::SendRequest::decode(batch->command)->batch);
    remoting::BatchView entries{batch->command.body};
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(entries.next()->has_value());
    }
    EXPECT_FALSE(entries.next()->has_value());
    confirm(*batch, 10);
    EXPECT_EQ(statuses(*first), (std::vector{confirmed, confirmed, confirmed}));
    EXPECT_EQ(first->outcomes[2].broker_id, "0@12");
    confirm(*peer.take(RequestCode::send_batch_message));
    EXPECT_EQ(statuses(*second), (std::vector{confirmed, confirmed}));
}

TEST_F(PublishMachineTest, RefusesSuccessorsOfAFailedMessageUntilItIsReported) {
    const auto first = publish({message("a"), message("b")});
    const auto waiting = publish({message("a"), message("c")});
    peer.refuse(*peer.take(RequestCode::send_batch_message), ResponseCode::system_busy);
    peer.run();
    EXPECT_EQ(statuses(*first), (std::vector{not_sent, not_sent}));
    EXPECT_EQ(first->outcomes[0].error.code(), ErrorCode::busy);
    // "a" was accepted before the failure was known; "c" is another key.
    confirm(*peer.take(RequestCode::send_message_v2));
    EXPECT_EQ(statuses(*waiting), (std::vector{not_sent, confirmed}));
    // Still before the report.
    const auto late = publish({message("a")});
    EXPECT_EQ(statuses(*late), std::vector{not_sent});
    EXPECT_NE(late->outcomes[0].error.text().find("ordering key \"a\""), std::string::npos);
    EXPECT_TRUE(report(*first));
    const auto again = publish(first->batch);
    confirm(*peer.take(RequestCode::send_batch_message));
    EXPECT_EQ(statuses(*again), (std::vector{confirmed, confirmed}));
}

TEST_F(PublishMachineTest, TakesTheFailedMessageAgainFromInsideDone) {
    const auto first = publish({message("a")});
    peer.refuse(*peer.take(RequestCode::send_message_v2), ResponseCode::system_busy);
    peer.run();
    ASSERT_EQ(machine->take_finished().size(), 1U);
    machine->reporting(*first->job);
    const auto stranger = publish({message("a")});
    EXPECT_EQ(statuses(*stranger), std::vector{not_sent}) << "it could be a successor";
    machine->reported(*first->job);
    for (const auto& job : machine->take_finished()) {
        machine->reporting(*job);
    }
    const auto again = publish(stranger->batch);  // now the first one that failed and is being reported
    confirm(*peer.take(RequestCode::send_message_v2));
    EXPECT_EQ(statuses(*again), std::vector{confirmed});
    machine->reported(*stranger->job);
}

TEST_F(PublishMachineTest, LeavesWhatWasSentInDoubtWhenTheConnectionIsLost) {
    const auto sent = publish({message("a")});
    const auto waiting = publish({message("a"), message("b")});
    peer.lose(broker);
    peer.run();
    EXPECT_EQ(statuses(*sent), std::vector{in_doubt});
    EXPECT_EQ(sent->outcomes[0].error.disposition(), Disposition::in_doubt);
    EXPECT_EQ(waiting->outcomes[0].status, not_sent);
    peer.advance(100ms);  // reconnects
    peer.run();
    confirm(*peer.take(RequestCode::send_message_v2));
    EXPECT_EQ(statuses(*waiting), (std::vector{not_sent, confirmed}));
}

TEST_F(PublishMachineTest, LeavesASilentBrokersMessagesInDoubt) {
    const auto sent = publish({message("a")});
    peer.advance(10'000ms);
    peer.run();
    EXPECT_EQ(statuses(*sent), std::vector{in_doubt});
    EXPECT_EQ(sent->outcomes[0].error.code(), ErrorCode::timeout);
    EXPECT_FALSE(cluster.ready(broker)) << "not one byte came: the connection is given up";
}

TEST_F(PublishMachineTest, EndsNotSentWhenNoServerIsThere) {
    peer.down = {name_server};
    const auto call = publish({message("a"), message("")});
    for (int i = 0; i < 110; ++i) {
        peer.advance(100ms);
        machine->tick(peer.now());
        peer.run();
    }
    EXPECT_EQ(statuses(*call), (std::vector{not_sent, not_sent}));
    EXPECT_EQ(call->outcomes[0].error.code(), ErrorCode::unavailable);
    EXPECT_TRUE(report(*call));
}

TEST_F(PublishMachineTest, FindsTheCulpritOfARefusedBatch) {
    const auto call = publish({message("a"), message("b", "bad"), message("b"), message("c")});
    peer.refuse(*peer.take(RequestCode::send_batch_message), ResponseCode::message_illegal);
    peer.run();
    for (int i = 0; i < 3; ++i) {
        const auto request = peer.take(RequestCode::send_message_v2);
        if (request->command.body == "bad") {
            peer.refuse(*request, ResponseCode::message_illegal, "bad");
            peer.run();
        } else {
            confirm(*request);
        }
    }
    EXPECT_EQ(statuses(*call), (std::vector{confirmed, rejected, not_sent, confirmed}));
    EXPECT_TRUE(peer.asked.empty());
}

TEST_F(PublishMachineTest, RejectsWhatNoBrokerTakesBeforeSending) {
    Message huge = message("h", std::string(4 * 1024 * 1024 + 1, 'x'));
    Message nameless = message("n");
    nameless.topic.clear();
    Message reserved = message("r");
    reserved.headers.set("TAGS", "x");
    Message wordy = message("w");
    wordy.headers.set("long", std::string(32'768, 'x'));
    Message later = message("l");
    later.deliver_at = clock.system_now() + 1h;
    Message due = message("");
    due.deliver_at = clock.system_now() - 1s;
    const auto call = publish({huge, nameless, reserved, wordy, later, message("h"), due});
    confirm(*peer.take(RequestCode::send_message_v2));
    EXPECT_EQ(statuses(*call), (std::vector{rejected, rejected, rejected, rejected, rejected, not_sent, confirmed}));
    EXPECT_EQ(call->outcomes[0].error.code(), ErrorCode::too_large);
    EXPECT_EQ(call->outcomes[4].error.code(), ErrorCode::unsupported);
}

TEST_F(PublishMachineTest, KeepsAKeyInItsQueueAndSpreadsTheRest) {
    peer.topics["orders"] = 4;
    std::vector<Message> batch;
    for (int i = 0; i < 40; ++i) {
        batch.push_back(message(i < 20 ? "same" : ""));
    }
    const auto call = publish(std::move(batch));
    std::map<std::string, std::size_t> entries;
    while (!peer.asked.empty()) {
        const auto request = peer.take(RequestCode::send_batch_message);
        remoting::BatchView view{request->command.body};
        std::size_t count = 0;
        while (*view.next()) {
            ++count;
        }
        entries[request->field("e")] += count;
        confirm(*request);
    }
    const std::string keyed = std::to_string(queue_of_key("same", 4));
    EXPECT_EQ(entries.size(), 4U);
    EXPECT_EQ(entries[keyed], 25U);
    EXPECT_TRUE(report(*call));
}

TEST_F(PublishMachineTest, WaitsForWhatIsInFlightBeforeItUsesMoreQueues) {
    make({.send_timeout = 60s, .queue_timeout = 60s});
    const auto sent = publish({message("a")});
    const auto waiting = publish({message("a")});
    peer.topics["orders"] = 8;
    const auto request = peer.take(RequestCode::send_message_v2);
    peer.advance(30s);  // the route is looked up again
    machine->tick(peer.now());
    peer.run();
    EXPECT_EQ(peer.count(RequestCode::send_message_v2), 0U);
    confirm(*request);
    const auto next = peer.take(RequestCode::send_message_v2);
    EXPECT_EQ(next->field("e"), std::to_string(queue_of_key("a", 8)));
    confirm(*next);
    EXPECT_EQ(statuses(*sent), std::vector{confirmed});
    EXPECT_EQ(statuses(*waiting), std::vector{confirmed});
}

TEST_F(PublishMachineTest, GuessesTheQueuesOfATopicThatTheBrokerWillMake) {
    peer.topics.clear();
    peer.topics["TBW102"] = 8;
    const auto call = publish({message("key")});
    const auto request = peer.take(RequestCode::send_message_v2);
    EXPECT_EQ(request->field("c"), "TBW102");
    EXPECT_EQ(request->field("e"), std::to_string(queue_of_key("key", 8)));
    EXPECT_EQ(request->field("d"), "1024") << "the broker takes the template's smaller number, as we did";
    Message dead = message("key");
    dead.topic = "%DLQ%group";
    const auto other = publish({dead});
    const auto second = peer.take(RequestCode::send_message_v2);
    EXPECT_EQ(second->field("e"), "0");
    EXPECT_EQ(second->field("d"), "1");
}

TEST_F(PublishMachineTest, SaysThatATopicIsMissing) {
    peer.topics.clear();
    const auto call = publish({message("a"), message("a")});
    EXPECT_EQ(statuses(*call), (std::vector{not_sent, not_sent}));
    EXPECT_EQ(call->outcomes[0].error.code(), ErrorCode::not_found);
    EXPECT_NE(call->outcomes[0].error.text().find("topic \"orders\""), std::string::npos);
}

TEST_F(PublishMachineTest, SendsSeveralAtOnceOnlyWithoutKeys) {
    make({.batch_messages_max = 1, .in_flight_per_queue = 4});
    const auto free = publish({message(""), message(""), message("a"), message("a"), message("")});
    EXPECT_EQ(peer.count(RequestCode::send_message_v2), 2U);
    confirm(*peer.take(RequestCode::send_message_v2));
    confirm(*peer.take(RequestCode::send_message_v2));
    EXPECT_EQ(peer.count(RequestCode::send_message_v2), 1U) << "a key is alone in its queue";
    confirm(*peer.take(RequestCode::send_message_v2));
    confirm(*peer.take(RequestCode::send_message_v2));
    confirm(*peer.take(RequestCode::send_message_v2));
    EXPECT_TRUE(report(*free));
}

TEST_F(PublishMachineTest, EndsEverythingOnClose) {
    const auto sent = publish({message("a")});
    const auto waiting = publish({message("a"), message("")});
    machine->close();
    EXPECT_EQ(statuses(*sent), std::vector{in_doubt});
    EXPECT_EQ(statuses(*waiting), (std::vector{not_sent, not_sent}));
    const auto late = publish({message("z")});
    EXPECT_EQ(statuses(*late), std::vector{not_sent});
    EXPECT_EQ(machine->take_finished().size(), 3U);
    confirm(*peer.take(RequestCode::send_message_v2));  // the answer comes too late and changes nothing
    EXPECT_EQ(statuses(*sent), std::vector{in_doubt});
}

TEST_F(PublishMachineTest, FinishesAnEmptyBatchAtOnce) {
    const auto empty = publish({});
    EXPECT_TRUE(report(*empty));
}

}  // namespace
}  // namespace hufu::rocketmq
