// The three roles over real SQLite files, with messages handed over by hand instead of by a broker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <hufu/connect/connect.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/txmsg/half_publisher.hpp>

#include "domain/event.hpp"
#include "roles/role.hpp"

namespace shop {
namespace {

using ::testing::HasSubstr;

/// One service with a file of its own.
class Service {
public:
    explicit Service(const std::string& name, const std::function<Role(Store&)>& role)
        : path_{fresh(name)}, store_{open_store("sqlite:" + path_)}, role_{role(*store_)} {
        store_->prepare(role_.tables);
    }

    HttpResponse ask(std::string method, std::string target, std::string body = "") const {
        return role_.application({std::move(method), std::move(target), std::move(body)});
    }

    /// As a consumer would: only what concerns a reaction, through its guard.
    std::vector<hufu::Handled> deliver(const hufu::Message& message) {
        std::vector<hufu::Handled> results;
        for (const auto& reaction : role_.reactions) {
            if (!concerns(reaction, message)) continue;
            results.push_back(
                store_->once({.group = reaction.group}, reaction.effect)(hufu::Delivery{.message = message, .tag = {}})
                    .handled);
        }
        return results;
    }

    void send_through(hufu::txmsg::HalfPublisher& halves) { store_->send_through(halves, "order"); }

    std::int64_t count(std::string_view sql) const {
        std::int64_t result = 0;
        store_->read([&](Transaction& tx) { result = tx.run(sql).front().integer(0); });
        return result;
    }

private:
    static std::string fresh(const std::string& name) {
        const auto path = testing::TempDir() + "roles_" + name + ".db";
        for (const auto* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
        return path;
    }

    std::string path_;
    std::unique_ptr<Store> store_;
    Role role_;
};

hufu::Message message_of(EventKind kind, std::int64_t version, std::uint8_t id) {
    auto message = to_message({kind, "o-1", version, 500, "tea", 2});
    message.id = hufu::MessageId{{id}};
    return message;
}

constexpr const char* order_body = R"({"id":"o-1","amount":500,"sku":"tea","quantity":2})";

class OrderRole : public testing::Test {
protected:
    Service service{"order", [](Store& store) { return order_role(store, {}); }};
};

TEST_F(OrderRole, CommitsAnOrderWithItsEventAndItsDeadline) {
    const auto answer = service.ask("POST", "/orders", order_body);
    EXPECT_EQ(answer.status, 201U);
    EXPECT_THAT(answer.body, HasSubstr(R"("state":"pending")"));
    EXPECT_EQ(service.count("select count(*) from hufu_outbox where topic = 'orders'"), 1);
    EXPECT_EQ(service.count("select count(*) from hufu_delayed where topic = 'order-deadlines'"), 1);
}

TEST_F(OrderRole, GivesARepeatedOrderItsFirstAnswer) {
    const auto first = service.ask("POST", "/orders", order_body);
    EXPECT_EQ(service.ask("POST", "/orders/o-1/pay").status, 200U);
    const auto again = service.ask("POST", "/orders", R"({"quantity":2,"sku":"tea","amount":500,"id":"o-1"})");
    EXPECT_EQ(again.status, 201U);
    EXPECT_EQ(again.body, first.body);
    EXPECT_TRUE(again.replayed);
    EXPECT_EQ(service.count("select count(*) from hufu_outbox where tag = 'order.created'"), 1);
}

TEST_F(OrderRole, RefusesAUsedIdForAnotherOrder) {
    service.ask("POST", "/orders", order_body);
    const auto other = service.ask("POST", "/orders", R"({"id":"o-1","amount":501,"sku":"tea","quantity":2})");
    EXPECT_EQ(other.status, 422U);
    EXPECT_THAT(other.body, HasSubstr(R"("kind":"different_payload","field":"id","value":"o-1")"));
}

TEST_F(OrderRole, AnswersBadRequestsWithFieldValueAndRule) {
    EXPECT_EQ(service.ask("POST", "/orders", "{").status, 400U);
    const auto negative = service.ask("POST", "/orders", R"({"id":"o-1","amount":-5,"sku":"tea","quantity":2})");
    EXPECT_EQ(negative.status, 422U);
    EXPECT_THAT(negative.body, HasSubstr(R"("field":"amount","value":"-5")"));
    EXPECT_EQ(service.ask("GET", "/orders/nobody").status, 404U);
    EXPECT_EQ(service.ask("POST", "/orders/nobody/pay").status, 404U);
    EXPECT_EQ(service.ask("GET", "/nothing/here").status, 404U);
    const auto method = service.ask("DELETE", "/orders/o-1");
    EXPECT_EQ(method.status, 405U);
    EXPECT_EQ(method.allow, "GET");
    EXPECT_EQ(service.count("select count(*) from orders"), 0);
}

TEST_F(OrderRole, IsPaidByTheChargeOnceHoweverOftenItIsTold) {
    service.ask("POST", "/orders", order_body);
    service.ask("POST", "/orders/o-1/pay");
    const auto charged = message_of(EventKind::payment_charged, 2, 1);
    EXPECT_THAT(service.deliver(charged), testing::ElementsAre(hufu::Handled::done));
    EXPECT_THAT(service.deliver(charged), testing::ElementsAre(hufu::Handled::already_done));
    EXPECT_THAT(service.ask("GET", "/orders/o-1").body, HasSubstr(R"("state":"paid","version":3)"));
    EXPECT_EQ(service.count("select count(*) from effects"), 1);
    EXPECT_EQ(service.count("select count(*) from absorbed"), 1);
    EXPECT_EQ(service.count("select count(*) from hufu_outbox where tag = 'order.paid'"), 1);
}

TEST_F(OrderRole, ClosesAtTheDeadlineUnlessPaid) {
    service.ask("POST", "/orders", order_body);
    service.deliver(message_of(EventKind::payment_due, 1, 1));
    EXPECT_THAT(service.ask("GET", "/orders/o-1").body, HasSubstr(R"("state":"closed")"));
    EXPECT_EQ(service.ask("POST", "/orders/o-1/pay").status, 409U);
}

/// The order service with transaction messages at a broker in this process.
class OrderRoleByMessage : public testing::Test {
protected:
    OrderRoleByMessage() {
        std::filesystem::remove_all(broker_.substr(broker_.find(':') + 1));
        halves_ = hufu::connect::half_publisher(broker_).value();
        service_.emplace("order_by_message",
                         [](Store& store) { return order_role(store, {.telling = Telling::transaction_messages}); });
        service_->send_through(*halves_);
    }
    ~OrderRoleByMessage() override { service_.reset(); }  // its producer borrows the halves

    /// Tags of what another service sees on the topic, until there are `count`.
    std::vector<std::string> seen(std::size_t count) {
        const auto subscription = hufu::connect::subscription(broker_, {.group = "reader", .topics = {"orders"}}).value();
        std::vector<std::string> tags;
        while (tags.size() < count) {
            for (auto& delivery : subscription->receive(100, std::chrono::seconds{60}, {}).value()) {
                EXPECT_TRUE(delivery.message.headers.get(hufu::header::committed_at));
                tags.push_back(std::move(delivery.message.tag));
            }
        }
        return tags;
    }

    const std::string broker_ = "embedded:" + testing::TempDir() + "roles_broker";
    std::unique_ptr<hufu::txmsg::HalfPublisher> halves_;
    std::optional<Service> service_;
};

TEST_F(OrderRoleByMessage, CommitsAnOrderWithItsMessagesAndWithoutOutbox) {
    EXPECT_EQ(service_->ask("POST", "/orders", order_body).status, 201U);
    EXPECT_EQ(service_->count("select count(*) from hufu_outbox"), 0);
    EXPECT_EQ(service_->count("select count(*) from hufu_delayed"), 0);
    EXPECT_EQ(service_->count("select count(*) from events"), 2);
    EXPECT_THAT(seen(1), testing::ElementsAre("order.created"));
}

TEST_F(OrderRoleByMessage, GivesARepeatedOrderItsFirstAnswerAndSendsNothing) {
    const auto first = service_->ask("POST", "/orders", order_body);
    const auto again = service_->ask("POST", "/orders", order_body);
    EXPECT_EQ(again.body, first.body);
    EXPECT_TRUE(again.replayed);
    EXPECT_EQ(service_->ask("POST", "/orders", R"({"id":"o-1","amount":501,"sku":"tea","quantity":2})").status, 422U);
    EXPECT_EQ(service_->count("select count(*) from events"), 2);
}

TEST_F(OrderRoleByMessage, TakesAStepOnlyWhenTheLastEventWasSeen) {
    service_->ask("POST", "/orders", order_body);
    EXPECT_THROW((void)service_->ask("POST", "/orders/o-1/pay"), hufu::Exception);  // 503 to the customer: repeat
    service_->deliver(message_of(EventKind::order_created, 1, 1));
    EXPECT_EQ(service_->ask("POST", "/orders/o-1/pay").status, 200U);
    EXPECT_EQ(service_->ask("POST", "/orders/o-1/pay").status, 200U);
    EXPECT_EQ(service_->ask("POST", "/orders/o-1/cancel").status, 409U);
    EXPECT_EQ(service_->ask("POST", "/orders/nobody/pay").status, 404U);
    EXPECT_THAT(seen(2), testing::ElementsAre("order.created", "order.payment_requested"));
}

TEST_F(OrderRoleByMessage, AnotherServicesEventWaitsForWhatIsNotVisibleYet) {
    service_->ask("POST", "/orders", order_body);
    service_->deliver(message_of(EventKind::order_created, 1, 1));
    service_->ask("POST", "/orders/o-1/pay");
    const auto refused = message_of(EventKind::stock_refused, 1, 2);
    EXPECT_THAT(service_->deliver(refused), testing::ElementsAre(hufu::Handled::retry));
    service_->deliver(message_of(EventKind::payment_requested, 2, 3));
    EXPECT_THAT(service_->deliver(refused), testing::ElementsAre(hufu::Handled::done));
    EXPECT_THAT(service_->ask("GET", "/orders/o-1").body, HasSubstr(R"("state":"closed","version":3)"));
    EXPECT_EQ(service_->count("select count(*) from hufu_outbox where tag = 'order.closed'"), 1);
}

TEST_F(OrderRoleByMessage, IsPaidByTheChargeThoughItsOwnRequestWasNotSeenYet) {
    service_->ask("POST", "/orders", order_body);
    service_->deliver(message_of(EventKind::order_created, 1, 1));
    service_->ask("POST", "/orders/o-1/pay");
    EXPECT_THAT(service_->deliver(message_of(EventKind::payment_charged, 2, 2)), testing::ElementsAre(hufu::Handled::done));
    EXPECT_THAT(service_->deliver(message_of(EventKind::stock_refused, 1, 3)), testing::ElementsAre(hufu::Handled::done));
    EXPECT_THAT(service_->ask("GET", "/orders/o-1").body, HasSubstr(R"("state":"closed","version":4)"));
}

TEST(PaymentRole, ChargesOnceAndSaysSo) {
    Service service{"payment", [](Store& store) { return payment_role(store); }};
    service.deliver(message_of(EventKind::order_created, 1, 1));
    const auto requested = message_of(EventKind::payment_requested, 2, 2);
    service.deliver(requested);
    service.deliver(requested);
    EXPECT_THAT(service.ask("GET", "/payments/o-1").body,
                HasSubstr(R"("amount":500,"charged":500,"refunded":0,"state":"charged")"));
    EXPECT_EQ(service.count("select count(*) from hufu_outbox where tag = 'payment.charged'"), 1);
}

TEST(PaymentRole, GivesBackWhatItTookWhenTheOrderEnds) {
    Service service{"refund", [](Store& store) { return payment_role(store); }};
    service.deliver(message_of(EventKind::order_created, 1, 1));
    service.deliver(message_of(EventKind::payment_requested, 2, 2));
    service.deliver(message_of(EventKind::order_closed, 3, 3));
    EXPECT_THAT(service.ask("GET", "/payments/o-1").body, HasSubstr(R"("refunded":500,"state":"refunded")"));
}

class StockRole : public testing::Test {
protected:
    Service service{"stock", [](Store& store) { return stock_role(store); }};
};

TEST_F(StockRole, HoldsReleasesAndShips) {
    service.ask("PUT", "/stock/tea", R"({"quantity":10})");
    service.deliver(message_of(EventKind::order_created, 1, 1));
    EXPECT_THAT(service.ask("GET", "/stock/tea").body, HasSubstr(R"("available":8)"));
    service.deliver(message_of(EventKind::order_cancelled, 2, 2));
    EXPECT_THAT(service.ask("GET", "/stock/tea").body, HasSubstr(R"("available":10)"));
}

TEST_F(StockRole, RefusesWhatTheShelfDoesNotHave) {
    service.ask("PUT", "/stock/tea", R"({"quantity":1})");
    service.deliver(message_of(EventKind::order_created, 1, 1));
    EXPECT_THAT(service.ask("GET", "/stock/tea").body, HasSubstr(R"("available":1)"));
    EXPECT_EQ(service.count("select count(*) from hufu_outbox where tag = 'stock.refused'"), 1);
}

TEST_F(StockRole, PassesOverWhatIsNotItsBusiness) {
    EXPECT_TRUE(service.deliver(message_of(EventKind::payment_requested, 2, 1)).empty());
}

TEST(OpenStore, NamesTheAddressItDoesNotKnow) {
    try {
        (void)open_store("mysql://localhost/orders");
        FAIL();
    } catch (const hufu::Exception& exception) {
        EXPECT_THAT(exception.error().text(), HasSubstr("mysql://localhost/orders"));
        EXPECT_THAT(exception.error().text(), HasSubstr("sqlite:"));
    }
}

}  // namespace
}  // namespace shop
