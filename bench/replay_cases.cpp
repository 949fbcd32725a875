#include "replay_cases.hpp"

#include <stdlib.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/degradation/packed_message.hpp>
#include <hufu/degradation/replayer.hpp>
#include <hufu/redis/client.hpp>

namespace hufu::bench {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t batch_messages = 1'000;
constexpr std::size_t batches_max = 6;
constexpr std::size_t body_bytes = 256;
constexpr std::size_t raw_page = 4'000;

double seconds_since(SteadyTime begin) { return std::chrono::duration<double>{system_clock().steady_now() - begin}.count(); }

/// Lets so many calls be under way.
class Window {
public:
    void enter() {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return used_ < batches_max; });
        ++used_;
    }
    void leave() {
        const std::lock_guard lock{mutex_};
        --used_;
        changed_.notify_all();
    }
    void drain() {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return used_ == 0; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t used_ = 0;
};

/// Hands `entries` messages out in batches; `send` starts one, checks it and calls `leave` at its end.
template <class Outcome, class Send>
double in_batches(std::uint64_t entries, const Send& send) {
    struct Flight {
        std::vector<Message> messages;
        std::vector<Outcome> outcomes;
    };
    Window window;
    std::vector<std::unique_ptr<Flight>> flights;
    for (std::uint64_t made = 0; made < entries; made += batch_messages) {
        auto flight = std::make_unique<Flight>();
        flight->messages = bench_messages(made, std::min<std::uint64_t>(batch_messages, entries - made));
        flight->outcomes.resize(flight->messages.size());
        flights.push_back(std::move(flight));
    }
    const SteadyTime begin = system_clock().steady_now();
    for (auto& flight : flights) {
        window.enter();
        send(flight->messages, flight->outcomes, [&window] { window.leave(); });
    }
    window.drain();
    const double rate = static_cast<double>(entries) / seconds_since(begin);
    for (const auto& flight : flights) {
        for (const auto& outcome : flight->outcomes) {
            bool good = false;
            if constexpr (std::is_same_v<Outcome, PublishOutcome>) {
                good = outcome.status == PublishStatus::confirmed;
            } else {
                good = outcome.status == degradation::SpillOutcome::Status::spilled;
            }
            if (!good) throw std::runtime_error{"a message was not taken: " + outcome.error.text()};
        }
    }
    return rate;
}

/// Waits until the server has written its file anew, which it begins by itself after so many spills and which takes a core.
void settle(const test_support::RedisServer& server) {
    redis::Client client{server.url()};
    const auto at_rest = [&] {
        const std::string info = client.run(redis::Command{"INFO", "persistence"}).value().text;
        return info.find("aof_rewrite_in_progress:0") != std::string::npos &&
               info.find("aof_rewrite_scheduled:0") != std::string::npos;
    };
    while (!at_rest()) system_clock().sleep_until(system_clock().steady_now() + milliseconds{50}, {});
}

/// XRANGE in the replayer's pages and XACK of each, one after the other on one connection, on a stream of the same entries
/// that a consumer has read before: only then does XACK change something, and is it synced. Nothing is parsed but the ids.
double raw_stream(const test_support::RedisServer& server, std::uint64_t entries) {
    redis::Client client{server.url()};
    static_cast<void>(client.run(redis::Command{"XGROUP", "CREATE", "raw", "g", "0", "MKSTREAM"}).value());
    for (std::uint64_t made = 0; made < entries; made += batch_messages) {
        std::vector<redis::Command> commands;
        for (const auto& message : bench_messages(made, std::min<std::uint64_t>(batch_messages, entries - made))) {
            std::string packed;
            degradation::pack(message, packed);
            commands.emplace_back("XADD", "raw", "*", "k", message.ordering_key, "m", packed);
        }
        for (const auto& reply : client.run(commands)) static_cast<void>(reply.value());
    }
    for (std::uint64_t pending = 0; pending < entries; pending += raw_page) {
        static_cast<void>(
            client.run(redis::Command{"XREADGROUP", "GROUP", "g", "c", "COUNT", raw_page, "STREAMS", "raw", ">"}).value());
    }
    settle(server);
    const SteadyTime begin = system_clock().steady_now();
    std::uint64_t read = 0;
    std::uint64_t acknowledged = 0;
    for (std::string from = "-";;) {
        const auto page = client.run(redis::Command{"XRANGE", "raw", from, "+", "COUNT", raw_page}).value();
        std::vector<std::string_view> words{"XACK", "raw", "g"};
        for (const auto& item : page.items) words.push_back(item.items[0].text);
        if (page.items.empty()) break;
        acknowledged += static_cast<std::uint64_t>(client.run(redis::Command{words}).value().integer);
        read += page.items.size();
        from = "(" + page.items.back().items[0].text;
    }
    const double rate = static_cast<double>(read) / seconds_since(begin);
    static_cast<void>(client.run(redis::Command{"DEL", "raw"}).value());
    if (read != entries || acknowledged != entries) throw std::runtime_error{"the raw stream lost entries"};
    return rate;
}

/// Empties the buffer; messages a second.
double replay_all(degradation::Buffer& buffer, Publisher& publisher, std::uint64_t entries) {
    degradation::Replayer replayer{buffer, publisher, {}, "bench"};
    const SteadyTime begin = system_clock().steady_now();
    const auto report = replayer.run({}, {.when_empty = true, .patience = std::chrono::seconds{30}}).value();
    const double rate = static_cast<double>(entries) / seconds_since(begin);
    if (report.figures.confirmed != entries || !report.figures.adds_up() || !report.left || report.left->entries != 0) {
        throw std::runtime_error{"the replay did not confirm every entry: " + std::to_string(report.figures.confirmed)};
    }
    return rate;
}

/// A thousand messages a second, one by one; microseconds from the call to the confirmation.
std::vector<double> live_latencies(Publisher& publisher, int seconds) {
    struct Flight {
        std::vector<Message> message;
        std::vector<PublishOutcome> outcome = std::vector<PublishOutcome>(1);
        SteadyTime begin;
        SteadyTime end;
    };
    const auto count = static_cast<std::size_t>(seconds) * 1'000;
    std::vector<Flight> flights(count);
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t done = 0;
    const auto messages = bench_messages(1'000'000'000, count);
    const SteadyTime start = system_clock().steady_now();
    for (std::size_t i = 0; i < count; ++i) {
        auto& flight = flights[i];
        flight.message = {messages[i]};
        flight.message[0].topic = "live";
        flight.begin = start + milliseconds{i};  // its own time, whether or not we are late
        system_clock().sleep_until(flight.begin, {});
        publisher.publish(flight.message, flight.outcome, [&] {
            const std::lock_guard lock{mutex};
            flight.end = system_clock().steady_now();
            ++done;
            changed.notify_all();
        });
    }
    std::unique_lock lock{mutex};
    changed.wait(lock, [&] { return done == count; });
    std::vector<double> all;
    for (const auto& flight : flights) {
        if (flight.outcome[0].status != PublishStatus::confirmed)
            throw std::runtime_error{"a live message was not confirmed"};
        all.push_back(std::chrono::duration<double, std::micro>{flight.end - flight.begin}.count());
    }
    std::sort(all.begin(), all.end());
    return all;
}

double p99(const std::vector<double>& sorted) { return sorted[sorted.size() * 99 / 100]; }

}  // namespace

ReplayStage::ReplayStage(const ReplayBench& options) : server_{{.durable = true}} {
    std::string pattern = "/tmp/hufu-bench-replay-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error{"cannot make a folder under /tmp"};
    folder_ = pattern;
    broker_ = std::make_unique<BrokerProcess>(BrokerProcess::start(options.broker, folder_ + "/broker").value());
}

ReplayStage::~ReplayStage() {
    broker_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

std::unique_ptr<degradation::Buffer> ReplayStage::redis(const std::string& name) const {
    return connect::buffer(server_.url() + "?buffer=" + name).value();
}

std::unique_ptr<degradation::Buffer> ReplayStage::journal() const {
    return connect::buffer("journal:" + folder_ + "/journal").value();
}

std::unique_ptr<Publisher> ReplayStage::publisher() const {
    return connect::publisher("rocketmq://127.0.0.1:" + std::to_string(broker_->port())).value();
}

std::vector<Message> bench_messages(std::uint64_t first, std::uint64_t count) {
    MessageIdGenerator ids{system_clock(), system_random()};
    std::vector<Message> messages;
    messages.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        messages.push_back({.id = ids.next(), .topic = "orders", .ordering_key = "k" + std::to_string((first + i) % 1'000)});
        messages.back().body.assign(body_bytes, 'x');
    }
    return messages;
}

double spill_all(degradation::Buffer& buffer, std::uint64_t entries) {
    return in_batches<degradation::SpillOutcome>(entries, [&](auto& messages, auto& outcomes, auto done) {
        buffer.spill(messages, degradation::SpillWhen::always, outcomes, done);
    });
}

double publish_all(Publisher& publisher, std::uint64_t entries) {
    return in_batches<PublishOutcome>(
        entries, [&](auto& messages, auto& outcomes, auto done) { publisher.publish(messages, outcomes, done); });
}

void bench_spill_and_replay(const ReplayStage& stage, const ReplayBench& options, std::vector<ResultRow>& rows) {
    const auto publisher = stage.publisher();
    tell("publishing directly");
    static_cast<void>(publish_all(*publisher, options.entries / 10));  // the broker's topic, queues and files are there
    const double before = publish_all(*publisher, options.entries);
    const double raw = raw_stream(stage.server(), options.entries);
    tell("spilling into Redis");
    const auto redis = stage.redis("bench");
    const double spilled = spill_all(*redis, options.entries);
    rows.push_back({.name = "spill", .unit = "msg/s", .ours = spilled, .aim = {.ours = 150'000}});
    settle(stage.server());
    tell("replaying from Redis");
    const double replayed = replay_all(*redis, *publisher, options.entries);
    const double after = publish_all(*publisher, options.entries);
    const double published = (before + after) / 2;
    rows.push_back({.name = "replay",
                    .unit = "msg/s",
                    .ours = replayed,
                    .limit = std::min(published, raw),
                    .aim = {.of_limit = 0.9},
                    .beside = {{"raw_publish", published}, {"raw_xrange_xack", raw}}});
    tell("the same with a journal");
    const auto journal = stage.journal();
    rows.push_back({.name = "spill_journal", .unit = "msg/s", .ours = spill_all(*journal, options.entries)});
    rows.push_back({.name = "replay_journal",
                    .unit = "msg/s",
                    .ours = replay_all(*journal, *publisher, options.entries),
                    .limit = publish_all(*publisher, options.entries)});
}

void bench_live(const ReplayStage& stage, const ReplayBench& options, double replay_rate, std::vector<ResultRow>& rows) {
    const auto live = stage.publisher();
    const auto publisher = stage.publisher();
    const auto redis = stage.redis("live");
    const double rate = replay_rate / 2;
    const auto wanted = static_cast<std::uint64_t>(rate * (options.seconds + 2));
    static_cast<void>(spill_all(*redis, wanted));
    settle(stage.server());
    tell("live traffic alone, then beside a replay at half its rate");
    static_cast<void>(live_latencies(*live, 1));
    const double alone = p99(live_latencies(*live, options.seconds));
    degradation::Replayer replayer{*redis, *publisher, {.per_second = rate}, "live"};
    std::stop_source stop;
    Result<degradation::ReplayReport> report = degradation::ReplayReport{};
    std::thread replaying{[&] { report = replayer.run(stop.get_token(), {.when_empty = false}); }};
    while (replayer.figures().confirmed == 0) system_clock().sleep_until(system_clock().steady_now() + milliseconds{5}, {});
    const SteadyTime begin = system_clock().steady_now();
    const auto confirmed = replayer.figures().confirmed;
    const double beside = p99(live_latencies(*live, options.seconds));
    const double reached = static_cast<double>(replayer.figures().confirmed - confirmed) / seconds_since(begin);
    stop.request_stop();
    replaying.join();
    static_cast<void>(report.value());
    rows.push_back({.name = "live_p99_during_replay",
                    .unit = "us",
                    .ours = beside,
                    .other = alone,
                    .other_name = "live traffic alone",
                    .better = Better::lower,
                    .aim = {.ratio = 2},
                    .beside = {{"replay_rate_wanted", rate}, {"replay_rate_reached", reached}}});
}

}  // namespace hufu::bench
