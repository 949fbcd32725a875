#include "options.hpp"

#include <charconv>
#include <string_view>

#include <hufu/core/config.hpp>

namespace hufu::broker {
namespace {

Error refuse(std::string text) {
    return Error{ErrorCode::invalid_argument, Disposition::reject,
                 std::move(text) + " (hufu-broker --help lists the flags)"};
}

template <class Number>
bool read_number(std::string_view text, Number& into) {
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
    return fault == std::errc{} && end == text.data() + text.size();
}

/// Obeys one `--flag value`; returns what is wrong with it, or nothing.
std::string take(ProgramOptions& options, std::string_view flag, const std::string& value) {
    ServerOptions& server = options.server;
    if (flag == "--data") {
        server.folder = value;
    } else if (flag == "--listen") {
        server.listen = value;
    } else if (flag == "--advertise") {
        server.advertise = value;
    } else if (flag == "--unix") {
        server.unix_socket = value;
    } else if (flag == "--acl") {
        server.acl_file = value;
    } else if (flag == "--metrics-listen") {
        server.metrics_listen = value;
    } else if (flag == "--metrics-series") {
        if (!read_number(value, server.metrics_series) || server.metrics_series > 100'000)
            return "--metrics-series \"" + value + "\": must be a number up to 100000";
    } else if (flag == "--log-format") {
        if (value != "text" && value != "json") return "--log-format \"" + value + "\": must be text or json";
        options.log_format = value == "json" ? LogFormat::json : LogFormat::text;
    } else if (flag == "--log-level") {
        const auto level = parse_log_level(value);
        if (!level) return "--log-level: " + level.error().text();
        options.log_level = *level;
    } else if (flag == "--durability") {
        if (value != "sync" && value != "async") return "--durability \"" + value + "\": must be sync or async";
        server.durability = value == "sync" ? Durability::sync : Durability::async;
    } else if (flag == "--auto-create-topics") {
        if (value != "on" && value != "off") return "--auto-create-topics \"" + value + "\": must be on or off";
        server.auto_create_topics = value == "on";
    } else if (flag == "--auto-create-groups") {
        if (value != "on" && value != "off") return "--auto-create-groups \"" + value + "\": must be on or off";
        server.auto_create_groups = value == "on";
    } else if (flag == "--queues") {
        if (!read_number(value, server.default_queues) || server.default_queues < 1 || server.default_queues > 1024)
            return "--queues \"" + value + "\": must be a number from 1 to 1024";
    } else if (flag == "--delay-levels") {
        auto levels = parse_delay_levels(value);
        if (!levels) return "--delay-levels: " + levels.error().text();
        server.delay_levels = std::move(*levels);
    } else if (flag == "--tx-first-check" || flag == "--tx-check-interval" || flag == "--tx-check-interval-max" ||
               flag == "--tx-budget") {
        const auto duration = parse_duration(value);
        if (!duration || *duration < std::chrono::milliseconds{1} || *duration > std::chrono::days{366})
            return std::string{flag} + " \"" + value + "\": must be a duration from 1ms to a year, such as 6s or 3d";
        auto& transactions = server.transactions;
        auto& into = flag == "--tx-first-check"      ? transactions.first_check
                     : flag == "--tx-check-interval" ? transactions.check_interval
                     : flag == "--tx-budget"         ? transactions.budget
                                                     : transactions.check_interval_max;
        into = std::chrono::ceil<std::chrono::milliseconds>(*duration);
    } else if (flag == "--tx-pending-max") {
        if (!read_number(value, server.transactions.pending_max) || server.transactions.pending_max > 100'000'000)
            return "--tx-pending-max \"" + value + "\": must be a number up to 100000000";
    } else if (flag == "--keep-for") {
        const auto duration = parse_duration(value);
        if (!duration || *duration < std::chrono::nanoseconds{0} || *duration > std::chrono::days{36'525})
            return "--keep-for \"" + value + "\": must be a duration such as 72h or 7d, or 0 to keep everything";
        server.keep_for = std::chrono::ceil<std::chrono::milliseconds>(*duration);
    } else if (flag == "--keep-bytes") {
        const auto size = parse_size(value);
        if (!size || *size > (1ULL << 62U))
            return "--keep-bytes \"" + value + "\": must be a size such as 100GiB, or 0 for no limit";
        server.keep_bytes = *size;
    } else if (flag == "--connections-max") {
        if (!read_number(value, server.connections_max) || server.connections_max < 1 || server.connections_max > 1'000'000)
            return "--connections-max \"" + value + "\": must be a number from 1 to 1000000";
    } else if (flag == "--ready-fd") {
        int descriptor = -1;
        if (!read_number(value, descriptor) || descriptor < 0)
            return "--ready-fd \"" + value + "\": must be the number of an open file descriptor";
        options.ready_fd = descriptor;
    } else {
        return "unknown flag \"" + std::string{flag} + "\"";
    }
    return {};
}

}  // namespace

Result<ProgramOptions> parse_program_options(std::span<const char* const> arguments) {
    ProgramOptions options;
    for (std::size_t index = 0; index < arguments.size(); ++index) {
        std::string_view flag = arguments[index];
        if (flag == "--help" || flag == "-h") {
            options.help = true;
            return options;
        }
        if (flag == "--allow-remote") {
            options.server.allow_remote = true;
            continue;
        }
        std::string value;
        if (const auto equals = flag.find('='); equals != std::string_view::npos) {
            value = flag.substr(equals + 1);
            flag = flag.substr(0, equals);
        } else if (index + 1 < arguments.size()) {
            value = arguments[++index];
        } else {
            return refuse("flag \"" + std::string{flag} + "\" is unknown or lacks its value");
        }
        if (std::string fault = take(options, flag, value); !fault.empty()) return refuse(std::move(fault));
    }
    if (options.server.folder.empty()) return refuse("--data DIR is missing: it says where the log lives");
    if (options.server.listen.empty() && options.server.unix_socket.empty())
        return refuse("nothing to listen on: give --listen HOST:PORT, --unix PATH, or both");
    return options;
}

const char* program_help() noexcept {
    return "hufu-broker: the bundled broker, speaking RocketMQ's remoting protocol\n"
           "\n"
           "  --data DIR                     folder of the log; created when missing, locked while in use\n"
           "  --listen HOST:PORT             TCP address, e.g. 127.0.0.1:9876 (port 0: any free one)\n"
           "  --unix PATH                    Unix stream socket, beside or instead of TCP\n"
           "  --advertise IPV4:PORT          address that clients are told; default: the listening address\n"
           "  --acl FILE                     accounts and their rights (TOML): every request must be signed; SIGHUP reads "
           "it "
           "again\n"
           "  --allow-remote                 permits --listen beyond the loopback interface without --acl, and "
           "--metrics-listen likewise\n"
           "  --durability sync|async        when a send is answered: after fdatasync (default), or at once (a crash loses "
           "the last moments)\n"
           "  --auto-create-topics on|off    whether a send creates a missing topic (default on)\n"
           "  --auto-create-groups on|off    whether the first client of a consumer group makes it (default on)\n"
           "  --queues N                     queues of a topic created by a send (default 8)\n"
           "  --delay-levels LADDER          what DELAY=1, 2, … wait (default \"1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m "
           "10m "
           "20m 30m 1h 2h\"); units ms, s, m, h, d\n"
           "  --tx-first-check DURATION      from a half message to the first question what became of it (default 6s)\n"
           "  --tx-check-interval DURATION   from the first question to the second (default 10s); then it doubles …\n"
           "  --tx-check-interval-max DURATION  … up to this (default 10m)\n"
           "  --tx-budget DURATION           a half message older than this without a verdict is parked (default 3d)\n"
           "  --tx-pending-max N             half messages without a verdict, 64 bytes of memory each (default 2000000)\n"
           "  --keep-for DURATION            older messages are deleted, after an alarm (default 72h; 0: never)\n"
           "  --keep-bytes SIZE              the oldest are deleted, after an alarm, when the log is larger (default 0: no "
           "limit)\n"
           "  --connections-max N            open connections (default 10000, less where the process may open fewer files)\n"
           "  --metrics-listen HOST:PORT     HTTP /metrics (Prometheus text) and /healthz\n"
           "  --metrics-series N             topics, and pairs of group and topic, that /metrics names (default 2000)\n"
           "  --log-format text|json         form of the log lines on standard error (default text)\n"
           "  --log-level LEVEL              debug, info, warning or error: the least that is written (default info)\n"
           "  --ready-fd N                   writes the TCP address and a newline to this descriptor when accepting\n"
           "\n"
           "SIGTERM and SIGINT stop it cleanly. Exit code 0 after a clean stop, 1 after an error.\n";
}

}  // namespace hufu::broker
