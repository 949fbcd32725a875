// GET /metrics and GET /healthz, for one request per connection.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <hufu/core/clock.hpp>

#include "sockets.hpp"

namespace hufu::broker {

/// One thing that must be well for the broker to take messages.
struct HealthCheck {
    std::string name;
    std::string fault = {};  ///< empty: well
};

/// Serves the metrics' text and the broker's health on the server's thread.
///
/// Limits: 16 requests at once; each has 4 KiB for its head and 10 s in all; the answers on their way hold 16 MiB
/// together (beyond that: 503). An answer of any size arrives whole while its peer takes it in time.
class MetricsEndpoint {
public:
    struct Sources {
        std::function<std::string()> metrics;  ///< Prometheus text
        std::function<std::vector<HealthCheck>()> health;
    };

    /// Borrows `io` and `clock` for its life.
    MetricsEndpoint(boost::asio::io_context& io, Listener listener, Clock& clock, Sources sources);

    /// Accepts, and closes what took too long. Call it every few seconds: accepting rests while the process is out of
    /// descriptors.
    void start();
    void stop();
    [[nodiscard]] const std::string& address() const noexcept { return address_; }

private:
    struct Exchange;
    /// Outlives the endpoint when the event loop still holds an exchange.
    struct Held {
        int exchanges = 0;
        std::size_t bytes = 0;  ///< of answers on their way
    };
    void wait_accept();
    void wait_request(std::shared_ptr<Exchange> exchange);
    void answer(std::shared_ptr<Exchange> exchange);
    void write(std::shared_ptr<Exchange> exchange);
    [[nodiscard]] std::string answer_to(const std::string& head) const;

    boost::asio::io_context& io_;
    boost::asio::posix::stream_descriptor listening_;
    std::string address_;
    Clock& clock_;
    Sources sources_;
    std::vector<std::weak_ptr<Exchange>> exchanges_;  // may hold ended ones until the next start()
    std::shared_ptr<Held> held_ = std::make_shared<Held>();
    bool waiting_ = false;
};

}  // namespace hufu::broker
