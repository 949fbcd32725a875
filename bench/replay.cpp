// hufu-bench-replay: filling a buffer, emptying it into the durable bundled broker, and what live traffic feels of that.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "replay_cases.hpp"

int main(int count, char** arguments) {
    using namespace hufu::bench;
    CLI::App app{"Spill, replay, and live traffic beside it, 256-byte messages. Exits 0 when the run was valid.",
                 "hufu-bench-replay"};
    ReplayBench options;
    bool json = false;
    app.add_flag("--json", json, "one JSON object instead of a table");
    app.add_option("--entries", options.entries, "messages in the buffer")
        ->check(CLI::Range(std::uint64_t{10'000}, std::uint64_t{100'000'000}));
    app.add_option("--seconds", options.seconds, "length of each live leg")->check(CLI::Range(1, 600));
    app.add_option("--broker", options.broker, "the hufu-broker program (beside this one)");
    CLI11_PARSE(app, count, arguments);
    if (options.broker.empty()) {
        options.broker = (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "hufu-broker").string();
    }
    try {
        const ReplayStage stage{options};
        std::vector<ResultRow> rows;
        bench_spill_and_replay(stage, options, rows);
        const auto replay =
            std::find_if(rows.begin(), rows.end(), [](const ResultRow& row) { return row.name == "replay"; });
        bench_live(stage, options, replay->ours, rows);
        if (json) {
            std::printf("%s\n", result_json("replay", rows,
                                            {{"redis", "private server, appendfsync always"},
                                             {"broker", "hufu-broker, durable before each answer"},
                                             {"entries", std::to_string(options.entries)}})
                                    .c_str());
        } else {
            std::printf("%s", result_table(rows).c_str());
        }
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-bench-replay: %s\n", error.what());
        return 1;
    }
}
