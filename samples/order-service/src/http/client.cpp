#include "http/client.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <optional>

namespace shop {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

}  // namespace

struct HttpClient::Impl {
    std::string host;
    std::uint16_t port;
    std::chrono::milliseconds timeout;
    asio::io_context context{1};
    std::optional<beast::tcp_stream> stream;
    beast::flat_buffer buffer;

    /// Runs one asynchronous step to its end; the stream's own timer bounds it.
    template <class Start>
    beast::error_code step(Start start) {
        beast::error_code result;
        stream->expires_after(timeout);
        start([&result](beast::error_code error, auto&&...) { result = error; });
        context.restart();
        context.run();
        return result;
    }

    hufu::Error failed(hufu::Disposition disposition, const beast::error_code& error) {
        stream.reset();
        const auto code = error == beast::error::timeout ? hufu::ErrorCode::timeout : hufu::ErrorCode::unavailable;
        return {code, disposition, "no answer from http://" + host + ":" + std::to_string(port) + ": " + error.message()};
    }

    beast::error_code connect() {
        beast::error_code error;
        const tcp::endpoint endpoint{asio::ip::make_address(host, error), port};
        if (error) return error;
        buffer.clear();
        stream.emplace(context);
        error = step([&](auto done) { stream->async_connect(endpoint, done); });
        if (!error) stream->socket().set_option(tcp::no_delay{true}, error);
        return error;
    }
};

HttpClient::HttpClient(std::string host, std::uint16_t port, std::chrono::milliseconds timeout)
    : impl_{new Impl{.host = std::move(host), .port = port, .timeout = timeout, .stream = {}, .buffer = {}}} {}

HttpClient::~HttpClient() = default;

hufu::Result<HttpResponse> HttpClient::send(const HttpRequest& request) {
    auto& self = *impl_;
    if (!self.stream) {
        if (const auto error = self.connect()) return self.failed(hufu::Disposition::retry, error);
    }
    http::request<http::string_body> message;
    message.version(11);
    message.method_string(request.method);
    message.target(request.target);
    message.set(http::field::host, self.host);
    message.set(http::field::content_type, "application/json");
    if (!request.key.empty()) message.set("idempotency-key", request.key);
    message.body() = request.body;
    message.prepare_payload();
    if (const auto error = self.step([&](auto done) { http::async_write(*self.stream, message, done); })) {
        return self.failed(hufu::Disposition::in_doubt, error);
    }
    http::response<http::string_body> answer;
    if (const auto error = self.step([&](auto done) { http::async_read(*self.stream, self.buffer, answer, done); })) {
        return self.failed(hufu::Disposition::in_doubt, error);
    }
    if (!answer.keep_alive()) self.stream.reset();
    return HttpResponse{.status = answer.result_int(),
                        .body = std::move(answer.body()),
                        .allow = std::string{answer[http::field::allow]},
                        .replayed = answer["idempotent-replayed"] == "true"};
}

}  // namespace shop
