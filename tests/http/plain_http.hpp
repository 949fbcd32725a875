// A blocking HTTP server and client on Boost.Beast, for tests and measurements of what stands in front of an application.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <hufu/beast/http_guard.hpp>

namespace hufu::test_http {

/// A thread per connection. What the application throws is answered with 500. The destructor closes every connection and lets
/// running requests finish.
class Server {
public:
    explicit Server(beast::Application application);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    [[nodiscard]] std::uint16_t port() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

/// One connection with keep-alive. For one thread. Throws boost::system::system_error when the connection breaks.
class Client {
public:
    explicit Client(std::uint16_t port);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    [[nodiscard]] beast::Response post(const std::string& target, const std::string& body, const Headers& headers = {});

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::test_http
