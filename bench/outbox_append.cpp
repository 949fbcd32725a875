// What an append costs the business transaction.
#include <pqxx/pqxx>

#include <algorithm>
#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

#include <hufu/postgres/outbox.hpp>
#include <hufu/postgres/transaction.hpp>

#include "outbox_cases.hpp"
#include "outbox_load.hpp"

namespace hufu::bench {
namespace {

constexpr int clients = 16;
constexpr const char* insert_order = "insert into bench_order(customer, amount, note) values ($1, $2, $3)";

/// One client's transaction, made once per thread.
using Client = std::function<std::function<void()>()>;

Message event(std::int64_t customer) {
    Message message;
    message.topic = "orders";
    message.ordering_key = std::to_string(customer);
    message.body = stamped_body({});
    return message;
}

Client in_one_flight(const std::string& database, bool with_append) {
    return [database, with_append] {
        auto connection = std::shared_ptr{connect(database)};
        return [connection, with_append, customer = std::int64_t{0}]() mutable {
            ++customer;
            postgres::Transaction transaction{*connection};
            transaction.run(insert_order, postgres::parameters(customer, 100, "twelve roses"));
            if (with_append) transaction.append(event(customer));
            transaction.commit();
        };
    };
}

Client on_pqxx(const std::string& database, bool with_append) {
    return [database, with_append] {
        auto connection = std::make_shared<pqxx::connection>(database);
        auto outbox = std::make_shared<postgres::Outbox>();
        return [connection, outbox, with_append, customer = std::int64_t{0}]() mutable {
            ++customer;
            pqxx::work work{*connection};
            work.exec_params(insert_order, customer, 100, "twelve roses");
            if (with_append) outbox->append(work, event(customer));
            work.commit();
        };
    };
}

/// Transactions per second of all clients together.
double rate(const Client& client, double seconds) {
    std::atomic<bool> go{false};
    std::atomic<bool> stop{false};
    std::atomic<std::int64_t> count{0};
    std::vector<std::jthread> threads;
    for (int i = 0; i < clients; ++i) {
        threads.emplace_back([&] {
            const auto transact = client();
            go.wait(false);
            std::int64_t own = 0;
            for (; !stop; ++own) transact();
            count += own;
        });
    }
    pause_until(now() + std::chrono::milliseconds{300});
    const SteadyTime begin = now();
    go = true;
    go.notify_all();
    pause_until(begin + std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000)});
    stop = true;
    threads.clear();
    return static_cast<double>(count) / seconds_since(begin);
}

/// Interleaved legs; the medians, and the median of the ratios as what decides.
ResultRow compare(Stage& stage, const std::string& database, const Options& options, const std::string& name,
                  const Client& ours, const Client& bare) {
    std::vector<double> with, without;
    const double seconds = std::max(1.0, static_cast<double>(options.seconds) / 3);
    for (int round = 0; round < options.rounds; ++round) {
        // Every second round the other way round, so that neither side is always the later.
        const bool bare_first = round % 2 == 0;
        for (const bool is_bare : {bare_first, !bare_first}) {
            stage.server().query("truncate hufu.outbox_0, bench_order", database.substr(database.rfind('/') + 1));
            (is_bare ? without : with).push_back(rate(is_bare ? bare : ours, seconds));
        }
        tell(name + " round " + std::to_string(round + 1) + ": " + std::to_string(with.back()) + " with, " +
             std::to_string(without.back()) + " without");
    }
    std::vector<double> ratios;
    for (std::size_t i = 0; i < with.size(); ++i) ratios.push_back(with[i] / without[i]);
    const double bare_rate = quantile(without, 0.5);
    return {.name = name,
            .unit = "tx/s",
            .ours = bare_rate * quantile(ratios, 0.5),
            .other = bare_rate,
            .other_name = "same transaction without append"};
}

}  // namespace

void append_overhead(Stage& stage, const Options& options, std::vector<ResultRow>& rows) {
    const std::string database = stage.database();
    rows.push_back(compare(stage, database, options, "append_overhead_c16", in_one_flight(database, true),
                           in_one_flight(database, false)));
    rows.push_back(compare(stage, database, options, "append_overhead_c16_raw_pqxx", on_pqxx(database, true),
                           on_pqxx(database, false)));
}

}  // namespace hufu::bench
