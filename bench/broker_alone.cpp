#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "broker_bench.hpp"
#include "broker_crowd.hpp"
#include "broker_process.hpp"
#include "disk_probe.hpp"
#include "load_client.hpp"
#include "queue_reader.hpp"
#include "usage.hpp"

namespace hufu::bench {
namespace {

constexpr double gb = 1e9;

class Alone {
public:
    explicit Alone(BrokerOptions options) : options_{std::move(options)} {}

    Result<BrokerOutcome> run() {
        for (const auto step : {&Alone::start, &Alone::idle_memory, &Alone::publish, &Alone::loaded_memory, &Alone::recovery,
                                &Alone::timers}) {
            if (auto done = (this->*step)(); !done) {
                return done.error();
            }
        }
        if (auto done = bench_crowd(options_, outcome_); !done) {
            return done.error();
        }
        return std::move(outcome_);
    }

private:
    [[nodiscard]] bool wanted(const std::string& name) const { return options_.wanted(name); }
    void add(ResultRow row) { outcome_.add(std::move(row)); }
    /// A folder that nobody has used.
    std::string fresh_folder() {
        const std::string folder = options_.folder + "/" + std::to_string(++folders_);
        std::filesystem::create_directories(folder);
        return folder;
    }
    void remove(const std::string& folder) {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
    }
    [[nodiscard]] LoadOptions load(std::size_t window) const {
        LoadOptions options;
        options.window = window;
        options.connections = std::min(options_.connections, window);
        options.duration = std::chrono::nanoseconds{static_cast<std::int64_t>(options_.seconds * 1e9)};
        options.spin = std::chrono::microseconds{options_.spin_us};
        return options;
    }
    /// Compares what a client saw acknowledged with what the queues hold.
    Result<void> check(const BrokerProcess& broker, std::uint64_t acknowledged, std::uint64_t sent) {
        auto stored = stored_in(broker);
        if (!stored) {
            return stored.error();
        }
        outcome_.lost += acknowledged > *stored ? acknowledged - *stored : 0;
        outcome_.invented += *stored > sent ? *stored - sent : 0;
        return {};
    }

    static Result<std::uint64_t> stored_in(const BrokerProcess& broker) {
        auto reader = QueueReader::connect(broker.port());
        return reader ? reader->stored(LoadShape{}) : reader.error();
    }

    Result<void> start();
    Result<void> idle_memory();
    Result<void> publish();
    Result<void> loaded_memory();
    Result<void> recovery();
    Result<void> timers() { return wanted("timers_1m") ? bench_timers(options_, outcome_) : Result<void>{}; }
    Result<void> publish_leg(const std::string& name, std::size_t window, std::size_t group, std::size_t batch);

    BrokerOptions options_;
    BrokerOutcome outcome_;
    int folders_ = 0;
};

Result<void> Alone::start() {
    if (!wanted("start_ms")) {
        return {};
    }
    std::vector<double> times;
    for (int i = 0; i < 9; ++i) {
        const std::string folder = fresh_folder();
        auto broker = BrokerProcess::start(options_.broker, folder);
        if (!broker) {
            return broker.error();
        }
        times.push_back(broker->start_ms());
        broker->kill();
        remove(folder);
    }
    add({.name = "start_ms", .unit = "ms", .ours = median(std::move(times)), .better = Better::lower});
    return {};
}

Result<void> Alone::idle_memory() {
    if (!wanted("idle_rss_anon_mb")) {
        return {};
    }
    const std::string folder = fresh_folder();
    auto broker = BrokerProcess::start(options_.broker, folder);
    if (!broker) {
        return broker.error();
    }
    // What it does after its start is done by then.
    system_clock().sleep_until(system_clock().steady_now() + std::chrono::milliseconds{500}, std::stop_token{});
    add({.name = "idle_rss_anon_mb", .unit = "MB", .ours = rss_anon_mb(broker->pid()), .better = Better::lower});
    broker->kill();
    remove(folder);
    return {};
}

Result<void> Alone::publish_leg(const std::string& name, std::size_t window, std::size_t group, std::size_t batch) {
    if (!wanted(name)) {
        return {};
    }
    std::vector<double> rates;
    std::vector<double> limits;
    std::vector<double> parts;
    for (int round = 0; round < options_.rounds; ++round) {
        const std::string folder = fresh_folder();
        auto before = probe_disk(folder, group);
        auto broker = BrokerProcess::start(options_.broker, folder);
        if (!before || !broker) {
            return before ? broker.error() : before.error();
        }
        LoadOptions options = load(window);
        options.shape.batch = batch;
        auto client = LoadClient::connect(broker->port(), options);
        if (!client) {
            return client.error();
        }
        auto result = client->publish();
        if (!result) {
            return result.error();
        }
        if (auto checked = check(*broker, result->acknowledged, result->sent); !checked) {
            return checked;
        }
        if (!broker->stop()) {
            return Error{ErrorCode::internal, Disposition::fatal,
                         "the broker did not stop cleanly; see " + folder + ".stderr"};
        }
        auto after = probe_disk(folder, group);
        if (!after) {
            return after.error();
        }
        remove(folder);
        const double limit = (*before + *after) / 2;
        char line[200];
        std::snprintf(line, sizeof line,
                      "  %s round %d: %.0f/s, disk alone %.0f before, %.0f after; p50 %.0f us, p99 %.0f us", name.c_str(),
                      round + 1, result->rate(), *before, *after, result->percentile_us(0.5), result->percentile_us(0.99));
        tell(line);
        rates.push_back(result->rate());
        limits.push_back(limit);
        parts.push_back(result->rate() / limit);
    }
    // The middle round, judged by its own probes: neighbours of this machine move the absolute figures between rounds.
    const double middle = median(parts);
    const auto at = static_cast<std::size_t>(std::find(parts.begin(), parts.end(), middle) - parts.begin());
    add({.name = name, .unit = "messages/s", .ours = rates[at], .limit = limits[at]});
    return {};
}

Result<void> Alone::publish() {
    struct Leg {
        const char* name;
        std::size_t window;
        std::size_t group;
        std::size_t batch = 1;
    };
    for (const Leg& leg : {Leg{"publish_w1", 1, 1}, Leg{"publish_w64", 64, 64}, Leg{"publish_w256", 256, 256},
                           Leg{"publish_batch32", 64, 1024, 32}, Leg{"publish_async", options_.async_window, 256}}) {
        if (auto done = publish_leg(leg.name, leg.window, leg.group, leg.batch); !done) {
            return done;
        }
    }
    return {};
}

Result<void> Alone::loaded_memory() {
    if (!wanted("loaded_rss_anon_mb")) {
        return {};
    }
    const std::string folder = fresh_folder();
    auto broker = BrokerProcess::start(options_.broker, folder);
    if (!broker) {
        return broker.error();
    }
    LoadOptions options = load(options_.async_window);
    options.duration = std::chrono::minutes{10};
    options.messages_max = static_cast<std::uint64_t>(gb / static_cast<double>(options.shape.body_bytes));
    auto client = LoadClient::connect(broker->port(), options);
    if (!client) {
        return client.error();
    }
    double most = 0;
    auto result = client->publish([&] {
        most = std::max(most, rss_anon_mb(broker->pid()));
        return true;
    });
    if (!result) {
        return result.error();
    }
    auto reader = QueueReader::connect(broker->port());
    if (!reader) {
        return reader.error();
    }
    auto read = reader->read_all({}, 512);
    if (!read) {
        return read.error();
    }
    most = std::max(most, rss_anon_mb(broker->pid()));
    outcome_.lost += result->acknowledged > read->messages ? result->acknowledged - read->messages : 0;
    outcome_.invented += read->messages > result->sent ? read->messages - result->sent : 0;
    add({.name = "loaded_rss_anon_mb", .unit = "MB", .ours = most, .better = Better::lower});
    broker->kill();
    remove(folder);
    return {};
}

Result<void> Alone::recovery() {
    if (!wanted("recovery_ms")) {
        return {};
    }
    const std::string folder = fresh_folder();
    std::uint64_t acknowledged = 0;
    std::uint64_t sent = 0;
    const auto target = static_cast<std::uint64_t>(options_.store_gb * gb / static_cast<double>(record_bytes));
    tell("  recovery: filling " + std::to_string(options_.store_gb).substr(0, 4) + " GB");
    std::vector<double> times;
    for (int round = 0; round < 4; ++round) {
        auto broker = BrokerProcess::start(options_.broker, folder);
        if (!broker) {
            return broker.error();
        }
        LoadOptions options = load(4'096);
        options.duration = round == 0 ? std::chrono::minutes{30} : std::chrono::seconds{1};
        auto client = LoadClient::connect(broker->port(), options);
        if (!client) {
            return client.error();
        }
        if (round > 0) {
            times.push_back(broker->start_ms());
            if (auto checked = check(*broker, acknowledged, sent); !checked) {
                return checked;
            }
            auto stored = stored_in(*broker);
            if (!stored) {
                return stored.error();
            }
            acknowledged = sent = *stored;  // what is there now has to stay
        }
        if (round == 3) {
            broker->kill();
            break;
        }
        // Killed in the middle of the load.
        int ticks = 0;
        auto result = client->publish([&] {
            ++ticks;
            if (round == 0 ? client->last().acknowledged >= target : ticks >= 5) {
                broker->kill();
            }
            return true;
        });
        acknowledged += client->last().acknowledged;
        sent += client->last().sent;
        if (result) {
            return Error{ErrorCode::internal, Disposition::fatal,
                         "the broker was to be killed under load and lived; give --store-gb less"};
        }
    }
    add({.name = "recovery_ms", .unit = "ms", .ours = median(std::move(times)), .better = Better::lower});
    remove(folder);
    return {};
}

}  // namespace

Result<BrokerOutcome> bench_alone(const BrokerOptions& options) { return Alone{options}.run(); }

}  // namespace hufu::bench
