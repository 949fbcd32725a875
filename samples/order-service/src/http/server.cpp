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

HttpResponse refused(unsigned status, std::string field, std::string rule) {
    return {.status = status, .body = to_json(Refusal{Refused::malformed, std::move(field), "", std::move(rule)})};
}

/// What all connections of a server share. Outlives them.
struct Shared {
    HttpServerOptions options;
    HttpApplication application;
    asio::thread_pool workers;
    std::atomic<std::size_t> connections{0};

    Shared(HttpServerOptions o, HttpApplication a)
        : options{std::move(o)}, application{std::move(a)}, workers{options.workers} {}
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
        auto message = parser_->release();
        keep_alive_ = message.keep_alive();
        HttpRequest request{std::string{message.method_string()}, std::string{message.target()}, std::move(message.body())};
        asio::post(shared_.workers, [self = shared_from_this(), request = std::move(request)] { self->apply(request); });
    }

    void on_bad_read(beast::error_code error) {
        keep_alive_ = false;
        if (error == http::error::body_limit) {
            const auto limit = std::to_string(shared_.options.body_max_bytes);
            return write(refused(413, "body", "has at most " + limit + " bytes"));
        }
        if (error == http::error::header_limit || error == http::error::buffer_overflow) {
            return write(refused(431, "header", "has at most " + std::to_string(header_max_bytes) + " bytes"));
        }
        const bool gone = error == http::error::end_of_stream || error == http::error::partial_message;
        if (!gone && error.category() == http::make_error_code(http::error::bad_method).category()) {
            return write(refused(400, "request", "is HTTP/1.1: " + error.message()));
        }
        close();  // the other side left, or was silent for too long
    }

    void apply(const HttpRequest& request) {
        HttpResponse response;
        try {
            response = shared_.application(request);
        } catch (const std::exception& failure) {
            response = {.status = 503,
                        .body = to_json(Refusal{Refused::conflict, "service", failure.what(), "may work later; repeat"})};
        }
        asio::post(stream_.get_executor(), [self = shared_from_this(), response = std::move(response)]() mutable {
            self->write(std::move(response));
        });
    }

    void write(HttpResponse response) {
        response_ = {};
        response_.version(11);
        response_.result(response.status);
        response_.set(http::field::server, "order-service");
        response_.set(http::field::content_type, "application/json");
        if (!response.allow.empty()) response_.set(http::field::allow, response.allow);
        if (response.replayed) response_.set("idempotent-replayed", "true");
        response_.keep_alive(keep_alive_);
        response_.body() = std::move(response.body);
        response_.prepare_payload();
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
    http::response<http::string_body> response_;
    bool keep_alive_ = true;
};

}  // namespace

struct HttpServer::Impl {
    Shared shared;
    asio::io_context sockets{1};
    tcp::acceptor acceptor{sockets};
    std::thread thread;

    Impl(HttpServerOptions options, HttpApplication application) : shared{std::move(options), std::move(application)} {}

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

hufu::Result<std::unique_ptr<HttpServer>> HttpServer::listen(HttpServerOptions options, HttpApplication application) {
    const auto place = options.host + ":" + std::to_string(options.port);
    const auto failed = [&](const boost::system::error_code& error) {
        return hufu::Error{hufu::ErrorCode::unavailable, hufu::Disposition::fatal,
                           "cannot listen on " + place + ": " + error.message() + "; give another address with --listen"};
    };
    boost::system::error_code error;
    const auto address = asio::ip::make_address(options.host, error);
    if (error) return failed(error);
    const tcp::endpoint endpoint{address, options.port};
    auto impl = std::make_unique<Impl>(std::move(options), std::move(application));
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
