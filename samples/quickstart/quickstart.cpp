// The whole way of one order in one program: business row and event in one transaction, relay, bundled broker, one effect.
// README.md shows the marked regions of this file.
#include <hufu/connect/connect.hpp>
#include <hufu/core/consumer.hpp>
#include <hufu/outbox/relay.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/sqlite/once.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/schema.hpp>

#include <cstdio>
#include <exception>
#include <string>
#include <thread>

namespace {

void prepare_tables(hufu::sqlite::Database& database) {
    hufu::sqlite::migrate(database).value();
    hufu::sqlite::Transaction tx{database};
    tx.execute("create table if not exists orders(id text primary key, amount integer not null)");
    tx.execute("create table if not exists reservations(order_id text not null)");
    tx.commit();
}

void accept_order(hufu::sqlite::Database& database, hufu::sqlite::Outbox& outbox, const std::string& id, int amount) {
    // [append]
    hufu::sqlite::Transaction tx{database};
    tx.execute("insert into orders(id, amount) values (?, ?)", id, amount);
    outbox.append(tx, {.topic = "orders", .ordering_key = id, .body = std::to_string(amount)});
    tx.commit();
    // [/append]
}

void run(const std::string& folder) {
    hufu::sqlite::Database shop{folder + "/shop.db"};
    prepare_tables(shop);
    hufu::sqlite::Outbox outbox;
    accept_order(shop, outbox, "order-1", 250);

    const std::string broker_url = "embedded:" + folder + "/broker";
    std::stop_source stop;

    // [relay]
    auto store = hufu::connect::outbox("sqlite:" + folder + "/shop.db").value();
    auto publisher = hufu::connect::publisher(broker_url).value();
    hufu::MetricsRegistry metrics;
    hufu::outbox::Relay relay{*store, *publisher, {}, hufu::system_clock(), hufu::system_random(), metrics};
    std::jthread relaying{[&] { relay.run(stop.get_token()).value(); }};
    // [/relay]

    // [consume]
    auto subscription = hufu::connect::subscription(broker_url, {.group = "stock", .topics = {"orders"}}).value();
    hufu::Consumer consumer{*subscription, *publisher, {.group = "stock"}};
    const auto reserve = hufu::sqlite::once(shop, "stock", [&](hufu::sqlite::Transaction& tx, const hufu::Message& message) {
        tx.execute("insert into reservations(order_id) values (?)", message.ordering_key);
        stop.request_stop();  // one order is enough for this program
        return hufu::Handled::done;
    });
    consumer.run(reserve, stop.get_token()).value();
    // [/consume]
    relaying.join();

    hufu::sqlite::Transaction tx{shop, hufu::sqlite::Transaction::Access::read};
    auto rows = tx.query("select count(*) from reservations where order_id = 'order-1'");
    rows.step();
    std::printf("order-1 was reserved %ld time(s)\n", static_cast<long>(rows.integer(0)));
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: quickstart FOLDER (an empty folder for its files)\n");
        return 2;
    }
    try {
        run(arguments[1]);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "quickstart: %s\n", error.what());
        return 1;
    }
}
