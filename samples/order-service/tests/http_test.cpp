#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <sys/socket.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "http/client.hpp"
#include "http/server.hpp"

namespace shop {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::chrono::seconds patience{10};

std::unique_ptr<HttpServer> echo_server() {
    auto server = HttpServer::listen({.body_max_bytes = 100}, [](const HttpRequest& request) -> HttpResponse {
        if (request.target == "/throw") throw std::runtime_error{"database \"orders\" is not there"};
        return {.status = 200, .body = request.method + " " + request.target + " " + request.body};
    });
    EXPECT_TRUE(server) << server.error().text();
    return std::move(*server);
}

/// Sends bytes as they are and returns all that comes back until the server closes.
std::string raw(std::uint16_t port, const std::string& bytes) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    std::string all;
    char part[4096];
    for (ssize_t n = 0; (n = ::recv(fd, part, sizeof part, 0)) > 0;) all.append(part, static_cast<std::size_t>(n));
    ::close(fd);
    return all;
}

TEST(HttpServer, AnswersSeveralRequestsOnOneConnection) {
    const auto server = echo_server();
    HttpClient client{"127.0.0.1", server->port(), patience};
    for (int i = 0; i < 3; ++i) {
        const auto answer = client.send({"POST", "/orders", "body " + std::to_string(i)});
        ASSERT_TRUE(answer) << answer.error().text();
        EXPECT_EQ(answer->body, "POST /orders body " + std::to_string(i));
    }
}

TEST(HttpServer, RefusesABodyOverTheLimitWith413) {
    const auto server = echo_server();
    HttpClient client{"127.0.0.1", server->port(), patience};
    const auto answer = client.send({"POST", "/orders", std::string(101, 'x')});
    ASSERT_TRUE(answer) << answer.error().text();
    EXPECT_EQ(answer->status, 413U);
    EXPECT_THAT(answer->body, HasSubstr(R"("field":"body")"));
    EXPECT_THAT(answer->body, HasSubstr("at most 100 bytes"));
    EXPECT_EQ(client.send({"POST", "/orders", "small"})->status, 200U);
}

TEST(HttpServer, RefusesWhatIsNotHttpWith400) {
    const auto server = echo_server();
    const auto answer = raw(server->port(), "this is not http\r\n\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(answer, HasSubstr(R"("kind":"malformed")"));
}

TEST(HttpServer, RefusesAHugeHeaderWith431) {
    const auto server = echo_server();
    EXPECT_THAT(raw(server->port(), "GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(9000, 'x') + "\r\n\r\n"),
                StartsWith("HTTP/1.1 431"));
}

TEST(HttpServer, TurnsAThrowingApplicationInto503) {
    const auto server = echo_server();
    HttpClient client{"127.0.0.1", server->port(), patience};
    const auto answer = client.send({"GET", "/throw", ""});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 503U);
    EXPECT_THAT(answer->body, HasSubstr("is not there"));
}

TEST(HttpServer, NamesThePortThatIsInUse) {
    const auto server = echo_server();
    const auto second = HttpServer::listen({.port = server->port()}, [](const HttpRequest&) { return HttpResponse{}; });
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), hufu::ErrorCode::unavailable);
    EXPECT_THAT(second.error().text(), HasSubstr("127.0.0.1:" + std::to_string(server->port())));
    EXPECT_THAT(second.error().text(), HasSubstr("--listen"));
}

TEST(HttpClient, SaysRetryWhenNobodyListens) {
    std::uint16_t port = 0;
    { port = echo_server()->port(); }
    HttpClient client{"127.0.0.1", port, patience};
    const auto answer = client.send({"GET", "/", ""});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().disposition(), hufu::Disposition::retry);
}

}  // namespace
}  // namespace shop
