// A backlog through the relay.
#include <algorithm>
#include <stdexcept>

#include "outbox_cases.hpp"
#include "outbox_load.hpp"

namespace hufu::bench {
namespace {

void fill(postgres::Connection& connection, std::int64_t count) {
    const auto sql =
        "insert into hufu.outbox_0(message_id, topic, ordering_key, body) select hufu.new_message_id(), 'drain', "
        "(i % 10000)::text, decode(repeat(md5(i::text), 16), 'hex') from generate_series(1, " +
        std::to_string(count) + ") i";
    connection.run_script("truncate hufu.outbox_0").value();
    connection.run_script(sql).value();
    connection.run_script("vacuum analyze hufu.outbox_0").value();
    connection.run_script("checkpoint").value();
}

/// Rows per second of one session that takes the rows out in batches and does nothing with them: what a relay could at
/// most carry that reads by deleting. No commit waits for the disk, as in the relay's settling.
double delete_rate(const std::string& database, std::int64_t count, int batch) {
    auto connection = connect(database);
    fill(*connection, count);
    connection->run_script("set synchronous_commit = off; set enable_seqscan = off; set enable_bitmapscan = off").value();
    const std::string sql =
        "delete from hufu.outbox_0 where seq = any(array(select seq from hufu.outbox_0 where seq > $1::bigint "
        "order by seq limit " +
        std::to_string(batch) + " for update skip locked)) returning *";
    const SteadyTime begin = now();
    std::int64_t last = 0;
    for (std::int64_t done = 0; done < count;) {
        postgres::Parameters after;
        after.add_int8(last);
        const auto rows = connection->run(sql, after).value();
        if (rows.size() == 0) throw std::runtime_error{"relay_drain: the delete probe found nothing any more"};
        for (std::size_t row = 0; row < rows.size(); ++row) last = std::max(last, rows.int8(row, 0));
        done += static_cast<std::int64_t>(rows.size());
    }
    return static_cast<double>(count) / seconds_since(begin);
}

double best_delete_rate(const std::string& database, std::int64_t count) {
    double best = 0;
    for (const int batch : {500, 2'000}) best = std::max(best, delete_rate(database, count / 2, batch));
    tell("relay_drain: batch delete alone " + std::to_string(best) + " rows/s");
    return best;
}

}  // namespace

void relay_drain(Stage& stage, const Options& options, std::vector<ResultRow>& rows) {
    const std::string database = stage.database();
    const double limit_before = best_delete_rate(database, options.rows);

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
            throw std::runtime_error{"relay_drain: nothing is confirmed any more after " +
                                     std::to_string(publisher.confirmed())};
        }
        wait_until_settled(*connection);
        seconds = seconds_since(begin);
    }
    if (publisher.confirmed() != static_cast<std::uint64_t>(options.rows)) {
        throw std::runtime_error{"relay_drain: " + std::to_string(publisher.confirmed()) + " messages for " +
                                 std::to_string(options.rows) + " rows"};
    }
    tell("relay_drain: " + std::to_string(static_cast<double>(options.rows) / seconds) + " msg/s");
    const double limit_after = best_delete_rate(database, options.rows);
    rows.push_back({.name = "relay_drain",
                    .unit = "msg/s",
                    .ours = static_cast<double>(options.rows) / seconds,
                    .limit = (limit_before + limit_after) / 2});
}

}  // namespace hufu::bench
