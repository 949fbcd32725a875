#include <gtest/gtest.h>

#include <hufu/core/subscription.hpp>

namespace hufu {
namespace {

SystemTime at(std::int64_t us) { return SystemTime{std::chrono::microseconds{us}}; }

TEST(FirstStoredAt, IsTheEarliestThatIsKnown) {
    Delivery delivery;
    EXPECT_EQ(first_stored_at(delivery), SystemTime{});
    delivery.stored_at = at(900);
    EXPECT_EQ(first_stored_at(delivery), at(900));
    delivery.message.headers.set(header::committed_at, "800");
    EXPECT_EQ(first_stored_at(delivery), at(800));
    delivery.message.headers.set(header::first_stored_at, "700");
    EXPECT_EQ(first_stored_at(delivery), at(700));
    delivery.message.headers.set(header::first_stored_at, "850");
    EXPECT_EQ(first_stored_at(delivery), at(800));
    delivery.message.headers.set(header::first_stored_at, "7x");
    delivery.message.headers.set(header::committed_at, "-5");
    EXPECT_EQ(first_stored_at(delivery), at(900)) << "what is no time says nothing";
}

TEST(FirstStoredAt, IsKeptWhenACopyIsStoredAnew) {
    Message message;
    keep_first_stored_at(message, {});
    EXPECT_TRUE(message.headers.empty());
    keep_first_stored_at(message, at(900));
    EXPECT_EQ(message.headers.get(header::first_stored_at), "900");
    keep_first_stored_at(message, at(2'000));
    EXPECT_EQ(message.headers.get(header::first_stored_at), "900");
    keep_first_stored_at(message, at(10));
    EXPECT_EQ(message.headers.get(header::first_stored_at), "10");
}

}  // namespace
}  // namespace hufu
