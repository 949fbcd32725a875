#include "http/server.hpp"

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/version.hpp>
#include <exception>
#include <optional>
#include <thread>

#include "domain/order_json.hpp"

namespace shop {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr std::uint32_t header_max_bytes = 8 * 1024;
constexpr std::chrono::seconds linger{2};
constexpr const char* key_header = "idempotency-key";

HttpResponse refused(unsigned status, std::string field, std::string rule) {
    return {.status = status, .body = to_json(Refusal{Refused::malformed, std::move(field), "", std::move(rule)})};
}

/// What all connections of a server share. Outlives them.
struct Shared {
    HttpServerOptions options;
    HttpApplication application;
    hufu::beast::Application keyed;
    asio::thread_pool workers;
    std::atomic<std::size_t> connections{0};

    Shared(HttpServerOptions o, HttpApplication a, hufu::beast::Application k)
        : options{std::move(o)}, application{std::move(a)}, keyed{std::move(k)}, workers{options.workers} {}

    [[nodiscard]] hufu::beast::Response answer(const hufu::beast::Request& request) const {
        if (request.method() == http::verb::post && request.count(key_header) > 0) {
            if (keyed) return keyed(request);
            return response_of(refused(400, key_header, "is taken by the order service in mode outbox only; send none here"),
                               request);
        }
        return response_of(application(request_of(request)), request);
    }
};

/// One connection: read, hand to a worker, write, again. All but the application runs on the socket thread.
class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(tcp::socket socket, Shared& shared) : stream_{std::move(socket)}, shared_{shared} {
        boost::system::error_code ignored;
        stream_.socket().set_option(tcp::no_delay{true}, ignored);
        ++shared_.connections;
    }
    ~Connection() { --shared_.connections; }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void read() {
        parser_.emplace();
        parser_->body_limit(shared_.options.body_max_bytes);
        parser_->header_limit(header_max_bytes);
        stream_.expires_after(shared_.options.idle_timeout);
        http::async_read(stream_, buffer_, *parser_,
                         [self = shared_from_this()](beast::error_code error, std::size_t) { self->on_read(error); });
    }

private:
    void on_read(beast::error_code error) {
        if (error) return on_bad_read(error);
        request_ = parser_->release();
        keep_alive_ = request_.keep_alive();
        asio::post(shared_.workers, [self = shared_from_this()] { self->apply(); });
    }

    void on_bad_read(beast::error_code error) {
        keep_alive_ = false;
        if (error == http::error::body_limit) {
            const auto limit = std::to_string(shared_.options.body_max_bytes);
            return refuse(413, "body", "has at most " + limit + " bytes");
        }
        if (error == http::error::header_limit || error == http::error::buffer_overflow) {
            return refuse(431, "header", "has at most " + std::to_string(header_max_bytes) + " bytes");
        }
        const bool gone = error == http::error::end_of_stream || error == http::error::partial_message;
        if (!gone && error.category() == http::make_error_code(http::error::bad_method).category()) {
            return refuse(400, "request", "is HTTP/1.1: " + error.message());
        }
        close();  // the other side left, or was silent for too long
    }

    void refuse(unsigned status, std::string field, std::string rule) {
        request_ = {};
        write(response_of(refused(status, std::move(field), std::move(rule)), request_));
    }

    /// On a worker's thread; the socket thread leaves the request alone meanwhile.
    void apply() {
        hufu::beast::Response response;
        try {
            response = shared_.answer(request_);
        } catch (const std::exception& failure) {
            const Refusal refusal{Refused::conflict, "service", failure.what(), "may work later; repeat"};
            response = response_of({.status = 503, .body = to_json(refusal)}, request_);
        }
        asio::post(stream_.get_executor(), [self = shared_from_this(), response = std::move(response)]() mutable {
            self->write(std::move(response));
        });
    }

    void write(hufu::beast::Response response) {
        response_ = std::move(response);
        response_.version(11);
        response_.set(http::field::server, "order-service");
        response_.keep_alive(keep_alive_);
        stream_.expires_after(shared_.options.idle_timeout);
        http::async_write(stream_, response_, [self = shared_from_this()](beast::error_code error, std::size_t) {
            if (error || !self->keep_alive_) return self->close();
            self->read();
        });
    }

    /// Says goodbye, then reads on for a moment: closing over unread bytes would reset the connection, and the answer
    /// to a request that was too large would be lost with it.
    void close() {
        boost::system::error_code ignored;
        stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
        stream_.expires_after(linger);
        drain();
    }

    void drain() {
        buffer_.clear();
        stream_.async_read_some(buffer_.prepare(header_max_bytes),
                                [self = shared_from_this()](beast::error_code error, std::size_t) {
                                    if (!error) self->drain();
                                });
    }

    beast::tcp_stream stream_;
    Shared& shared_;
    beast::flat_buffer buffer_{header_max_bytes + 64 * 1024};
    std::optional<http::request_parser<http::string_body>> parser_;
    hufu::beast::Request request_;
    hufu::beast::Response response_;
    bool keep_alive_ = true;
};

}  // namespace

HttpRequest request_of(const hufu::beast::Request& request) {
    return {.method = std::string{request.method_string()}, .target = std::string{request.target()}, .body = request.body()};
}

hufu::beast::Response response_of(const HttpResponse& response, const hufu::beast::Request& request) {
    hufu::beast::Response out;
    out.version(request.version());
    out.result(response.status);
    out.set(http::field::content_type, "application/json");
    if (!response.allow.empty()) out.set(http::field::allow, response.allow);
    if (response.replayed) out.set("idempotent-replayed", "true");
    out.keep_alive(request.keep_alive());
    out.body() = response.body;
    out.prepare_payload();
    return out;
}

struct HttpServer::Impl {
    Shared shared;
    asio::io_context sockets{1};
    tcp::acceptor acceptor{sockets};
    std::thread thread;

    Impl(HttpServerOptions options, HttpApplication application, hufu::beast::Application keyed)
        : shared{std::move(options), std::move(application), std::move(keyed)} {}

    void accept() {
        acceptor.async_accept([this](beast::error_code error, tcp::socket socket) {
            if (error == asio::error::operation_aborted) return;
            // Over the limit a connection is closed at once: better a clear no than a slow maybe.
            if (!error && shared.connections < shared.options.connections_max) {
                std::make_shared<Connection>(std::move(socket), shared)->read();
            }
            accept();
        });
    }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}

hufu::Result<std::unique_ptr<HttpServer>> HttpServer::listen(HttpServerOptions options, HttpApplication application,
                                                             hufu::beast::Application keyed) {
    const auto place = options.host + ":" + std::to_string(options.port);
    const auto failed = [&](const boost::system::error_code& error) {
        return hufu::Error{hufu::ErrorCode::unavailable, hufu::Disposition::fatal,
                           "cannot listen on " + place + ": " + error.message() + "; give another address with --listen"};
    };
    boost::system::error_code error;
    const auto address = asio::ip::make_address(options.host, error);
    if (error) return failed(error);
    const tcp::endpoint endpoint{address, options.port};
    auto impl = std::make_unique<Impl>(std::move(options), std::move(application), std::move(keyed));
    impl->acceptor.open(endpoint.protocol(), error);
    if (!error) impl->acceptor.set_option(tcp::acceptor::reuse_address{true}, error);
    if (!error) impl->acceptor.bind(endpoint, error);
    if (!error) impl->acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failed(error);
    impl->accept();
    impl->thread = std::thread{[raw = impl.get()] { raw->sockets.run(); }};
    return std::unique_ptr<HttpServer>{new HttpServer{std::move(impl)}};
}

HttpServer::~HttpServer() {
    // Stop the sockets first: a worker that finishes now posts its answer into a context nobody runs any more.
    impl_->sockets.stop();
    impl_->thread.join();
    impl_->shared.workers.join();
}

std::uint16_t HttpServer::port() const noexcept { return impl_->acceptor.local_endpoint().port(); }

}  // namespace shop
