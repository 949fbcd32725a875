#include "metrics_http.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace hufu::broker {
namespace {

constexpr std::size_t head_max = 4096;
constexpr int exchanges_max = 16;
constexpr std::size_t held_bytes_max = 16U << 20U;
constexpr std::chrono::seconds patience{10};
constexpr std::string_view plain = "text/plain; charset=utf-8";

std::string response(std::string_view status, std::string_view type, std::string_view body, bool head_only = false) {
    std::string text{"HTTP/1.1 "};
    text.append(status).append("\r\nContent-Type: ").append(type).append("\r\nContent-Length: ");
    text.append(std::to_string(body.size())).append("\r\nConnection: close\r\n\r\n");
    return head_only ? text : text.append(body);
}

std::string json_text(std::string_view text) {
    std::string out{"\""};
    for (const char c : text) {
        if (c == '"' || c == '\\') out.push_back('\\');
        out.push_back(static_cast<unsigned char>(c) < ' ' ? ' ' : c);
    }
    return out + "\"";
}

/// {"status":"ok","checks":[{"name":"log","ok":true,"fault":""}]}
std::string health_json(const std::vector<HealthCheck>& checks, bool well) {
    std::string out = well ? R"({"status":"ok","checks":[)" : R"({"status":"unhealthy","checks":[)";
    for (const HealthCheck& check : checks) {
        if (out.back() == '}') out.push_back(',');
        out += "{\"name\":" + json_text(check.name) + ",\"ok\":" + (check.fault.empty() ? "true" : "false") +
               ",\"fault\":" + json_text(check.fault) + "}";
    }
    return out + "]}\n";
}

std::string health_answer(const std::vector<HealthCheck>& checks, bool verbose, bool head_only) {
    const auto bad =
        std::find_if(checks.begin(), checks.end(), [](const HealthCheck& check) { return !check.fault.empty(); });
    const bool well = bad == checks.end();
    const std::string_view status = well ? "200 OK" : "503 Service Unavailable";
    if (verbose) return response(status, "application/json", health_json(checks, well), head_only);
    return response(status, plain, well ? "ok\n" : bad->fault + "\n", head_only);
}

}  // namespace

struct MetricsEndpoint::Exchange {
    Exchange(boost::asio::io_context& io, std::shared_ptr<Held> held_in, Descriptor socket, SteadyTime until_in)
        : held{std::move(held_in)}, descriptor{io, socket.release()}, until{until_in} {
        ++held->exchanges;
    }
    ~Exchange() {
        --held->exchanges;
        held->bytes -= counted;
    }
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    const std::shared_ptr<Held> held;
    boost::asio::posix::stream_descriptor descriptor;
    const SteadyTime until;
    std::string head;
    std::string output;
    std::size_t written = 0;
    std::size_t counted = 0;  // of output, in held
};

MetricsEndpoint::MetricsEndpoint(boost::asio::io_context& io, Listener listener, Clock& clock, Sources sources)
    : io_{io},
      listening_{io, listener.socket.release()},
      address_{std::move(listener.address)},
      clock_{clock},
      sources_{std::move(sources)} {}

void MetricsEndpoint::start() {
    const SteadyTime now = clock_.steady_now();
    std::erase_if(exchanges_, [now](const std::weak_ptr<Exchange>& weak) {
        const auto exchange = weak.lock();
        if (!exchange) return true;
        if (now < exchange->until) return false;
        boost::system::error_code ignored;
        exchange->descriptor.close(ignored);  // its wait ends, and the exchange with it
        return true;
    });
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
        if (accepted.socket.get() >= 0 && held_->exchanges < exchanges_max) {
            auto exchange =
                std::make_shared<Exchange>(io_, held_, std::move(accepted.socket), clock_.steady_now() + patience);
            exchanges_.push_back(exchange);
            wait_request(std::move(exchange));
        }
        wait_accept();
    });
}

void MetricsEndpoint::wait_request(std::shared_ptr<Exchange> exchange) {
    auto& descriptor = exchange->descriptor;
    descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this, exchange = std::move(exchange)](const boost::system::error_code& fault) mutable {
                              if (fault) return;
                              char bytes[1024];
                              const ssize_t count = ::recv(exchange->descriptor.native_handle(), bytes, sizeof bytes, 0);
                              if (count < 0 && (errno == EAGAIN || errno == EINTR)) return wait_request(std::move(exchange));
                              if (count <= 0) return;
                              exchange->head.append(bytes, static_cast<std::size_t>(count));
                              if (exchange->head.find("\r\n\r\n") != std::string::npos) return answer(std::move(exchange));
                              if (exchange->head.size() <= head_max) wait_request(std::move(exchange));
                          });
}

void MetricsEndpoint::answer(std::shared_ptr<Exchange> exchange) {
    exchange->output = answer_to(exchange->head);
    if (held_->bytes + exchange->output.size() > held_bytes_max)
        exchange->output = response("503 Service Unavailable", plain, "too many answers are on their way; ask again\n");
    exchange->counted = exchange->output.size();
    held_->bytes += exchange->counted;
    write(std::move(exchange));
}

void MetricsEndpoint::write(std::shared_ptr<Exchange> exchange) {
    const int socket = exchange->descriptor.native_handle();
    while (exchange->written < exchange->output.size()) {
        const ssize_t count = ::send(socket, exchange->output.data() + exchange->written,
                                     exchange->output.size() - exchange->written, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return;
        if (count < 0) {
            auto& descriptor = exchange->descriptor;
            descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_write,
                                  [this, exchange = std::move(exchange)](const boost::system::error_code& fault) mutable {
                                      if (!fault) write(std::move(exchange));
                                  });
            return;
        }
        exchange->written += static_cast<std::size_t>(count);
    }
    ::shutdown(socket, SHUT_WR);
}

std::string MetricsEndpoint::answer_to(const std::string& head) const {
    const bool head_only = head.starts_with("HEAD ");
    if (!head_only && !head.starts_with("GET "))
        return response("405 Method Not Allowed", plain, "only GET and HEAD are offered\n");
    const std::size_t begin = head.find(' ') + 1;
    const std::string target = head.substr(begin, head.find_first_of(" \r", begin) - begin);
    const std::string path = target.substr(0, target.find('?'));
    const std::string query = path.size() < target.size() ? target.substr(path.size() + 1) : std::string{};
    if (path == "/metrics")
        return response("200 OK", "text/plain; version=0.0.4; charset=utf-8", sources_.metrics(), head_only);
    if (path == "/healthz") return health_answer(sources_.health(), query.starts_with("verbose"), head_only);
    return response("404 Not Found", plain, "only /metrics and /healthz are offered\n", head_only);
}

}  // namespace hufu::broker
