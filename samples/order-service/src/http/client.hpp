// A small HTTP client with keep-alive, for the load generator and the tests.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <hufu/core/error.hpp>

#include "http/message.hpp"

namespace shop {

/// One connection to one server, opened when needed and again after a failure. For one thread.
class HttpClient {
public:
    HttpClient(std::string host, std::uint16_t port, std::chrono::milliseconds timeout);
    ~HttpClient();
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;

    /// Sends and waits for the answer. `retry`: certainly not received (no connection); `in_doubt`: the connection
    /// broke or the time ran out after sending began, so the server may have acted.
    hufu::Result<HttpResponse> send(const HttpRequest& request);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace shop
