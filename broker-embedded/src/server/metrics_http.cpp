#include "metrics_http.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <string_view>

namespace hufu::broker {
namespace {

constexpr std::size_t head_max = 4096;
constexpr int exchanges_max = 16;
constexpr int age_max = 5;  // calls of start, one every few seconds

std::string response(std::string_view status, std::string_view type, const std::string& body) {
    std::string text{"HTTP/1.1 "};
    text.append(status).append("\r\nContent-Type: ").append(type).append("\r\nContent-Length: ");
    return text.append(std::to_string(body.size())).append("\r\nConnection: close\r\n\r\n").append(body);
}

}  // namespace

struct MetricsEndpoint::Exchange {
    Exchange(MetricsEndpoint& of, Descriptor socket) : endpoint{of}, descriptor{of.io_, socket.release()} {
        ++of.exchanges_;
    }
    ~Exchange() { --endpoint.exchanges_; }
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    MetricsEndpoint& endpoint;
    boost::asio::posix::stream_descriptor descriptor;
    std::string head;
    std::string answer;
    std::size_t sent = 0;
    int age = 0;  // calls of `start` seen
};

MetricsEndpoint::MetricsEndpoint(boost::asio::io_context& io, Listener listener, const MetricsRegistry& metrics,
                                 std::function<std::string()> unhealthy)
    : io_{io},
      listening_{io, listener.socket.release()},
      address_{std::move(listener.address)},
      metrics_{metrics},
      unhealthy_{std::move(unhealthy)} {}

void MetricsEndpoint::start() {
    std::erase_if(open_, [](const std::weak_ptr<Exchange>& known) { return known.expired(); });
    for (const auto& known : open_)
        if (const auto exchange = known.lock(); exchange && ++exchange->age > age_max) {
            boost::system::error_code ignored;
            exchange->descriptor.close(ignored);
        }
    if (!waiting_ && listening_.is_open()) wait_accept();
}

void MetricsEndpoint::stop() {
    boost::system::error_code ignored;
    listening_.close(ignored);
}

void MetricsEndpoint::wait_accept() {
    waiting_ = true;
    listening_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& fault) {
        waiting_ = false;
        if (fault || !listening_.is_open()) return;
        Accepted accepted = accept_on(listening_.native_handle());
        if (accepted.exhausted) return;
        if (accepted.socket.get() >= 0 && exchanges_ < exchanges_max) {
            auto exchange = std::make_shared<Exchange>(*this, std::move(accepted.socket));
            open_.push_back(exchange);
            wait_request(std::move(exchange));
        }
        wait_accept();
    });
}

void MetricsEndpoint::wait_request(std::shared_ptr<Exchange> exchange) {
    auto& descriptor = exchange->descriptor;
    descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this, exchange = std::move(exchange)](const boost::system::error_code& fault) {
                              if (fault) return;
                              char bytes[1024];
                              const int socket = exchange->descriptor.native_handle();
                              const ssize_t count = ::recv(socket, bytes, sizeof bytes, 0);
                              if (count <= 0) return;
                              exchange->head.append(bytes, static_cast<std::size_t>(count));
                              if (exchange->head.find("\r\n\r\n") == std::string::npos) {
                                  if (exchange->head.size() <= head_max) wait_request(exchange);
                                  return;
                              }
                              exchange->answer = answer_to(exchange->head);
                              send_answer(exchange);
                          });
}

void MetricsEndpoint::send_answer(std::shared_ptr<Exchange> exchange) {
    const int socket = exchange->descriptor.native_handle();
    const std::string_view rest = std::string_view{exchange->answer}.substr(exchange->sent);
    const ssize_t count = ::send(socket, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count > 0) exchange->sent += static_cast<std::size_t>(count);
    if (exchange->sent == exchange->answer.size()) {
        ::shutdown(socket, SHUT_WR);
        return;
    }
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return;
    auto& descriptor = exchange->descriptor;
    descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_write,
                          [this, exchange = std::move(exchange)](const boost::system::error_code& fault) {
                              if (!fault) send_answer(exchange);
                          });
}

std::string MetricsEndpoint::answer_to(const std::string& head) const {
    constexpr std::string_view plain = "text/plain; charset=utf-8";
    if (!head.starts_with("GET ")) return response("405 Method Not Allowed", plain, "only GET is offered\n");
    const std::string path = head.substr(4, head.find_first_of(" ?\r", 4) - 4);
    if (path == "/metrics") return response("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics_.text());
    if (path == "/healthz") {
        const std::string reason = unhealthy_();
        return reason.empty() ? response("200 OK", plain, "ok\n")
                              : response("503 Service Unavailable", plain, reason + "\n");
    }
    return response("404 Not Found", plain, "only /metrics and /healthz are offered\n");
}

}  // namespace hufu::broker
