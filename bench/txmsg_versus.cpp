#include <signal.h>

#include <algorithm>
#include <cstdio>

#include <hufu/test_support/rocketmq_server.hpp>

#include "disk_probe.hpp"
#include "tx_watcher.hpp"
#include "txmsg_bench.hpp"

namespace hufu::bench {
namespace {

constexpr const char* other_name = "rocketmq-5.3.3";

/// A process that stands still meanwhile: what a server does on its own would otherwise cost the other one's leg.
class StandsStill {
public:
    explicit StandsStill(pid_t pid) : pid_{pid} { ::kill(pid_, SIGSTOP); }
    ~StandsStill() { ::kill(pid_, SIGCONT); }
    StandsStill(const StandsStill&) = delete;
    StandsStill& operator=(const StandsStill&) = delete;

private:
    pid_t pid_;
};

/// What one leg of transactions gave.
struct TxLeg {
    Leg leg = {};
    double log_bytes = 0;  ///< per transaction
    double visible_p99_us = 0;
    double end_p99_us = 0;
};

double median_of(const std::vector<TxLeg>& legs, double TxLeg::*part) {
    std::vector<double> values;
    for (const TxLeg& leg : legs) {
        values.push_back(leg.*part);
    }
    return median(std::move(values));
}

std::vector<Leg> plain_legs(const std::vector<TxLeg>& legs) {
    std::vector<Leg> result;
    for (const TxLeg& leg : legs) {
        result.push_back(leg.leg);
    }
    return result;
}

class TxVersus {
public:
    explicit TxVersus(const BrokerOptions& options)
        : options_{options}, syncs_{options.folder + "/rocketmq.syncs"}, rocketmq_{server_options()}, ours_{options} {}

    BrokerOutcome run() {
        warm_up();
        if (options_.wanted("tx_w1")) {
            throughput("tx_w1", 1);
        }
        if (options_.wanted("tx_w64")) {
            throughput("tx_w64", 64);
        }
        if (options_.wanted("half_to_visible_p99_us")) {
            visibility();
        }
        return std::move(outcome_);
    }

private:
    /// A topic's transactions on one broker, over all legs.
    struct Count {
        std::uint64_t next_id = 0;  ///< no two cases share one: a decided transaction takes no more halves
        std::uint64_t halves = 0;
        std::uint64_t committed = 0;
    };
    struct TxLegs {
        std::vector<TxLeg> ours = {};
        std::vector<TxLeg> other = {};
        std::vector<Leg> ours_plain = {};
        std::vector<Leg> other_plain = {};
        std::vector<double> syncs = {};  ///< of a record of its own, per second, by the disk alone
    };

    test_support::RocketmqServerOptions server_options() {
        return {.parent = options_.folder, .sync_flush = true, .heap_mb = 1024, .fast = true, .syncs = &syncs_};
    }
    [[nodiscard]] Side other() const {
        return {.port = rocketmq_.broker_port(),
                .pid = rocketmq_.broker_pid(),
                .syncs = &syncs_,
                .refusals_allowed = true,
                .folder = options_.folder};
    }
    void warm_up();
    Count new_count() { return {.next_id = ++cases_ << 32U}; }
    TxLeg leg(const Side& side, TxOptions load, Count& count);
    TxLeg watched_leg(const Side& side, const TxOptions& load, Count& count);
    Leg plain_leg(const Side& side, std::size_t window);
    void compare(const Side& side, const TxOptions& load, const Count& count, std::uint64_t& lost, std::uint64_t& invented);
    void throughput(const std::string& name, std::size_t window);
    void add_throughput(const std::string& name, const TxLegs& legs);
    void visibility();
    [[nodiscard]] ResultRow row(std::string name, std::string unit, double ours, double other, Aim aim) const;

    const BrokerOptions& options_;
    test_support::SyncCounter syncs_;
    test_support::RocketmqServer rocketmq_;
    OurBroker ours_;
    BrokerOutcome outcome_;
    std::uint64_t cases_ = 0;
};

ResultRow TxVersus::row(std::string name, std::string unit, double ours, double other, Aim aim) const {
    return {.name = std::move(name),
            .unit = std::move(unit),
            .ours = ours,
            .other = other,
            .other_name = other_name,
            .better = Better::lower,
            .aim = aim};
}

/// Its virtual machine compiles what is used most.
void TxVersus::warm_up() {
    tell("  warming RocketMQ");
    TxOptions load = tx_load(options_, "warm", 64);
    load.duration = std::chrono::seconds{options_.seconds < 2 ? 3 : 10};
    Count count = new_count();
    leg(other(), load, count);
}

TxLeg TxVersus::leg(const Side& side, TxOptions load, Count& count) {
    load.first_id = count.next_id;
    load.refusals_allowed = side.refusals_allowed;
    auto client = TxClient::connect(side.port, load).value();
    const Usage before = side.usage();
    auto result = client.run().value();
    const Usage after = side.usage();
    count.next_id += result.begun;
    count.halves += result.halves;
    count.committed += result.committed;
    if (result.refused > 0) {
        tell("  refused " + std::to_string(result.refused) + ", the first: " + result.refusal);
    }
    TxLeg one;
    one.leg = {.rate = result.rate(),
               .p50_us = percentile(result.transaction_us, 0.5),
               .p99_us = percentile(result.transaction_us, 0.99),
               .messages = static_cast<double>(result.committed),
               .refused = static_cast<double>(result.refused),
               .used = after - before};
    one.end_p99_us = percentile(result.end_us, 0.99);
    if (result.halves > 1) {
        one.log_bytes =
            static_cast<double>(result.last_log_offset - result.first_log_offset) / static_cast<double>(result.halves - 1);
    }
    return one;
}

Leg TxVersus::plain_leg(const Side& side, std::size_t window) {
    LoadOptions load;
    load.shape.topic = "plain";
    load.window = window;
    load.duration = std::chrono::nanoseconds{static_cast<std::int64_t>(options_.seconds * 1e9)};
    LoadResult result;
    return publish_leg(side, load, result);
}

void TxVersus::compare(const Side& side, const TxOptions& load, const Count& count, std::uint64_t& lost,
                       std::uint64_t& invented) {
    const auto stored = QueueReader::connect(side.port).value().stored(load.shape, count.committed).value();
    lost += count.committed > stored ? count.committed - stored : 0;
    invented += stored > count.halves ? stored - count.halves : 0;
}

void TxVersus::throughput(const std::string& name, std::size_t window) {
    const TxOptions load = tx_load(options_, name, window);
    Count our_count = new_count();
    Count other_count = new_count();
    TxOptions first = load;
    first.duration = std::chrono::milliseconds{500};
    leg(ours_.side(), first, our_count);
    leg(other(), first, other_count);
    TxLegs legs;
    for (int round = 0; round < options_.rounds; ++round) {
        if (window == 1) legs.syncs.push_back(probe_disk(options_.folder, 1).value());
        for (const bool our_turn : {round % 2 == 0, round % 2 != 0}) {  // neither side always follows the other
            settle_disk(options_.folder);
            const StandsStill idle{our_turn ? other().pid : ours_.side().pid};
            const Side side = our_turn ? ours_.side() : other();
            (our_turn ? legs.ours : legs.other).push_back(leg(side, load, our_turn ? our_count : other_count));
            settle_disk(options_.folder);
            (our_turn ? legs.ours_plain : legs.other_plain).push_back(plain_leg(side, window));
        }
        char line[160];
        std::snprintf(line, sizeof line, "  round %d: %.0f/s beside %.0f/s; plain %.0f/s and %.0f/s", round + 1,
                      legs.ours.back().leg.rate, legs.other.back().leg.rate, legs.ours_plain.back().rate,
                      legs.other_plain.back().rate);
        tell(line);
    }
    compare(ours_.side(), load, our_count, outcome_.lost, outcome_.invented);
    compare(other(), load, other_count, outcome_.other_lost, outcome_.other_invented);
    add_throughput(name, legs);
}

void TxVersus::add_throughput(const std::string& name, const TxLegs& legs) {
    const bool narrow = name == "tx_w1";
    Legs both{.ours = plain_legs(legs.ours), .other = plain_legs(legs.other)};
    for (const double syncs : legs.syncs) both.limits.push_back(syncs / syncs_per_transaction);
    ResultRow rate = rate_row(name, other_name, both, {.ratio = narrow ? 4.0 : 8.0});
    rate.unit = "transactions/s";
    rate.beside.emplace_back("ours_p99_us", bench::median_of(both.ours, &Leg::p99_us));
    rate.beside.emplace_back("other_p99_us", bench::median_of(both.other, &Leg::p99_us));
    outcome_.add(rate);
    if (narrow) {
        return;
    }
    rate.name = "tx_w64_per_s";
    rate.aim = {.ours = 60'000};
    rate.beside = {};
    outcome_.add(std::move(rate));
    outcome_.add(row("log_bytes_per_tx", "bytes", median_of(legs.ours, &TxLeg::log_bytes),
                     median_of(legs.other, &TxLeg::log_bytes), {.ratio = 0.55}));
    const auto plain_per_tx = [](const std::vector<Leg>& plain, const std::vector<Leg>& tx) {
        return bench::median_of(plain, &Leg::rate) / std::max(bench::median_of(tx, &Leg::rate), 1.0);
    };
    ResultRow cost = row("tx_per_plain_send", "plain sends per transaction", plain_per_tx(legs.ours_plain, both.ours),
                         plain_per_tx(legs.other_plain, both.other), {.ours = 2.5});
    cost.beside.emplace_back("ours_plain_per_s", bench::median_of(legs.ours_plain, &Leg::rate));
    cost.beside.emplace_back("other_plain_per_s", bench::median_of(legs.other_plain, &Leg::rate));
    outcome_.add(std::move(cost));
}

/// Beside the transactions, a consumer that waits; from when a half was due to when the consumer holds the message.
TxLeg TxVersus::watched_leg(const Side& side, const TxOptions& load, Count& count) {
    TxOptions options = load;
    options.first_id = count.next_id;
    options.refusals_allowed = side.refusals_allowed;
    TxWatcher watcher{side.port, load.shape};
    auto client = TxClient::connect(side.port, options).value();
    const auto result = client.run().value();
    for (int i = 0; i < 500 && watcher.seen() < result.committed; ++i) {
        pass(std::chrono::milliseconds{10});
    }
    const auto& seen = watcher.stop();
    count.next_id += result.begun;
    count.halves += result.halves;
    count.committed += result.committed;
    std::vector<std::uint32_t> took;
    for (std::size_t i = 0; i < result.begun_at.size(); ++i) {
        const auto at = seen.find(options.first_id + i);
        if (at == seen.end()) {
            continue;
        }
        const auto time = std::chrono::duration_cast<std::chrono::microseconds>(at->second - result.begun_at[i]);
        took.push_back(static_cast<std::uint32_t>(std::max<std::int64_t>(time.count(), 0)));
    }
    TxLeg one;
    one.leg.rate = result.rate();
    one.leg.messages = static_cast<double>(took.size());
    one.leg.p50_us = percentile(took, 0.5);
    one.visible_p99_us = percentile(took, 0.99);
    one.end_p99_us = percentile(result.end_us, 0.99);
    return one;
}

void TxVersus::visibility() {
    TxOptions load = tx_load(options_, "visible", 1);
    load.shape.queues = 1;
    Count our_count = new_count();
    Count other_count = new_count();
    TxOptions first = load;
    first.duration = std::chrono::milliseconds{500};
    leg(ours_.side(), first, our_count);
    leg(other(), first, other_count);
    load.per_second = 1'000;
    std::vector<TxLeg> ours;
    std::vector<TxLeg> others;
    for (int round = 0; round < options_.rounds; ++round) {
        for (const bool our_turn : {round % 2 == 0, round % 2 != 0}) {
            settle_disk(options_.folder);
            const StandsStill idle{our_turn ? other().pid : ours_.side().pid};
            (our_turn ? ours : others)
                .push_back(watched_leg(our_turn ? ours_.side() : other(), load, our_turn ? our_count : other_count));
        }
    }
    compare(ours_.side(), load, our_count, outcome_.lost, outcome_.invented);
    compare(other(), load, other_count, outcome_.other_lost, outcome_.other_invented);
    ResultRow result = row("half_to_visible_p99_us", "us", median_of(ours, &TxLeg::visible_p99_us),
                           median_of(others, &TxLeg::visible_p99_us), {.ratio = 0.2});
    result.beside.emplace_back("ours_p50_us", bench::median_of(plain_legs(ours), &Leg::p50_us));
    result.beside.emplace_back("other_p50_us", bench::median_of(plain_legs(others), &Leg::p50_us));
    result.beside.emplace_back("ours_per_s", bench::median_of(plain_legs(ours), &Leg::rate));
    result.beside.emplace_back("other_per_s", bench::median_of(plain_legs(others), &Leg::rate));
    outcome_.add(std::move(result));
}

}  // namespace

TxOptions tx_load(const BrokerOptions& options, const std::string& topic, std::size_t window) {
    TxOptions load;
    load.shape.topic = topic;
    load.shape.half = true;
    load.window = window;
    load.duration = std::chrono::nanoseconds{static_cast<std::int64_t>(options.seconds * 1e9)};
    return load;
}

BrokerOutcome bench_tx_vs_rocketmq(const BrokerOptions& options) { return TxVersus{options}.run(); }

}  // namespace hufu::bench
