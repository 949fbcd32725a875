// hufu-bench-broker: what the bundled broker can do, beside what the disk under it can do, or beside another broker.
//
// Messages of 1 KiB are acknowledged after fdatasync. Alone, every publish leg stands between two probes of the disk on the
// same folder; `limit` is the disk's rate: one synced write per message for a window of 1, groups of the window's size
// (256 for the unlimited one) gathered into one synced write for the others. With --vs RocketMQ 5.3.3 or Kafka 4.3.1 runs
// beside ours on the same disk, warmed once, legs in turn, one client program for both where both speak its protocol. Every
// row of messages is checked: what was acknowledged is counted again in the queues.
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>

#include "broker_bench.hpp"

namespace hufu::bench {

namespace {

BrokerOutcome run(const BrokerOptions& options) {
    BrokerOutcome outcome = options.versus == "rocketmq" ? bench_vs_rocketmq(options)
                            : options.versus == "kafka"  ? bench_vs_kafka(options)
                                                         : bench_alone(options).value();
    add_checks(outcome, !options.versus.empty());
    return outcome;
}

}  // namespace
}  // namespace hufu::bench

int main(int argc, char** argv) {
    using namespace hufu;
    bench::BrokerOptions options;
    std::string durability = "sync";
    CLI::App app{"Measures the bundled broker: 1 KiB messages, acknowledged after fdatasync."};
    bool json = false;
    app.add_flag("--json", json, "one JSON object to standard output");
    app.add_option("--vs", options.versus, "the broker to run beside ours")->check(CLI::IsMember({"rocketmq", "kafka"}));
    const auto* durable =
        app.add_option("--durability", durability, "with --vs: when both sides answer, after or before a flush")
            ->check(CLI::IsMember({"sync", "async"}));
    app.add_option("--store-gb", options.store_gb, "size of the log that recovery starts from")->check(CLI::PositiveNumber);
    const auto* seconds =
        app.add_option("--seconds", options.seconds, "length of a leg (2; with --vs 4)")->check(CLI::PositiveNumber);
    app.add_option("--rounds", options.rounds, "legs per case and side")->check(CLI::Range(1, 99));
    app.add_option("--connections", options.connections, "connections of the load")->check(CLI::Range(1, 64));
    app.add_option("--async-window", options.async_window, "requests in flight of publish_async")
        ->check(CLI::Range(256, 1 << 20));
    app.add_option("--spin-us", options.spin_us,
                   "how long the load looks for answers before it sleeps; on few cores it then takes time from the broker")
        ->check(CLI::Range(0, 100'000));
    app.add_option("--timers", options.timers, "delayed messages of timers_1m")->check(CLI::Range(1'000, 5'000'000));
    app.add_option("--only", options.only, "cases to run, separated by commas")->delimiter(',');
    app.add_option("--dir", options.folder, "folder for logs, on the disk to be measured (a new one in /var/tmp)");
    app.add_option("--broker", options.broker, "the hufu-broker program (beside this one)");
    CLI11_PARSE(app, argc, argv);

    options.async = durability == "async";
    if (options.versus.empty() && durable->count() > 0) {
        bench::tell("--durability goes with --vs: alone, the disk's own rate is the measure, and it is of synced writes");
        return 2;
    }
    if (!options.versus.empty() && seconds->count() == 0) {
        options.seconds = 4;
    }
    std::error_code error;
    if (options.broker.empty()) {
        options.broker = (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "hufu-broker").string();
    }
    const bool own_folder = options.folder.empty();
    if (own_folder) {
        options.folder = "/var/tmp/hufu-bench-broker-" + std::to_string(::getpid());
    }
    std::filesystem::create_directories(options.folder, error);
    if (error || ::access(options.broker.c_str(), X_OK) != 0) {
        bench::tell(error ? "folder " + options.folder + " cannot be made: " + error.message() +
                                "; give another one with --dir"
                          : "no program " + options.broker + ": build hufu-broker, or name it with --broker");
        return 2;
    }
    bench::BrokerOutcome outcome;
    try {
        outcome = bench::run(options);
    } catch (const std::exception& exception) {
        bench::tell(std::string{"not valid: "} + exception.what());
        return 1;
    }
    if (own_folder) {
        std::filesystem::remove_all(options.folder, error);
    }
    if (json) {
        std::puts(bench::result_json(
                      "broker", outcome.rows,
                      {{"durability", options.async ? "acknowledged before the flush" : "acknowledged after fdatasync"},
                       {"message_bytes", "1024"}})
                      .c_str());
    } else {
        std::fputs(bench::result_table(outcome.rows).c_str(), stdout);
    }
    return outcome.lost == 0 && outcome.invented == 0 ? 0 : 1;
}
