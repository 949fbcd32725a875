#include "databases.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <sstream>

#include "storage/postgres_store.hpp"

namespace shop::demo {
namespace {

constexpr std::chrono::seconds start_timeout{60};

class SqliteDatabases final : public Databases {
public:
    explicit SqliteDatabases(std::string directory) : directory_{std::move(directory)} {}
    [[nodiscard]] std::string url(const std::string& role) const override {
        return "sqlite:" + directory_ + "/" + role + ".db";
    }

private:
    std::string directory_;
};

std::string contents_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream{path}.rdbuf();
    return text.str();
}

class PostgresDatabases final : public Databases {
public:
    PostgresDatabases(const std::string& directory, const std::string& programs) {
        std::array<int, 2> pipe{};
        if (::pipe2(pipe.data(), O_CLOEXEC) != 0) fail("no pipe for its standard input", "");
        const auto log = directory + "/logs/postgres.log";
        // The server runs until its standard input closes, which it also does when we die.
        server_.emplace(ChildOptions{.program = programs + "/hufu-test-server",
                                     .arguments = {"postgres", "--durable"},
                                     .log = log,
                                     .input = pipe[0]});
        ::close(pipe[0]);
        input_ = pipe[1];
        server_url_ = wait_for_url(log);
        for (const auto* role : {"order", "payment", "stock"}) create_postgres_database(server_url_, name_of(role));
    }

    ~PostgresDatabases() override {
        ::close(input_);
        auto& clock = hufu::system_clock();
        const auto until = clock.steady_now() + start_timeout;
        while (!server_->ended() && clock.steady_now() < until)
            clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{10}, {});
    }
    PostgresDatabases(const PostgresDatabases&) = delete;
    PostgresDatabases& operator=(const PostgresDatabases&) = delete;

    [[nodiscard]] std::string url(const std::string& role) const override {
        return server_url_.substr(0, server_url_.rfind('/') + 1) + name_of(role);
    }

private:
    static std::string name_of(const std::string& role) { return "shop_" + role; }

    [[noreturn]] static void fail(const std::string& what, const std::string& log) {
        throw hufu::Exception{
            {hufu::ErrorCode::unavailable, hufu::Disposition::fatal, "private PostgreSQL server: " + what + "\n" + log}};
    }

    /// The first line it prints, once it is complete.
    std::string wait_for_url(const std::string& log) {
        auto& clock = hufu::system_clock();
        const auto until = clock.steady_now() + start_timeout;
        for (;;) {
            const bool ended = server_->ended();
            const auto text = contents_of(log);
            const auto at = text.find("postgresql://");
            const auto end = at == std::string::npos ? at : text.find('\n', at);
            if (end != std::string::npos) return text.substr(at, end - at);
            if (ended) fail("ended at start", text);
            if (clock.steady_now() > until) fail("did not come up within a minute", text);
            clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{20}, {});
        }
    }

    std::optional<Child> server_;
    int input_ = -1;
    std::string server_url_;
};

}  // namespace

std::unique_ptr<Databases> sqlite_databases(const std::string& directory) {
    return std::make_unique<SqliteDatabases>(directory);
}

std::unique_ptr<Databases> postgres_databases(const std::string& directory, const std::string& programs) {
    return std::make_unique<PostgresDatabases>(directory, programs);
}

}  // namespace shop::demo
