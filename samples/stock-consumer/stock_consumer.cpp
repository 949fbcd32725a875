// A consumer with exactly one effect per message, three times: plain, with everything a long-lived service wants, and in batches.
// docs/consumers.md shows the marked regions of this file.
#include <hufu/connect/connect.hpp>
#include <hufu/core/until_signal.hpp>
#include <hufu/sqlite/consumer_memory.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/sqlite/once.hpp>
#include <hufu/sqlite/schema.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace {

using namespace std::chrono_literals;

void prepare_tables(const std::string& file) {
    hufu::sqlite::Database database{file};
    hufu::sqlite::migrate(database).value();
    hufu::sqlite::Transaction tx{database};
    tx.execute("create table if not exists reservations(order_id text not null, amount text not null)");
    tx.commit();
}

int plain(const std::string& broker, const std::string& file) {
    // [consumer]
    const hufu::StopOnSignal stop;  // before any other thread
    hufu::sqlite::Database stock{file};
    auto orders = hufu::connect::subscription(broker, {.group = "stock", .topics = {"orders"}}).value();
    auto dead_letters = hufu::connect::publisher(broker).value();
    hufu::Consumer consumer{*orders, *dead_letters, {.group = "stock"}};
    const auto reserve = hufu::sqlite::once(stock, "stock", [](hufu::sqlite::Transaction& tx, const hufu::Message& order) {
        tx.execute("insert into reservations(order_id, amount) values (?, ?)", order.ordering_key, order.body);
        return hufu::Handled::done;
    });
    return hufu::run_until_signal(consumer, stop, reserve).exit_code();
    // [/consumer]
}

int full(const std::string& broker, const std::string& file) {
    const hufu::StopOnSignal stop;
    hufu::sqlite::Database stock{file};
    auto orders = hufu::connect::subscription(broker, {.group = "stock", .topics = {"orders"}}).value();
    auto dead_letters = hufu::connect::publisher(broker).value();
    // [options]
    const hufu::ConsumerOptions options{
        .group = "stock",
        .running_max = 16,
        .retry = hufu::RetrySchedule::capped(1s, 10min, 20).jitter(0.2),
        .rate_per_second = 2'000,
        .adaptive_rate = {.max_per_second = 2'000, .min_per_second = 100, .target_latency = 50ms},
        .outage = {.attempts = 20, .failed_share = 0.9, .keys_min = 5},
        .kills_max = 3,
        .drain_max = 20s};
    // [/options]
    // [memory]
    const auto parked_keys = hufu::sqlite::parked_keys(stock, "stock");
    const auto attempt_rows = hufu::sqlite::attempt_rows(stock, "stock");
    hufu::Consumer consumer{
        *orders, *dead_letters, options, {.parked_keys = parked_keys.get(), .attempt_rows = attempt_rows.get()}};
    // [/memory]
    // [process]
    const auto reserve = hufu::sqlite::once(
        stock, "stock",
        [](hufu::sqlite::Transaction& tx, const hufu::Message& order,
           hufu::idempotency::Outgoing& outgoing) -> hufu::HandlerResult {
            if (order.body.empty()) return {hufu::Handled::reject, "no amount"};
            tx.execute("insert into reservations(order_id, amount) values (?, ?)", order.ordering_key, order.body);
            outgoing.add({.topic = "reservations", .ordering_key = order.ordering_key, .body = order.body});
            return hufu::Handled::done;
        });
    // [/process]
    // [end]
    const auto end = hufu::run_until_signal(consumer, stop, reserve);
    std::fprintf(stderr, "%zu handlers still run, %zu messages come again\n", end.left.running, end.left.dropped);
    orders.reset();  // hands over the last positions
    if (end.left.running > 0) std::_Exit(end.exit_code());
    return end.exit_code();
    // [/end]
}

int batches(const std::string& broker, const std::string& file) {
    const hufu::StopOnSignal stop;
    hufu::sqlite::Database stock{file};
    auto orders = hufu::connect::subscription(broker, {.group = "stock", .topics = {"orders"}}).value();
    auto dead_letters = hufu::connect::publisher(broker).value();
    // [batch]
    hufu::Consumer consumer{
        *orders, *dead_letters, {.group = "stock", .batch_max = 100, .batch_of = hufu::ConsumerOptions::BatchOf::key_runs}};
    const auto reserve =
        hufu::sqlite::once_batch(stock, "stock", [](hufu::sqlite::Transaction& tx, const hufu::Message& order) {
            tx.execute("insert into reservations(order_id, amount) values (?, ?)", order.ordering_key, order.body);
            return hufu::Handled::done;
        });
    return hufu::run_until_signal(consumer, stop, reserve).exit_code();
    // [/batch]
}

}  // namespace

int main(int count, char** words) {
    const std::string how = count == 4 ? words[1] : "";
    const auto run = how == "plain" ? plain : how == "full" ? full : how == "batches" ? batches : nullptr;
    if (run == nullptr) {
        std::fprintf(stderr, "usage: stock-consumer plain|full|batches BROKER-URL DATABASE-FILE\n");
        return 2;
    }
    try {
        prepare_tables(words[3]);
        return run(words[2], words[3]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "stock-consumer: %s\n", error.what());
        return 1;
    }
}
