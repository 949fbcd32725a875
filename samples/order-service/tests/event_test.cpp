#include "domain/event.hpp"

#include <gtest/gtest.h>

namespace shop {
namespace {

const Event created{EventKind::order_created, "o-1", 1, 500, "tea", 2};

TEST(Event, TravelsInOrderPerOrder) {
    const auto message = to_message(created);
    EXPECT_EQ(message.topic, "orders");
    EXPECT_EQ(message.tag, "order.created");
    EXPECT_EQ(message.ordering_key, "o-1");
    EXPECT_TRUE(message.id.is_nil());
}

TEST(Event, ReadsBackWhatItWrites) {
    for (const auto kind :
         {EventKind::order_created, EventKind::payment_requested, EventKind::order_paid, EventKind::order_cancelled,
          EventKind::order_closed, EventKind::payment_due, EventKind::payment_charged, EventKind::stock_refused}) {
        auto event = created;
        event.kind = kind;
        const auto read = parse_event(to_message(event));
        ASSERT_TRUE(read) << to_string(kind);
        EXPECT_EQ(*read, event);
    }
}

TEST(Event, NamesTheFieldThatIsWrong) {
    const auto field_of = [](std::string body) {
        hufu::Message message;
        message.body = std::move(body);
        return parse_event(message).error().field;
    };
    EXPECT_EQ(field_of("no json"), "body");
    EXPECT_EQ(field_of(R"({"kind":"order.eaten"})"), "kind");
    EXPECT_EQ(field_of(R"({"kind":"order.paid","order_id":""})"), "order_id");
    EXPECT_EQ(field_of(R"({"kind":"order.paid","order_id":"o","version":0})"), "version");
    EXPECT_EQ(field_of(R"({"kind":"order.paid","order_id":"o","version":1,"amount":"1"})"), "amount");
}

}  // namespace
}  // namespace shop
