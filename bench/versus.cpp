#include "versus.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <hufu/core/random.hpp>

#include "disk_probe.hpp"

namespace hufu::bench {
namespace {

std::string make_folder(const std::string& parent) {
    const std::string folder = parent + "/ours-" + std::to_string(system_random().below(1'000'000'000));
    std::filesystem::create_directories(folder);
    return folder;
}

/// A cost per message of every leg, the middle one; nothing where it is not measured.
std::optional<double> per_message(const std::vector<Leg>& legs,
                                  const std::function<std::optional<double>(const Usage&)>& cost) {
    std::vector<double> costs;
    for (const Leg& leg : legs) {
        const auto value = cost(leg.used);
        if (!value || leg.messages == 0) {
            return std::nullopt;
        }
        costs.push_back(*value / leg.messages);
    }
    return costs.empty() ? std::nullopt : std::optional{median(std::move(costs))};
}

void add_costs(ResultRow& row, const std::string& side, const std::vector<Leg>& legs) {
    row.beside.emplace_back(side + "_cpu_us_per_message",
                            per_message(legs, [](const Usage& used) { return used.cpu_seconds * 1e6; }));
    row.beside.emplace_back(side + "_disk_bytes_per_message",
                            per_message(legs, [](const Usage& used) { return used.disk_bytes; }));
    row.beside.emplace_back(side + "_syncs_per_message", per_message(legs, [](const Usage& used) { return used.syncs; }));
}

}  // namespace

double median_of(const std::vector<Leg>& legs, double Leg::*part) {
    std::vector<double> values;
    for (const Leg& leg : legs) {
        values.push_back(leg.*part);
    }
    return median(std::move(values));
}

OurBroker::OurBroker(const BrokerOptions& options)
    : options_{options}, folder_{make_folder(options.folder)}, syncs_{folder_ + ".syncs"} {
    start();
}

OurBroker::~OurBroker() {
    process_.reset();
    std::error_code ignored;
    for (const char* ending : {"", ".syncs", ".stderr"}) {
        std::filesystem::remove_all(folder_ + ending, ignored);
    }
}

void OurBroker::start() {
    std::vector<std::string> flags;
    if (options_.async) {
        flags = {"--durability", "async"};
    }
    process_ = BrokerProcess::start(options_.broker, folder_, flags, &syncs_).value();
}

Side OurBroker::side() const {
    return {.port = process_->port(), .pid = process_->pid(), .syncs = &syncs_, .folder = options_.folder};
}

Leg publish_leg(const Side& side, LoadOptions load, LoadResult& result) {
    load.refusals_allowed = side.refusals_allowed;
    auto client = LoadClient::connect(side.port, load).value();
    const Usage before = side.usage();
    result = client.publish().value();
    const Usage after = side.usage();
    return {.rate = result.rate(),
            .p50_us = result.percentile_us(0.5),
            .p99_us = result.percentile_us(0.99),
            .messages = static_cast<double>(result.acknowledged),
            .refused = static_cast<double>(result.refused),
            .used = after - before};
}

void Ledger::add(const LoadResult& result) {
    sent_ += result.sent;
    acknowledged_ += result.acknowledged;
}

void Ledger::compare(const Side& side, const LoadShape& shape, std::uint64_t& lost, std::uint64_t& invented) {
    const std::uint64_t stored = QueueReader::connect(side.port).value().stored(shape, acknowledged_).value();
    lost += acknowledged_ > stored ? acknowledged_ - stored : 0;
    invented += stored > sent_ ? stored - sent_ : 0;
}

namespace {

/// A process that stands still meanwhile: what a server does on its own would otherwise cost the other one's leg.
class StoodStill {
public:
    explicit StoodStill(pid_t pid) : pid_{pid} { ::kill(pid_, SIGSTOP); }
    ~StoodStill() { ::kill(pid_, SIGCONT); }
    StoodStill(const StoodStill&) = delete;
    StoodStill& operator=(const StoodStill&) = delete;

private:
    pid_t pid_;
};

}  // namespace

Legs in_turn(const BrokerOptions& options, const Turn& ours, const Turn& other) {
    Legs legs;
    for (int round = 0; round < options.rounds; ++round) {
        // Neither side always follows the other.
        for (const bool our_turn : {round % 2 == 0, round % 2 != 0}) {
            const StoodStill idle{our_turn ? other.pid : ours.pid};
            settle_disk(options.folder);
            if (our_turn) {
                legs.ours.push_back(ours.leg());
            } else {
                legs.other.push_back(other.leg());
            }
        }
        char line[160];
        std::snprintf(line, sizeof line, "  round %d: %.0f/s beside %.0f/s, %.0f refused; p99 %.0f and %.0f us", round + 1,
                      legs.ours.back().rate, legs.other.back().rate, legs.other.back().refused, legs.ours.back().p99_us,
                      legs.other.back().p99_us);
        tell(line);
    }
    return legs;
}

Legs publish_in_turn(const BrokerOptions& options, const Side& other, const PublishCase& publish, BrokerOutcome& outcome) {
    const OurBroker broker{options};
    const Side ours = broker.side();
    Ledger our_ledger;
    Ledger other_ledger;
    LoadResult result;
    const auto run = [&](const Side& side, const LoadOptions& load, Ledger& ledger) {
        const Leg leg = publish_leg(side, load, result);
        ledger.add(result);
        return leg;
    };
    // Makes the topics and warms what a case of its own needs.
    LoadOptions first = publish.ours;
    first.duration = std::chrono::milliseconds{500};
    run(ours, first, our_ledger);
    first = publish.other;
    first.duration = std::chrono::milliseconds{1000};
    run(other, first, other_ledger);

    std::vector<double> limits;
    const auto our_leg = [&] {
        if (publish.group > 0) {
            limits.push_back(probe_disk(options.folder, publish.group).value());
        }
        return run(ours, publish.ours, our_ledger);
    };
    const auto other_leg = [&] { return run(other, publish.other, other_ledger); };
    Legs legs = in_turn(options, {ours.pid, our_leg}, {other.pid, other_leg});
    legs.limits = std::move(limits);
    our_ledger.compare(ours, publish.ours.shape, outcome.lost, outcome.invented);
    other_ledger.compare(other, publish.other.shape, outcome.other_lost, outcome.other_invented);
    return legs;
}

ResultRow rate_row(const std::string& name, const std::string& other_name, const Legs& legs, Aim aim) {
    ResultRow row{.name = name,
                  .unit = "messages/s",
                  .ours = median_of(legs.ours, &Leg::rate),
                  .other = median_of(legs.other, &Leg::rate),
                  .other_name = other_name,
                  .aim = aim};
    if (!legs.limits.empty()) {
        row.limit = median(legs.limits);
    }
    add_costs(row, "ours", legs.ours);
    add_costs(row, "other", legs.other);
    double refused = 0;
    double all = 0;
    for (const Leg& leg : legs.other) {
        refused += leg.refused;
        all += leg.refused + leg.messages;
    }
    row.beside.emplace_back("other_refused_part", all > 0 ? refused / all : 0);
    return row;
}

void start_and_idle_memory(const BrokerOptions& options, const Start& start, BrokerOutcome& outcome) {
    if (options.wanted("start_ms")) {
        std::vector<double> ours;
        for (int i = 0; i < 9; ++i) {
            ours.push_back(OurBroker{options}.start_ms());
        }
        outcome.add({.name = "start_ms",
                     .unit = "ms",
                     .ours = median(std::move(ours)),
                     .other = median(start.start_other()),
                     .other_name = start.other_name,
                     .better = Better::lower,
                     .aim = start.start_aim});
    }
    if (options.wanted("idle_rss_anon_mb")) {
        const OurBroker broker{options};
        pass(std::chrono::milliseconds{1000});
        outcome.add(memory_row("idle_rss_anon_mb", rss_anon_mb(broker.side().pid), start.other_memory_mb(), start.other_name,
                               start.memory_aim));
    }
}

ResultRow memory_row(const std::string& name, double ours_mb, double other_mb, const std::string& other_name, Aim aim) {
    return {.name = name,
            .unit = "MB",
            .ours = ours_mb,
            .other = other_mb,
            .other_name = other_name,
            .better = Better::lower,
            .aim = aim};
}

void settle_disk(const std::string& folder) {
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ::syncfs(descriptor);
    ::close(descriptor);
}

void pass(std::chrono::milliseconds time) {
    system_clock().sleep_until(system_clock().steady_now() + time, std::stop_token{});
}

}  // namespace hufu::bench
