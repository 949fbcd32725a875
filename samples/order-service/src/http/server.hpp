// The HTTP edge: connections, keep-alive, limits and time-outs; what a request means is the application's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <hufu/beast/http_guard.hpp>
#include <hufu/core/error.hpp>

#include "http/message.hpp"

namespace shop {

/// From Beast's request and to its response.
[[nodiscard]] HttpRequest request_of(const hufu::beast::Request& request);
[[nodiscard]] hufu::beast::Response response_of(const HttpResponse& response, const hufu::beast::Request& request);

struct HttpServerOptions {
    std::string host = "127.0.0.1";
    std::uint16_t port = 0;   ///< 0: any free one, see `port()`
    std::size_t workers = 4;  ///< threads that run the application
    std::size_t body_max_bytes = 16 * 1024;
    std::size_t connections_max = 1024;
    std::chrono::seconds idle_timeout{60};
};

/// Serves HTTP/1.1 until destroyed. One thread does all socket work, `workers` threads run the application.
///
/// A request that is not HTTP gets 400, one that is too large 413 or 431, each with a JSON body, and the connection is
/// closed. What requests with a key (`Idempotency-Key`) mean is `keyed`'s; without that, a POST with a key is answered 400, so
/// that nobody relies on a key that does nothing. The destructor takes no new requests and lets those in the application finish.
class HttpServer {
public:
    /// `unavailable` names the address when it cannot be listened on (in use, not ours).
    static hufu::Result<std::unique_ptr<HttpServer>> listen(HttpServerOptions options, HttpApplication application,
                                                            hufu::beast::Application keyed = {});
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept;

private:
    struct Impl;
    explicit HttpServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace shop
