// What the guard adds to an HTTP request's latency, over real sockets and a durable PostgreSQL.
#include <pqxx/pqxx>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <hufu/beast/http_guard.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/postgres/once_in_flight.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/redis/leases.hpp>
#include <hufu/test_support/postgres_server.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "guard_cases.hpp"
#include "plain_http.hpp"

namespace hufu::bench {
namespace {

using namespace std::chrono_literals;
using idempotency::HttpCall;
using idempotency::HttpReply;

constexpr int requests_per_second = 1000;
constexpr int connections = 8;

struct Latencies {
    double p50_us = 0;
    double p99_us = 0;
};

Latencies percentiles(std::vector<double> all) {
    if (all.empty()) throw std::runtime_error{"guard bench: no HTTP request was answered"};
    std::sort(all.begin(), all.end());
    const auto at = [&](double part) {
        return all[std::min(all.size() - 1, static_cast<std::size_t>(part * static_cast<double>(all.size())))];
    };
    return {at(0.50), at(0.99)};
}

/// Requests at their planned times, each with a key of its own, counted from the planned time: a stall is not hidden by the
/// requests that it held up.
class Load {
public:
    explicit Load(std::uint16_t port) : port_{port} {}

    Latencies run(double seconds) {
        const auto count = static_cast<std::int64_t>(seconds * requests_per_second);
        const SteadyTime begin = clock_.steady_now() + 20ms;
        next_ = 0;
        std::vector<double> all;
        std::mutex mutex;
        {
            std::vector<std::jthread> threads;
            for (int i = 0; i < connections; ++i) {
                threads.emplace_back([&] {
                    const auto mine = ask(begin, count);
                    const std::lock_guard lock{mutex};
                    all.insert(all.end(), mine.begin(), mine.end());
                });
            }
        }
        if (!good_) throw std::runtime_error{"guard bench: an HTTP request was not answered with 201"};
        return percentiles(std::move(all));
    }

private:
    std::vector<double> ask(SteadyTime begin, std::int64_t count) {
        test_http::Client client{port_};
        std::vector<double> latencies;
        for (std::int64_t n = next_++; n < count; n = next_++) {
            const SteadyTime planned = begin + n * (1'000'000'000ns / requests_per_second);
            clock_.sleep_until(planned, {});
            const auto answer = client.post("/orders", "twelve roses", {{"Idempotency-Key", std::to_string(++keys_)}});
            if (answer.result_int() != 201) good_ = false;
            latencies.push_back(std::chrono::duration<double, std::micro>{clock_.steady_now() - planned}.count());
        }
        return latencies;
    }

    Clock& clock_ = system_clock();
    std::uint16_t port_;
    std::atomic<std::int64_t> next_{0};
    std::atomic<std::int64_t> keys_{0};
    std::atomic<bool> good_{true};
};

beast::Response created() {
    beast::Response response;
    response.result(201);
    response.body() = R"({"id":"o-1"})";
    return response;
}

beast::Response place(pqxx::work& tx, const beast::Request& request) {
    tx.exec_params("insert into bench_order(customer, amount, note) values ($1, $2, $3)", 1, 100, request.body());
    return created();
}

beast::Application plain(postgres::ConnectionPool& pool) {
    return [&pool](const beast::Request& request) {
        const auto lent = pool.lend();
        pqxx::work tx{**lent};
        auto response = place(tx, request);
        tx.commit();
        return beast::response_of(beast::reply_of(response), request);
    };
}

beast::Response place_in_flight(postgres::Transaction& tx, const beast::Request& request) {
    tx.run("insert into bench_order(customer, amount, note) values ($1, $2, $3)",
           postgres::parameters(1, 100, request.body()));
    return created();
}

beast::Application plain_flight(postgres::FlightPool& pool) {
    return [&pool](const beast::Request& request) {
        auto connection = pool.take().value();
        postgres::Transaction tx{*connection};
        auto response = place_in_flight(tx, request);
        tx.commit();
        pool.give_back(std::move(connection));
        return beast::response_of(beast::reply_of(response), request);
    };
}

/// Guard on minus guard off, in pairs of legs that follow each other.
ResultRow paired(const std::string& name, const GuardOptions& options, const beast::Application& on,
                 const beast::Application& off) {
    const test_http::Server with{on};
    const test_http::Server without{off};
    Load guarded{with.port()};
    Load bare{without.port()};
    static_cast<void>(guarded.run(0.3));  // connections and plans
    static_cast<void>(bare.run(0.3));
    std::vector<double> differences, p50s, with_p99, without_p99;
    const int rounds = options.rounds * 2;
    for (int round = 0; round < rounds; ++round) {
        Latencies a, b;
        const bool on_first = round % 2 == 0;
        for (const bool is_on : {on_first, !on_first}) (is_on ? a : b) = (is_on ? guarded : bare).run(options.seconds * 2);
        differences.push_back(a.p99_us - b.p99_us);
        p50s.push_back(a.p50_us - b.p50_us);
        with_p99.push_back(a.p99_us);
        without_p99.push_back(b.p99_us);
        tell(name + " round " + std::to_string(round + 1) + ": p99 " + std::to_string(a.p99_us) + " us with, " +
             std::to_string(b.p99_us) + " us without");
    }
    return {.name = name,
            .unit = "us",
            .ours = median(differences),
            .better = Better::lower,
            .beside = {{"p99_with_us", median(with_p99)},
                       {"p99_without_us", median(without_p99)},
                       {"p50_difference_us", median(p50s)},
                       {"requests_per_second", requests_per_second}}};
}

void leased_http_guard(const GuardOptions& options, const idempotency::HttpGuard& edge, std::vector<ResultRow>& rows) {
    const test_support::RedisServer redis;
    redis::Client client{redis.url()};
    redis::Leases leases{client};
    idempotency::LeaseGuard guard{leases, {.group = "bench", .grade = idempotency::Grade::best_effort}};
    const auto bare = [](const beast::Request& request) { return beast::response_of(beast::reply_of(created()), request); };
    auto leased = paired("http_guard_redis_p99_us", options,
                         beast::guarded<>(
                             [&](const HttpCall& call, const std::function<HttpReply()>& run) {
                                 return idempotency::answer_under_lease(edge, guard, call, run);
                             },
                             bare),
                         bare);
    leased.aim = {.ours = 1000};
    rows.push_back(leased);
}

}  // namespace

void http_guard(const GuardOptions& options, std::vector<ResultRow>& rows) {
    test_support::PostgresServer server{{.durable = true}};
    server.query("create database bench");
    const std::string url = server.socket_url("bench");
    postgres::migrate(url).value();
    server.query(
        "create table public.bench_order(id bigint generated always as identity primary key, customer bigint, "
        "amount bigint, note text)",
        "bench");
    postgres::ConnectionPool pool{url};
    const idempotency::HttpGuard edge{{.group = "bench"}};
    auto row = paired("http_guard_p99_us", options,
                      beast::guarded<pqxx::work&>(
                          [&](const HttpCall& call, const std::function<HttpReply(pqxx::work&)>& run) {
                              return postgres::answer_once(pool, edge, call, 1s, run);
                          },
                          place),
                      plain(pool));
    row.aim = {.ours = 1000};
    rows.push_back(row);

    postgres::FlightPool flights{url};
    auto flown = paired("http_guard_flight_p99_us", options,
                        beast::guarded<postgres::Transaction&>(
                            [&](const HttpCall& call, const std::function<HttpReply(postgres::Transaction&)>& run) {
                                return postgres::answer_once(flights, edge, call, 1s, run);
                            },
                            place_in_flight),
                        plain_flight(flights));
    flown.aim = {.ours = 1000};
    rows.push_back(flown);
    leased_http_guard(options, edge, rows);
}

}  // namespace hufu::bench
