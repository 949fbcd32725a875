#include <algorithm>

#include <hufu/test_support/kafka_server.hpp>

#include "disk_probe.hpp"
#include "java_load.hpp"
#include "versus.hpp"

namespace hufu::bench {
namespace {

constexpr const char* other_name = "kafka-4.3.1";

class VersusKafka {
public:
    explicit VersusKafka(const BrokerOptions& options)
        : options_{options},
          syncs_{options.folder + "/kafka.syncs"},
          kafka_{{.parent = options.folder, .flush_each = !options.async, .heap_mb = 1024, .fast = true, .syncs = &syncs_}} {
    }

    BrokerOutcome run() {
        start_and_idle_memory(options_,
                              {.other_name = other_name,
                               .start_other = [this] { return std::vector<double>{kafka_.start_ms()}; },
                               .other_memory_mb = [this] { return rss_anon_mb(kafka_.pid()); }},
                              outcome_);
        publish_async();
        return std::move(outcome_);
    }

private:
    [[nodiscard]] Side other() const {
        return {.port = port(), .pid = kafka_.pid(), .syncs = &syncs_, .folder = options_.folder};
    }
    [[nodiscard]] std::uint16_t port() const {
        const std::string address = kafka_.address();
        return static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1)));
    }
    void publish_async();

    const BrokerOptions& options_;
    test_support::SyncCounter syncs_;
    test_support::KafkaServer kafka_;
    BrokerOutcome outcome_;
};

/// Each side under its own best producer: ours many messages in flight, Kafka's with its batches.
void VersusKafka::publish_async() {
    const std::string name = "publish_async";
    if (!options_.wanted(name) && !options_.wanted("loaded_rss_anon_mb")) {
        return;
    }
    LoadOptions load;
    load.window = options_.async_window;
    load.connections = options_.connections;
    load.duration = std::chrono::nanoseconds{static_cast<std::int64_t>(options_.seconds * 1e9)};
    const OurBroker broker{options_};
    const Side ours = broker.side();
    kafka_.create_topic("bench", load.shape.queues);

    Ledger ledger;
    LoadResult result;
    const auto our_leg = [&] {
        const Leg leg = publish_leg(ours, load, result);
        ledger.add(result);
        return leg;
    };
    our_leg();
    tell("  warming Kafka");
    constexpr std::uint64_t first = 100'000;
    const double expected =
        kafka_producer_leg(other(), "bench", first, first, load.shape.body_bytes, kafka_.directory()).rate;
    const auto warm_up = static_cast<std::uint64_t>(expected * 2);
    const auto messages = static_cast<std::uint64_t>(expected * options_.seconds);
    std::vector<double> limits;
    const auto our_turn = [&] {
        if (!options_.async) {
            limits.push_back(probe_disk(options_.folder, 1024).value());
        }
        return our_leg();
    };
    const auto other_turn = [&] {
        return kafka_producer_leg(other(), "bench", warm_up, messages, load.shape.body_bytes, kafka_.directory());
    };
    Legs legs = in_turn(options_, {ours.pid, our_turn}, {kafka_.pid(), other_turn});
    legs.limits = std::move(limits);
    ledger.compare(ours, load.shape, outcome_.lost, outcome_.invented);
    outcome_.add(rate_row(name, other_name, legs, options_.async ? Aim{} : Aim{.ratio = 4}));
    outcome_.add(memory_row("loaded_rss_anon_mb", rss_anon_mb(ours.pid), rss_anon_mb(kafka_.pid()), other_name));
}

}  // namespace

BrokerOutcome bench_vs_kafka(const BrokerOptions& options) { return VersusKafka{options}.run(); }

}  // namespace hufu::bench
