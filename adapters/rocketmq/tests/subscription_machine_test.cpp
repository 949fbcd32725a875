#include "src/subscription_machine.hpp"

#include <gtest/gtest.h>

#include <hufu/remoting/record.hpp>

#include "scripted_peer.hpp"

namespace hufu::rocketmq {
namespace {

using namespace std::chrono_literals;
using remoting::RequestCode;
using remoting::ResponseCode;

class SubscriptionMachineTest : public ::testing::Test {
protected:
    SubscriptionMachineTest() {
        peer.topics["orders"] = 2;
        make({});
    }

    void make(SubscriberOptions options, SubscriptionOptions::From from = SubscriptionOptions::From::first) {
        machine = std::make_unique<SubscriptionMachine>(
            cluster, SubscriptionOptions{.group = "stock", .topics = {"orders"}, .from = from}, options, 17, no_log());
        cluster.on_link([this](SteadyTime now, const std::string& address, bool up) { machine->link(now, address, up); });
        cluster.on_request([this](SteadyTime now, const std::string& address, const remoting::CommandView& command) {
            machine->request(now, address, command);
        });
    }
    void run() {
        peer.run([this] { machine->step(peer.now()); });
    }
    template <class Header>
    void answer(RequestCode code, ResponseCode with, const Header& header, std::string_view body = {}) {
        peer.answer(*peer.take(code), with, header, body);
        run();
    }
    void beat() { answer(RequestCode::heartbeat, ResponseCode::success, remoting::HeartbeatResponse{}); }
    void members(std::vector<std::string> ids) {
        answer(RequestCode::get_consumer_list_by_group, ResponseCode::success, remoting::NoFields{},
               remoting::ConsumerList{std::move(ids)}.to_json());
    }
    /// Becomes the only member, with both queues at `position`.
    void join(std::int64_t position = 0) {
        run();
        beat();
        members({"me"});
        for (int i = 0; i < 2; ++i) {
            answer(RequestCode::query_consumer_offset, ResponseCode::success, remoting::OffsetResponse{position});
        }
    }
    std::unique_ptr<Asked> pull_of(std::int32_t queue) {
        for (std::size_t i = peer.count(RequestCode::pull_message); i > 0; --i) {
            auto pull = peer.take(RequestCode::pull_message);
            if (pull->field("queueId") == std::to_string(queue)) {
                return pull;
            }
            peer.asked.push_back(std::move(pull));
        }
        ADD_FAILURE() << "no pull of queue " << queue;
        return std::make_unique<Asked>();
    }
    void found(const Asked& pull, std::int64_t first, std::int64_t count) {
        std::string body;
        for (std::int64_t offset = first; offset < first + count; ++offset) {
            remoting::Record record;
            record.topic = "orders";
            record.body = "b";
            record.properties =
                "UNIQ_KEY\x01"
                "01919E3E7BC87C5D9FB16A0F0A1B2C3D\x02";
            record.queue_offset = offset;
            std::vector<std::byte> bytes(remoting::record_size(record));
            remoting::encode_record(bytes, record);
            body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        }
        peer.answer(pull, ResponseCode::success,
                    remoting::PullResponse{.next_begin_offset = first + count, .min_offset = 0, .max_offset = first + count},
                    body);
        run();
    }

    testing::FakeClock clock;
    SeededRandom random{1};
    Cluster cluster{client_options(), random, no_log()};
    ScriptedPeer peer{cluster, clock};
    std::unique_ptr<SubscriptionMachine> machine;
};

TEST(AverageShare, IsContiguousAndFavoursTheFirst) {
    EXPECT_EQ(average_share(8, 3, 0), (Share{0, 3}));
    EXPECT_EQ(average_share(8, 3, 1), (Share{3, 3}));
    EXPECT_EQ(average_share(8, 3, 2), (Share{6, 2}));
    EXPECT_EQ(average_share(2, 3, 1), (Share{1, 1}));
    EXPECT_EQ(average_share(2, 3, 2).count, 0U);
}

TEST_F(SubscriptionMachineTest, JoinsAndPulls) {
    run();
    const auto heartbeat = peer.take(RequestCode::heartbeat);
    const auto body = remoting::Heartbeat::parse(heartbeat->command.body).value();
    EXPECT_EQ(body.client_id, "me");
    ASSERT_EQ(body.consumers.size(), 1U);
    EXPECT_EQ(body.consumers[0].group, "stock");
    EXPECT_EQ(body.consumers[0].subscriptions[0].topic, "orders");
    peer.answer(*heartbeat, ResponseCode::success, remoting::HeartbeatResponse{});
    run();
    members({"other", "me"});  // sorted: me, other
    EXPECT_EQ(peer.count(RequestCode::query_consumer_offset), 1U);
    answer(RequestCode::query_consumer_offset, ResponseCode::success, remoting::OffsetResponse{5});
    const auto pull = pull_of(0);
    EXPECT_EQ(pull->field("queueOffset"), "5");
    EXPECT_EQ(pull->field("sysFlag"), "6");
    found(*pull, 5, 3);
    const auto deliveries = machine->take_deliveries();
    ASSERT_EQ(deliveries.size(), 3U);
    EXPECT_EQ(deliveries[0].tag.position, 5U);
    EXPECT_EQ(deliveries[2].tag.position, 7U);
    EXPECT_EQ(pull_of(0)->field("queueOffset"), "8");
}

TEST_F(SubscriptionMachineTest, BeginsWhereTheUserSaidWhenNothingIsStored) {
    run();
    beat();
    members({"me"});
    answer(RequestCode::query_consumer_offset, ResponseCode::query_not_found, remoting::NoFields{});
    answer(RequestCode::get_min_offset, ResponseCode::success, remoting::OffsetResponse{40});
    EXPECT_EQ(pull_of(0)->field("queueOffset"), "40");
    answer(RequestCode::query_consumer_offset, ResponseCode::system_error, remoting::NoFields{});
    EXPECT_EQ(peer.count(RequestCode::pull_message), 0U) << "an error is not \"nothing stored\"";
}

TEST_F(SubscriptionMachineTest, BeginsAtTheEndForNewcomersThatWantTheLast) {
    make({}, SubscriptionOptions::From::last);
    run();
    beat();
    members({"me"});
    answer(RequestCode::query_consumer_offset, ResponseCode::query_not_found, remoting::NoFields{});
    answer(RequestCode::get_max_offset, ResponseCode::success, remoting::OffsetResponse{90});
    EXPECT_EQ(pull_of(0)->field("queueOffset"), "90");
}

TEST_F(SubscriptionMachineTest, StoresTheLowestUnacknowledgedPosition) {
    join(10);
    found(*pull_of(0), 10, 4);
    const auto deliveries = machine->take_deliveries();
    const std::vector<DeliveryTag> later{deliveries[1].tag, deliveries[3].tag};
    machine->acknowledge(peer.now(), later);
    peer.advance(1'000ms);
    run();
    EXPECT_EQ(peer.count(RequestCode::update_consumer_offset), 0U) << "the first one is still open";
    machine->acknowledge(peer.now(), std::vector{deliveries[0].tag});
    peer.advance(1'000ms);
    run();
    const auto update = peer.take(RequestCode::update_consumer_offset);
    EXPECT_EQ(update->field("commitOffset"), "12");
    EXPECT_TRUE(update->command.is_one_way());
}

TEST_F(SubscriptionMachineTest, PausesWhenTooMuchIsUnacknowledged) {
    make({.cached_messages_max = 3});
    join();
    found(*pull_of(0), 0, 3);
    EXPECT_EQ(peer.count(RequestCode::pull_message), 1U) << "only queue 1 is pulled";
    const auto deliveries = machine->take_deliveries();
    machine->acknowledge(peer.now(), std::vector{deliveries[0].tag});
    run();
    const auto pull = pull_of(0);
    EXPECT_EQ(pull->field("queueOffset"), "3");
    EXPECT_EQ(pull->field("commitOffset"), "1") << "the position rides with the pull";
}

TEST_F(SubscriptionMachineTest, GivesQueuesAwayWhenAMemberJoins) {
    join();
    found(*pull_of(1), 0, 2);
    const auto deliveries = machine->take_deliveries();
    machine->acknowledge(peer.now(), std::vector{deliveries[0].tag});
    pull_of(1);  // never answered
    std::string notice;
    remoting::append_request(notice, remoting::SerializeType::json, RequestCode::notify_consumer_ids_changed, 1,
                             remoting::GroupRequest{.consumer_group = "stock"}, {}, true);
    peer.deliver(broker, notice);
    run();
    members({"me", "you"});
    const auto lost = machine->take_lost();
    ASSERT_EQ(lost.size(), 1U);
    EXPECT_EQ(lost[0].first, deliveries[0].tag.queue);
    EXPECT_EQ(lost[0].second, deliveries[0].tag.session);
    EXPECT_EQ(peer.take(RequestCode::update_consumer_offset)->field("commitOffset"), "1");
    machine->acknowledge(peer.now(), std::vector{deliveries[1].tag});  // of an ended session: ignored
    peer.advance(20'000ms);
    run();
    members({"me"});
    answer(RequestCode::query_consumer_offset, ResponseCode::success, remoting::OffsetResponse{1});
    found(*pull_of(1), 1, 1);
    const auto again = machine->take_deliveries();
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].tag.queue, deliveries[0].tag.queue);
    EXPECT_NE(again[0].tag.session, deliveries[0].tag.session);
}

TEST_F(SubscriptionMachineTest, KeepsItsQueuesOverALostConnectionWhenNobodyMovedThem) {
    join();
    found(*pull_of(0), 0, 2);
    const auto deliveries = machine->take_deliveries();
    peer.lose(broker);
    machine->acknowledge(peer.now(), std::vector{deliveries[0].tag});
    run();
    peer.advance(200ms);
    run();
    EXPECT_EQ(peer.count(RequestCode::pull_message), 0U);
    beat();
    members({"me"});
    answer(RequestCode::query_consumer_offset, ResponseCode::success, remoting::OffsetResponse{0});
    EXPECT_EQ(pull_of(0)->field("queueOffset"), "2");
    EXPECT_TRUE(machine->take_lost().empty());
    answer(RequestCode::query_consumer_offset, ResponseCode::success, remoting::OffsetResponse{7});
    EXPECT_EQ(machine->take_lost().size(), 1U) << "another member had the second queue and went on to 7";
    EXPECT_EQ(pull_of(1)->field("queueOffset"), "7");
}

TEST_F(SubscriptionMachineTest, GoesOnWhereTheBrokerSaysWhenItsPositionIsOutside) {
    join(50);
    peer.answer(*pull_of(0), ResponseCode::pull_offset_moved,
                remoting::PullResponse{.next_begin_offset = 80, .min_offset = 80, .max_offset = 90});
    run();
    peer.advance(200ms);
    run();
    EXPECT_EQ(pull_of(0)->field("queueOffset"), "80");
    EXPECT_EQ(machine->take_lost().size(), 1U);
}

TEST_F(SubscriptionMachineTest, AsksAgainAtOnceAfterALongWaitAndLaterAfterAQuickNo) {
    join();
    const remoting::PullResponse nothing{.next_begin_offset = 0, .min_offset = 0, .max_offset = 0};
    auto pull = pull_of(0);
    peer.advance(15'000ms);
    peer.answer(*pull, ResponseCode::pull_not_found, nothing);
    run();
    pull = pull_of(0);
    peer.answer(*pull, ResponseCode::pull_not_found, nothing);
    run();
    for (const auto& request : peer.asked) {
        EXPECT_FALSE(request->code() == RequestCode::pull_message && request->field("queueId") == "0");
    }
    peer.advance(50ms);
    run();
    pull_of(0);
}

TEST_F(SubscriptionMachineTest, SaysHelloAgainWhenTheBrokerForgotIt) {
    run();
    beat();
    members({"somebody"});
    EXPECT_EQ(peer.count(RequestCode::heartbeat), 1U);
    EXPECT_EQ(peer.count(RequestCode::query_consumer_offset), 0U);
}

TEST_F(SubscriptionMachineTest, FailsOnBytesThatAreNoMessage) {
    join();
    peer.answer(*pull_of(0), ResponseCode::success,
                remoting::PullResponse{.next_begin_offset = 1, .min_offset = 0, .max_offset = 1}, "rubbish rubbish rubbish");
    run();
    const auto failure = machine->take_failure();
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->code(), ErrorCode::corrupt);
}

TEST_F(SubscriptionMachineTest, WaitsForATopicThatDoesNotExistYet) {
    peer.topics.clear();
    run();
    EXPECT_TRUE(peer.asked.empty());
    peer.topics["orders"] = 1;
    peer.advance(500ms);
    run();
    beat();
}

TEST_F(SubscriptionMachineTest, StoresPositionsAndLeavesWhenClosed) {
    join(3);
    found(*pull_of(0), 3, 1);
    machine->acknowledge(peer.now(), std::vector{machine->take_deliveries()[0].tag});
    bool closed = false;
    machine->close(peer.now(), [&closed] { closed = true; });
    peer.run();
    EXPECT_FALSE(closed);
    const auto update = peer.take(RequestCode::update_consumer_offset);
    EXPECT_EQ(update->field("commitOffset"), "4");
    EXPECT_FALSE(update->command.is_one_way());
    peer.answer(*update, ResponseCode::success, remoting::NoFields{});
    peer.answer(*peer.take(RequestCode::update_consumer_offset), ResponseCode::success, remoting::NoFields{});
    peer.answer(*peer.take(RequestCode::unregister_client), ResponseCode::success, remoting::NoFields{});
    EXPECT_TRUE(closed);
}

TEST_F(SubscriptionMachineTest, ClosesWithoutABroker) {
    bool closed = false;
    machine->close(peer.now(), [&closed] { closed = true; });
    EXPECT_TRUE(closed);
}

}  // namespace
}  // namespace hufu::rocketmq
