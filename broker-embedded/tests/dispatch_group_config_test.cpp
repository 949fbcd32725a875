// Configurations of consumer groups: how they come to be, what they decide, what deletes them.
#include <gmock/gmock.h>

#include <hufu/remoting/bodies_groups.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using remoting::GroupConfig;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class GroupConfigTest : public DispatchTest {
protected:
    Sent update(const GroupConfig& config) {
        return ask(RequestCode::update_and_create_subscription_group, remoting::NoFields{}, config.to_json());
    }
    Sent read(std::string name) {
        return ask(RequestCode::get_subscription_group_config, RawFields{{{"group", std::move(name)}}});
    }
    static GroupConfig group(std::string name) {
        GroupConfig config;
        config.name = std::move(name);
        return config;
    }
};

TEST_F(GroupConfigTest, AreMadeByTheFirstHeartbeatAndKept) {
    start();
    EXPECT_EQ(read("stock").response(), ResponseCode::subscription_group_not_exist);
    beat(client, "c1", "stock", "orders");
    EXPECT_EQ(GroupConfig::parse(read("stock").body).value(), group("stock"));
    restart();
    EXPECT_EQ(GroupConfig::parse(read("stock").body).value(), group("stock"));
}

TEST_F(GroupConfigTest, AreChangedWholeAndTheirAttributesOneByOne) {
    start();
    GroupConfig wanted = group("stock");
    wanted.retry_times_max = 3;
    wanted.retry_queues = 2;
    wanted.attributes = {{"+a", "1"}, {"+b", "2"}};
    EXPECT_EQ(update(wanted).response(), ResponseCode::success);
    wanted.attributes = {{"-a", ""}, {"+c", "3"}};
    wanted.consume_broadcast_enabled = false;
    EXPECT_EQ(update(wanted).response(), ResponseCode::success);
    wanted.attributes = {{"b", "2"}, {"c", "3"}};
    EXPECT_EQ(GroupConfig::parse(read("stock").body).value(), wanted);
    beat(client, "c1", "stock", "orders");
    const Sent route = ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"%RETRY%stock"});
    EXPECT_EQ(remoting::TopicRoute::parse(route.body).value().queues.at(0).read_queues, 2);
}

TEST_F(GroupConfigTest, AreRefusedWhenTheyMakeNoSense) {
    start();
    GroupConfig wrong = group("stock");
    wrong.retry_queues = -1;
    EXPECT_EQ(update(wrong).response(), ResponseCode::invalid_parameter);
    wrong = group("stock");
    wrong.retry_times_max = -5;
    EXPECT_EQ(update(wrong).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(update(group("")).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(update(group("a b")).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(update(group(std::string(121, 'x'))).response(), ResponseCode::invalid_parameter);
    wrong = group("stock");
    for (int i = 0; i < 65; ++i) wrong.attributes["+k" + std::to_string(i)] = "v";
    EXPECT_EQ(update(wrong).response(), ResponseCode::invalid_parameter);
    wrong = group("stock");
    wrong.retry_policy_json = R"({"type":")" + std::string(5000, 'x') + R"("})";
    EXPECT_EQ(update(wrong).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(ask(RequestCode::update_and_create_subscription_group, remoting::NoFields{}, "[]").response(),
              ResponseCode::invalid_parameter);
    EXPECT_EQ(read("stock").response(), ResponseCode::subscription_group_not_exist);
}

TEST_F(GroupConfigTest, AListIsTakenWholeOrNotAtAll) {
    start();
    const remoting::GroupConfigList wrong{{group("a"), group("b c")}};
    EXPECT_EQ(ask(RequestCode::update_and_create_subscription_group_list, remoting::NoFields{}, wrong.to_json()).response(),
              ResponseCode::invalid_parameter);
    EXPECT_EQ(read("a").response(), ResponseCode::subscription_group_not_exist);
    const remoting::GroupConfigList right{{group("a"), group("b")}};
    EXPECT_EQ(ask(RequestCode::update_and_create_subscription_group_list, remoting::NoFields{}, right.to_json()).response(),
              ResponseCode::success);
    const Sent all = ask(RequestCode::get_all_subscription_group_config, remoting::NoFields{});
    EXPECT_EQ(all.field("totalGroupNum"), "2");
    EXPECT_THAT(all.body, HasSubstr(R"("subscriptionGroupTable":{"a":{)"));
    EXPECT_THAT(all.body, HasSubstr(R"("b":{"attributes":{})"));
    EXPECT_THAT(all.body, HasSubstr(R"("dataVersion":{"counter":2)"));
}

TEST_F(GroupConfigTest, AreDeletedWithOrWithoutTheirPositions) {
    start();
    send("orders", 0, "x");
    const auto commit = [this] {
        ask(RequestCode::update_consumer_offset, remoting::UpdateOffsetRequest{"stock", "orders", 0, 1});
        advance(options.offsets_every);
        settle_log();
    };
    const auto position = [this] {
        return ask(RequestCode::query_consumer_offset, remoting::QueryOffsetRequest{"stock", "orders", 0, false});
    };
    commit();
    EXPECT_EQ(ask(RequestCode::delete_subscription_group, RawFields{{{"groupName", "stock"}}}).response(),
              ResponseCode::success);
    EXPECT_EQ(read("stock").response(), ResponseCode::subscription_group_not_exist);
    EXPECT_EQ(position().field("offset"), "1");
    commit();
    request(client, RequestCode::update_consumer_offset, 1, remoting::UpdateOffsetRequest{"stock", "orders", 0, 0});
    take(client);
    EXPECT_EQ(
        ask(RequestCode::delete_subscription_group, RawFields{{{"groupName", "stock"}, {"cleanOffset", "true"}}}).response(),
        ResponseCode::success);
    EXPECT_EQ(position().response(), ResponseCode::query_not_found);
    advance(options.offsets_every);
    settle_log();
    restart();
    EXPECT_EQ(position().response(), ResponseCode::query_not_found);
    EXPECT_EQ(read("stock").response(), ResponseCode::subscription_group_not_exist);
}

TEST_F(GroupConfigTest, AreNotMadeByThemselvesWhenThatIsOff) {
    options.auto_create_groups = false;
    start();
    send("orders", 0, "x");
    EXPECT_EQ(beat(client, "c1", "stock", "orders").response(), ResponseCode::success);
    EXPECT_EQ(ask(RequestCode::get_consumer_list_by_group, remoting::GroupRequest{"stock"}).response(),
              ResponseCode::system_error);
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("orders", 0, 0)).response(),
              ResponseCode::subscription_group_not_exist);
    EXPECT_EQ(ask(RequestCode::update_consumer_offset, remoting::UpdateOffsetRequest{"stock", "orders", 0, 1}).response(),
              ResponseCode::subscription_group_not_exist);
    EXPECT_EQ(send("%RETRY%stock", 0, "x").response(), ResponseCode::subscription_group_not_exist);
    auto tools = pull_header("orders", 0, 0);
    tools.consumer_group = "TOOLS_CONSUMER";
    EXPECT_EQ(ask(RequestCode::pull_message, tools).response(), ResponseCode::success);
    EXPECT_EQ(update(group("consumers")).response(), ResponseCode::success);
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("orders", 0, 0)).response(), ResponseCode::success);
}

TEST_F(GroupConfigTest, AreNoMoreThanTheirLimit) {
    options.groups_max = 2;
    start();
    EXPECT_EQ(update(group("a")).response(), ResponseCode::success);
    EXPECT_EQ(update(group("b")).response(), ResponseCode::success);
    EXPECT_EQ(update(group("c")).response(), ResponseCode::system_busy);
    EXPECT_EQ(update(group("b")).response(), ResponseCode::success);
    EXPECT_EQ(beat(client, "c1", "d", "orders").response(), ResponseCode::system_busy);
}

TEST_F(GroupConfigTest, DecideWhetherPullsAreServed) {
    start();
    send("orders", 0, "x");
    GroupConfig config = group("consumers");
    config.consume_enabled = false;
    update(config);
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("orders", 0, 0)).response(), ResponseCode::no_permission);
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("none", 0, 0)).response(), ResponseCode::no_permission);
    config.consume_enabled = true;
    config.consume_broadcast_enabled = false;
    update(config);
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("none", 0, 0)).response(), ResponseCode::topic_not_exist);
    EXPECT_EQ(ask(RequestCode::lite_pull_message, pull_header("orders", 0, 0)).response(), ResponseCode::success);

    remoting::Heartbeat heartbeat;
    heartbeat.client_id = "c1";
    heartbeat.consumers.push_back({.group = "consumers",
                                   .message_model = remoting::MessageModel::broadcasting,
                                   .subscriptions = {{"orders", "*", 1, "TAG"}}});
    ask(RequestCode::heartbeat, remoting::NoFields{}, heartbeat.to_json());
    auto pull = pull_header("orders", 0, 0);
    pull.sys_flag = 0;
    EXPECT_EQ(ask(RequestCode::pull_message, pull).response(), ResponseCode::no_permission);
    config.consume_broadcast_enabled = true;
    update(config);
    EXPECT_EQ(ask(RequestCode::pull_message, pull).response(), ResponseCode::success);
}

TEST_F(GroupConfigTest, DecideWhetherMembersAreTold) {
    start();
    GroupConfig config = group("stock");
    config.tell_members = false;
    update(config);
    beat(client, "c1", "stock", "orders");
    const ConnectionId second = connect();
    beat(second, "c2", "stock", "orders");
    EXPECT_THAT(take(client), IsEmpty());
}

TEST_F(GroupConfigTest, DecideHowOftenARetryIsTaken) {
    start();
    GroupConfig config = group("stock");
    config.retry_times_max = 2;
    update(config);
    auto header = send_header("%RETRY%stock", 0);
    header.reconsume_times = 2;
    ask(RequestCode::send_message_v2, header, "again");
    header.reconsume_times = 3;
    ask(RequestCode::send_message_v2, header, "dead");
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("%RETRY%stock", 0, 0))), ElementsAre("again"));
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("%DLQ%stock", 0, 0))), ElementsAre("dead"));
}

}  // namespace
}  // namespace hufu::broker::testing
