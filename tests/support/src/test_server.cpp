// hufu-test-server postgres [--dir D] [--durable] [--set LINE]...: starts a private server, prints its URL, and runs until
// standard input closes.
#include <hufu/test_support/postgres_server.hpp>

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

namespace {

constexpr const char* usage =
    "usage: hufu-test-server postgres [--dir DIR] [--durable] [--set \"name = value\"]...\n"
    "Starts a private PostgreSQL server, prints its URL, and runs until standard input closes.\n"
    "Without --dir the data lives under /tmp and is removed at the end.\n";

int serve(int count, char** arguments) {
    hufu::test_support::PostgresServerOptions options;
    for (int i = 2; i < count; ++i) {
        const std::string_view argument = arguments[i];
        if (argument == "--durable") {
            options.durable = true;
        } else if ((argument == "--dir" || argument == "--set") && i + 1 < count) {
            const std::string value = arguments[++i];
            if (argument == "--dir")
                options.directory = value;
            else
                options.settings.push_back(value);
        } else {
            std::fprintf(stderr, "hufu-test-server: unknown or incomplete argument \"%s\"\n%s", arguments[i], usage);
            return 2;
        }
    }
    const hufu::test_support::PostgresServer server{std::move(options)};
    std::printf("%s\n", server.url().c_str());
    std::fflush(stdout);
    char buffer[256];
    while (::read(STDIN_FILENO, buffer, sizeof buffer) > 0) {
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2 || std::string_view{arguments[1]} != "postgres") {
        std::fputs(usage, stderr);
        return 2;
    }
    try {
        return serve(count, arguments);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-test-server: %s\n", error.what());
        return 1;
    }
}
