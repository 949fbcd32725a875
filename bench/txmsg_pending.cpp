#include "txmsg_bench.hpp"

namespace hufu::bench {
namespace {

constexpr std::uint64_t few = 1'000;

class Pending {
public:
    explicit Pending(const BrokerOptions& options) : options_{options}, broker_{options} {}

    BrokerOutcome run() {
        leave(few);
        const double few_p99 = end_p99_us();
        const double few_mb = rss_anon_mb(broker_.side().pid);
        tell("  leaving " + std::to_string(options_.timers) + " halves without a verdict");
        leave(options_.timers - few);
        const double many_mb = rss_anon_mb(broker_.side().pid);
        const double many_p99 = end_p99_us();
        const double bytes = (many_mb - few_mb) * 1e6 / static_cast<double>(options_.timers - few);
        outcome_.add({.name = "pending_bytes_each",
                      .unit = "bytes",
                      .ours = bytes,
                      .better = Better::lower,
                      .aim = {.ours = 64},
                      .beside = {{"pending", static_cast<double>(options_.timers)}, {"rss_anon_mb", many_mb}}});
        outcome_.add({.name = "pending_end_p99",
                      .unit = "us",
                      .ours = many_p99,
                      .other = few_p99,
                      .other_name = "1,000 pending",
                      .better = Better::lower,
                      .aim = {.ratio = 2}});
        restart();
        return std::move(outcome_);
    }

private:
    void leave(std::uint64_t count) {
        TxOptions load = tx_load(options_, "pending", 256);
        load.end = false;
        load.duration = std::chrono::hours{1};
        load.transactions_max = count;
        load.first_id = next_id_;
        const auto result = TxClient::connect(broker_.side().port, load).value().run().value();
        next_id_ += result.begun;
        left_ += result.halves;
    }
    /// One transaction at a time, among those that are pending.
    double end_p99_us() {
        std::vector<double> legs;
        for (int round = 0; round < options_.rounds; ++round) {
            settle_disk(options_.folder);
            TxOptions load = tx_load(options_, "decided", 1);
            load.first_id = next_id_;
            const auto result = TxClient::connect(broker_.side().port, load).value().run().value();
            next_id_ += result.begun;
            committed_ += result.committed;
            legs.push_back(percentile(result.end_us, 0.99));
        }
        return median(std::move(legs));
    }
    void restart() {
        std::vector<double> times;
        for (int i = 0; i < 3; ++i) {
            broker_.kill();
            broker_.start();
            times.push_back(broker_.start_ms());
        }
        outcome_.add({.name = "pending_recovery_ms",
                      .unit = "ms",
                      .ours = median(std::move(times)),
                      .better = Better::lower,
                      .aim = {.ours = 300}});
        const TxOptions decided = tx_load(options_, "decided", 1);
        const auto stored = QueueReader::connect(broker_.side().port).value().stored(decided.shape).value();
        outcome_.lost += committed_ > stored ? committed_ - stored : 0;
        outcome_.invented += stored > committed_ ? stored - committed_ : 0;
        const TxOptions pending = tx_load(options_, "pending", 1);
        outcome_.invented += QueueReader::connect(broker_.side().port).value().stored(pending.shape).value();
    }

    const BrokerOptions& options_;
    OurBroker broker_;
    BrokerOutcome outcome_;
    std::uint64_t next_id_ = 1;
    std::uint64_t left_ = 0;
    std::uint64_t committed_ = 0;
};

}  // namespace

BrokerOutcome bench_tx_pending(const BrokerOptions& options) { return Pending{options}.run(); }

}  // namespace hufu::bench
