// From the return of COMMIT to the consumer.
#include <atomic>
#include <stdexcept>
#include <thread>

#include <hufu/outbox/wake.hpp>
#include <hufu/postgres/transaction.hpp>

#include "outbox_cases.hpp"
#include "outbox_load.hpp"

namespace hufu::bench {
namespace {

constexpr int transactions_per_second = 1'000;
constexpr int writers = 4;

/// When each message was committed and delivered; the index rides as the version.
struct Times {
    explicit Times(std::size_t count) : committed(count), delivered(count) {}
    std::vector<std::atomic<std::int64_t>> committed;
    std::vector<std::atomic<std::int64_t>> delivered;
    std::atomic<std::size_t> arrived{0};
};

void consume(Subscription& subscription, Times& times, const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        const auto deliveries = subscription.receive(256, std::chrono::milliseconds{100}, stop).value();
        const auto at = to_ns(now());
        std::vector<DeliveryTag> tags;
        for (const auto& delivery : deliveries) {
            tags.push_back(delivery.tag);
            const auto index = static_cast<std::size_t>(stamp_of(delivery.message).version);
            if (index >= times.delivered.size()) continue;
            std::int64_t never = 0;
            if (times.delivered[index].compare_exchange_strong(never, at)) ++times.arrived;
        }
        subscription.acknowledge(tags);
    }
}

void transact(postgres::Connection& connection, outbox::WakeHint& wake, const std::string& topic, Times& times,
              std::size_t index) {
    postgres::Transaction transaction{connection, {.wake = &wake}};
    transaction.run("insert into bench_order(customer, amount, note) values ($1, $2, $3)",
                    postgres::parameters(static_cast<std::int64_t>(index), 100, "twelve roses"));
    Message message;
    message.topic = topic;
    message.ordering_key = std::to_string(index % 1'000);
    message.body = stamped_body({static_cast<std::int64_t>(index), to_ns(now())});
    transaction.append(message);
    transaction.commit();
    times.committed[index] = to_ns(now());
}

void wait_for(Times& times, std::size_t count, const char* what) {
    for (const SteadyTime begin = now(); times.arrived < count; pause_until(now() + std::chrono::milliseconds{5})) {
        if (seconds_since(begin) > 30) {
            throw std::runtime_error{std::string{"commit_to_delivered: "} + what + ": " + std::to_string(times.arrived) +
                                     " of " + std::to_string(count) + " messages arrived within 30 s"};
        }
    }
}

/// Microseconds of every message after the first second.
std::vector<double> measure(const std::string& database, const std::string& broker, const std::string& topic,
                            outbox::WakeHint& wake, int seconds) {
    const std::size_t count = 1 + static_cast<std::size_t>(transactions_per_second * (seconds + 1));
    Times times{count};
    const auto subscription = open_subscription(broker, "delivered-" + topic, topic);
    std::jthread consumer{[&](const std::stop_token& stop) { consume(*subscription, times, stop); }};
    // The first message makes the topic; when it has arrived, the consumer has its queues.
    transact(*connect(database), wake, topic, times, 0);
    wait_for(times, 1, "warm-up");

    const SteadyTime begin = now();
    {
        std::vector<std::jthread> threads;
        for (std::size_t writer = 0; writer < writers; ++writer) {
            threads.emplace_back([&, writer] {
                const auto connection = connect(database);
                for (std::size_t index = 1 + writer; index < count; index += writers) {
                    pause_until(begin + std::chrono::microseconds{1'000'000 / transactions_per_second} * index);
                    transact(*connection, wake, topic, times, index);
                }
            });
        }
    }
    wait_for(times, count, "measurement");
    std::vector<double> latencies;
    for (std::size_t index = 1 + transactions_per_second; index < count; ++index) {
        // A consumer may have it before the writer's thread runs again.
        latencies.push_back(std::max(0.0, static_cast<double>(times.delivered[index] - times.committed[index]) / 1e3));
    }
    return latencies;
}

void add_rows(std::vector<ResultRow>& rows, const std::string& name, std::vector<double> latencies) {
    rows.push_back({.name = name + "_p50_us", .unit = "us", .ours = quantile(latencies, 0.5)});
    rows.push_back({.name = name + "_p99_us", .unit = "us", .ours = quantile(latencies, 0.99)});
    tell(name + ": p50 " + std::to_string(rows[rows.size() - 2].ours) + " us, p99 " + std::to_string(rows.back().ours) +
         " us");
}

}  // namespace

bool commit_to_delivered(Stage& stage, const Options& options, std::vector<ResultRow>& rows) {
    const DurableBroker broker;
    {
        const std::string database = stage.database();
        const auto publisher = open_publisher(broker.address());
        RelayThread relay{database, *publisher};
        add_rows(rows, "commit_to_delivered",
                 measure(database, broker.address(), "in-process", relay.wake(), options.seconds));
    }
    const std::string database = stage.database();
    const RelayProcess relay{database, broker.address()};
    outbox::DatagramHint hint{database};
    add_rows(rows, "commit_to_delivered_relay_process",
             measure(database, broker.address(), "own-process", hint, options.seconds));
    return true;
}

}  // namespace hufu::bench
