// Two brokers under the same load, leg by leg in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker_bench.hpp"
#include "broker_process.hpp"
#include "load_client.hpp"
#include "queue_reader.hpp"
#include "usage.hpp"

namespace hufu::bench {

/// One broker under load.
struct Side {
    std::uint16_t port = 0;
    pid_t pid = 0;
    const test_support::SyncCounter* syncs = nullptr;
    bool refusals_allowed = false;
    std::string folder = {};  ///< on the disk that is measured

    [[nodiscard]] Usage usage() const { return usage_of(pid, syncs, folder); }
};

/// What one leg on one side gave.
struct Leg {
    double rate = 0;  ///< acknowledged or read messages per second
    double p50_us = 0;
    double p99_us = 0;
    double messages = 0;
    double refused = 0;
    Usage used = {};
};

/// The legs of a case. `limits`: what the disk alone did just before each of ours.
struct Legs {
    std::vector<Leg> ours = {};
    std::vector<Leg> other = {};
    std::vector<double> limits = {};
};

/// The middle value of a part of every leg.
[[nodiscard]] double median_of(const std::vector<Leg>& legs, double Leg::*part);

/// hufu-broker on a folder of its own, which goes with it.
class OurBroker {
public:
    explicit OurBroker(const BrokerOptions& options);
    ~OurBroker();
    OurBroker(const OurBroker&) = delete;
    OurBroker& operator=(const OurBroker&) = delete;

    [[nodiscard]] Side side() const;
    [[nodiscard]] double start_ms() const { return process_->start_ms(); }
    void kill() { process_->kill(); }
    void start();

private:
    const BrokerOptions& options_;
    std::string folder_;
    test_support::SyncCounter syncs_;
    std::optional<BrokerProcess> process_;
};

/// One publish run, measured. Throws when it was not valid.
Leg publish_leg(const Side& side, LoadOptions load, LoadResult& result);

/// Counts what both sides acknowledged and compares it with what they stored.
class Ledger {
public:
    void add(const LoadResult& result);
    /// What was acknowledged before a kill, though the run ended in an error.
    void compare(const Side& side, const LoadShape& shape, std::uint64_t& lost, std::uint64_t& invented);
    [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }

private:
    std::uint64_t sent_ = 0;
    std::uint64_t acknowledged_ = 0;
};

/// A case of publishing on both sides.
struct PublishCase {
    std::string name;
    LoadOptions ours;
    LoadOptions other;
    std::size_t group = 1;  ///< records per synced write of the disk's own rate; 0: none
};

/// Runs every leg of the case: `options.rounds` on each side, in turn, after a short one that does not count. Adds what was
/// lost or invented to `outcome`.
Legs publish_in_turn(const BrokerOptions& options, const Side& other, const PublishCase& publish, BrokerOutcome& outcome);

/// A side that takes its turn: `leg` loads it, and while the other one is loaded its process stands still.
struct Turn {
    pid_t pid = 0;
    std::function<Leg()> leg;
};

/// Runs `ours` and `other` in turn, `options.rounds` times each, with nothing left to write in between.
Legs in_turn(const BrokerOptions& options, const Turn& ours, const Turn& other);

/// What every comparison has: how long both take to start, and what they hold when nothing has happened yet. `start_other`
/// starts the other one anew as often as asked and returns the times, in milliseconds.
struct Start {
    std::string other_name;
    std::function<std::vector<double>()> start_other;
    std::function<double()> other_memory_mb;
    Aim start_aim = {};
    Aim memory_aim = {};
};
void start_and_idle_memory(const BrokerOptions& options, const Start& start, BrokerOutcome& outcome);

/// A row of memory in use, the smaller the better.
[[nodiscard]] ResultRow memory_row(const std::string& name, double ours_mb, double other_mb, const std::string& other_name,
                                   Aim aim = {});

/// A row of the middle rates, with the costs of a message on both sides beside it.
[[nodiscard]] ResultRow rate_row(const std::string& name, const std::string& other_name, const Legs& legs, Aim aim);

/// Waits until the disk has taken everything.
void settle_disk(const std::string& folder);
/// Lets time pass.
void pass(std::chrono::milliseconds time);

}  // namespace hufu::bench
