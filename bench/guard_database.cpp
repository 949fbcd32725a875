// What the guard costs a handler on PostgreSQL.
#include <pqxx/pqxx>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/postgres/once_in_flight.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/test_support/postgres_server.hpp>

#include "guard_cases.hpp"

namespace hufu::bench {
namespace {

using idempotency::EffectResult;

constexpr int handlers = 16;
constexpr const char* insert_order = "insert into bench_order(customer, amount, note) values ($1, $2, $3)";

/// Deliveries per second, each of a new message, to `handler` on 16 threads.
double handled_rate(const Handler& handler, MessageIdGenerator& ids, double seconds) {
    Clock& clock = system_clock();
    std::atomic<std::int64_t> count{0};
    std::atomic<bool> good{true};
    const SteadyTime begin = clock.steady_now();
    const auto until = begin + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>{seconds});
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < handlers; ++thread) {
        threads.emplace_back([&] {
            Delivery delivery;
            delivery.message.body = "twelve roses";
            for (; clock.steady_now() < until; ++count) {
                delivery.message.id = ids.next();
                delivery.stored_at = clock.system_now();
                if (handler(delivery).handled != Handled::done) good = false;
            }
        });
    }
    threads.clear();
    if (!good) throw std::runtime_error{"guard bench: a handler's message was not done"};
    return static_cast<double>(count) / std::chrono::duration<double>{clock.steady_now() - begin}.count();
}

EffectResult effect_in_flight(postgres::Transaction& tx, const Message& message) {
    tx.run(insert_order, postgres::parameters(1, 100, message.body));
    return Handled::done;
}

EffectResult effect_on_pqxx(pqxx::work& tx, const Message& message) {
    tx.exec_params(insert_order, 1, 100, message.body);
    return Handled::done;
}

Handler bare_flight(postgres::FlightPool& pool) {
    return [&pool](const Delivery& delivery) -> HandlerResult {
        auto connection = std::move(pool.take().value());
        {
            postgres::Transaction tx{*connection};
            effect_in_flight(tx, delivery.message);
            tx.commit();
        }
        pool.give_back(std::move(connection));
        return Handled::done;
    };
}

Handler bare_pqxx(postgres::ConnectionPool& pool) {
    return [&pool](const Delivery& delivery) -> HandlerResult {
        const auto lent = pool.lend();
        pqxx::work tx{**lent};
        effect_on_pqxx(tx, delivery.message);
        tx.commit();
        return Handled::done;
    };
}

}  // namespace

void database_guard(const GuardOptions& options, std::vector<ResultRow>& rows) {
    test_support::PostgresServer server{{.durable = true}};
    const std::string name = "bench";
    server.query("create database " + name);
    const std::string url = server.socket_url(name);
    postgres::migrate(url).value();
    server.query(
        "create table public.bench_order(id bigint generated always as identity primary key, customer bigint, "
        "amount bigint, note text)",
        name);
    MessageIdGenerator ids{system_clock(), system_random()};
    postgres::FlightPool flights{url};
    postgres::ConnectionPool pool{url};
    const auto leg = [&](const Handler& handler) {
        return [&, handler](double seconds) {
            server.query("truncate public.bench_order, hufu.guard", name);
            return handled_rate(handler, ids, seconds);
        };
    };
    auto flight = compare("db_guard", "msg/s", options, leg(postgres::once_in_flight(flights, "bench", effect_in_flight)),
                          leg(bare_flight(flights)), "same handler without guard");
    flight.aim = {.ratio = 0.92};
    rows.push_back(flight);
    rows.push_back(compare("db_guard_raw_pqxx", "msg/s", options, leg(postgres::once(pool, "bench", effect_on_pqxx)),
                           leg(bare_pqxx(pool)), "same handler without guard"));
}

}  // namespace hufu::bench
