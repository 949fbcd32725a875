#include <hufu/degradation/packed_message.hpp>

#include <gtest/gtest.h>

namespace hufu::degradation {
namespace {

Message full() {
    Message message{.topic = "orders",
                    .tag = "paid",
                    .keys = {"o-1", "c-2"},
                    .ordering_key = "o-1",
                    .body = std::string{"a\0b\xff", 4},
                    .deliver_at = SystemTime{std::chrono::microseconds{1'700'000'000'123'456}}};
    message.id = MessageId::parse("018f4e0e-7c1a-7abc-8def-0123456789ab").value();
    message.headers.set("traceparent", "00-1-2-01");
    message.headers.set("empty", "");
    return message;
}

std::string packed(const Message& message) {
    std::string bytes;
    pack(message, bytes);
    return bytes;
}

TEST(PackedMessage, ReadsBackEqual) {
    EXPECT_EQ(unpack(packed(full())).value(), full());
    EXPECT_EQ(unpack(packed(Message{})).value(), Message{});
}

TEST(PackedMessage, RefusesEveryCutAndEveryAddition) {
    const std::string bytes = packed(full());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto cut = unpack(std::string_view{bytes}.substr(0, size));
        ASSERT_FALSE(cut) << size;
        EXPECT_EQ(cut.error().code(), ErrorCode::corrupt);
    }
    EXPECT_FALSE(unpack(bytes + "x"));
}

TEST(PackedMessage, RefusesAVersionItDoesNotKnowAndCountsThatCannotBe) {
    std::string bytes = packed(full());
    bytes[0] = 9;
    EXPECT_EQ(unpack(bytes).error().text(),
              "a buffered message cannot be read: version 9 is not known here; park it, and look at its bytes");
    std::string huge = packed(Message{});
    huge[1 + 16 + 4 + 4 + 3] = '\x7f';  // two thousand million keys
    EXPECT_FALSE(unpack(huge));
}

}  // namespace
}  // namespace hufu::degradation
