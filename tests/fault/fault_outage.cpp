// hufu-fault-outage: the broker dies under load, Redis with it for a while, then both come back. Callers publish through the
// ladder all the time; a consumer behind the broker has one effect per message.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include <cinttypes>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>

#include <hufu/connect/connect.hpp>
#include <hufu/degradation/buffering_publisher.hpp>
#include <hufu/degradation/journal.hpp>
#include <hufu/redis/stream_buffer.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "outage_judge.hpp"
#include "outage_load.hpp"

namespace {

using namespace hufu;
using namespace hufu::fault;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using Where = CallSample::Where;

constexpr std::int64_t threads_more_max = 4;
constexpr std::int64_t descriptors_more_max = 8;

double ms_of(nanoseconds time) { return std::chrono::duration<double, std::milli>(time).count(); }

struct Plan {
    double seconds_down = 60;
    double per_second = 1'000;
    double callers_p99_ms_max = 5;
    double first_spill_ms_max = 100;
    std::int64_t memory_more_mib_max = 64;
    bool forgetful_redis = false;  ///< --break durability: Redis keeps nothing, and its rung is trusted all the same
};

/// What a phase of the run saw.
struct Phase {
    SteadyTime from{};
    SteadyTime to{};
    ProcessFigures figures{};
};

struct Findings {
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;
    std::uint64_t by_broker = 0;
    std::uint64_t by_redis = 0;
    std::uint64_t by_journal = 0;
    std::uint64_t lost = 0;
    EffectCount effects = {};
    std::uint64_t copies = 0;
    double first_spill_ms = -1;
    double normal_p99_ms = 0;
    double outage_p50_ms = 0;
    double outage_p99_ms = 0;
    double outage_max_ms = 0;
    double drain_ms = -1;  ///< from the broker's port being open until nothing was buffered
    std::uint64_t buffered_most = 0;
    ProcessFigures before{};
    ProcessFigures during{};
    ProcessFigures after{};

    [[nodiscard]] bool flat(const Plan& plan) const {
        return during.threads <= before.threads + threads_more_max &&
               during.descriptors <= before.descriptors + descriptors_more_max &&
               during.memory_kib <= before.memory_kib + plan.memory_more_mib_max * 1'024;
    }
    [[nodiscard]] bool held(const Plan& plan) const {
        return lost == 0 && effects.doubles == 0 && effects.reordered == 0 && effects.gaps == 0 && refused == 0 &&
               by_redis > 0 && by_journal > 0 && first_spill_ms >= 0 && first_spill_ms <= plan.first_spill_ms_max &&
               outage_p99_ms < plan.callers_p99_ms_max && drain_ms >= 0 && flat(plan);
    }
};

class Outage {
public:
    explicit Outage(Plan plan)
        : plan_{plan},
          redis_{{.durable = !plan.forgetful_redis}},
          client_{redis_.url(), {.connect_timeout = milliseconds{200}, .command_timeout = milliseconds{400}}} {
        start_broker();
    }

    Findings run() {
        EffectBook book{url_, folder_.path() + "/effects.db"};
        degradation::BufferingPublisher publisher{ladder()};
        FigureWatch watch;
        OutageLoad load{publisher, {.per_second = plan_.per_second}};
        wait(seconds{3});
        say("load is running");
        findings_.before = watch.take();

        const auto down = milliseconds{static_cast<std::int64_t>(plan_.seconds_down * 1'000)};
        killed_at_ = clock_.steady_now();
        broker_.kill();
        say("broker killed");
        wait(down / 6);
        redis_.kill();
        say("Redis killed too");
        wait(down / 3);
        redis_.start();
        say("Redis is back");
        const SteadyTime until = killed_at_ + down;
        while (clock_.steady_now() < until) {
            note_depth(publisher);
            wait(milliseconds{100});
        }
        findings_.during = watch.take();
        ended_at_ = clock_.steady_now();
        start_broker();
        const SteadyTime back_at = clock_.steady_now();
        say("broker is back");
        if (drained(publisher, seconds{60} + down)) findings_.drain_ms = ms_of(clock_.steady_now() - back_at);
        say("drained");
        wait(seconds{1});
        load.stop();
        findings_.after = watch.take();
        settle(book, load);
        judge_calls(load);
        return findings_;
    }

private:
    degradation::Ladder ladder() {
        degradation::Ladder ladder;
        ladder.brokers.push_back(connect::publisher(url_).value());
        auto redis = std::make_unique<redis::StreamBuffer>(client_);
        ladder.rungs.push_back({std::move(redis), {.name = "redis"}});
        auto folder = open_directory(folder_.path() + "/journal").value();
        ladder.rungs.push_back({degradation::Journal::open(std::move(folder), {}).value(), {.name = "journal"}});
        // Whoever says that losing everything is fine gets the first rung there is; the judge knows better.
        if (plan_.forgetful_redis) ladder.options.need = degradation::Loss::everything;
        return ladder;
    }

    void start_broker() {
        broker_ = test_support::start_hufu_broker(
            {.program = program_beside("hufu-broker"), .folder = folder_.path(), .port = port_});
    }
    static std::string program_beside(const std::string& name) {
        const std::string self = std::filesystem::canonical("/proc/self/exe");
        return self.substr(0, self.rfind('/') + 1) + name;
    }
    void wait(nanoseconds time) { clock_.sleep_until(clock_.steady_now() + time, {}); }
    void say(const char* what) const { std::fprintf(stderr, "outage: %s\n", what); }

    void note_depth(const degradation::BufferingPublisher& publisher) {
        std::uint64_t entries = 0;
        for (const auto& rung : publisher.status().rungs) entries += rung.size.entries;
        findings_.buffered_most = std::max(findings_.buffered_most, entries);
    }

    /// Until no rung holds anything, as it says itself.
    bool drained(const degradation::BufferingPublisher& publisher, nanoseconds limit) {
        const SteadyTime until = clock_.steady_now() + limit;
        while (clock_.steady_now() < until) {
            const auto status = publisher.status();
            std::uint64_t entries = 0;
            for (const auto& rung : status.rungs) entries += rung.size.entries;
            if (entries == 0 && !status.degraded) return true;
            wait(milliseconds{50});
        }
        return false;
    }

    /// Waits until the consumer has everything, or nothing comes any more.
    void settle(EffectBook& book, const OutageLoad& load) {
        findings_.accepted = load.accepted();
        findings_.refused = load.refused();
        std::uint64_t last = 0;
        for (SteadyTime moved_at = clock_.steady_now(); clock_.steady_now() < moved_at + seconds{10};) {
            const auto now = book.effects();
            if (now >= findings_.accepted) break;
            if (now != last) moved_at = clock_.steady_now();
            last = now;
            wait(milliseconds{100});
        }
        findings_.effects = book.count();
        findings_.copies = book.copies();
        const auto unique = findings_.effects.effects - findings_.effects.doubles;
        findings_.lost = findings_.accepted > unique ? findings_.accepted - unique : 0;
    }

    void judge_calls(const OutageLoad& load) {
        std::vector<nanoseconds> normal;
        std::vector<nanoseconds> outage;
        SteadyTime first_spill = SteadyTime::max();
        const auto samples = load.samples();
        for (const auto& sample : samples) {
            findings_.by_broker += sample.where == Where::broker ? 1 : 0;
            findings_.by_redis += sample.where == Where::redis ? 1 : 0;
            findings_.by_journal += sample.where == Where::journal ? 1 : 0;
            const bool spilled = sample.where == Where::redis || sample.where == Where::journal;
            if (spilled && sample.began + sample.took >= killed_at_) {
                first_spill = std::min(first_spill, sample.began + sample.took);
            }
        }
        for (const auto& sample : samples) {
            if (sample.began < killed_at_ - seconds{1}) normal.push_back(sample.took);
            if (sample.began > first_spill && sample.began < ended_at_) outage.push_back(sample.took);
        }
        if (first_spill != SteadyTime::max()) findings_.first_spill_ms = ms_of(first_spill - killed_at_);
        findings_.normal_p99_ms = ms_of(percentile(normal, 0.99));
        findings_.outage_p50_ms = ms_of(percentile(outage, 0.50));
        findings_.outage_p99_ms = ms_of(percentile(outage, 0.99));
        findings_.outage_max_ms = ms_of(percentile(outage, 1));
    }

    const Plan plan_;
    Clock& clock_ = system_clock();
    test_support::PrivateFolder folder_{"outage"};
    test_support::RedisServer redis_;
    redis::Client client_;
    std::uint16_t port_ = test_support::free_port();
    std::string url_ = "rocketmq://127.0.0.1:" + std::to_string(port_);
    test_support::Child broker_;
    SteadyTime killed_at_{};
    SteadyTime ended_at_{};
    Findings findings_;
};

boost::json::object json_of(const ProcessFigures& figures) {
    return {{"threads", figures.threads}, {"descriptors", figures.descriptors}, {"memory_kib", figures.memory_kib}};
}

void print_json(const Plan& plan, const Findings& found) {
    const boost::json::object object{{"fault", "outage"},
                                     {"seconds", plan.seconds_down},
                                     {"per_second", plan.per_second},
                                     {"accepted", found.accepted},
                                     {"refused", found.refused},
                                     {"by_broker", found.by_broker},
                                     {"by_redis", found.by_redis},
                                     {"by_journal", found.by_journal},
                                     {"buffered_most", found.buffered_most},
                                     {"lost", found.lost},
                                     {"double_effects", found.effects.doubles},
                                     {"reordered", found.effects.reordered},
                                     {"gaps", found.effects.gaps},
                                     {"copies_absorbed", found.copies},
                                     {"first_spill_ms", found.first_spill_ms},
                                     {"normal_p99_ms", found.normal_p99_ms},
                                     {"outage_p50_ms", found.outage_p50_ms},
                                     {"outage_p99_ms", found.outage_p99_ms},
                                     {"outage_max_ms", found.outage_max_ms},
                                     {"drain_ms", found.drain_ms},
                                     {"before", json_of(found.before)},
                                     {"during", json_of(found.during)},
                                     {"after", json_of(found.after)},
                                     {"flat", found.flat(plan)},
                                     {"held", found.held(plan)}};
    std::printf("%s\n", boost::json::serialize(object).c_str());
}

void print_text(const Plan& plan, const Findings& found) {
    std::printf("accepted %" PRIu64 " (broker %" PRIu64 ", Redis %" PRIu64 ", journal %" PRIu64 "), refused %" PRIu64 "\n",
                found.accepted, found.by_broker, found.by_redis, found.by_journal, found.refused);
    std::printf("%" PRIu64 " lost, %" PRIu64 " double effects, %" PRIu64 " reordered, %" PRIu64 " gaps; %" PRIu64
                " copies absorbed\n",
                found.lost, found.effects.doubles, found.effects.reordered, found.effects.gaps, found.copies);
    std::printf(
        "first spill after %.1f ms; callers in the outage: p50 %.2f ms, p99 %.2f ms, max %.1f ms (before: p99 %.2f ms)\n",
        found.first_spill_ms, found.outage_p50_ms, found.outage_p99_ms, found.outage_max_ms, found.normal_p99_ms);
    std::printf("%" PRIu64 " buffered at most, drained in %.0f ms\n", found.buffered_most, found.drain_ms);
    std::printf("threads %" PRId64 " -> %" PRId64 ", descriptors %" PRId64 " -> %" PRId64 ", memory %" PRId64 " -> %" PRId64
                " KiB\n",
                found.before.threads, found.during.threads, found.before.descriptors, found.during.descriptors,
                found.before.memory_kib, found.during.memory_kib);
    std::printf("%s: %" PRIu64 " lost, %" PRIu64 " reordered\n", found.held(plan) ? "held" : "BROKEN", found.lost,
                found.effects.reordered + found.effects.gaps);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"The broker dies under load, Redis with it for a while; nothing that was accepted may be lost."};
    Plan plan;
    bool json = false;
    std::string broken;
    app.add_option("--seconds", plan.seconds_down, "how long the broker is down; Redis is for a third of it")
        ->check(CLI::Range(3.0, 3'600.0));
    app.add_option("--rate", plan.per_second, "messages a second of all callers")->check(CLI::Range(10.0, 20'000.0));
    app.add_option("--p99-ms", plan.callers_p99_ms_max, "what the callers' 99th percentile must stay below in the outage");
    app.add_option("--first-spill-ms", plan.first_spill_ms_max, "how soon after the kill a message must be buffered");
    app.add_option("--memory-mib", plan.memory_more_mib_max, "how much memory may grow in the outage");
    app.add_option("--break", broken, "durability: Redis keeps nothing over its restart, and the ladder is told not to mind")
        ->check(CLI::IsMember({"durability"}));
    app.add_flag("--json", json, "one JSON object on standard output");
    CLI11_PARSE(app, argc, argv);
    plan.forgetful_redis = broken == "durability";
    try {
        Outage outage{plan};
        const auto found = outage.run();
        json ? print_json(plan, found) : print_text(plan, found);
        return found.held(plan) ? 0 : 1;
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "hufu-fault-outage: %s\n", exception.what());
        return 1;
    }
}
