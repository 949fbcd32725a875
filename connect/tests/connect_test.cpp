#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/connect/connect.hpp>

namespace hufu::connect {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Connect, ListsTheKnownStoresForAnUnknownOne) {
    for (const std::string url : {"mysql://localhost/orders", "orders.db", "sqlite:", "", "rocketmq://localhost:9876"}) {
        const auto opened = outbox(url);
        ASSERT_FALSE(opened) << url;
        EXPECT_EQ(opened.error().code(), ErrorCode::invalid_argument);
        EXPECT_THAT(opened.error().text(),
                    AllOf(HasSubstr("\"" + url + "\""), HasSubstr("sqlite:PATH"), HasSubstr("postgresql://")));
    }
}

TEST(Connect, ListsTheKnownBrokersForAnUnknownOne) {
    for (const std::string url : {"kafka://localhost:9092", "localhost:9876", "rocketmq://", "sqlite:orders.db"}) {
        const auto opened = publisher(url);
        ASSERT_FALSE(opened) << url;
        EXPECT_EQ(opened.error().code(), ErrorCode::invalid_argument);
        EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("rocketmq://HOST:PORT"), HasSubstr("embedded:DIR")));
    }
}

TEST(Connect, NamesABrokersAddressThatHasNoPort) {
    const auto opened = publisher("rocketmq://localhost");
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("\"localhost\""), HasSubstr("HOST:PORT")));
}

TEST(Connect, KeepsPasswordsOutOfErrors) {
    const auto opened = outbox("mysql://me:secret@localhost/orders");
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("me:***@localhost"), testing::Not(HasSubstr("secret"))));
}

TEST(Connect, SaysThatADatabaseIsMissing) {
    const auto opened = outbox("sqlite:/nonexistent/orders.db");
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::not_found);
}

TEST(Connect, PrintsTheMigrationsOfEachDialect) {
    EXPECT_THAT(printed_migrations("sqlite:").value(), HasSubstr("autoincrement"));
    EXPECT_THAT(printed_migrations("postgresql:").value(), HasSubstr("create"));
}

}  // namespace
}  // namespace hufu::connect
