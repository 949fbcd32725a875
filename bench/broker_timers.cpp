// A million delayed messages that are due within one second.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "broker_bench.hpp"
#include "broker_process.hpp"
#include "load_client.hpp"
#include "queue_reader.hpp"
#include "usage.hpp"

namespace hufu::bench {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t delayed_body_bytes = 128;
constexpr double ordinary_per_second = 1000;

std::int64_t wall_ms() {
    return std::chrono::duration_cast<milliseconds>(system_clock().system_now().time_since_epoch()).count();
}

Error invalid(std::string text) { return Error{ErrorCode::internal, Disposition::fatal, "timers_1m: " + std::move(text)}; }

class Timers {
public:
    Timers(const BrokerOptions& options, BrokerOutcome& outcome) : options_{options}, outcome_{outcome} {
        folder_ = options.folder + "/timers";
        std::filesystem::create_directories(folder_);
        // Long enough for the load, the restart and the quiet leg; a slow machine says so and does not count.
        const auto load_ms = static_cast<std::int64_t>(options.timers / 25);
        shape_ = {.topic = "delayed", .body_bytes = delayed_body_bytes, .deliver_ms = wall_ms() + load_ms + 12'000};
    }
    ~Timers() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;

    Result<void> run() {
        auto started = BrokerProcess::start(options_.broker, folder_);
        if (!started) return started.error();
        if (auto filled = fill(*started); !filled) return filled;
        started->kill();
        auto broker = BrokerProcess::start(options_.broker, folder_);
        if (!broker) return broker.error();
        auto quiet = ordinary(*broker, std::chrono::seconds{4}, {});
        if (!quiet) return quiet.error();
        if (wall_ms() > shape_.deliver_ms - 500) return invalid("the machine was too slow to store the messages in time");
        system_clock().sleep_until(system_clock().steady_now() + milliseconds{shape_.deliver_ms - 300 - wall_ms()},
                                   std::stop_token{});

        auto reader = QueueReader::connect(broker->port());
        if (!reader) return reader.error();
        std::uint64_t delivered = 0;
        std::int64_t done_ms = 0;
        const auto look = [&] {
            const auto stored = reader->stored(shape_);
            delivered = stored ? *stored : delivered;
            if (delivered >= options_.timers) done_ms = wall_ms();
            return stored && done_ms == 0;
        };
        auto busy = ordinary(*broker, std::chrono::minutes{3}, look);
        if (!busy) return busy.error();
        if (done_ms == 0) return invalid(std::to_string(delivered) + " were delivered when the run ended");
        // Nothing comes twice, either.
        system_clock().sleep_until(system_clock().steady_now() + milliseconds{500}, std::stop_token{});
        const auto stored = reader->stored(shape_);
        if (!stored) return stored.error();
        outcome_.lost += options_.timers > *stored ? options_.timers - *stored : 0;
        outcome_.invented += *stored > options_.timers ? *stored - options_.timers : 0;
        report(*broker, static_cast<double>(done_ms - shape_.deliver_ms) / 1000, *quiet, *busy);
        broker->kill();
        return {};
    }

private:
    Result<void> fill(const BrokerProcess& broker) {
        LoadOptions load;
        load.shape = shape_;
        load.window = 8'192;
        load.duration = std::chrono::minutes{10};
        load.messages_max = options_.timers;
        auto client = LoadClient::connect(broker.port(), load);
        if (!client) return client.error();
        auto result = client->publish();
        if (!result) return result.error();
        tell("  timers_1m: " + std::to_string(result->acknowledged) + " messages stored, " +
             std::to_string(static_cast<long>(result->rate())) + "/s");
        return {};
    }

    /// Ordinary sends at a fixed rate, whether or not they are answered in time.
    Result<LoadResult> ordinary(const BrokerProcess& broker, std::chrono::nanoseconds duration,
                                const std::function<bool()>& look) {
        LoadOptions load;
        load.shape.topic = "ordinary";
        load.requests_per_second = ordinary_per_second;
        load.duration = duration;
        auto client = LoadClient::connect(broker.port(), load);
        return client ? client->publish(look) : client.error();
    }

    void report(const BrokerProcess& broker, double seconds, LoadResult& quiet, LoadResult& busy) {
        outcome_.add({.name = "timers_1m",
                      .unit = "messages/s",
                      .ours = static_cast<double>(options_.timers) / seconds,
                      .beside = {{"timers", static_cast<double>(options_.timers)},
                                 {"delivered_after_s", seconds},
                                 {"start_ms", broker.start_ms()},
                                 {"rss_anon_mb", rss_anon_mb(broker.pid())}}});
        for (const auto& [name, part] : {std::pair{"timers_1m_send_p50_us", 0.5}, std::pair{"timers_1m_send_p99_us", 0.99}})
            outcome_.add({.name = name,
                          .unit = "us",
                          .ours = busy.percentile_us(part),
                          .other = quiet.percentile_us(part),
                          .other_name = "without timers",
                          .better = Better::lower});
    }

    const BrokerOptions& options_;
    BrokerOutcome& outcome_;
    std::string folder_;
    LoadShape shape_;
};

}  // namespace

Result<void> bench_timers(const BrokerOptions& options, BrokerOutcome& outcome) { return Timers{options, outcome}.run(); }

}  // namespace hufu::bench
