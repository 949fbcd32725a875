// Access control in front of every handler: codes against roles, whole frames, signatures as clients make them.
#include <gmock/gmock.h>

#include <algorithm>

#include "dispatch/access_rules.hpp"
#include "dispatch/state.hpp"
#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* accounts = R"(
[account.orders]
secret_key = "the secret of orders"
topics = ["orders=PUB|SUB", "news=SUB"]
groups = ["workers=SUB"]

[account.root]
secret_key = "the secret of root!!"
admin = true

[account.elsewhere]
secret_key = "the secret of elsewhere"
admin = true
addresses = ["192.168.0.0/16"]
)";

std::shared_ptr<const AccessTable> table_of(const std::string& text) {
    ConfigSources sources;
    sources.file = "access.toml";
    sources.file_text = text;
    return std::make_shared<const AccessTable>(AccessTable::load(sources).value());
}

class AccessTest : public DispatchTest {
protected:
    AccessTest() {
        start();
        dispatcher->set_access(table_of(accounts));
    }

    using Pairs = std::vector<std::pair<std::string, std::string>>;
    static std::string frame_of(std::int32_t code, const Pairs& fields, std::string_view body = {}) {
        std::string frame;
        remoting::CommandWriter writer{frame, remoting::SerializeType::json, code, 9, 0};
        for (const auto& [name, value] : fields) writer.field(name, value);
        writer.finish(body);
        return frame;
    }
    Sent ask_as(const remoting::AclSigner& signer, std::string frame) {
        EXPECT_TRUE(signer.sign(frame, 0));
        return ask_frame(std::move(frame));
    }
    Sent ask_frame(std::string frame) {
        EXPECT_TRUE(deliver(client, std::move(frame)));
        settle_log();
        auto answers = take(client);
        return answers.empty() ? Sent{} : std::move(answers.front());
    }
    template <class Header>
    Sent ask_as(const remoting::AclSigner& signer, RequestCode code, const Header& header, std::string_view body = {}) {
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::json, code, 9, header, body);
        return ask_as(signer, std::move(frame));
    }
    std::string heartbeat(const std::string& group, const std::string& topic) {
        remoting::Heartbeat beat;
        beat.client_id = "c";
        remoting::ConsumerData consumer;
        consumer.group = group;
        consumer.subscriptions.push_back({topic, "*", 1, "TAG"});
        consumer.subscriptions.push_back({"%RETRY%" + group, "*", 1, "TAG"});
        beat.consumers.push_back(consumer);
        return beat.to_json();
    }

    remoting::AclSigner orders = remoting::AclSigner::create("orders", "the secret of orders").value();
    remoting::AclSigner root = remoting::AclSigner::create("root", "the secret of root!!").value();
};

TEST_F(AccessTest, EveryCodeThatIsAnsweredHasARule) {
    DispatchState state{*log, options, ids, metrics, clock};
    std::vector<std::int32_t> without;
    for (const std::int32_t code : state.handlers.codes())
        if (access_rule_of(code) == nullptr) without.push_back(code);
    EXPECT_THAT(without, IsEmpty()) << "list the codes in access_rules.cpp; until then they need an admin";
    EXPECT_EQ(access_rule_of(39), nullptr);
    EXPECT_EQ(access_rule_of(-1), nullptr);
}

TEST_F(AccessTest, NobodyWithoutARightSignatureDoesAnything) {
    struct Case {
        const char* what;
        Pairs credentials;
    };
    for (const Case& wrong :
         {Case{"none", {}}, Case{"empty key, as C++ clients send it", {{"AccessKey", ""}, {"Signature", ""}}},
          Case{"no signature", {{"AccessKey", "orders"}}},
          Case{"unknown account", {{"AccessKey", "mallory"}, {"Signature", std::string(28, 'A')}}},
          Case{"wrong signature", {{"AccessKey", "orders"}, {"Signature", std::string(28, 'A')}}},
          Case{"long signature", {{"AccessKey", "root"}, {"Signature", std::string(2800, 'A')}}}}) {
        for (const AccessRule& rule : access_rules()) {
            Pairs fields{{"topic", "orders"}, {"b", "orders"}, {"consumerGroup", "workers"}, {"group", "workers"}};
            fields.insert(fields.end(), wrong.credentials.begin(), wrong.credentials.end());
            const Sent answer = ask_frame(frame_of(static_cast<std::int32_t>(rule.code), fields));
            EXPECT_EQ(answer.response(), ResponseCode::no_permission) << wrong.what << " " << to_string(rule.code);
            EXPECT_THAT(answer.remark, HasSubstr("AccessKey"));
        }
    }
    EXPECT_THAT(metrics.text(), HasSubstr("hufu_broker_messages_stored_total 0"));
    EXPECT_FALSE(log->find_queue("orders", 0).has_value());
}

TEST_F(AccessTest, RolesMeetTheCodesAsListed) {
    const Pairs own{{"topic", "orders"}, {"b", "orders"}, {"consumerGroup", "workers"}, {"group", "workers"}};
    const Pairs foreign{{"topic", "payroll"}, {"b", "payroll"}, {"consumerGroup", "clerks"}, {"group", "clerks"}};
    for (const AccessRule& rule : access_rules()) {
        const auto code = static_cast<std::int32_t>(rule.code);
        const std::string foreign_body = rule.need == Need::heartbeat ? heartbeat("clerks", "payroll")
                                         : rule.need == Need::locks
                                             ? remoting::LockRequest{"clerks", "c", {{"payroll", "hufu", 0}}}.to_json()
                                             : "";
        const std::string own_body = rule.need == Need::heartbeat ? heartbeat("workers", "orders")
                                     : rule.need == Need::locks
                                         ? remoting::LockRequest{"workers", "c", {{"orders", "hufu", 0}}}.to_json()
                                         : "";
        const bool for_all = rule.need == Need::any_account;
        EXPECT_EQ(ask_as(orders, frame_of(code, foreign, foreign_body)).response() == ResponseCode::no_permission, !for_all)
            << to_string(rule.code);
        EXPECT_EQ(ask_as(orders, frame_of(code, own, own_body)).response() == ResponseCode::no_permission,
                  rule.need == Need::admin)
            << to_string(rule.code);
        EXPECT_NE(ask_as(root, frame_of(code, foreign, foreign_body)).response(), ResponseCode::no_permission)
            << to_string(rule.code);
    }
    // A code that nobody has listed is an admin's.
    EXPECT_EQ(ask_as(orders, frame_of(4711, own)).response(), ResponseCode::no_permission);
    EXPECT_EQ(ask_as(root, frame_of(4711, own)).response(), ResponseCode::request_code_not_supported);
}

TEST_F(AccessTest, PublishingAndConsumingAreRightsOfTheirOwn) {
    EXPECT_EQ(ask_as(orders, RequestCode::send_message_v2, send_header("orders", 0), "x").response(), ResponseCode::success);
    const Sent refused = ask_as(orders, RequestCode::send_message_v2, send_header("news", 0), "x");
    EXPECT_EQ(refused.response(), ResponseCode::no_permission);
    EXPECT_EQ(refused.remark, "access refused: account \"orders\" has no right to publish to topic \"news\"");
    EXPECT_EQ(ask_as(root, RequestCode::send_message_v2, send_header("news", 0), "x").response(), ResponseCode::success);

    auto pull = pull_header("news", 0, 0);
    pull.consumer_group = "workers";
    EXPECT_EQ(ask_as(orders, RequestCode::pull_message, pull).response(), ResponseCode::success);
    pull.consumer_group = "clerks";
    EXPECT_THAT(ask_as(orders, RequestCode::pull_message, pull).remark, HasSubstr("group \"clerks\""));
    // The group's retry topic comes with the group.
    EXPECT_EQ(ask_as(orders, RequestCode::heartbeat, remoting::NoFields{}, heartbeat("workers", "orders")).response(),
              ResponseCode::success);
    EXPECT_EQ(ask_as(orders, RequestCode::send_message_v2, send_header("%RETRY%workers", 0), "again").response(),
              ResponseCode::success);
    EXPECT_EQ(ask_as(orders, RequestCode::send_message_v2, send_header("%RETRY%clerks", 0), "again").response(),
              ResponseCode::no_permission);
}

TEST_F(AccessTest, AFieldGivenTwiceIsRefused) {
    // The check would see the first topic, the send the last one.
    std::string frame;
    remoting::CommandWriter writer{frame, remoting::SerializeType::json,
                                   static_cast<std::int32_t>(RequestCode::send_message_v2), 9, 0};
    send_header("orders", 0).write(writer);
    writer.field("b", "payroll");
    writer.finish("x");
    const Sent answer = ask_as(root, frame);
    EXPECT_EQ(answer.response(), ResponseCode::no_permission);
    EXPECT_THAT(answer.remark, HasSubstr("twice"));
}

TEST_F(AccessTest, AnAccountComesFromItsAddressesOnly) {
    const auto elsewhere = remoting::AclSigner::create("elsewhere", "the secret of elsewhere").value();
    EXPECT_EQ(ask_as(elsewhere, frame_of(106, {})).response(), ResponseCode::no_permission);
    client = dispatcher->connected({{192, 168, 7, 7}, 4711});
    EXPECT_EQ(ask_as(elsewhere, frame_of(106, {})).response(), ResponseCode::success);
}

TEST_F(AccessTest, AOneWayRequestIsRefusedInSilence) {
    std::string frame;
    remoting::append_request(frame, remoting::SerializeType::json, RequestCode::send_message_v2, 9, send_header("news", 0),
                             "x", true);
    ASSERT_TRUE(orders.sign(frame, 0));
    ASSERT_TRUE(deliver(client, frame));
    settle_log();
    EXPECT_THAT(take(client), IsEmpty());
    EXPECT_FALSE(log->find_queue("news", 0).has_value());
}

TEST_F(AccessTest, TheAuditNamesWhoWhatAndWhyAndIsCutShort) {
    ask_as(orders, RequestCode::send_message_v2, send_header("news\n", 0), "x");
    ask_as(root, frame_of(static_cast<std::int32_t>(RequestCode::get_broker_config), {}));
    EXPECT_THAT(dispatcher->take_audit(),
                ElementsAre("refused SEND_MESSAGE_V2 (310) from 10.0.0.2:4711: account \"orders\" has no right to publish "
                            "to topic \"news?\"",
                            "account \"root\" from 10.0.0.2:4711 asks GET_BROKER_CONFIG (26)"));
    for (int number = 0; number < 1000; ++number) ask_frame(frame_of(106, {}));
    EXPECT_LE(dispatcher->take_audit().size(), 50U);
    advance(std::chrono::seconds{10});
    ask_frame(frame_of(106, {}));
    EXPECT_THAT(dispatcher->take_audit().back(), HasSubstr("lines before it were left out"));
    EXPECT_THAT(metrics.text(), HasSubstr("hufu_broker_access_refused_total 1002"));
}

TEST_F(AccessTest, ANewTableCountsAtOnce) {
    EXPECT_EQ(ask_as(orders, RequestCode::send_message_v2, send_header("orders", 0), "x").response(), ResponseCode::success);
    dispatcher->set_access(table_of("[account.orders]\nsecret_key = \"another secret of orders\"\n"));
    EXPECT_EQ(ask_as(orders, RequestCode::send_message_v2, send_header("orders", 0), "x").response(),
              ResponseCode::no_permission);
    dispatcher->set_access(nullptr);
    EXPECT_EQ(send("orders", 0, "x").response(), ResponseCode::success);
}

}  // namespace
}  // namespace hufu::broker::testing
