#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include <hufu/test_support/rocketmq_server.hpp>

#include "java_load.hpp"
#include "versus.hpp"

namespace hufu::bench {
namespace {

constexpr const char* other_name = "rocketmq-5.3.3";
constexpr std::uint64_t drained_messages = 1'000'000;

class VersusRocketmq {
public:
    explicit VersusRocketmq(const BrokerOptions& options)
        : options_{options}, syncs_{options.folder + "/rocketmq.syncs"}, rocketmq_{server_options()} {}

    BrokerOutcome run() {
        start_and_idle_memory(options_,
                              {.other_name = other_name,
                               .start_other = [this] { return start_other(); },
                               .other_memory_mb = [this] { return other_memory_mb(); },
                               .start_aim = {.ratio = 1.0 / 60},
                               .memory_aim = {.ratio = 1.0 / 14}},
                              outcome_);
        warm_up();
        publish("publish_w1", 1, 1, {.ratio = 3, .of_limit = 0.85});
        publish("publish_w64", 64, 64, {.ratio = 10});
        publish("publish_w256", 256, 256, {.ratio = 10});
        publish_batches();
        publish_async();
        many_topics();
        open_loop();
        java_producer();
        drain_memory_and_recovery();
        return std::move(outcome_);
    }

private:
    test_support::RocketmqServerOptions server_options() {
        return {.parent = options_.folder, .sync_flush = !options_.async, .heap_mb = 1024, .fast = true, .syncs = &syncs_};
    }
    [[nodiscard]] Side other() const {
        return {.port = rocketmq_.broker_port(),
                .pid = rocketmq_.broker_pid(),
                .syncs = &syncs_,
                .refusals_allowed = true,
                .folder = options_.folder};
    }
    [[nodiscard]] LoadOptions load(const std::string& topic, std::size_t window) const {
        LoadOptions load;
        load.shape.topic = topic;
        load.window = window;
        load.connections = std::min(options_.connections, window);
        load.duration = std::chrono::nanoseconds{static_cast<std::int64_t>(options_.seconds * 1e9)};
        load.spin = std::chrono::microseconds{options_.spin_us};
        return load;
    }
    /// Aims are for answers after a flush.
    [[nodiscard]] Aim unless_async(Aim aim) const { return options_.async ? Aim{} : aim; }
    [[nodiscard]] std::size_t group(std::size_t records) const { return options_.async ? 0 : records; }
    [[nodiscard]] double other_memory_mb() const {
        return rss_anon_mb(rocketmq_.broker_pid()) + rss_anon_mb(rocketmq_.name_server_pid());
    }

    std::vector<double> start_other();
    void warm_up();
    void publish(const std::string& name, std::size_t window, std::size_t records, Aim aim);
    void publish_batches();
    void publish_async();
    void many_topics();
    void open_loop();
    void java_producer();
    void drain_memory_and_recovery();
    double fill(const Side& side, const LoadOptions& load, Ledger& ledger, const std::function<double()>& memory_mb);
    void kill_under_load(const Side& side, const LoadOptions& load, const std::function<void()>& kill, Ledger& ledger);
    void recovery(OurBroker& ours, const LoadOptions& load, Ledger& our_ledger, Ledger& other_ledger);

    const BrokerOptions& options_;
    test_support::SyncCounter syncs_;
    test_support::RocketmqServer rocketmq_;
    BrokerOutcome outcome_;
};

/// Of the broker alone: the name server that it needs as well runs already.
std::vector<double> VersusRocketmq::start_other() {
    std::vector<double> times{rocketmq_.broker_start_ms()};
    for (int i = 0; i < 2; ++i) {
        rocketmq_.kill_broker();
        rocketmq_.start_broker();
        times.push_back(rocketmq_.broker_start_ms());
    }
    return times;
}

/// Its virtual machine compiles what is used most.
void VersusRocketmq::warm_up() {
    tell("  warming RocketMQ");
    LoadOptions options = load("warm", 64);
    options.duration = std::chrono::seconds{options_.seconds < 2 ? 3 : 10};
    LoadResult result;
    publish_leg(other(), options, result);
}

void VersusRocketmq::publish(const std::string& name, std::size_t window, std::size_t records, Aim aim) {
    if (!options_.wanted(name)) {
        return;
    }
    const LoadOptions options = load(name, window);
    const Legs legs = publish_in_turn(options_, other(),
                                      {.name = name, .ours = options, .other = options, .group = group(records)}, outcome_);
    outcome_.add(rate_row(name, other_name, legs, unless_async(aim)));
}

void VersusRocketmq::publish_batches() {
    const std::string name = "publish_batch32";
    if (!options_.wanted(name)) {
        return;
    }
    LoadOptions options = load(name, 64);
    options.shape.batch = 32;
    // Its limit: large sequential writes, each made durable.
    const Legs legs = publish_in_turn(options_, other(),
                                      {.name = name, .ours = options, .other = options, .group = group(1024)}, outcome_);
    outcome_.add(rate_row(name, other_name, legs, unless_async({.ratio = 4, .of_limit = 0.8})));
}

void VersusRocketmq::publish_async() {
    const std::string name = "publish_async";
    if (!options_.wanted(name)) {
        return;
    }
    // RocketMQ refuses what waits for more than 200 ms and leaves requests beyond 10,000 unanswered: it gets the window at
    // which it acknowledges most.
    LoadOptions best = load(name, 0);
    double best_rate = 0;
    for (const std::size_t window : {256U, 1024U, 2048U, 4096U, 8192U}) {
        LoadOptions tried = load("search", window);
        tried.duration = std::chrono::milliseconds{1500};
        LoadResult result;
        const Leg leg = publish_leg(other(), tried, result);
        char line[120];
        std::snprintf(line, sizeof line, "  RocketMQ, window %zu: %.0f/s, %.0f refused", window, leg.rate, leg.refused);
        tell(line);
        if (leg.rate > best_rate) {
            best_rate = leg.rate;
            best.window = window;
            best.connections = tried.connections;
        }
    }
    const Legs legs = publish_in_turn(
        options_, other(), {.name = name, .ours = load(name, options_.async_window), .other = best, .group = group(1024)},
        outcome_);
    ResultRow row = rate_row(name, other_name, legs, unless_async({.ratio = 10}));
    row.beside.emplace_back("ours_window", options_.async_window);
    row.beside.emplace_back("other_window", best.window);
    outcome_.add(std::move(row));
}

/// Ours beside ours: a thousand topics, and one.
void VersusRocketmq::many_topics() {
    const std::string name = "topics_1000";
    if (!options_.wanted(name)) {
        return;
    }
    LoadOptions one = load("one", options_.async_window);
    LoadOptions many = load("many", options_.async_window);
    many.shape.topics = 1000;
    const OurBroker beside{options_};
    BrokerOutcome check;
    const Legs legs =
        publish_in_turn(options_, beside.side(), {.name = name, .ours = many, .other = one, .group = 0}, check);
    outcome_.lost += check.lost + check.other_lost;
    outcome_.invented += check.invented + check.other_invented;
    outcome_.add(rate_row(name, "hufu, one topic", legs, unless_async({.ratio = 0.8})));
}

void VersusRocketmq::open_loop() {
    if (!options_.wanted("p50_us") && !options_.wanted("p99_us")) {
        return;
    }
    LoadOptions options = load("open_loop", 1);
    options.requests_per_second = 10'000;
    options.connections = options_.connections;
    const Legs legs = publish_in_turn(options_, other(),
                                      {.name = "open_loop", .ours = options, .other = options, .group = group(1)}, outcome_);
    const auto add = [&](const char* name, double Leg::*part, double aim) {
        ResultRow row = rate_row(name, other_name, legs, {});
        row.unit = "us";
        row.limit = {};
        row.ours = median_of(legs.ours, part);
        row.other = median_of(legs.other, part);
        row.better = Better::lower;
        row.aim = unless_async({.ours = aim});
        row.beside.emplace_back("ours_messages_per_s", median_of(legs.ours, &Leg::rate));
        row.beside.emplace_back("other_messages_per_s", median_of(legs.other, &Leg::rate));
        outcome_.add(std::move(row));
    };
    add("p50_us", &Leg::p50_us, 350);
    add("p99_us", &Leg::p99_us, 1500);
}

void VersusRocketmq::java_producer() {
    const std::string name = "java_producer_w64";
    if (!options_.wanted(name)) {
        return;
    }
    const OurBroker broker{options_};
    LoadOptions make_topic = load("java", 1);
    make_topic.messages_max = static_cast<std::uint64_t>(make_topic.shape.queues);
    LoadResult result;
    for (const Side& side : {broker.side(), other()}) {
        publish_leg(side, make_topic, result);
    }
    const auto leg = [&](const Side& side, const std::string& name_server) {
        return rocketmq_producer_leg(side, name_server, make_topic.shape, 64, options_.seconds, rocketmq_.directory());
    };
    const auto our_leg = [&] { return leg(broker.side(), "127.0.0.1:" + std::to_string(broker.side().port)); };
    const auto other_leg = [&] { return leg(other(), rocketmq_.name_server()); };
    const Legs legs = in_turn(options_, {broker.side().pid, our_leg}, {other().pid, other_leg});
    outcome_.add(rate_row(name, other_name, legs, unless_async({.ratio = 2})));
}

/// Returns the most memory that was seen on the way.
double VersusRocketmq::fill(const Side& side, const LoadOptions& load, Ledger& ledger,
                            const std::function<double()>& memory_mb) {
    LoadOptions filling = load;
    filling.shape.batch = 32;
    filling.duration = std::chrono::minutes{10};
    filling.refusals_allowed = side.refusals_allowed;
    double most = 0;
    while (ledger.acknowledged() < drained_messages) {
        filling.messages_max = drained_messages - ledger.acknowledged();
        auto client = LoadClient::connect(side.port, filling).value();
        const auto result = client.publish([&] {
            most = std::max(most, memory_mb());
            return true;
        });
        ledger.add(result.value());
    }
    return std::max(most, memory_mb());
}

void VersusRocketmq::drain_memory_and_recovery() {
    if (!options_.wanted("drain_1m") && !options_.wanted("loaded_rss_anon_mb") && !options_.wanted("recovery_ms")) {
        return;
    }
    tell("  filling 1,000,000 messages");
    OurBroker ours{options_};
    const LoadOptions options = load("drain", 64);
    Ledger our_ledger;
    Ledger other_ledger;
    const auto our_memory_mb = [&] { return rss_anon_mb(ours.side().pid); };
    double our_most_mb = fill(ours.side(), options, our_ledger, our_memory_mb);
    double other_most_mb = fill(other(), options, other_ledger, [&] { return other_memory_mb(); });
    our_ledger.compare(ours.side(), options.shape, outcome_.lost, outcome_.invented);
    other_ledger.compare(other(), options.shape, outcome_.other_lost, outcome_.other_invented);

    const auto drain = [&](const Side& side, const Ledger& ledger, std::uint64_t& lost) {
        auto reader = QueueReader::connect(side.port).value();
        const Usage before = side.usage();
        const ReadResult read = reader.read_all(options.shape).value();
        const Usage after = side.usage();
        lost += ledger.acknowledged() > read.messages ? ledger.acknowledged() - read.messages : 0;
        return Leg{.rate = read.rate(), .messages = static_cast<double>(read.messages), .used = after - before};
    };
    const auto our_drain = [&] { return drain(ours.side(), our_ledger, outcome_.lost); };
    const auto other_drain = [&] { return drain(other(), other_ledger, outcome_.other_lost); };
    const Legs legs = in_turn(options_, {ours.side().pid, our_drain}, {other().pid, other_drain});
    outcome_.add(rate_row("drain_1m", other_name, legs, {}));
    our_most_mb = std::max(our_most_mb, our_memory_mb());
    other_most_mb = std::max(other_most_mb, other_memory_mb());
    outcome_.add(memory_row("loaded_rss_anon_mb", our_most_mb, other_most_mb, other_name, {.ratio = 1.0 / 14}));
    if (options_.wanted("recovery_ms")) {
        recovery(ours, options, our_ledger, other_ledger);
    }
}

void VersusRocketmq::kill_under_load(const Side& side, const LoadOptions& load, const std::function<void()>& kill,
                                     Ledger& ledger) {
    LoadOptions until_killed = load;
    until_killed.duration = std::chrono::minutes{1};
    until_killed.refusals_allowed = side.refusals_allowed;
    auto client = LoadClient::connect(side.port, until_killed).value();
    int ticks = 0;
    const auto result = client.publish([&] {
        if (++ticks == 10) {
            kill();
        }
        return true;
    });
    if (result) {
        throw std::runtime_error{"a broker was to be killed under load and lived"};
    }
    ledger.add(client.last());
}

/// Killed in the middle of a load, started again on the same store.
void VersusRocketmq::recovery(OurBroker& ours, const LoadOptions& load, Ledger& our_ledger, Ledger& other_ledger) {
    std::vector<double> our_times;
    for (int i = 0; i < 3; ++i) {
        kill_under_load(
            ours.side(), load, [&] { ours.kill(); }, our_ledger);
        ours.start();
        our_times.push_back(ours.start_ms());
    }
    kill_under_load(
        other(), load, [&] { rocketmq_.kill_broker(); }, other_ledger);
    rocketmq_.start_broker();
    if (!options_.async) {
        our_ledger.compare(ours.side(), load.shape, outcome_.lost, outcome_.invented);
        other_ledger.compare(other(), load.shape, outcome_.other_lost, outcome_.other_invented);
    }
    outcome_.add({.name = "recovery_ms",
                  .unit = "ms",
                  .ours = median(std::move(our_times)),
                  .other = rocketmq_.broker_start_ms(),
                  .other_name = other_name,
                  .better = Better::lower});
}

}  // namespace

BrokerOutcome bench_vs_rocketmq(const BrokerOptions& options) { return VersusRocketmq{options}.run(); }

}  // namespace hufu::bench
