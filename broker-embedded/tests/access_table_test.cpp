#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dispatch/access_table.hpp"

namespace hufu::broker {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Result<AccessTable> load(const std::string& text) {
    ConfigSources sources;
    sources.file = "access.toml";
    sources.file_text = text;
    return AccessTable::load(sources);
}

std::string refusal(const std::string& text) {
    const auto table = load(text);
    EXPECT_FALSE(table);
    if (table) return {};
    EXPECT_EQ(table.error().code(), ErrorCode::invalid_argument);
    EXPECT_THAT(table.error().text(), HasSubstr("access.toml"));
    return table.error().text();
}

TEST(AccessTable, ReadsAccountsAndTheirRights) {
    const auto table = load(R"(
[account.orders-service]
secret_key = "0123456789abcdef"
default_topic = "SUB"
topics = ["orders=PUB|SUB", "secret=DENY", "audit-*=PUB", "audit-old-*=DENY", "audit-old-1=SUB"]
groups = ["workers=SUB"]
addresses = ["10.1.0.0/16", "127.0.0.1"]

[account.root]
secret_key = "fedcba9876543210"
admin = true
)");
    ASSERT_TRUE(table) << table.error().text();
    EXPECT_EQ(table->size(), 2U);
    EXPECT_EQ(table->find("nobody"), nullptr);
    const Account& orders = *table->find("orders-service");
    EXPECT_FALSE(orders.admin);
    EXPECT_TRUE(orders.may(Right::publish, "orders"));
    EXPECT_TRUE(orders.may(Right::subscribe, "orders"));
    EXPECT_TRUE(orders.may(Right::subscribe, "anything"));
    EXPECT_FALSE(orders.may(Right::publish, "anything"));
    EXPECT_FALSE(orders.may(Right::subscribe, "secret"));
    // The longest beginning decides, the name itself above all.
    EXPECT_TRUE(orders.may(Right::publish, "audit-new"));
    EXPECT_FALSE(orders.may(Right::publish, "audit-old-2"));
    EXPECT_TRUE(orders.may(Right::subscribe, "audit-old-1"));
    // Retry and dead-letter topics go with their group.
    EXPECT_TRUE(orders.may_use_group("workers"));
    EXPECT_FALSE(orders.may_use_group("others"));
    EXPECT_TRUE(orders.may(Right::publish, "%RETRY%workers"));
    EXPECT_TRUE(orders.may(Right::subscribe, "%RETRY%workers"));
    EXPECT_FALSE(orders.may(Right::subscribe, "%RETRY%others"));
    EXPECT_TRUE(orders.may(Right::subscribe, "%DLQ%workers"));
    EXPECT_FALSE(orders.may(Right::publish, "%DLQ%workers"));
    EXPECT_FALSE(orders.may(Right::subscribe, "%DLQ%others"));
    EXPECT_TRUE(orders.may_come_from({10, 1, 2, 3}));
    EXPECT_FALSE(orders.may_come_from({10, 2, 2, 3}));
    EXPECT_TRUE(orders.may_come_from({127, 0, 0, 1}));
    EXPECT_FALSE(orders.may_come_from({127, 0, 0, 2}));

    const Account& root = *table->find("root");
    EXPECT_TRUE(root.may(Right::publish, "%DLQ%x"));
    EXPECT_TRUE(root.may_use_group("x"));
    EXPECT_TRUE(root.may_come_from({1, 2, 3, 4}));
}

TEST(AccessTable, DeniesWhatIsNotGiven) {
    const auto table = load("[account.a]\nsecret_key = \"0123456789abcdef\"\n");
    ASSERT_TRUE(table) << table.error().text();
    const Account& account = *table->find("a");
    EXPECT_FALSE(account.may(Right::publish, "orders"));
    EXPECT_FALSE(account.may(Right::subscribe, "orders"));
    EXPECT_FALSE(account.may_use_group("g"));
}

TEST(AccessTable, SaysWhatIsWrongAndKeepsSecrets) {
    const std::string head = "[account.a]\nsecret_key = \"0123456789abcdef\"\n";
    EXPECT_THAT(refusal(""), HasSubstr("no account"));
    EXPECT_THAT(refusal("[account.a]\n"), HasSubstr("[account.a] has no secret_key"));
    const std::string brief = refusal("[account.a]\nsecret_key = \"opensesame\"\n");
    EXPECT_THAT(brief, HasSubstr("access.toml:2"));
    EXPECT_THAT(brief, HasSubstr("at least 16"));
    EXPECT_THAT(brief, Not(HasSubstr("opensesame")));
    EXPECT_THAT(refusal(head + "default_topic = \"ALL\"\n"), HasSubstr("PUB|SUB"));
    EXPECT_THAT(refusal(head + "topics = [\"orders\"]\n"), HasSubstr("NAME=PUB"));
    EXPECT_THAT(refusal(head + "topics = [\"o*s=PUB\"]\n"), HasSubstr("end of a name"));
    EXPECT_THAT(refusal(head + "topics = [\"o=PUB\", \"o=SUB\"]\n"), HasSubstr("twice"));
    EXPECT_THAT(refusal(head + "addresses = [\"10.0.0.0/33\"]\n"), HasSubstr("10.0.0.0/33"));
    EXPECT_THAT(refusal(head + "addresses = [\"10.0.0\"]\n"), HasSubstr("IPv4"));
    EXPECT_THAT(refusal(head + "topcis = [\"o=PUB\"]\n"), HasSubstr("topics"));
    EXPECT_THAT(refusal("[account.\"a.b\"]\nsecret_key = \"0123456789abcdef\"\n"), HasSubstr("without a dot"));
    EXPECT_THAT(refusal("[account.a\n"), HasSubstr("not valid TOML"));
}

}  // namespace
}  // namespace hufu::broker
