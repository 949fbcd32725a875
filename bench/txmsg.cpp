// hufu-bench-txmsg: transaction messages on the bundled broker, alone or beside RocketMQ.
//
// A transaction is: the half sent, and answered after the flush; END (commit) sent, not one-way, and answered. One client
// program and one form of both requests for both brokers. Ours answers END after the flush of the decision; RocketMQ's END
// stores the message with waitStoreMsgOK = false, so its answer comes before the flush. What was answered is counted again
// in the topic.
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>

#include "txmsg_bench.hpp"

namespace {

hufu::bench::BrokerOutcome alone(const hufu::bench::BrokerOptions& options) {
    namespace bench = hufu::bench;
    bench::BrokerOutcome outcome;
    const auto add = [&](bench::BrokerOutcome part) {
        outcome.lost += part.lost;
        outcome.invented += part.invented;
        outcome.rows.insert(outcome.rows.end(), part.rows.begin(), part.rows.end());
    };
    if (options.wanted("tx_w1")) add(bench::bench_tx_alone(options));
    if (options.wanted("tx_w64")) add(bench::bench_tx_beside_plain(options));
    if (options.wanted("pending_1m")) add(bench::bench_tx_pending(options));
    return outcome;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace hufu;
    bench::BrokerOptions options;
    CLI::App app{"Measures transaction messages of 1 KiB on the bundled broker; every answer comes after fdatasync."};
    bool json = false;
    app.add_flag("--json", json, "one JSON object to standard output");
    app.add_option("--vs", options.versus, "the broker to run beside ours")->check(CLI::IsMember({"rocketmq"}));
    const auto* seconds =
        app.add_option("--seconds", options.seconds, "length of a leg (2; with --vs 4)")->check(CLI::PositiveNumber);
    app.add_option("--rounds", options.rounds, "legs per case and side")->check(CLI::Range(1, 99));
    app.add_option("--pending", options.timers, "halves of pending_1m")->check(CLI::Range(1'000, 5'000'000));
    app.add_option("--only", options.only, "cases to run, separated by commas")->delimiter(',');
    app.add_option("--dir", options.folder, "folder for logs, on the disk to be measured (a new one in /var/tmp)");
    app.add_option("--broker", options.broker, "the hufu-broker program (beside this one)");
    CLI11_PARSE(app, argc, argv);

    if (!options.versus.empty() && seconds->count() == 0) {
        options.seconds = 4;
    }
    std::error_code error;
    if (options.broker.empty()) {
        options.broker = (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "hufu-broker").string();
    }
    const bool own_folder = options.folder.empty();
    if (own_folder) {
        options.folder = "/var/tmp/hufu-bench-txmsg-" + std::to_string(::getpid());
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
        outcome = options.versus.empty() ? alone(options) : bench::bench_tx_vs_rocketmq(options);
        bench::add_checks(outcome, !options.versus.empty());
    } catch (const std::exception& exception) {
        bench::tell(std::string{"not valid: "} + exception.what());
        return 1;
    }
    if (own_folder) {
        std::filesystem::remove_all(options.folder, error);
    }
    if (json) {
        std::puts(bench::result_json("txmsg", outcome.rows,
                                     {{"durability",
                                       "halves acknowledged after the flush; END too by ours, before it by "
                                       "RocketMQ"},
                                      {"transaction", "half answered, END answered; counted in the topic"},
                                      {"message_bytes", "1024"}})
                      .c_str());
    } else {
        std::fputs(bench::result_table(outcome.rows).c_str(), stdout);
    }
    return outcome.lost == 0 && outcome.invented == 0 ? 0 : 1;
}
