// GET /metrics and GET /healthz, for one request per connection.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <hufu/core/metrics.hpp>

#include "sockets.hpp"

namespace hufu::broker {

/// Serves the registry's text and the broker's health on the server's thread. At most 16 requests at once; each has
/// 4 KiB for its head and some seconds.
class MetricsEndpoint {
public:
    /// `unhealthy` gives the reason why the broker cannot take messages, empty when it can.
    MetricsEndpoint(boost::asio::io_context& io, Listener listener, const MetricsRegistry& metrics,
                    std::function<std::string()> unhealthy);

    /// Accepts. Call again every few seconds: accepting rests while the process is out of descriptors, and a peer that
    /// still has its answer not after five calls is closed.
    void start();
    void stop();
    [[nodiscard]] const std::string& address() const noexcept { return address_; }

private:
    struct Exchange;
    void wait_accept();
    void wait_request(std::shared_ptr<Exchange> exchange);
    void send_answer(std::shared_ptr<Exchange> exchange);
    [[nodiscard]] std::string answer_to(const std::string& head) const;

    boost::asio::io_context& io_;
    boost::asio::posix::stream_descriptor listening_;
    std::string address_;
    const MetricsRegistry& metrics_;
    std::function<std::string()> unhealthy_;
    std::vector<std::weak_ptr<Exchange>> open_;
    int exchanges_ = 0;
    bool waiting_ = false;
};

}  // namespace hufu::broker
