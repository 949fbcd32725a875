// hufu-bench-receipts: how fast receipts are taken in, on PostgreSQL with durable commits, everything on the same cores.
//
// A leg loads messages that wait for receipts (256 bytes of body), then takes all their receipts in batches, one transaction per
// batch, over one connection. Beside it, in the same run, what a table of one's own would do with the same batches: mark the
// rows by UPDATE, or DELETE them, and nothing more (no groups, no refusals, no duplicates told apart, no history).
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/random.hpp>
#include <hufu/postgres/connection.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/store.hpp>
#include <hufu/test_support/postgres_server.hpp>

#include "report.hpp"

namespace hufu::bench {
namespace {

using outbox::Receipt;
using outbox::ReceiptVerdict;

struct Options {
    std::int64_t messages = 100'000;
    int batch = 1'000;
    int rounds = 5;
    bool json = false;
};

struct Leg {
    double rate = 0;
    std::uint64_t completed = 0;
    std::uint64_t duplicates = 0;
};

class Stage {
public:
    explicit Stage(const Options& options) : options_{options} {
        postgres::migrate(url_).value();
        auto opened = postgres::Connection::open(url_);
        connection_ = std::move(opened.value());
        run("create table plain(message_id uuid primary key, created_at timestamptz not null default clock_timestamp(), "
            "topic text not null, body bytea not null, confirmed_at timestamptz)");
        for (std::int64_t n = 0; n < options_.messages; ++n) ids_.push_back(minted_.next());
    }

    /// Fresh tables with every message waiting for `groups`, and as many plain rows.
    void load(const std::string& groups) {
        run("truncate hufu.awaiting, hufu.awaiting_due, hufu.receipt, hufu.awaited, hufu.awaiting_log, plain");
        in_batches([&](std::span<const MessageId> ids) {
            postgres::Parameters parameters;
            parameters.add_uuid_array(ids).add(groups);
            must(connection_->run(
                "with m as materialized (select u.id from unnest($1::uuid[]) u(id)), "
                "due as (insert into hufu.awaiting_due select id, clock_timestamp() + interval '1 hour', 1 from m), "
                "bare as (insert into plain(message_id, topic, body) select id, 'orders', convert_to(repeat('x', 256), "
                "'UTF8') from m) "
                "insert into hufu.awaiting(message_id, topic, tag, keys, ordering_key, headers, body, asked, groups, "
                "deadline_ms, outcome_topic) select id, 'orders', '', '', '', '', convert_to(repeat('x', 256), 'UTF8'), "
                "'1;' || $2::text || ';30000;600000;8;hufu-receipts;', string_to_array($2::text, ','), 30000, '' from m",
                parameters));
        });
        run("vacuum (analyze) hufu.awaiting");
        run("vacuum (analyze) plain");
        run("checkpoint");
    }

    /// Every message's receipt of `group`, by the library's batch call.
    Leg take(const std::vector<std::string>& groups) {
        postgres::Store store{url_};
        const auto book = store.awaiting_rows();
        std::vector<std::vector<Receipt>> batches;
        in_batches([&](std::span<const MessageId> ids) {
            for (const auto& group : groups) {
                auto& batch = batches.emplace_back();
                for (const auto& id : ids) batch.push_back({.message = id, .group = group});
            }
        });
        (void)book->take({}).value();
        must(book->claim_overdue(1, std::chrono::seconds{1}));  // connected and warm
        Leg leg;
        leg.rate = timed([&] {
                       for (const auto& batch : batches) {
                           for (const auto verdict : book->take(batch).value()) {
                               leg.completed += verdict == ReceiptVerdict::completed ? 1U : 0U;
                               leg.duplicates += verdict == ReceiptVerdict::duplicate ? 1U : 0U;
                           }
                       }
                   }) *
                   static_cast<double>(groups.size());
        return leg;
    }

    double by_statement(const std::string& sql) {
        return timed([&] {
            in_batches([&](std::span<const MessageId> ids) {
                postgres::Parameters parameters;
                parameters.add_uuid_array(ids);
                must(connection_->run(sql, parameters));
            });
        });
    }

    std::int64_t count(const std::string& sql) {
        const auto rows = connection_->run(sql);
        return rows.value().int8(0, 0);
    }
    std::string version() { return server_.query("show server_version"); }
    [[nodiscard]] std::int64_t messages() const { return options_.messages; }

private:
    void run(const std::string& sql) { server_.query(sql, database_); }
    template <class Value>
    static void must(const Result<Value>& result) {
        if (!result) throw std::runtime_error{result.error().text()};
    }
    void in_batches(const std::function<void(std::span<const MessageId>)>& body) {
        const auto size = static_cast<std::size_t>(options_.batch);
        for (std::size_t at = 0; at < ids_.size(); at += size)
            body(std::span{ids_}.subspan(at, std::min(size, ids_.size() - at)));
    }
    /// Messages per second.
    double timed(const std::function<void()>& body) {
        const SteadyTime begin = system_clock().steady_now();
        body();
        const std::chrono::duration<double> passed = system_clock().steady_now() - begin;
        return static_cast<double>(ids_.size()) / passed.count();
    }

    Options options_;
    test_support::PostgresServer server_{{.durable = true}};
    std::string database_ = name_in(server_.create_database());
    std::string url_ = server_.socket_url(database_);
    std::unique_ptr<postgres::Connection> connection_;
    MessageIdGenerator minted_{system_clock(), system_random()};
    std::vector<MessageId> ids_;

    static std::string name_in(const std::string& url) { return url.substr(url.rfind('/') + 1); }
};

struct Rates {
    std::vector<double> ours, update, remove;
};

ResultRow row_of(const std::string& name, const Rates& rates) {
    std::vector<double> faster;
    for (std::size_t at = 0; at < rates.ours.size(); ++at) faster.push_back(std::max(rates.update[at], rates.remove[at]));
    return {.name = name,
            .unit = "receipts/s",
            .ours = median(rates.ours),
            .other = median(rates.update),
            .other_name = "plain batched UPDATE of a status column, same batches, durable",
            .limit = median(faster),
            .aim = {.ours = 20'000}};
}

void check(bool held, const std::string& what) {
    if (!held) throw std::runtime_error{"not a valid run: " + what};
}

std::vector<ResultRow> measure(const Options& options, Stage& stage) {
    Rates one, two, again;
    const auto wanted = static_cast<std::uint64_t>(stage.messages());
    for (int round = 0; round < options.rounds; ++round) {
        stage.load("stock");
        const bool ours_first = round % 2 == 0;
        Leg leg;
        if (ours_first) leg = stage.take({"stock"});
        const double update =
            stage.by_statement("update plain set confirmed_at = clock_timestamp() where message_id = any($1::uuid[])");
        const double remove = stage.by_statement("delete from plain where message_id = any($1::uuid[])");
        if (!ours_first) leg = stage.take({"stock"});
        check(leg.completed == wanted, std::to_string(leg.completed) + " completed of " + std::to_string(wanted));
        check(stage.count("select count(*) from hufu.awaiting") == 0, "messages are left in the book");
        const Leg repeated = stage.take({"stock"});
        check(repeated.duplicates == wanted, "a repeated receipt was not told from a new one");
        stage.load("stock,points");
        const Leg both = stage.take({"stock", "points"});
        check(both.completed == wanted, "two groups: " + std::to_string(both.completed) + " completed");
        for (auto [rates, rate] : {std::pair{&one, leg.rate}, {&again, repeated.rate}, {&two, both.rate}}) {
            rates->ours.push_back(rate);
            rates->update.push_back(update);
            rates->remove.push_back(remove);
        }
        tell("round " + std::to_string(round + 1) + ": " + std::to_string(leg.rate) + " receipts/s, two groups " +
             std::to_string(both.rate) + ", repeated " + std::to_string(repeated.rate) + "; plain UPDATE " +
             std::to_string(update) + ", plain DELETE " + std::to_string(remove));
    }
    return {row_of("receipts_one_group", one),
            row_of("receipts_two_groups", two),
            row_of("receipts_repeated", again),
            {.name = "completed_once", .unit = "share", .ours = 1, .aim = {.ours = 1}}};
}

}  // namespace
}  // namespace hufu::bench

int main(int count, char** arguments) {
    using namespace hufu::bench;
    CLI::App app{"How fast receipts are taken in. Progress goes to standard error; exits 0 when the run was valid.",
                 "hufu-bench-receipts"};
    Options options;
    app.add_flag("--json", options.json, "one JSON object instead of a table");
    app.add_option("--messages", options.messages, "messages per leg")->check(CLI::Range(1'000, 10'000'000));
    app.add_option("--batch", options.batch, "receipts per transaction")->check(CLI::Range(1, 10'000));
    app.add_option("--rounds", options.rounds, "interleaved rounds")->check(CLI::Range(1, 1000));
    CLI11_PARSE(app, count, arguments);
    try {
        Stage stage{options};
        const auto rows = measure(options, stage);
        if (options.json) {
            std::printf("%s\n", result_json("receipts", rows,
                                            {{"postgresql", stage.version()},
                                             {"durability", "fsync and synchronous_commit on, both sides"},
                                             {"batch", std::to_string(options.batch)}})
                                    .c_str());
        } else {
            std::printf("%s", result_table(rows).c_str());
        }
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-bench-receipts: %s\n", error.what());
        return 1;
    }
}
