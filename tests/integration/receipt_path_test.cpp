// A message and its receipt, all the way: two services with a file each, relays, the bundled broker. docs/receipts.md shows the
// marked regions of this file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>

#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <hufu/connect/connect.hpp>
#include <hufu/core/consumer.hpp>
#include <hufu/outbox/receipt_intake.hpp>
#include <hufu/outbox/relay.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/sqlite/once.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/schema.hpp>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;

/// The services' files, and the broker in this process.
class ReceiptPath : public testing::Test {
protected:
    ReceiptPath() {
        std::string name = (std::filesystem::temp_directory_path() / "hufu-receipts-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error{"no temporary folder at " + name};
        folder_ = name;
        broker_url_ = "embedded:" + folder_ + "/broker";
        for (const char* file : {"shop", "stock"}) sqlite::migrate(*open(file)).value();
        sqlite::Transaction tx{*open("stock")};
        tx.execute("create table reservations(order_id text not null)");
        tx.commit();
        publisher_ = connect::publisher(broker_url_).value();
    }
    ~ReceiptPath() override {
        publisher_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    sqlite::Database* open(const std::string& file) {
        auto& database = databases_[file];
        if (!database) database = std::make_unique<sqlite::Database>(folder_ + "/" + file + ".db");
        return database.get();
    }
    void relay(const std::string& file, const std::stop_token& stop) {
        const auto store = connect::outbox("sqlite:" + folder_ + "/" + file + ".db").value();
        MetricsRegistry metrics;
        outbox::Relay relay{*store, *publisher_, {}, system_clock(), system_random(), metrics};
        relay.run(stop).value();
    }
    MessageId sell(const std::string& order, const outbox::Receipts& asked) {
        sqlite::Database& shop = *open("shop");
        sqlite::Outbox outbox;
        sqlite::Transaction tx{shop};
        const auto id = outbox.append(tx, {.topic = "orders", .ordering_key = order, .body = "2 roses"}, asked);
        tx.commit();
        return id;
    }
    static std::vector<std::string> what(const outbox::LifeStory& story) {
        std::vector<std::string> names;
        for (const auto& event : story.events) names.push_back(event.what);
        return names;
    }

    std::string folder_;
    std::string broker_url_;
    std::map<std::string, std::unique_ptr<sqlite::Database>> databases_;
    std::unique_ptr<Publisher> publisher_;
};

void take_order(sqlite::Database& database, const std::string& order) {
    sqlite::Outbox outbox;
    // [append]
    hufu::sqlite::Transaction tx{database};
    tx.execute("insert into orders(id) values (?)", order);
    outbox.append(tx, {.topic = "orders", .ordering_key = order, .body = "2 roses"},
                  {.groups = {"stock", "points"}, .deadline = 30s, .sends_max = 8, .outcome_topic = "order-outcomes"});
    tx.commit();
    // [/append]
}

void consume(sqlite::Database& database, Subscription& subscription, Publisher& dead_letters, std::stop_token stop) {
    // [consume]
    hufu::Consumer consumer{subscription, dead_letters, {.group = "stock"}};
    consumer
        .run(hufu::sqlite::once(database, "stock",
                                [](hufu::sqlite::Transaction& tx, const hufu::Message& message) {
                                    tx.execute("insert into reservations(order_id) values (?)", message.ordering_key);
                                    return hufu::Handled::done;  // the receipt is written in this transaction
                                }),
             stop)
        .value();
    // [/consume]
}

void take_in(outbox::Store& store, const std::string& broker_url, std::stop_token stop) {
    MetricsRegistry metrics;
    // [intake]
    auto receipts = hufu::connect::subscription(broker_url, {.group = "shop-receipts", .topics = {"hufu-receipts"}}).value();
    hufu::outbox::ReceiptIntake intake{store, *receipts, {}, hufu::system_clock(), hufu::system_random(), metrics};
    intake.run(stop).value();
    // [/intake]
}

std::vector<outbox::ReceiptVerdict> by_hand(outbox::Store& store, const MessageId& id) {
    // [batch]
    const std::vector<hufu::outbox::Receipt> batch{
        {.message = id, .group = "points"},
        {.message = id, .group = "stock", .outcome = hufu::outbox::Receipt::Outcome::refused, .reason = "sold out"}};
    const auto verdicts = store.awaiting_rows()->take(batch).value();  // one transaction, a verdict for each
    // [/batch]
    return verdicts;
}

TEST_F(ReceiptPath, AnOrderIsConfirmedByItsConsumerAcrossTheBroker) {
    const auto id = sell("order-1", {.groups = {"stock"}, .deadline = 5s, .outcome_topic = "order-outcomes"});
    std::stop_source stop;
    const auto store = connect::outbox("sqlite:" + folder_ + "/shop.db").value();
    const auto orders = connect::subscription(broker_url_, {.group = "stock", .topics = {"orders"}}).value();
    const auto ends = connect::subscription(broker_url_, {.group = "shop", .topics = {"order-outcomes"}}).value();
    {
        sqlite::Database& stock = *open("stock");
        const std::jthread shop_relay{[&] { relay("shop", stop.get_token()); }};
        const std::jthread stock_relay{[&] { relay("stock", stop.get_token()); }};
        const std::jthread consumer{[&] { consume(stock, *orders, *publisher_, stop.get_token()); }};
        const std::jthread intake{[&] { take_in(*store, broker_url_, stop.get_token()); }};
        const auto end = ends->receive(1, 60s, {}).value();
        ASSERT_EQ(end.size(), 1U);
        EXPECT_EQ(end[0].message.body, "completed");
        EXPECT_EQ(end[0].message.headers.get(outbox::receipt_of_header), id.to_string());
        stop.request_stop();
    }
    const auto story = store->awaiting_rows()->trace({.key = "order-1"}, 10).value().at(0);
    EXPECT_EQ(story.state, "completed");
    EXPECT_THAT(what(story), Contains("receipt"));
    sqlite::Transaction look{*open("stock"), sqlite::Transaction::Access::read};
    auto rows = look.query("select count(*) from reservations");
    ASSERT_TRUE(rows.step());
    EXPECT_EQ(rows.integer(0), 1);
}

TEST_F(ReceiptPath, ReceiptsByTheBatchCallEachGetAnAnswer) {
    const auto id = sell("order-2", {.groups = {"stock", "points"}});
    const auto store = connect::outbox("sqlite:" + folder_ + "/shop.db").value();
    EXPECT_THAT(by_hand(*store, id), ElementsAre(outbox::ReceiptVerdict::taken, outbox::ReceiptVerdict::parked));
    EXPECT_EQ(store->awaiting_rows()->trace({.id = id}, 1)->at(0).state, "parked");
    sqlite::Database& shop = *open("shop");
    {
        sqlite::Transaction tx{shop};
        tx.execute("create table orders(id text primary key)");
        tx.commit();
    }
    take_order(shop, "order-3");
    EXPECT_EQ(store->awaiting_rows()->trace({.key = "order-3"}, 1)->at(0).state, "pending");
}

}  // namespace
}  // namespace hufu
