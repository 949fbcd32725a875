// hufu-test-server postgres|rocketmq|kafka [--dir D] [--durable] [--set LINE]...: starts a private server, prints its URL,
// and runs until standard input closes.
#include <hufu/test_support/kafka_server.hpp>
#include <hufu/test_support/postgres_server.hpp>
#include <hufu/test_support/rocketmq_server.hpp>

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

namespace {

using namespace hufu::test_support;

constexpr const char* usage =
    "usage: hufu-test-server postgres|rocketmq|kafka [--dir DIR] [--durable] [--set \"name = value\"]...\n"
    "Starts a private server, prints its URL (RocketMQ: of the name server), and runs until standard input closes.\n"
    "Without --dir the data lives under /tmp and is removed at the end.\n";

struct Request {
    std::string server;
    std::string directory = {};
    bool durable = false;
    std::vector<std::string> settings = {};
};

/// Prints the address and stays until standard input closes.
void serve(const std::string& address) {
    std::printf("%s\n", address.c_str());
    std::fflush(stdout);
    char buffer[256];
    while (::read(STDIN_FILENO, buffer, sizeof buffer) > 0) {
    }
}

int obey(const Request& request) {
    if (request.server == "postgres") {
        const PostgresServer server{
            {.directory = request.directory, .durable = request.durable, .settings = request.settings}};
        serve(server.url());
    } else if (request.server == "rocketmq") {
        const RocketmqServer server{
            {.directory = request.directory, .sync_flush = request.durable, .settings = request.settings}};
        serve(server.name_server());
    } else {
        const KafkaServer server{
            {.directory = request.directory, .flush_each = request.durable, .settings = request.settings}};
        serve(server.address());
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    Request request{.server = count > 1 ? arguments[1] : ""};
    if (request.server != "postgres" && request.server != "rocketmq" && request.server != "kafka") {
        std::fputs(usage, stderr);
        return 2;
    }
    for (int i = 2; i < count; ++i) {
        const std::string_view argument = arguments[i];
        if (argument == "--durable") {
            request.durable = true;
        } else if ((argument == "--dir" || argument == "--set") && i + 1 < count) {
            const std::string value = arguments[++i];
            if (argument == "--dir")
                request.directory = value;
            else
                request.settings.push_back(value);
        } else {
            std::fprintf(stderr, "hufu-test-server: unknown or incomplete argument \"%s\"\n%s", arguments[i], usage);
            return 2;
        }
    }
    try {
        return obey(request);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-test-server: %s\n", error.what());
        return 1;
    }
}
