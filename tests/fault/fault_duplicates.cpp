// hufu-fault-duplicates: every message five times at once to eight consumers that are killed at random, while Redis is flushed
// and restarted and PostgreSQL killed twice. One effect each where the database guards; where Redis alone does, the number of
// double effects is measured.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

#include "duplicate_consumer.hpp"
#include "duplicate_storm.hpp"

namespace {

using namespace hufu::fault;

void print_json(const StormOptions& options, const StormResult& result) {
    const auto of = [&](char kind) {
        const Effects& one = result.effects.at(kind);
        return "{\"lost\":" + std::to_string(one.none) + ",\"doubles\":" + std::to_string(one.doubles) + "}";
    };
    std::printf(
        "{\"fault\":\"duplicates\",\"held\":%s,\"messages\":%d,\"copies\":%d,\"consumers\":%d,\"deliveries\":%d,"
        "\"effect_once\":%s,\"effect_once_in_flight\":%s,\"effect_once_behind_redis\":%s,\"best_effort\":%s,"
        "\"rejected\":%d,\"retries\":%d,\"kills\":%d,\"redis_flushes\":%d,\"redis_restarts\":%d,\"postgres_kills\":%d,"
        "\"seconds\":%.1f}\n",
        result.held() ? "true" : "false", options.messages, options.copies, options.consumers, result.deliveries,
        of('d').c_str(), of('f').c_str(), of('r').c_str(), of('b').c_str(), result.rejected, result.retries, result.kills,
        result.redis_flushes, result.redis_restarts, result.postgres_kills, result.seconds);
}

void print_text(const StormOptions& options, const StormResult& result) {
    std::printf(
        "%s: %d deliveries of %d messages for each guard, %d kills, %d Redis flushes, %d Redis restarts, %d "
        "PostgreSQL kills, %.1f s\n",
        result.held() ? "held" : "BROKEN", result.deliveries, options.messages, result.kills, result.redis_flushes,
        result.redis_restarts, result.postgres_kills, result.seconds);
    constexpr std::pair<char, const char*> names[] = {{'d', "effect_once"},
                                                      {'f', "effect_once, in the effect's flight"},
                                                      {'r', "effect_once behind Redis"},
                                                      {'b', "best_effort"}};
    for (const auto& [kind, name] : names) {
        const Effects& one = result.effects.at(kind);
        std::printf("  %-36s %d lost, %d double effects\n", name, one.none, one.doubles);
    }
}

int run_storm(int count, char** arguments) {
    CLI::App app{"A storm of duplicates. Exits 0 when each effect that the database guards took place once.",
                 "hufu-fault-duplicates"};
    StormOptions options;
    bool json = false;
    std::uint64_t seed = 1;
    std::string broken;
    app.add_option("--messages", options.messages, "messages for each guard")->check(CLI::Range(1, 1'000'000));
    app.add_option("--kill-every", options.kill_every_ms, "mean ms between kills of consumers")
        ->check(CLI::Range(10, 60'000));
    app.add_option("--seed", seed, "of the kills");
    app.add_option("--break", broken, "guard: one guard is left out, which must end with held: false")
        ->check(CLI::IsMember({"guard"}));
    app.add_flag("--json", json, "one JSON object");
    CLI11_PARSE(app, count, arguments);
    options.without_guard = broken == "guard";
    options.program = std::filesystem::canonical("/proc/self/exe");
    hufu::SeededRandom random{seed};
    const StormResult result = duplicate_storm(options, random);
    json ? print_json(options, result) : print_text(options, result);
    return result.held() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        if (count >= 5 && std::string_view{arguments[1]} == "--consumer") {
            return run_consumer({.database = arguments[2],
                                 .redis = arguments[3],
                                 .effects_file = arguments[4],
                                 .without_guard = count > 5 && std::string_view{arguments[5]} == "--break"});
        }
        return run_storm(count, arguments);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-fault-duplicates: %s\n", error.what());
        return 1;
    }
}
