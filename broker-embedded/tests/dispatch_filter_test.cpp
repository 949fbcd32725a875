// Which messages a consumer gets: tags and SQL92, at heartbeat and with the pull.
#include <hufu/remoting/client_check.hpp>

#include "dispatch_fixture.hpp"
#include "dispatch/message_filter.hpp"

namespace hufu::broker::testing {
namespace {

std::string properties(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
    std::string out;
    for (const auto& [name, value] : pairs) remoting::append_property(out, name, value);
    return out;
}

class FilterTest : public DispatchTest {
protected:
    static remoting::PullRequest sql_pull(std::string_view expression, std::int64_t offset = 0) {
        remoting::PullRequest header = pull_header("orders", 0, offset, expression);
        header.expression_type = "SQL92";
        return header;
    }
    /// The subscription comes from the heartbeat.
    static remoting::PullRequest plain_pull(std::int64_t version, std::int64_t offset = 0) {
        remoting::PullRequest header = pull_header("orders", 0, offset);
        header.sys_flag = remoting::pull_flag::suspend;
        header.subscription = {};
        header.sub_version = version;
        return header;
    }
    Sent pull(const remoting::PullRequest& header) { return ask(RequestCode::pull_message, header); }

    ResponseCode beat_with(std::string_view expression, std::int64_t version, std::string_view type = "SQL92") {
        remoting::Heartbeat heartbeat;
        heartbeat.client_id = "c1";
        remoting::ConsumerData consumer;
        consumer.group = "consumers";
        consumer.subscriptions.push_back({"orders", std::string{expression}, version, std::string{type}});
        heartbeat.consumers.push_back(consumer);
        request(client, RequestCode::heartbeat, 5, remoting::NoFields{}, heartbeat.to_json());
        settle_log();
        return take(client).front().response();
    }
    void send_amounts(int count) {
        for (int i = 0; i < count; ++i)
            send("orders", 0, std::to_string(i),
                 properties({{"amount", std::to_string(i)}, {"TAGS", i % 2 == 0 ? "even" : "odd"}, {"KEYS", "k"}}));
    }
};

TEST_F(FilterTest, SelectsByPropertiesWithThePullsOwnExpression) {
    start();
    send_amounts(8);
    const Sent found = pull(sql_pull("amount >= 5 AND TAGS = 'odd' OR amount = 0"));
    EXPECT_EQ(found.response(), ResponseCode::success);
    EXPECT_EQ(bodies(found), (std::vector<std::string>{"0", "5", "7"}));
    EXPECT_EQ(found.field("nextBeginOffset"), "8");
    EXPECT_EQ(bodies(pull(sql_pull("KEYS IS NOT NULL AND UNIQ_KEY IS NOT NULL AND amount < 2"))),
              (std::vector<std::string>{"0", "1"}));
    EXPECT_EQ(pull(sql_pull("Amount >= 0")).response(), ResponseCode::pull_retry_immediately);
}

TEST_F(FilterTest, SelectsByTheHeartbeatsExpression) {
    start();
    send_amounts(4);
    ASSERT_EQ(beat_with("amount BETWEEN 1 AND 2", 7), ResponseCode::success);
    EXPECT_EQ(bodies(pull(plain_pull(7))), (std::vector<std::string>{"1", "2"}));
    ASSERT_EQ(beat_with("even", 8, "TAG"), ResponseCode::success);
    EXPECT_EQ(bodies(pull(plain_pull(8))), (std::vector<std::string>{"0", "2"}));
}

TEST_F(FilterTest, RefusesAnExpressionItCannotRead) {
    start();
    send_amounts(1);
    const Sent refused = pull(sql_pull("amount >"));
    EXPECT_EQ(refused.response(), ResponseCode::subscription_parse_failed);
    EXPECT_EQ(refused.remark,
              "SQL92 expression, position 9: expected a property, a number, a string, TRUE, FALSE, NOT or \"(\", found the "
              "end of the expression");
    remoting::PullRequest strange = sql_pull("amount > 1");
    strange.expression_type = "GROOVY";
    const Sent unknown = pull(strange);
    EXPECT_EQ(unknown.response(), ResponseCode::system_error);
    EXPECT_EQ(unknown.remark,
              "The broker does not support consumer to filter message by \"GROOVY\"; it offers TAG and SQL92");
}

TEST_F(FilterTest, TellsAPullThatItsHeartbeatsFilterIsMissingOrOld) {
    start();
    send_amounts(3);
    EXPECT_EQ(pull(plain_pull(1)).response(), ResponseCode::subscription_not_exist);
    ASSERT_EQ(beat_with("amount !", 1), ResponseCode::success);
    const Sent missing = pull(plain_pull(1));
    EXPECT_EQ(missing.response(), ResponseCode::filter_data_not_exist);
    EXPECT_EQ(missing.remark,
              "the filter of group \"consumers\" for topic \"orders\" cannot be used: SQL92 expression, "
              "position 8: expected an operator (\"not equal\" is written <>), found \"!\"");
    ASSERT_EQ(beat_with("amount = 2", 2), ResponseCode::success);
    EXPECT_EQ(bodies(pull(plain_pull(2))), (std::vector<std::string>{"2"}));
    EXPECT_EQ(pull(plain_pull(3)).response(), ResponseCode::subscription_not_latest);
    ASSERT_EQ(beat_with("amount = ", 3), ResponseCode::success);
    EXPECT_EQ(pull(plain_pull(3)).response(), ResponseCode::filter_data_not_latest);
}

TEST_F(FilterTest, ChecksAClientsSubscription) {
    start();
    const auto check = [&](std::string_view expression, std::string_view type) {
        remoting::ClientCheck body{"c1", "consumers", {}};
        body.subscription = {"orders", std::string{expression}, 1, std::string{type}};
        return ask(RequestCode::check_client_config, remoting::NoFields{}, body.to_json());
    };
    EXPECT_EQ(check("a > 5", "SQL92").response(), ResponseCode::success);
    EXPECT_EQ(check("a || b", "TAG").response(), ResponseCode::success);
    EXPECT_EQ(check("a > ", "SQL92").response(), ResponseCode::subscription_parse_failed);
    EXPECT_EQ(check("a", "SCRIPT").response(), ResponseCode::system_error);
    EXPECT_EQ(ask(RequestCode::check_client_config, remoting::NoFields{}, "{}").response(), ResponseCode::success);
    EXPECT_EQ(ask(RequestCode::check_client_config, remoting::NoFields{}, "[").response(), ResponseCode::invalid_parameter);
}

TEST_F(FilterTest, GoesOnInSlicesPastWhatDoesNotMatch) {
    start();
    constexpr int count = 9'000;
    for (int i = 0; i < count; ++i)
        request(client, RequestCode::send_message_v2, i, send_header("orders", 0, properties({{"n", std::to_string(i)}})),
                "x", true);
    settle_log();
    std::int64_t offset = 0;
    int pulls = 0;
    Sent answer;
    do {
        answer = pull(sql_pull("n = 8999", offset));
        const std::int64_t next = std::stoll(answer.field("nextBeginOffset"));
        ASSERT_GT(next, offset);
        ASSERT_LE(next - offset, 4096);
        offset = next;
        ++pulls;
    } while (answer.response() == ResponseCode::pull_retry_immediately);
    EXPECT_EQ(answer.response(), ResponseCode::success);
    EXPECT_EQ(offset, count);
    EXPECT_EQ(pulls, 3);

    // The more an expression costs, the fewer records one pull looks at.
    std::string costly = "n = 8999";
    for (int i = 0; i < 500; ++i) costly += " OR n = -1";
    answer = pull(sql_pull(costly));
    EXPECT_EQ(answer.response(), ResponseCode::pull_retry_immediately);
    EXPECT_LE(std::stoll(answer.field("nextBeginOffset")), 100);
}

TEST_F(FilterTest, FillsAnAnswerFromBetweenTheUnwanted) {
    start();
    send_amounts(200);
    remoting::PullRequest header = sql_pull("amount > 150");
    header.messages_max = 10;
    const Sent found = pull(header);
    EXPECT_EQ(bodies(found).size(), 10U);
    EXPECT_EQ(bodies(found).front(), "151");
    EXPECT_EQ(found.field("nextBeginOffset"), "161");
}

TEST_F(FilterTest, LeavesAPullWaitingForWhatItWants) {
    start();
    send_amounts(1);
    request(client, RequestCode::pull_message, 9, sql_pull("amount = 77", 1));
    EXPECT_TRUE(take(client).empty());
    const ConnectionId sender = connect();
    const auto send_from = [&](std::string_view amount) {
        request(sender, RequestCode::send_message_v2, 1, send_header("orders", 0, properties({{"amount", amount}})), amount);
        settle_log();
        take(sender);
    };
    send_from("76");
    EXPECT_TRUE(take(client).empty());
    send_from("77");
    const Sent woken = take_one(client);
    EXPECT_EQ(woken.opaque, 9);
    EXPECT_EQ(bodies(woken), (std::vector<std::string>{"77"}));
    EXPECT_EQ(woken.field("nextBeginOffset"), "3");

    // When the wait is over, the answer carries the place that was reached.
    request(client, RequestCode::pull_message, 10, sql_pull("amount = 77", 3));
    send_from("78");
    advance(std::chrono::milliseconds{15'001});
    const Sent ended = take_one(client);
    EXPECT_EQ(ended.response(), ResponseCode::pull_not_found);
    EXPECT_EQ(ended.field("nextBeginOffset"), "4");
}

TEST_F(FilterTest, BoundsTheFiltersItKeeps) {
    options.filters_max = 1;
    start();
    send_amounts(1);
    request(client, RequestCode::pull_message, 9, sql_pull("amount = 77", 1));
    const Sent refused = pull(sql_pull("amount = 78", 1));
    EXPECT_EQ(refused.response(), ResponseCode::system_busy);
    EXPECT_TRUE(refused.remark.starts_with("[OVERLOAD] the broker holds 1 filters of ")) << refused.remark;
    // The same text is the same filter; another one fits when that has gone.
    request(client, RequestCode::pull_message, 10, sql_pull("amount = 77", 1));
    EXPECT_TRUE(take(client).empty());
    advance(std::chrono::milliseconds{15'001});
    EXPECT_EQ(take(client).size(), 2U);
    EXPECT_EQ(pull(sql_pull("amount = 0")).response(), ResponseCode::success);
}

TEST(FilterTable, SharesAndForgets) {
    FilterTable table{10, 1U << 20U};
    {
        const auto first = table.get("SQL92", "a = 1");
        const auto second = table.get("SQL92", "a = 1");
        EXPECT_EQ(first.filter, second.filter);
        const auto tags = table.get("", "a || b");
        EXPECT_EQ(tags.filter->tag_codes, (std::vector<std::int64_t>{97, 98}));
        EXPECT_EQ(table.count(), 2U);
        EXPECT_EQ(table.get("TAG", "*").filter, nullptr);
        EXPECT_EQ(table.get("TAG", " || ").filter, nullptr);
    }
    EXPECT_EQ(table.count(), 0U);
    EXPECT_EQ(table.bytes(), 0U);
    EXPECT_EQ(FilterTable(10, 100).get("SQL92", "a = 1").code, ResponseCode::system_busy);
    EXPECT_EQ(table.get("TAG", std::string(70'000, 'x')).code, ResponseCode::subscription_parse_failed);
}

}  // namespace
}  // namespace hufu::broker::testing
