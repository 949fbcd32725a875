// How large the guard table gets, what it costs when it is large, and what cleaning it up costs.
#include <pqxx/pqxx>

#include <algorithm>
#include <stdexcept>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/test_support/postgres_server.hpp>

#include "guard_cases.hpp"

namespace hufu::bench {
namespace {

constexpr std::int64_t chunk = 100'000;
constexpr int days = 30;
constexpr double hundred_million = 1e8;

/// Guard rows that each have an id of their own time (UUIDv7), inserted in that order; `rows` of them are the last `days`.
constexpr const char* fill_sql =
    "insert into hufu.guard(consumer_group, message_id, seen_at) select 'stock', "
    "(lpad(to_hex((extract(epoch from t) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || "
    "substr(md5(n::text), 4, 15))::uuid, t from (select n, begin_at + interval '1 day' * (%d * (n / %ld.0)) as t "
    "from public.begun, generate_series(%ld, %ld) n) one";

class Inbox {
public:
    Inbox(test_support::PostgresServer& server, std::string name, std::int64_t rows)
        : server_{server}, name_{std::move(name)}, rows_{rows} {
        server_.query("create database " + name_);
        postgres::migrate(url_).value();
        query("create table public.begun as select clock_timestamp() - interval '1 day' * " + std::to_string(days) +
              " as begin_at");
        // Several groups share the table, so `stock` does not grow at the index's very edge, and its pages are split in halves.
        query(
            "insert into hufu.guard(consumer_group, message_id) select 'warehouse', gen_random_uuid() "
            "from generate_series(1, 1000)");
    }

    void fill(std::int64_t from, std::int64_t upto) {
        for (std::int64_t first = from; first <= upto; first += chunk) {
            char sql[1024];
            std::snprintf(sql, sizeof sql, fill_sql, days, static_cast<long>(rows_), static_cast<long>(first),
                          static_cast<long>(std::min(first + chunk - 1, upto)));
            query(sql);
            if ((first - 1) % (10 * chunk) == 0) tell("inbox: " + std::to_string(first - 1) + " rows");
        }
        settle();
    }
    /// What the server would do later by itself, and would be counted among what is measured.
    void settle() {
        query("vacuum (analyze) hufu.guard");
        query("checkpoint");
    }
    double heap() { return number("select pg_table_size('hufu.guard')"); }
    double index() { return number("select pg_indexes_size('hufu.guard')"); }

    /// Messages handled per second by one connection, each guarded, with an effect that costs nothing.
    double rate(double seconds) {
        return rate_of(
            [&] {
                const auto done = postgres::run_once(pool_, {"stock", ids_.next()}, system_clock().system_now(),
                                                     [](pqxx::work&) { return Handled::done; });
                if (done.handled != Handled::done) throw std::runtime_error{"inbox: not done: " + done.reason};
            },
            seconds);
    }

    /// Half of the time, so half of the rows. Rows per second.
    double purge() {
        const auto begin = system_clock().steady_now();
        const auto purged =
            postgres::purge_guards(pool_, {.group = "stock", .window = std::chrono::hours{24} * days / 2}).value();
        const double seconds = std::chrono::duration<double>{system_clock().steady_now() - begin}.count();
        if (static_cast<double>(purged.rows) < 0.45 * static_cast<double>(rows_)) {
            throw std::runtime_error{"inbox: only " + std::to_string(purged.rows) + " rows were old"};
        }
        tell("inbox: " + std::to_string(purged.rows) + " rows purged in " + std::to_string(seconds) + " s");
        return static_cast<double>(purged.rows) / seconds;
    }

    /// Prints how the server finds what it looks for, and throws when it would read the whole table.
    void explain(const std::string& what, const std::string& sql) {
        pqxx::connection connection{url_};
        pqxx::nontransaction tx{connection};
        tell("plan: " + what);
        for (const auto& row : tx.exec("explain (costs off) " + sql)) {
            const auto line = row[0].as<std::string>();
            tell("  " + line);
            if (line.find("Seq Scan") != std::string::npos) throw std::runtime_error{"inbox: " + what + " reads the table"};
        }
    }

private:
    std::string query(const std::string& sql) { return server_.query(sql, name_); }
    double number(const std::string& sql) { return std::stod(query(sql)); }

    test_support::PostgresServer& server_;
    std::string name_;
    std::int64_t rows_;
    std::string url_ = server_.socket_url(name_);
    postgres::ConnectionPool pool_{url_};
    MessageIdGenerator ids_{system_clock(), system_random()};
};

void explain_all(Inbox& inbox) {
    inbox.explain("a duplicate looks for its row",
                  "select result from hufu.guard where consumer_group = 'stock' and message_id = "
                  "'0190163d-8694-739b-aea5-966c26f8ad91'");
    inbox.explain("a slice of the clean-up",
                  "select message_id, ctid, seen_at from hufu.guard where consumer_group = 'stock' and message_id > "
                  "'00000000-0000-0000-0000-000000000000' and message_id < '0190163d-8694-739b-aea5-966c26f8ad91' "
                  "order by consumer_group, message_id limit 5000");
}

}  // namespace

void guard_inbox(const GuardOptions& options, std::int64_t rows, std::vector<ResultRow>& out) {
    const double count = static_cast<double>(rows);
    // What is measured is size and work, not the disk.
    test_support::PostgresServer server{{.settings = {"max_wal_size = '4GB'", "shared_buffers = '256MB'"}}};
    Inbox inbox{server, "inbox", rows};
    Inbox empty{server, "nearly_empty", rows};
    inbox.fill(1, rows);
    explain_all(inbox);
    const double heap = inbox.heap(), index = inbox.index();
    out.push_back({.name = "inbox_bytes_per_row",
                   .unit = "B",
                   .ours = (heap + index) / count,
                   .better = Better::lower,
                   .beside = {{"rows", count},
                              {"heap_bytes_per_row", heap / count},
                              {"index_bytes_per_row", index / count},
                              {"gb_at_100_million", (heap + index) / count * hundred_million / 1e9}}});
    static_cast<void>(inbox.rate(0.5));
    static_cast<void>(empty.rate(0.5));
    out.push_back(compare(
        "inbox_handle", "msg/s", options, [&](double seconds) { return inbox.rate(seconds); },
        [&](double seconds) { return empty.rate(seconds); }, "the same guard on a nearly empty table"));
    out.push_back({.name = "inbox_purge", .unit = "rows/s", .ours = inbox.purge(), .beside = {{"rows", count}}});
    // As many new messages take the place of those that were purged. An index page is free at the second vacuum.
    inbox.settle();
    inbox.settle();
    inbox.fill(rows + 1, rows + rows / 2);
    out.push_back({.name = "inbox_size_after_purge_and_refill",
                   .unit = "B",
                   .ours = inbox.heap() + inbox.index(),
                   .other = heap + index,
                   .other_name = "before",
                   .better = Better::lower});
}

}  // namespace hufu::bench
