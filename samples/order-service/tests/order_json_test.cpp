#include "domain/order_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shop {
namespace {

using ::testing::HasSubstr;

Refusal refusal_of(std::string_view body) {
    const auto answer = parse_new_order(body);
    if (answer) {
        ADD_FAILURE() << "accepted: " << body;
        return {};
    }
    return answer.error();
}

TEST(NewOrder, IsReadFromJson) {
    const auto order = parse_new_order(R"({"id":"o-1","amount":1999,"sku":"tea_green","quantity":3})");
    ASSERT_TRUE(order);
    EXPECT_EQ(*order, (NewOrder{"o-1", 1999, "tea_green", 3}));
}

TEST(NewOrder, RefusesWhatIsNotAJsonObject) {
    for (const auto* body : {"", "{", "[]", "7", "null", "{\"id\":\"o\",}", "\xff\xfe", "{} {}"}) {
        const auto refusal = refusal_of(body);
        EXPECT_EQ(refusal.kind, Refused::malformed) << body;
        EXPECT_EQ(refusal.field, "body") << body;
    }
}

TEST(NewOrder, RefusesDeepNestingInsteadOfRecursing) {
    EXPECT_EQ(refusal_of(std::string(10'000, '[')).kind, Refused::malformed);
}

TEST(NewOrder, RefusesAmountsThatAreNoAmount) {
    for (const auto* amount : {"0", "-1", "1.5", "1e3", "\"5\"", "null", "true", "9223372036854775808",
                               "99999999999999999999999", "1000000000001", "-9223372036854775809"}) {
        const auto refusal = refusal_of(std::string{R"({"id":"o-1","amount":)"} + amount + R"(,"sku":"tea","quantity":1})");
        EXPECT_EQ(refusal.kind, Refused::invalid) << amount;
        EXPECT_EQ(refusal.field, "amount") << amount;
        EXPECT_THAT(refusal.rule, HasSubstr("1 to 1000000000000")) << amount;
        EXPECT_FALSE(refusal.value.empty()) << amount;
    }
}

TEST(NewOrder, AcceptsTheLargestAmount) {
    EXPECT_TRUE(parse_new_order(R"({"id":"o-1","amount":1000000000000,"sku":"tea","quantity":1000000})"));
}

TEST(NewOrder, RefusesMissingFieldsByName) {
    EXPECT_EQ(refusal_of(R"({})").field, "id");
    EXPECT_EQ(refusal_of(R"({"id":"o"})").field, "amount");
    EXPECT_EQ(refusal_of(R"({"id":"o","amount":1})").field, "sku");
    EXPECT_EQ(refusal_of(R"({"id":"o","amount":1,"sku":"tea"})").field, "quantity");
}

TEST(NewOrder, RefusesNamesThatAreNoNames) {
    for (const auto& id : {std::string{}, std::string{"a b"}, std::string{"a/b"}, std::string{"ä"}, std::string(65, 'a')}) {
        EXPECT_EQ(refusal_of(R"({"id":")" + id + R"(","amount":1,"sku":"tea","quantity":1})").field, "id") << id;
    }
}

TEST(NewOrder, RefusesFieldsItDoesNotKnow) {
    const auto refusal = refusal_of(R"({"id":"o","amount":1,"sku":"tea","quantity":1,"discount":100})");
    EXPECT_EQ(refusal.field, "discount");
    EXPECT_EQ(refusal.value, "100");
}

TEST(PayloadHash, IsTheSameForTheSameFieldsOnly) {
    const auto one = parse_new_order(R"({"id":"o","amount":1,"sku":"tea","quantity":1})");
    const auto same = parse_new_order(R"({ "quantity":1, "sku":"tea", "amount":1, "id":"o" })");
    const auto other = parse_new_order(R"({"id":"o","amount":2,"sku":"tea","quantity":1})");
    EXPECT_EQ(payload_hash(*one), payload_hash(*same));
    EXPECT_NE(payload_hash(*one), payload_hash(*other));
}

TEST(Json, WritesARefusalWithFieldValueAndRule) {
    EXPECT_EQ(to_json(Refusal{Refused::invalid, "amount", "-5", "is an integer"}),
              R"({"error":{"kind":"invalid","field":"amount","value":"-5","rule":"is an integer"}})");
}

TEST(StockLevel, MayBeZeroButNotNegative) {
    EXPECT_EQ(*parse_stock_level(R"({"quantity":0})"), 0);
    EXPECT_EQ(parse_stock_level(R"({"quantity":-1})").error().field, "quantity");
}

}  // namespace
}  // namespace shop
