// hufu-bench-broker: what the bundled broker can do, beside what the disk under it can do.
//
// Messages of 1 KiB are acknowledged after fdatasync. Every publish leg stands between two probes of the disk alone on the
// same folder; `limit` is the disk's rate: one synced write per message for a window of 1, groups of the window's size
// (256 for the unlimited one) gathered into one synced write for the others. Every row of messages is checked: what was
// acknowledged is counted again in the queues.
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <filesystem>
#include <optional>

#include <hufu/core/file.hpp>

#include "broker_process.hpp"
#include "load_client.hpp"
#include "report.hpp"

namespace hufu::bench {
namespace {

struct Options {
    bool json = false;
    std::string broker = {};
    std::string folder = {};
    double store_gb = 3;
    double seconds = 2;
    int rounds = 5;
    std::size_t connections = 1;
    std::size_t async_window = 16'384;
    int spin_us = 0;
    std::vector<std::string> only = {};
};

constexpr double gb = 1e9;
constexpr std::size_t record_bytes = 1'216;  // what 1 KiB takes in the log, about

/// Rows, and whether every check held.
struct Outcome {
    std::vector<ResultRow> rows = {};
    std::uint64_t lost = 0;      // acknowledged and not stored
    std::uint64_t invented = 0;  // stored and never sent
};

class Bench {
public:
    explicit Bench(Options options) : options_{std::move(options)} {}

    Result<Outcome> run() {
        for (const auto step :
             {&Bench::start, &Bench::idle_memory, &Bench::publish, &Bench::loaded_memory, &Bench::recovery}) {
            if (auto done = (this->*step)(); !done) {
                return done.error();
            }
        }
        outcome_.rows.push_back(
            {.name = "acknowledged_not_stored", .unit = "messages", .ours = static_cast<double>(outcome_.lost)});
        outcome_.rows.push_back(
            {.name = "stored_not_sent", .unit = "messages", .ours = static_cast<double>(outcome_.invented)});
        return std::move(outcome_);
    }

private:
    [[nodiscard]] bool wanted(const std::string& name) const {
        return options_.only.empty() || std::find(options_.only.begin(), options_.only.end(), name) != options_.only.end();
    }
    void add(ResultRow row) {
        char line[160];
        std::snprintf(line, sizeof line, "%-24s %12.2f %s%s", row.name.c_str(), row.ours, row.unit.c_str(),
                      row.limit ? (" (limit " + std::to_string(static_cast<long>(*row.limit)) + ")").c_str() : "");
        tell(line);
        outcome_.rows.push_back(std::move(row));
    }
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
    Result<void> check(LoadClient& client, std::uint64_t acknowledged, std::uint64_t sent) {
        auto stored = client.stored();
        if (!stored) {
            return stored.error();
        }
        outcome_.lost += acknowledged > *stored ? acknowledged - *stored : 0;
        outcome_.invented += *stored > sent ? *stored - sent : 0;
        return {};
    }

    Result<void> start();
    Result<void> idle_memory();
    Result<void> publish();
    Result<void> loaded_memory();
    Result<void> recovery();
    Result<double> probe(const std::string& folder, std::size_t group);
    Result<void> publish_leg(const std::string& name, std::size_t window, std::size_t group);

    Options options_;
    Outcome outcome_;
    int folders_ = 0;
};

/// Records per second that the disk alone makes durable when `group` of them go into one synced write of a prepared file.
Result<double> Bench::probe(const std::string& folder, std::size_t group) {
    constexpr std::chrono::milliseconds length{400};
    constexpr std::uint64_t file_bytes = 64U << 20U;
    auto directory = open_directory(folder);
    if (!directory) {
        return directory.error();
    }
    const std::string name = "probe";
    auto opened = (*directory)->open(name, OpenMode::create_new);
    if (!opened) {
        return opened.error();
    }
    File& file = **opened;
    if (auto prepared = file.preallocate(file_bytes); !prepared) {
        return prepared.error();
    }
    if (auto synced = file.sync_data(); !synced) {
        return synced.error();
    }
    const std::vector<std::byte> bytes(group * record_bytes, std::byte{0x5A});
    const std::span<const std::byte> part{bytes};
    std::uint64_t offset = 0;
    std::uint64_t syncs = 0;
    const SteadyTime begin = system_clock().steady_now();
    SteadyTime now = begin;
    for (; now - begin < length; now = system_clock().steady_now()) {
        if (offset + bytes.size() > file_bytes) {
            offset = 0;
        }
        auto written = file.write_at(offset, {&part, 1});
        if (!written) {
            return written.error();
        }
        if (auto synced = file.sync_data(); !synced) {
            return synced.error();
        }
        offset += bytes.size();
        ++syncs;
    }
    opened->reset();
    if (auto removed = (*directory)->remove(name); !removed) {
        return removed.error();
    }
    return static_cast<double>(syncs * group) / std::chrono::duration<double>(now - begin).count();
}

Result<void> Bench::start() {
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
    add({.name = "start_ms", .unit = "ms", .ours = median(std::move(times))});
    return {};
}

Result<void> Bench::idle_memory() {
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
    add({.name = "idle_rss_anon_mb", .unit = "MB", .ours = broker->rss_anon_mb()});
    broker->kill();
    remove(folder);
    return {};
}

Result<void> Bench::publish_leg(const std::string& name, std::size_t window, std::size_t group) {
    if (!wanted(name)) {
        return {};
    }
    std::vector<double> rates;
    std::vector<double> limits;
    std::vector<double> parts;
    for (int round = 0; round < options_.rounds; ++round) {
        const std::string folder = fresh_folder();
        auto before = probe(folder, group);
        auto broker = BrokerProcess::start(options_.broker, folder);
        if (!before || !broker) {
            return before ? broker.error() : before.error();
        }
        auto client = LoadClient::connect(broker->port(), load(window));
        if (!client) {
            return client.error();
        }
        auto result = client->publish();
        if (!result) {
            return result.error();
        }
        if (auto checked = check(*client, result->acknowledged, result->sent); !checked) {
            return checked;
        }
        if (!broker->stop()) {
            return Error{ErrorCode::internal, Disposition::fatal,
                         "the broker did not stop cleanly; see " + folder + ".stderr"};
        }
        auto after = probe(folder, group);
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

Result<void> Bench::publish() {
    struct Leg {
        const char* name;
        std::size_t window;
        std::size_t group;
    };
    for (const Leg& leg : {Leg{"publish_w1", 1, 1}, Leg{"publish_w64", 64, 64}, Leg{"publish_w256", 256, 256},
                           Leg{"publish_async", options_.async_window, 256}}) {
        if (auto done = publish_leg(leg.name, leg.window, leg.group); !done) {
            return done;
        }
    }
    return {};
}

Result<void> Bench::loaded_memory() {
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
    options.messages_max = static_cast<std::uint64_t>(gb / static_cast<double>(options.body_bytes));
    auto client = LoadClient::connect(broker->port(), options);
    if (!client) {
        return client.error();
    }
    double most = 0;
    auto result = client->publish([&] {
        most = std::max(most, broker->rss_anon_mb());
        return true;
    });
    if (!result) {
        return result.error();
    }
    auto read = client->read_all();
    if (!read) {
        return read.error();
    }
    most = std::max(most, broker->rss_anon_mb());
    outcome_.lost += result->acknowledged > *read ? result->acknowledged - *read : 0;
    outcome_.invented += *read > result->sent ? *read - result->sent : 0;
    add({.name = "loaded_rss_anon_mb", .unit = "MB", .ours = most});
    broker->kill();
    remove(folder);
    return {};
}

Result<void> Bench::recovery() {
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
            if (auto checked = check(*client, acknowledged, sent); !checked) {
                return checked;
            }
            auto stored = client->stored();
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
    add({.name = "recovery_ms", .unit = "ms", .ours = median(std::move(times))});
    remove(folder);
    return {};
}

}  // namespace
}  // namespace hufu::bench

int main(int argc, char** argv) {
    using namespace hufu;
    bench::Options options;
    CLI::App app{"Measures the bundled broker: 1 KiB messages, acknowledged after fdatasync."};
    app.add_flag("--json", options.json, "one JSON object to standard output");
    app.add_option("--store-gb", options.store_gb, "size of the log that recovery starts from")->check(CLI::PositiveNumber);
    app.add_option("--seconds", options.seconds, "length of a publish leg")->check(CLI::PositiveNumber);
    app.add_option("--rounds", options.rounds, "publish legs per case")->check(CLI::Range(1, 99));
    app.add_option("--connections", options.connections, "connections of the load")->check(CLI::Range(1, 64));
    app.add_option("--async-window", options.async_window, "requests in flight of publish_async")
        ->check(CLI::Range(256, 1 << 20));
    app.add_option("--spin-us", options.spin_us,
                   "how long the load looks for answers before it sleeps; on few cores it then takes time from the broker")
        ->check(CLI::Range(0, 100'000));
    app.add_option("--only", options.only, "cases to run, separated by commas")->delimiter(',');
    app.add_option("--dir", options.folder, "folder for logs, on the disk to be measured (a new one in /var/tmp)");
    app.add_option("--broker", options.broker, "the hufu-broker program (beside this one)");
    CLI11_PARSE(app, argc, argv);

    std::error_code error;
    if (options.broker.empty()) {
        options.broker = (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "hufu-broker").string();
    }
    const bool own_folder = options.folder.empty();
    if (own_folder) {
        options.folder = "/var/tmp/hufu-bench-broker-" + std::to_string(::getpid());
    }
    const std::string folder = options.folder;
    std::filesystem::create_directories(folder, error);
    if (error || ::access(options.broker.c_str(), X_OK) != 0) {
        bench::tell(error ? "folder " + folder + " cannot be made: " + error.message() + "; give another one with --dir"
                          : "no program " + options.broker + ": build hufu-broker, or name it with --broker");
        return 2;
    }
    auto outcome = bench::Bench{std::move(options)}.run();
    if (!outcome) {
        bench::tell("not valid: " + outcome.error().text());
        return 1;
    }
    if (own_folder) {
        std::filesystem::remove_all(folder, error);
    }
    const bool held = outcome->lost == 0 && outcome->invented == 0;
    if (app.get_option("--json")->as<bool>()) {
        std::puts(bench::result_json("broker", outcome->rows,
                                     {{"durability", "acknowledged after fdatasync"}, {"message_bytes", "1024"}})
                      .c_str());
    } else {
        std::fputs(bench::result_table(outcome->rows).c_str(), stdout);
    }
    return held ? 0 : 1;
}
