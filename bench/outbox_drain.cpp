// A backlog through the relay.
#include <stdexcept>

#include "outbox_cases.hpp"
#include "outbox_load.hpp"

namespace hufu::bench {
namespace {

constexpr std::size_t delete_batch = 2'000;

void fill(postgres::Connection& connection, std::int64_t count) {
    const auto sql = "insert into hufu.outbox_0(message_id, topic, ordering_key, body) select hufu.new_message_id(), 'drain', "
                     "(i % 10000)::text, decode(repeat(md5(i::text), 16), 'hex') from generate_series(1, " +
                     std::to_string(count) + ") i";
    connection.run_script("truncate hufu.outbox_0").value();
    connection.run_script(sql).value();
    connection.run_script("vacuum analyze hufu.outbox_0").value();
    connection.run_script("checkpoint").value();
}

/// Rows per second that the relay's own settling deletes when nothing else happens.
double delete_rate(const std::string& database, std::int64_t count) {
    auto connection = connect(database);
    fill(*connection, count);
    const auto first = connection->run("select coalesce(min(seq), 0) from hufu.outbox_0").value().int8(0, 0);
    postgres::Store store{database};
    auto settler = store.settler();
    const auto claim = store.lease()->acquire("bench", std::chrono::minutes{10}).value().value();
    (void)settler->settle(claim, {}).value();
    const SteadyTime begin = now();
    std::vector<outbox::Sequence> batch;
    for (std::int64_t done = 0; done < count; done += static_cast<std::int64_t>(batch.size())) {
        batch.clear();
        for (std::int64_t i = done; i < count && batch.size() < delete_batch; ++i) batch.push_back(first + i);
        (void)settler->settle(claim, batch).value();
    }
    const double rate = static_cast<double>(count) / seconds_since(begin);
    store.lease()->release(claim).value();
    if (anything_pending(*connection)) throw std::runtime_error{"relay_drain: the delete probe left rows"};
    return rate;
}

}  // namespace

void relay_drain(Stage& stage, const Options& options, std::vector<ResultRow>& rows) {
    const std::string database = stage.database();
    const double limit_before = delete_rate(database, options.rows);
    tell("relay_drain: deleting alone " + std::to_string(limit_before) + " rows/s");

    auto connection = connect(database);
    fill(*connection, options.rows);
    const DurableBroker broker;
    const auto inner = open_publisher(broker.address());
    CountingPublisher publisher{*inner};
    const SteadyTime begin = now();
    double seconds = 0;
    {
        const RelayThread relay{database, publisher};
        if (!publisher.wait_for(static_cast<std::uint64_t>(options.rows))) {
            throw std::runtime_error{"relay_drain: nothing is confirmed any more after " + std::to_string(publisher.confirmed())};
        }
        wait_until_settled(*connection);
        seconds = seconds_since(begin);
    }
    if (publisher.confirmed() != static_cast<std::uint64_t>(options.rows)) {
        throw std::runtime_error{"relay_drain: " + std::to_string(publisher.confirmed()) + " messages for " +
                                 std::to_string(options.rows) + " rows"};
    }
    const double limit_after = delete_rate(database, options.rows);
    tell("relay_drain: deleting alone, again, " + std::to_string(limit_after) + " rows/s");
    rows.push_back({.name = "relay_drain",
                    .unit = "msg/s",
                    .ours = static_cast<double>(options.rows) / seconds,
                    .limit = (limit_before + limit_after) / 2});
}

}  // namespace hufu::bench
