#include "judged_broker.hpp"

#include <filesystem>
#include <fstream>
#include <vector>

#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>
#include <hufu/test_support/rocketmq_server.hpp>

namespace hufu::interop {
namespace {

using namespace hufu::test_support;

/// Short, so that retries and dead letters take seconds; the suite knows that it begins with 1 s and 3 s.
constexpr const char* delay_levels = "1s 3s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s";
constexpr const char* account = "interop";
constexpr const char* secret = "interop-tells-nobody";

class Rocketmq final : public BrokerUnderTest {
public:
    explicit Rocketmq(const BrokerOptions& options) : server_{options_for(options)} {}

    [[nodiscard]] std::string name_server() const override { return server_.name_server(); }
    void kill_and_restart() override {
        server_.kill_broker();
        server_.start_broker();
    }
    [[nodiscard]] std::string log_tail() const override { return server_.log_tail(); }

private:
    static RocketmqServerOptions options_for(const BrokerOptions& options) {
        RocketmqServerOptions made;
        made.directory = options.folder;
        made.heap_mb = 256;
        // Each thread that stores keeps a buffer of 4 MiB; with less than this its timer threads die of it.
        made.flags = {"-XX:MaxDirectMemorySize=512m"};
        made.settings = {std::string{"messageDelayLevel="} + delay_levels,
                         // Off by default.
                         "recallMessageEnable=true",
                         // So that a half message is asked about within seconds.
                         "transactionTimeOut=1000", "transactionCheckInterval=1000",
                         // On two busy cores a send may wait longer than 200 ms for its turn, and is then refused.
                         "waitTimeMillsInSendQueue=5000"};
        if (options.access_control) {
            const std::string package = "org.apache.rocketmq.auth.authentication.provider.";
            const auto add = [&](std::string line) { made.settings.push_back(std::move(line)); };
            add("authenticationEnabled=true");
            add("authenticationProvider=" + package + "DefaultAuthenticationProvider");
            add("authenticationMetadataProvider=" + package + "LocalAuthenticationMetadataProvider");
            add(std::string{"initAuthenticationUser={\"username\":\""} + account + R"(","password":")" + secret + "\"}");
            add(std::string{"innerClientAuthenticationCredentials={\"accessKey\":\""} + account + R"(","secretKey":")" +
                secret + "\"}");
        }
        return made;
    }

    RocketmqServer server_;
};

class Hufu final : public BrokerUnderTest {
public:
    explicit Hufu(const BrokerOptions& options) : options_{options}, port_{free_port()} {
        std::filesystem::create_directories(options_.folder);
        if (options_.access_control) write_accounts();
        start();
    }

    [[nodiscard]] std::string name_server() const override { return "127.0.0.1:" + std::to_string(port_); }
    void kill_and_restart() override {
        broker_.kill();
        start();
    }
    [[nodiscard]] std::string log_tail() const override { return file_tail(log()); }

private:
    [[nodiscard]] std::string log() const { return options_.folder + "/broker.log"; }
    [[nodiscard]] std::string accounts() const { return options_.folder + "/acl.toml"; }

    void write_accounts() const {
        std::ofstream{accounts()} << "[account." << account << "]\nsecret_key = \"" << secret << "\"\nadmin = true\n";
        std::filesystem::permissions(accounts(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    }

    void start() {
        std::vector<std::string> flags{"--queues",         "4",  "--delay-levels",      delay_levels,
                                       "--tx-first-check", "1s", "--tx-check-interval", "1s"};
        if (options_.access_control) flags.insert(flags.end(), {"--acl", accounts()});
        broker_ = start_hufu_broker({.program = options_.programs + "/hufu-broker",
                                     .folder = options_.folder,
                                     .port = port_,
                                     .flags = std::move(flags)});
    }

    BrokerOptions options_;
    std::uint16_t port_;
    Child broker_;
};

}  // namespace

std::unique_ptr<BrokerUnderTest> start_rocketmq(const BrokerOptions& options) { return std::make_unique<Rocketmq>(options); }

std::unique_ptr<BrokerUnderTest> start_hufu(const BrokerOptions& options) { return std::make_unique<Hufu>(options); }

}  // namespace hufu::interop
