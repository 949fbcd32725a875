// order-demo: the order service under load while its processes are killed, and the proof that nothing was lost.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <hufu/core/config.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/until_signal.hpp>

#include "run.hpp"

namespace {

hufu::ConfigSchema schema() {
    hufu::ConfigSchema schema;
    schema.integer("orders", 0, 0, 10'000'000, "orders to place; 0: 20000, or 3000 with --break")
        .integer("kills", -1, -1, 10'000, "processes to hit while the orders come in; -1: 20, or 6 with --break")
        .choice("mode", {"outbox", "txmsg", "buffered"}, "outbox",
                "how the order service tells the others: its outbox and relays, transaction messages, or messages after the "
                "commit that are buffered while the broker is away")
        .choice("store", {"sqlite", "postgres"}, "sqlite", "where the services keep their data")
        .choice("break", {"none", "guard", "settle", "buffer"}, "none",
                "run with a seeded bug, to prove that the oracle sees it: effects without guard, rows settled before the "
                "broker confirmed, or a buffer that forgets at its restart")
        .integer("rate", 0, 0, 100'000, "orders per second at most; 0: 250, or 180 on PostgreSQL")
        .integer("seed", 0, 0, 1'000'000'000, "of the kill moments; 0: another one every time")
        .integer("seconds_limit", 600, 10, 86'400, "give up after so long")
        .boolean("json", false, "one JSON object on standard output")
        .boolean("keep", false, "keep databases, log and ledger also when every promise held");
    return schema;
}

shop::demo::RunOptions options_of(const hufu::Config& config) {
    shop::demo::RunOptions options;
    const auto& breaking = config.text("break");
    options.mode = shop::demo::mode_of(config.text("mode"));
    options.breaking = breaking == "guard"    ? shop::demo::Break::guard
                       : breaking == "settle" ? shop::demo::Break::settle
                       : breaking == "buffer" ? shop::demo::Break::buffer
                                              : shop::demo::Break::none;
    if (options.breaking == shop::demo::Break::settle && options.mode != shop::demo::Mode::outbox) {
        throw hufu::Exception{
            config.error("break", "is settle with --mode outbox only: elsewhere no relay runs beside the services")};
    }
    if (options.breaking == shop::demo::Break::buffer && options.mode != shop::demo::Mode::buffered) {
        throw hufu::Exception{config.error("break", "is buffer with --mode buffered only: elsewhere nothing is buffered")};
    }
    const bool broken = options.breaking != shop::demo::Break::none;
    const auto orders = config.integer("orders");
    const auto kills = config.integer("kills");
    options.orders = orders > 0 ? static_cast<std::uint64_t>(orders) : broken ? 3'000 : 20'000;
    options.kills = kills >= 0 ? static_cast<std::uint64_t>(kills) : broken ? 6 : 20;
    options.postgres = config.text("store") == "postgres";
    const auto rate = config.integer("rate");
    options.orders_per_second = static_cast<double>(rate > 0 ? rate : options.postgres ? 180 : 250);
    options.seed =
        config.integer("seed") > 0 ? static_cast<std::uint64_t>(config.integer("seed")) : hufu::system_random().next();
    options.limit = std::chrono::seconds{config.integer("seconds_limit")};
    options.programs = std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
    std::string directory = (std::filesystem::temp_directory_path() / "order-demo-XXXXXX").string();
    if (::mkdtemp(directory.data()) == nullptr) {
        throw hufu::Exception{
            {hufu::ErrorCode::io, hufu::Disposition::fatal, "no folder can be made as " + directory + "; set TMPDIR"}};
    }
    options.directory = directory;
    return options;
}

int demo(const hufu::Config& config) {
    const hufu::StopOnSignal stop;
    const auto options = options_of(config);
    const auto tell = [](const std::string& line) { std::fprintf(stderr, "  %s\n", line.c_str()); };
    shop::demo::Outcome outcome;
    try {
        outcome = shop::demo::run(options, tell, stop.token());
    } catch (...) {
        std::fprintf(stderr, "order-demo: data and logs are kept in %s\n", options.directory.c_str());
        throw;
    }
    std::fprintf(stderr, "%s", shop::demo::table(outcome).c_str());
    if (config.boolean("json")) std::printf("%s\n", shop::demo::json(outcome).c_str());
    if ((outcome.held() || options.breaking != shop::demo::Break::none) && !config.boolean("keep")) {
        std::filesystem::remove_all(options.directory);
    } else {
        std::fprintf(stderr, "\n  databases, logs and ledger are kept in %s\n", options.directory.c_str());
    }
    return outcome.held() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    bool json = false;
    try {
        const auto known = schema();
        const auto config = hufu::Config::load(known, {.flags = {arguments + 1, arguments + count}}).value();
        if (config.help_wanted()) {
            std::printf("order-demo: runs the order service under load, kills its processes, and checks every promise\n\n%s",
                        known.help().c_str());
            return 0;
        }
        json = config.boolean("json");
        return demo(config);
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "order-demo: %s\n", failure.what());
        if (json) std::printf("%s\n", shop::demo::json_of_failure(failure.what()).c_str());
        return 2;
    }
}
