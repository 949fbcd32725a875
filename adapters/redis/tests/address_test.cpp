#include "address.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hufu::redis {
namespace {

TEST(RedisAddress, ReadsEveryPart) {
    const auto address = parse_address("redis://orders:s%40crEt@cache.example:7000/3").value();
    EXPECT_EQ(address.user, "orders");
    EXPECT_EQ(address.password, "s@crEt");
    EXPECT_EQ(address.host, "cache.example");
    EXPECT_EQ(address.port, 7000);
    EXPECT_EQ(address.database, 3U);
    EXPECT_EQ(address.name(), "redis://cache.example:7000");
}

TEST(RedisAddress, HasDefaults) {
    const auto address = parse_address("redis://localhost").value();
    EXPECT_EQ(address.host, "localhost");
    EXPECT_EQ(address.port, 6379);
    EXPECT_EQ(address.database, 0U);
    EXPECT_EQ(address.password, "");
}

TEST(RedisAddress, TakesAPasswordWithoutAUserAndSixInBrackets) {
    const auto address = parse_address("redis://:secret@[::1]:7001").value();
    EXPECT_EQ(address.user, "");
    EXPECT_EQ(address.password, "secret");
    EXPECT_EQ(address.host, "::1");
    EXPECT_EQ(address.port, 7001);
    EXPECT_EQ(address.name(), "redis://[::1]:7001");
}

TEST(RedisAddress, ReadsAUnixSocket) {
    const auto address = parse_address("redis+unix://:secret@/run/redis/redis.sock?db=2").value();
    EXPECT_EQ(address.socket, "/run/redis/redis.sock");
    EXPECT_EQ(address.password, "secret");
    EXPECT_EQ(address.database, 2U);
    EXPECT_EQ(address.name(), "redis+unix:///run/redis/redis.sock");
}

TEST(RedisAddress, RefusesWithTheReasonAndWithoutThePassword) {
    struct Case {
        const char* url;
        const char* reason;
    };
    for (const auto& [url, reason] :
         {Case{"localhost:6379", "begins with neither"}, Case{"redis://", "names no host"},
          Case{"redis://h:0", "port \"0\""}, Case{"redis://h:70000", "port \"70000\""},
          Case{"redis://h/x", "database \"x\" is not a number"}, Case{"redis://[::1", "not closed"},
          Case{"redis://u@h", "user \"u\" has no password"}, Case{"redis://:topsecret%zz@h", "two hexadecimal digits"},
          Case{"redis+unix://relative", "does not begin with /"}, Case{"redis+unix:///s?x=1", "is not db=N"},
          Case{"rediss://h", "TLS"}}) {
        const auto address = parse_address(url);
        ASSERT_FALSE(address) << url;
        EXPECT_THAT(address.error().text(), testing::HasSubstr(reason)) << url;
        EXPECT_THAT(address.error().text(), testing::Not(testing::HasSubstr("topsecret")));
        EXPECT_EQ(address.error().disposition(), Disposition::reject);
    }
}

}  // namespace
}  // namespace hufu::redis
