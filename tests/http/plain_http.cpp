#include "plain_http.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <mutex>
#include <thread>

namespace hufu::test_http {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

const tcp::endpoint any_port{asio::ip::address_v4::loopback(), 0};

beast::Response answer(const beast::Application& application, const beast::Request& request) {
    try {
        return application(request);
    } catch (const std::exception& failure) {
        return beast::response_of({.status = 500, .body = failure.what()}, request);
    }
}

}  // namespace

struct Server::Impl {
    explicit Impl(beast::Application answers) : application{std::move(answers)} {}

    beast::Application application;
    asio::io_context context{1};
    tcp::acceptor acceptor{context, any_port};
    std::mutex mutex;
    std::list<tcp::socket> sockets;   // guarded by mutex; a socket stays until the end
    std::list<std::jthread> threads;  // of connections; the accepting thread's alone until it has ended
    std::jthread accepting;

    void accept() {
        for (;;) {
            boost::system::error_code error;
            auto accepted = acceptor.accept(error);
            if (error) return;
            accepted.set_option(tcp::no_delay{true}, error);
            const std::lock_guard lock{mutex};
            auto& socket = sockets.emplace_back(std::move(accepted));
            threads.emplace_back([this, &socket] { serve(socket); });
        }
    }
    void serve(tcp::socket& socket) {
        boost::beast::flat_buffer buffer;
        for (;;) {
            boost::system::error_code error;
            beast::Request request;
            http::read(socket, buffer, request, error);
            if (error) return;
            auto response = answer(application, request);
            http::write(socket, response, error);
            if (error || !response.keep_alive()) return;
        }
    }
};

Server::Server(beast::Application application) : impl_{std::make_unique<Impl>(std::move(application))} {
    impl_->accepting = std::jthread{[impl = impl_.get()] { impl->accept(); }};
}

Server::~Server() {
    // Wakes the blocking accept; closing alone would not.
    ::shutdown(impl_->acceptor.native_handle(), SHUT_RDWR);
    impl_->accepting.join();
    {
        const std::lock_guard lock{impl_->mutex};
        boost::system::error_code ignored;
        for (auto& socket : impl_->sockets) socket.shutdown(tcp::socket::shutdown_both, ignored);
    }
    impl_->threads.clear();
}

std::uint16_t Server::port() const noexcept { return impl_->acceptor.local_endpoint().port(); }

struct Client::Impl {
    asio::io_context context{1};
    tcp::socket socket{context};
    boost::beast::flat_buffer buffer;
};

Client::Client(std::uint16_t port) : impl_{std::make_unique<Impl>()} {
    impl_->socket.connect({asio::ip::address_v4::loopback(), port});
    impl_->socket.set_option(tcp::no_delay{true});
}

Client::~Client() = default;

beast::Response Client::post(const std::string& target, const std::string& body, const Headers& headers) {
    beast::Request request{http::verb::post, target, 11};
    request.set(http::field::host, "127.0.0.1");
    for (const auto& [name, value] : headers) request.insert(name, value);
    request.body() = body;
    request.prepare_payload();
    http::write(impl_->socket, request);
    beast::Response response;
    http::read(impl_->socket, impl_->buffer, response);
    return response;
}

}  // namespace hufu::test_http
