#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/message.hpp>

namespace hufu {
namespace {

using ::testing::HasSubstr;

std::string refusal(const Message& message) {
    const auto valid = validate(message);
    EXPECT_TRUE(valid.has_error());
    if (!valid.has_error()) return "nothing was refused";
    EXPECT_EQ(valid.error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(valid.error().disposition(), Disposition::reject);
    return valid.error().text();
}

Message with_header(std::string_view name, std::string_view value) {
    Message message{.topic = "orders"};
    message.headers.set(name, value);
    return message;
}

TEST(MessageRules, AcceptWhatTravels) {
    Message message{.topic = "%RETRY%stock|a_b-9",
                    .tag = "paid",
                    .keys = {"4711", "a/b"},
                    .ordering_key = "order 4711",
                    .body = std::string(1, '\0')};
    message.headers.set("shop", "Zürich, \"west\"");
    EXPECT_TRUE(validate(message).has_value());
    EXPECT_TRUE(validate(Message{.topic = std::string(127, 't'), .ordering_key = std::string(255, 'k')}).has_value());
}

TEST(MessageRules, NameFieldValueAndRule) {
    EXPECT_EQ(refusal({}), "message has no topic: set Message::topic");
    EXPECT_THAT(refusal({.topic = std::string(128, 't')}), HasSubstr("has 128 characters: at most 127"));
    EXPECT_THAT(refusal({.topic = "or ders"}), HasSubstr("topic \"or ders\" has a character outside"));
    EXPECT_THAT(refusal({.topic = "größe"}), HasSubstr("topic \"größe\""));
    EXPECT_THAT(refusal({.topic = "orders", .tag = "a||b"}), HasSubstr("tag \"a||b\""));
    EXPECT_THAT(refusal({.topic = "orders", .tag = "a\x02"}), HasSubstr("control character"));
    EXPECT_THAT(refusal({.topic = "orders", .keys = {"a b"}}), HasSubstr("key \"a b\""));
    EXPECT_THAT(refusal({.topic = "orders", .keys = {""}}), HasSubstr("key \"\""));
    EXPECT_THAT(refusal({.topic = "orders", .ordering_key = std::string(256, 'k')}), HasSubstr("longer than 255 bytes"));
    EXPECT_THAT(refusal({.topic = "orders", .ordering_key = "a\x01"}), HasSubstr("control character"));
    EXPECT_THAT(refusal(with_header("", "x")), HasSubstr("header \"\""));
    EXPECT_THAT(refusal(with_header("shop", "a\x02")), HasSubstr("header \"shop\""));
}

TEST(Headers, KeepTheOrderOfAddingAndReplaceInPlace) {
    Headers headers;
    headers.set("b", "1");
    headers.set("a", "2");
    headers.set("b", "3");
    EXPECT_EQ(headers.size(), 2u);
    EXPECT_EQ(headers.begin()->first, "b");
    EXPECT_EQ(headers.get("b"), "3");
    EXPECT_EQ(headers.get("B"), std::nullopt);
    headers.remove("b");
    EXPECT_EQ(headers.get("b"), std::nullopt);
    EXPECT_FALSE(headers.empty());
}

}  // namespace
}  // namespace hufu
