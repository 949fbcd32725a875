#include "src/half_machine.hpp"

#include <gmock/gmock.h>

#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/transaction_bodies.hpp>
#include <hufu/remoting/transaction_headers.hpp>

#include "scripted_peer.hpp"

namespace hufu::rocketmq {
namespace {

using namespace std::chrono_literals;
using remoting::RequestCode;
using remoting::ResponseCode;
using ::testing::HasSubstr;
using State = txmsg::EndOutcome::State;
using txmsg::Verdict;
namespace property = remoting::property;

struct Prepared {
    std::vector<Message> messages;
    std::vector<txmsg::HalfOutcome> outcomes;
    bool done = false;
};
struct Ended {
    std::vector<txmsg::Half> halves;
    txmsg::EndOutcome outcome;
    bool done = false;
};

class HalfMachineTest : public ::testing::Test {
protected:
    HalfMachineTest() {
        peer.topics["orders"] = 4;
        peer.topics["RMQ_SYS_TRANS_HALF_TOPIC"] = 1;
        cluster.on_link([this](SteadyTime now, const std::string& address, bool up) { machine.link(now, address, up); });
        cluster.on_request([this](SteadyTime now, const std::string& address, const remoting::CommandView& command) {
            machine.request(now, address, command);
        });
    }
    txmsg::HalfContext context(std::string handler = "paid") {
        return {.transaction = ids.next(), .group = "shop", .handler = std::move(handler), .store = "store-1"};
    }
    Message message(std::string key = "k", std::string body = "b") {
        return {.id = ids.next(), .topic = "orders", .ordering_key = std::move(key), .body = std::move(body)};
    }
    void run() {
        peer.run([this] {
            for (const auto& done : machine.take_finished()) done();
        });
    }
    void advance(std::chrono::milliseconds by) {
        peer.advance(by);
        machine.tick(peer.now());
        run();
    }
    std::unique_ptr<Prepared> prepare(const txmsg::HalfContext& of, std::vector<Message> messages) {
        auto call = std::make_unique<Prepared>();
        call->messages = std::move(messages);
        call->outcomes.resize(call->messages.size());
        machine.prepare(peer.now(), std::make_shared<HalfJob>(HalfJob{.context = of,
                                                                      .messages = call->messages,
                                                                      .outcomes = call->outcomes,
                                                                      .done = [&done = call->done] { done = true; }}));
        run();
        return call;
    }
    std::unique_ptr<Ended> end(const txmsg::HalfContext& of, std::vector<txmsg::Half> halves, Verdict verdict) {
        auto call = std::make_unique<Ended>();
        call->halves = std::move(halves);
        machine.end(peer.now(), std::make_shared<EndJob>(EndJob{.context = of,
                                                                .halves = call->halves,
                                                                .verdict = verdict,
                                                                .reason = "because",
                                                                .outcome = &call->outcome,
                                                                .done = [&done = call->done] { done = true; }}));
        run();
        return call;
    }
    /// Answers one waiting send as the bundled broker does, or as a real RocketMQ.
    void store(std::int64_t queue_offset, std::int64_t log_offset, bool bundled, ResponseCode code = ResponseCode::success) {
        const auto request = peer.take(RequestCode::send_message_v2);
        const std::string id = remoting::OffsetMessageId{{}, log_offset}.to_string();
        peer.answer(*request, code,
                    remoting::SendResponse{
                        .message_id = id, .queue_id = 0, .queue_offset = queue_offset, .durability = bundled ? "sync" : ""});
        run();
    }
    /// `count` halves of one transaction that a broker has.
    std::vector<txmsg::Half> stored(const txmsg::HalfContext& of, int count, bool bundled) {
        std::vector<Message> messages;
        for (int i = 0; i < count; ++i) messages.push_back(message());
        const auto call = prepare(of, std::move(messages));
        std::vector<txmsg::Half> halves;
        for (int i = 0; i < count; ++i) store(i, 100 + i, bundled);
        for (const auto& outcome : call->outcomes) {
            EXPECT_EQ(outcome.status, PublishStatus::confirmed);
            halves.push_back(outcome.half);
        }
        return halves;
    }
    /// Asks as a broker does: the half's record, with the properties given.
    void ask(std::string_view properties, bool answers_end, std::string_view topic = "orders") {
        remoting::Record record;
        record.queue_id = 2;
        record.store_timestamp = 5'000;
        record.body = "b";
        record.topic = topic;
        record.properties = properties;
        std::vector<std::byte> bytes(remoting::record_size(record));
        remoting::encode_record(bytes, record);
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::json, RequestCode::check_transaction_state, 9,
                                 remoting::CheckTransactionRequest{.half_queue_offset = 3,
                                                                   .half_log_offset = 33,
                                                                   .transaction_id = "T",
                                                                   .times = 2,
                                                                   .answers_end = answers_end},
                                 {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, true);
        peer.deliver(broker, frame);
        run();
    }
    static std::string pairs(std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
        std::string out;
        for (const auto& [name, value] : list) remoting::append_property(out, name, value);
        return out;
    }

    testing::FakeClock clock;
    SeededRandom random{1};
    MessageIdGenerator ids{clock, random};
    Cluster cluster{client_options(), random, no_log()};
    ScriptedPeer peer{cluster, clock};
    HalfMachine machine{cluster, {}, clock, no_log()};
};

TEST_F(HalfMachineTest, AHalfSaysWhoseItIsAndGoesToTheQueueOfItsKey) {
    txmsg::HalfContext of = context();
    of.first_check_after = 90s;
    const auto call = prepare(of, {message("key", "body")});
    const auto request = peer.take(RequestCode::send_message_v2);
    const auto header = remoting::SendRequest::decode(request->command);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->producer_group, "shop%paid");
    EXPECT_EQ(header->sys_flag, remoting::sys_flag::transaction_prepared);
    EXPECT_EQ(header->queue_id, static_cast<std::int32_t>(queue_of_key("key", 4)));
    const remoting::PropertiesView properties{header->properties};
    EXPECT_EQ(properties.get(property::transaction_prepared), "true");
    EXPECT_EQ(properties.get(property::producer_group), "shop%paid");
    EXPECT_EQ(properties.get(property::hufu_transaction_id), of.transaction.to_string());
    EXPECT_EQ(properties.get(property::hufu_verdict_store), "store-1");
    EXPECT_EQ(properties.get(property::check_immunity_s), "90");
    EXPECT_EQ(properties.get(property::unique_key), remoting::unique_key(call->messages[0].id));
    EXPECT_EQ(properties.get(property::timer_deliver_ms), std::nullopt);
    EXPECT_FALSE(call->done);
}

TEST_F(HalfMachineTest, OneEndDecidesAllHalvesAtTheBundledBroker) {
    const auto of = context();
    const auto halves = stored(of, 3, true);
    const auto call = end(of, halves, Verdict::commit);
    ASSERT_EQ(peer.count(RequestCode::end_transaction), 1U);
    const auto request = peer.take(RequestCode::end_transaction);
    EXPECT_FALSE(request->command.is_one_way());
    const auto header = remoting::EndTransactionRequest::decode(request->command);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->producer_group, "shop%paid");
    EXPECT_EQ(header->verdict, remoting::sys_flag::transaction_commit);
    EXPECT_EQ(header->half_queue_offset, 0);
    EXPECT_EQ(header->half_log_offset, 100);
    EXPECT_EQ(header->transaction_id, of.transaction.to_string());
    EXPECT_EQ(header->message_id, remoting::unique_key(halves[0].id));
    EXPECT_EQ(header->reason, "because");
    EXPECT_FALSE(header->from_check);
    EXPECT_FALSE(call->done);
    peer.answer(*request, ResponseCode::success,
                remoting::EndTransactionResponse{.state = "committed", .decided_before = true});
    run();
    EXPECT_TRUE(call->done);
    EXPECT_EQ(call->outcome.state, State::committed);
    EXPECT_TRUE(call->outcome.decided_before);
}

TEST_F(HalfMachineTest, EndIsRepeatedUntilTheBundledBrokerAnswers) {
    const auto of = context();
    const auto call = end(of, stored(of, 1, true), Verdict::commit);
    peer.refuse(*peer.take(RequestCode::end_transaction), ResponseCode::system_busy);
    run();
    EXPECT_EQ(peer.count(RequestCode::end_transaction), 0U);
    advance(20ms);
    ASSERT_EQ(peer.count(RequestCode::end_transaction), 1U);
    peer.lose(broker);
    run();
    advance(200ms);
    ASSERT_EQ(peer.count(RequestCode::end_transaction), 1U);
    peer.answer(*peer.take(RequestCode::end_transaction), ResponseCode::success,
                remoting::EndTransactionResponse{.state = "committed", .decided_before = true});
    run();
    EXPECT_TRUE(call->done);
    EXPECT_EQ(call->outcome.state, State::committed);
}

TEST_F(HalfMachineTest, WithoutAnAnswerInTimeTheEndIsUnknown) {
    const auto of = context();
    const auto call = end(of, stored(of, 1, true), Verdict::rollback);
    for (int i = 0; i < 30 && !call->done; ++i) advance(500ms);
    ASSERT_TRUE(call->done);
    EXPECT_EQ(call->outcome.state, State::unknown);
    EXPECT_EQ(call->outcome.error.disposition(), Disposition::retry);
    EXPECT_THAT(call->outcome.error.text(), HasSubstr("check-back will settle it"));
}

TEST_F(HalfMachineTest, ARealRocketMqIsToldOncePerHalf) {
    const auto of = context();
    const auto call = end(of, stored(of, 2, false), Verdict::commit);
    ASSERT_EQ(peer.count(RequestCode::end_transaction), 2U);
    peer.answer(*peer.take(RequestCode::end_transaction), ResponseCode::success, remoting::NoFields{});
    peer.lose(broker);
    run();
    advance(5s);
    EXPECT_EQ(peer.count(RequestCode::end_transaction), 0U);
    EXPECT_TRUE(call->done);
    EXPECT_EQ(call->outcome.state, State::unknown);
    EXPECT_THAT(call->outcome.error.text(), HasSubstr("not said again, check-back will settle it"));
}

TEST_F(HalfMachineTest, ARealRocketMqThatAnswersIsBelieved) {
    const auto of = context();
    const auto call = end(of, stored(of, 1, false), Verdict::commit);
    peer.answer(*peer.take(RequestCode::end_transaction), ResponseCode::success, remoting::NoFields{});
    run();
    EXPECT_EQ(call->outcome.state, State::committed);
    const auto unknown = end(of, call->halves, Verdict::unknown);
    EXPECT_TRUE(peer.take(RequestCode::end_transaction)->command.is_one_way());
    EXPECT_TRUE(unknown->done);
    EXPECT_EQ(unknown->outcome.state, State::unknown);
}

TEST_F(HalfMachineTest, ARefusedEndSaysWhy) {
    const auto of = context();
    const auto call = end(of, stored(of, 1, true), Verdict::commit);
    peer.answer(*peer.take(RequestCode::end_transaction), ResponseCode::illegal_operation,
                remoting::EndTransactionResponse{.state = "rolled_back", .decided_before = true}, {}, "rolled back before");
    run();
    EXPECT_EQ(call->outcome.state, State::refused);
    EXPECT_THAT(call->outcome.error.text(), HasSubstr("rolled back before"));
}

TEST_F(HalfMachineTest, AParkedTransactionIsSaidToBeParked) {
    const auto of = context();
    const auto call = end(of, stored(of, 1, true), Verdict::unknown);
    peer.answer(*peer.take(RequestCode::end_transaction), ResponseCode::success,
                remoting::EndTransactionResponse{.state = "parked"}, {}, "too old");
    run();
    EXPECT_EQ(call->outcome.state, State::parked);
    EXPECT_THAT(call->outcome.error.text(), HasSubstr("too old"));
}

TEST_F(HalfMachineTest, StoredButNotFlushedIsInDoubtAndHasAPlace) {
    for (const ResponseCode code :
         {ResponseCode::flush_disk_timeout, ResponseCode::flush_slave_timeout, ResponseCode::slave_not_available}) {
        const auto of = context();
        const auto call = prepare(of, {message()});
        store(1, 50, false, code);
        ASSERT_TRUE(call->done);
        EXPECT_EQ(call->outcomes[0].status, PublishStatus::in_doubt);
        EXPECT_TRUE(HalfPlace::of_token(call->outcomes[0].half.token));
        EXPECT_EQ(peer.count(RequestCode::end_transaction), 0U) << "nobody asked for a rollback";
    }
}

TEST_F(HalfMachineTest, ALostAnswerIsInDoubtAndARefusalIsNot) {
    const auto lost = prepare(context(), {message()});
    peer.lose(broker);
    run();
    EXPECT_EQ(lost->outcomes[0].status, PublishStatus::in_doubt);
    advance(200ms);
    const auto busy = prepare(context(), {message()});
    peer.refuse(*peer.take(RequestCode::send_message_v2), ResponseCode::system_busy);
    run();
    EXPECT_EQ(busy->outcomes[0].status, PublishStatus::not_sent);
}

TEST_F(HalfMachineTest, WhatCannotBeAHalfIsRejected) {
    const auto reject = [&](const txmsg::HalfContext& of, Message one) {
        const auto call = prepare(of, {std::move(one)});
        EXPECT_EQ(call->outcomes[0].status, PublishStatus::rejected);
        return call->outcomes[0].error.text();
    };
    EXPECT_THAT(reject(context("a b"), message()), HasSubstr("letters, digits"));
    txmsg::HalfContext nobody = context();
    nobody.group.clear();
    EXPECT_THAT(reject(nobody, message()), HasSubstr("the group is not empty"));
    txmsg::HalfContext nameless = context();
    nameless.transaction = {};
    EXPECT_THAT(reject(nameless, message()), HasSubstr("needs the id of its transaction"));
    Message reserved = message();
    reserved.headers.set("HUFU_TX_ID", "x");
    EXPECT_THAT(reject(context(), reserved), HasSubstr("is a property of RocketMQ itself"));
    EXPECT_EQ(peer.count(RequestCode::send_message_v2), 0U);
}

TEST_F(HalfMachineTest, ADelayedHalfGoesToTheBundledBrokerOnly) {
    Message later = message();
    later.deliver_at = clock.system_now() + 1h;
    const auto taken = prepare(context(), {later});
    peer.answer(*peer.take(RequestCode::list_transactions), ResponseCode::success, remoting::NoFields{});
    run();
    const auto request = peer.take(RequestCode::send_message_v2);
    const remoting::PropertiesView properties{remoting::SendRequest::decode(request->command)->properties};
    const auto deliver_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(later.deliver_at->time_since_epoch()).count();
    EXPECT_EQ(properties.get(property::timer_deliver_ms), std::to_string(deliver_ms));

    peer.lose(broker);
    run();
    advance(200ms);
    const auto refused = prepare(context(), {later});
    peer.refuse(*peer.take(RequestCode::list_transactions), ResponseCode::request_code_not_supported);
    run();
    EXPECT_EQ(refused->outcomes[0].status, PublishStatus::rejected);
    EXPECT_THAT(refused->outcomes[0].error.text(), HasSubstr("does not hold back transaction messages"));
}

TEST_F(HalfMachineTest, GroupsAreKnownToTheBrokerBeforeTheFirstSendAndAfterEveryReconnect) {
    bool registered = false;
    machine.serve(
        peer.now(), "shop", {"paid", "sent"}, [](txmsg::Check) {}, [&] { registered = true; });
    run();
    EXPECT_FALSE(registered);
    // The connection came up for it: once on the link, once for this call.
    std::vector<std::string> groups;
    while (peer.count(RequestCode::heartbeat) > 0) {
        const auto beat = peer.take(RequestCode::heartbeat);
        groups = remoting::Heartbeat::parse(beat->command.body)->producer_groups;
        peer.answer(*beat, ResponseCode::success, remoting::NoFields{});
        run();
    }
    EXPECT_EQ(groups, (std::vector<std::string>{"shop%paid", "shop%sent"}));
    EXPECT_TRUE(registered);
    peer.lose(broker);
    run();
    advance(200ms);
    EXPECT_GE(peer.count(RequestCode::heartbeat), 1U);
    while (peer.count(RequestCode::heartbeat) > 0) {
        peer.answer(*peer.take(RequestCode::heartbeat), ResponseCode::success, remoting::NoFields{});
    }
    bool gone = false;
    machine.serve(peer.now(), "shop", {}, {}, [&] { gone = true; });
    run();
    EXPECT_TRUE(gone);
    EXPECT_EQ(peer.count(RequestCode::unregister_client), 2U);
}

TEST_F(HalfMachineTest, NobodyThereToRegisterAtIsNoReasonToWait) {
    peer.down = {name_server};
    bool registered = false;
    machine.serve(
        peer.now(), "shop", {}, [](txmsg::Check) {}, [&] { registered = true; });
    run();
    EXPECT_TRUE(registered);
    peer.down.clear();
    advance(6s);
    advance(1s);
    EXPECT_GE(peer.count(RequestCode::heartbeat), 1U) << "it goes on trying";
}

TEST_F(HalfMachineTest, AQuestionIsRoutedByHandlerAndAnsweredByEnd) {
    std::vector<txmsg::Check> checks;
    machine.serve(
        peer.now(), "shop", {"paid"}, [&](txmsg::Check check) { checks.push_back(std::move(check)); }, [] {});
    run();
    const txmsg::HalfContext of = context();
    const MessageId id = ids.next();
    ask(pairs({{property::producer_group, "shop%other"}}), true);
    EXPECT_TRUE(checks.empty());
    ask(pairs({{property::producer_group, "shop%paid"},
               {property::unique_key, remoting::unique_key(id)},
               {property::hufu_transaction_id, of.transaction.to_string()},
               {property::hufu_verdict_store, "store-1"},
               {property::check_immunity_s, "90"},
               {"colour", "red"}}),
        true);
    ASSERT_EQ(checks.size(), 1U);
    txmsg::HalfContext expected = of;
    expected.first_check_after = 90s;
    EXPECT_EQ(checks[0].context, expected);
    EXPECT_EQ(checks[0].message.id, id);
    EXPECT_EQ(checks[0].message.headers.size(), 1U) << "ours are no headers";
    EXPECT_EQ(checks[0].times, 2U);
    EXPECT_EQ(checks[0].prepared_at, SystemTime{5s});
    machine.answer(peer.now(), checks[0].context, checks[0].half, Verdict::rollback, "no row");
    run();
    const auto request = peer.take(RequestCode::end_transaction);
    EXPECT_FALSE(request->command.is_one_way());
    const auto header = remoting::EndTransactionRequest::decode(request->command);
    EXPECT_TRUE(header->from_check);
    EXPECT_EQ(header->verdict, remoting::sys_flag::transaction_rollback);
    EXPECT_EQ(header->half_queue_offset, 3);
    EXPECT_EQ(header->half_log_offset, 33);
    EXPECT_EQ(header->producer_group, "shop%paid");
    EXPECT_EQ(header->transaction_id, of.transaction.to_string());
    EXPECT_EQ(header->reason, "no row");
}

TEST_F(HalfMachineTest, AQuestionOfARealRocketMqIsAnsweredOnceAndOneWay) {
    std::vector<txmsg::Check> checks;
    machine.serve(
        peer.now(), "shop", {}, [&](txmsg::Check check) { checks.push_back(std::move(check)); }, [] {});
    run();
    ask(pairs({{property::producer_group, "shop"}, {property::unique_key, "short"}}), false);
    ASSERT_EQ(checks.size(), 1U);
    EXPECT_EQ(checks[0].context.transaction, remoting::message_id_of("short"));
    machine.answer(peer.now(), checks[0].context, checks[0].half, Verdict::unknown, "later");
    run();
    const auto request = peer.take(RequestCode::end_transaction);
    EXPECT_TRUE(request->command.is_one_way());
    const auto header = remoting::EndTransactionRequest::decode(request->command);
    EXPECT_EQ(header->message_id, "short");
    EXPECT_EQ(header->transaction_id, "T");
    EXPECT_EQ(header->verdict, 0);
}

TEST_F(HalfMachineTest, AQuestionThatCannotBeReadIsPassedOver) {
    machine.serve(
        peer.now(), "shop", {}, [](txmsg::Check) { ADD_FAILURE(); }, [] {});
    run();
    std::string frame;
    remoting::append_request(frame, remoting::SerializeType::json, RequestCode::check_transaction_state, 9,
                             remoting::CheckTransactionRequest{}, "no record", true);
    peer.deliver(broker, frame);
    remoting::append_request(frame = {}, remoting::SerializeType::json, RequestCode::check_transaction_state, 9,
                             remoting::NoFields{}, "", true);
    peer.deliver(broker, frame);
    run();
}

TEST_F(HalfMachineTest, ClosingEndsEverything) {
    const auto of = context();
    auto halves = stored(of, 1, true);
    const auto ended = end(of, halves, Verdict::commit);
    const auto sent = prepare(of, {message()});
    peer.topics.erase("orders");
    machine.close();
    const auto late = prepare(of, {message()});
    EXPECT_TRUE(ended->done);
    EXPECT_EQ(ended->outcome.state, State::unknown);
    EXPECT_EQ(sent->outcomes[0].status, PublishStatus::in_doubt);
    EXPECT_EQ(late->outcomes[0].status, PublishStatus::not_sent);
    EXPECT_FALSE(machine.next_tick());
}

TEST(HalfPlace, TravelsAsAToken) {
    const HalfPlace place{true, 7, 99, "U", "T", "broker a", "unix:/a b/s"};
    EXPECT_EQ(HalfPlace::of_token(place.to_token()), place);
    EXPECT_EQ(HalfPlace::of_token("forwarder 7"), std::nullopt);
    EXPECT_EQ(HalfPlace::of_token(""), std::nullopt);
    EXPECT_EQ(HalfPlace::of_token("rocketmq\x01"
                                  "1\x01x\x01y\x01U\x01T\x01"
                                  "b\x01"
                                  "a"),
              std::nullopt);
}

}  // namespace
}  // namespace hufu::rocketmq
