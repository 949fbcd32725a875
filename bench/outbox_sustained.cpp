// Writers, relay and broker on the same cores, every row checked.
#include <atomic>
#include <map>
#include <stdexcept>
#include <thread>
#include <unordered_map>

#include <hufu/postgres/transaction.hpp>

#include "outbox_cases.hpp"
#include "outbox_load.hpp"

namespace hufu::bench {
namespace {

constexpr int writers = 16;
constexpr int messages_per_transaction = 10;
constexpr std::size_t keys = 10'000;
constexpr double zipf_theta = 0.99;
constexpr std::uint64_t rollback_percent = 3;
constexpr const char* topic = "sustained";
constexpr const char* held_key = "held";

/// One writer: locks ten keys in order, raises their versions, appends a message per version.
class Writer {
public:
    Writer(const std::string& database, std::uint64_t seed, outbox::WakeHint* wake)
        : connection_{connect(database)}, random_{seed}, wake_{wake} {}

    /// Messages committed by one transaction: none if it was one of those that roll back.
    int transact(const Zipf& zipf) {
        std::map<std::int64_t, std::int64_t> drawn;
        for (int i = 0; i < messages_per_transaction; ++i) ++drawn[static_cast<std::int64_t>(zipf.draw(random_))];
        std::vector<std::int64_t> names, counts;
        for (const auto& [key, count] : drawn) {
            names.push_back(key);
            counts.push_back(count);
        }
        postgres::Transaction transaction{*connection_, {.wake = wake_}};
        postgres::Parameters locked;
        locked.add_int8_array(names);
        transaction.run("select from bench_key where key = any($1::bigint[]) order by key for update", std::move(locked));
        postgres::Parameters raised;
        raised.add_int8_array(names).add_int8_array(counts);
        const auto versions = transaction.query(
            "update bench_key b set version = b.version + w.n from unnest($1::bigint[], $2::bigint[]) w(key, n) "
            "where b.key = w.key returning b.key, b.version",
            raised);
        std::vector<Message> messages;
        const auto sent_ns = to_ns(now());
        for (std::size_t row = 0; row < versions.size(); ++row) {
            const auto key = versions.int8(row, 0);
            const auto last = versions.int8(row, 1);
            for (std::int64_t version = last - drawn[key] + 1; version <= last; ++version) {
                Message& message = messages.emplace_back();
                message.topic = topic;
                message.ordering_key = std::to_string(key);
                message.body = stamped_body({version, sent_ns});
            }
        }
        transaction.append(messages);
        if (random_.below(100) < rollback_percent) {
            (void)transaction.query("select 1");  // the rows have drawn their numbers
            transaction.roll_back();
            return 0;
        }
        transaction.commit();
        return messages_per_transaction;
    }

private:
    std::unique_ptr<postgres::Connection> connection_;
    SeededRandom random_;
    outbox::WakeHint* wake_;
};

struct Written {
    std::int64_t messages = 0;
    double seconds = 0;
    [[nodiscard]] double rate() const { return static_cast<double>(messages) / seconds; }
};

/// All writers for `seconds`; `transactions_per_second` of all together, at fixed times, or 0 for as many as they can.
Written write(const std::string& database, double seconds, double transactions_per_second, outbox::WakeHint* wake) {
    static std::atomic<std::uint64_t> seed{1};
    const Zipf zipf{keys, zipf_theta};
    std::vector<std::unique_ptr<Writer>> all;
    for (int i = 0; i < writers; ++i) all.push_back(std::make_unique<Writer>(database, seed++, wake));
    std::atomic<std::int64_t> messages{0};
    const SteadyTime begin = now();
    const SteadyTime end = begin + std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000)};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < writers; ++i) {
            threads.emplace_back([&, i] {
                std::int64_t own = 0;
                const std::chrono::nanoseconds gap{
                    transactions_per_second > 0 ? static_cast<std::int64_t>(1e9 * writers / transactions_per_second) : 0};
                SteadyTime next = begin + gap * i / writers;
                while (now() < end) {
                    if (gap.count() > 0) {
                        pause_until(next);
                        next += gap;
                    }
                    own += all[static_cast<std::size_t>(i)]->transact(zipf);
                }
                messages += own;
            });
        }
    }
    return {messages, seconds_since(begin)};
}

std::string prepared_database(Stage& stage) {
    std::string database = stage.database();
    const auto connection = connect(database);
    connection
        ->run_script(
            "create table bench_key(key bigint primary key, version bigint not null) with (fillfactor = 50); "
            "insert into bench_key select i, 0 from generate_series(0, " +
            std::to_string(keys - 1) + ") i")
        .value();
    connection->run_script("vacuum analyze bench_key").value();
    return database;
}

struct Checked {
    std::int64_t lost = 0;
    std::int64_t reordered = 0;
    std::int64_t invented = 0;
    std::int64_t duplicates = 0;
};

/// Reads everything from the broker and compares it with what the database says was committed.
Checked check(const std::string& database, const std::string& broker) {
    std::unordered_map<std::string, std::int64_t> committed{{held_key, 1}};
    const auto rows = connect(database)->run("select key::text, version from bench_key where version > 0").value();
    std::int64_t expected = 1;
    for (std::size_t row = 0; row < rows.size(); ++row) {
        committed[std::string{rows.text(row, 0)}] = rows.int8(row, 1);
        expected += rows.int8(row, 1);
    }
    struct Seen {
        std::vector<bool> versions;
        std::int64_t highest = 0;
    };
    std::unordered_map<std::string, Seen> seen;
    Checked checked;
    std::int64_t distinct = 0;
    const auto subscription = open_subscription(broker, "checker", topic);
    // Ends when all is there, or nothing came for ten seconds.
    for (SteadyTime last = now(); distinct < expected && seconds_since(last) < 10;) {
        const auto deliveries = subscription->receive(1'000, std::chrono::milliseconds{500}, {}).value();
        std::vector<DeliveryTag> tags;
        for (const auto& delivery : deliveries) {
            last = now();
            tags.push_back(delivery.tag);
            const auto version = stamp_of(delivery.message).version;
            const auto key = committed.find(delivery.message.ordering_key);
            if (key == committed.end() || version < 1 || version > key->second) {
                ++checked.invented;
                continue;
            }
            Seen& of_key = seen[key->first];
            of_key.versions.resize(static_cast<std::size_t>(key->second) + 1);
            auto was_there = of_key.versions[static_cast<std::size_t>(version)];
            if (was_there) {
                ++checked.duplicates;
                continue;
            }
            was_there = true;
            ++distinct;
            if (version < of_key.highest) ++checked.reordered;
            of_key.highest = std::max(of_key.highest, version);
        }
        subscription->acknowledge(tags);
    }
    checked.lost = expected - distinct;
    return checked;
}

/// Appends and stays open: its hole and its snapshot are there from now to the end of `held`.
void hold(postgres::Transaction& held) {
    Message message;
    message.topic = topic;
    message.ordering_key = held_key;
    message.body = stamped_body({1, to_ns(now())});
    held.append(message);
    (void)held.query("select 1");
}

}  // namespace

bool relay_sustained(Stage& stage, const Options& options, std::vector<ResultRow>& rows) {
    const double seconds = options.seconds;
    // The same work, the open transaction included (it keeps old row versions alive), and no relay.
    const auto writers_only = [&] {
        const std::string database = prepared_database(stage);
        const auto holder = connect(database);
        postgres::Transaction held{*holder};
        hold(held);
        (void)write(database, 1, 0, nullptr);
        return write(database, seconds, 0, nullptr).rate();
    };
    const double limit_before = writers_only();
    tell("relay_sustained: writers alone " + std::to_string(limit_before) + " msg/s");

    const std::string database = prepared_database(stage);
    const DurableBroker broker;
    const auto inner = open_publisher(broker.address());
    CountingPublisher publisher{*inner};
    auto holder = connect(database);
    postgres::Transaction held{*holder};

    double rate = 0;
    double p99 = 0;
    double p50 = 0;
    {
        RelayThread relay{database, publisher};
        (void)write(database, 1, 0, &relay.wake());
        hold(held);

        const auto confirmed_before = publisher.confirmed();
        const Written full = write(database, seconds, 0, &relay.wake());
        rate = static_cast<double>(publisher.confirmed() - confirmed_before) / full.seconds;
        tell("relay_sustained: writers " + std::to_string(full.rate()) + " msg/s, confirmed " + std::to_string(rate) +
             " msg/s");
        pause_until(now() + std::chrono::seconds{1});

        publisher.measure(true);
        (void)write(database, seconds, 0.7 * rate / messages_per_transaction, &relay.wake());
        publisher.measure(false);
        auto latencies = publisher.latencies_ms();
        p50 = quantile(latencies, 0.5);
        p99 = quantile(latencies, 0.99);
        tell("relay_sustained: append to confirmed at 70 %: p50 " + std::to_string(p50) + " ms, p99 " + std::to_string(p99) +
             " ms");

        held.commit();
        wait_until_settled(*connect(database));
    }
    const Checked checked = check(database, broker.address());
    tell("relay_sustained: lost " + std::to_string(checked.lost) + ", reordered " + std::to_string(checked.reordered) +
         ", invented " + std::to_string(checked.invented) + ", sent twice " + std::to_string(checked.duplicates));
    const double limit_after = writers_only();
    tell("relay_sustained: writers alone, again, " + std::to_string(limit_after) + " msg/s");

    rows.push_back({.name = "relay_sustained", .unit = "msg/s", .ours = rate, .limit = (limit_before + limit_after) / 2});
    rows.push_back({.name = "relay_sustained_p50_ms", .unit = "ms", .ours = p50});
    rows.push_back({.name = "relay_sustained_p99_ms", .unit = "ms", .ours = p99});
    rows.push_back({.name = "relay_sustained_lost", .unit = "messages", .ours = static_cast<double>(checked.lost)});
    rows.push_back(
        {.name = "relay_sustained_reordered", .unit = "messages", .ours = static_cast<double>(checked.reordered)});
    return checked.lost == 0 && checked.reordered == 0 && checked.invented == 0;
}

}  // namespace hufu::bench
