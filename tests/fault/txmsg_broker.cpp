#include "txmsg_broker.hpp"

#include <filesystem>

#include <hufu/test_support/child.hpp>
#include <hufu/test_support/rocketmq_server.hpp>

namespace hufu::fault {
namespace {

class Bundled final : public TxBroker {
public:
    Bundled(const std::string& programs, std::string folder) : programs_{programs}, folder_{std::move(folder)} {
        std::filesystem::create_directories(folder_ + "/data");
        start();
    }
    [[nodiscard]] std::uint16_t port() const override { return port_; }
    [[nodiscard]] std::uint16_t broker_port() const override { return port_; }
    [[nodiscard]] bool is_ours() const override { return true; }
    void kill() override { child_.kill(); }
    void start() override {
        const std::string output = folder_ + "/broker.log";
        child_ = test_support::Child{{.arguments = {programs_ + "/hufu-broker", "--data", folder_ + "/data", "--listen",
                                                    "127.0.0.1:" + std::to_string(port_), "--tx-first-check", "200ms",
                                                    "--tx-check-interval", "200ms", "--tx-check-interval-max", "500ms"},
                                      .output = output}};
        test_support::wait_until_ready(child_, "hufu-broker", output, [&] { return test_support::accepts(port_); });
    }

private:
    const std::string programs_;
    const std::string folder_;
    const std::uint16_t port_ = test_support::free_port();
    test_support::Child child_;
};

class Original final : public TxBroker {
public:
    explicit Original(const std::string& parent)
        : server_{{.parent = parent,
                   .settings = {"transactionTimeOut=1000", "transactionCheckInterval=500",
                                "transactionOpBatchInterval=50"}}},
          port_{static_cast<std::uint16_t>(std::stoi(server_.name_server().substr(server_.name_server().rfind(':') + 1)))} {}
    [[nodiscard]] std::uint16_t port() const override { return port_; }
    [[nodiscard]] std::uint16_t broker_port() const override { return server_.broker_port(); }
    [[nodiscard]] bool is_ours() const override { return false; }
    void kill() override { server_.kill_broker(); }
    void start() override { server_.start_broker(); }

private:
    test_support::RocketmqServer server_;
    const std::uint16_t port_;
};

}  // namespace

std::unique_ptr<TxBroker> bundled_broker(const std::string& programs, const std::string& folder) {
    return std::make_unique<Bundled>(programs, folder);
}

std::unique_ptr<TxBroker> original_broker(const std::string& parent) { return std::make_unique<Original>(parent); }

}  // namespace hufu::fault
