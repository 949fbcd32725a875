#include <hufu/test_support/redis_server.hpp>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace hufu::test_support {
namespace {

constexpr const char* program = "/usr/bin/redis-server";

/// A connection by Unix socket, closed at the end.
class Socket {
public:
    explicit Socket(const std::string& path) : socket_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }
    ~Socket() { ::close(socket_); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    [[nodiscard]] bool connected() const noexcept { return connected_; }

    /// The first line of the answer, with its sign; of a string its text. Empty when the connection broke.
    std::string ask(std::initializer_list<std::string_view> words) const {
        std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
        for (const auto word : words) {
            bytes += "$" + std::to_string(word.size()) + "\r\n" + std::string{word} + "\r\n";
        }
        if (::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) return {};
        std::string line = read_line();
        if (line.starts_with('$') && line != "$-1") line = "$" + read_line();
        return line;
    }

private:
    [[nodiscard]] std::string read_line() const {
        std::string line;
        for (char byte = 0; ::recv(socket_, &byte, 1, 0) == 1;) {
            if (byte == '\n') {
                line.pop_back();
                return line;
            }
            line += byte;
        }
        return {};
    }

    int socket_;
    bool connected_ = false;
};

}  // namespace

RedisServer::RedisServer(RedisServerOptions options)
    : options_{std::move(options)},
      folder_{"redis", options_.directory},
      socket_{folder_.path() + "/redis.sock"},
      port_{free_port()} {
    if (!std::filesystem::exists(program)) {
        throw std::runtime_error{std::string{"no Redis server at "} + program +
                                 ": install it (apt-get install redis-server, or ./dev setup)"};
    }
    std::ofstream file{directory() + "/redis.conf"};
    file << "bind 127.0.0.1\nport " << port_ << "\nunixsocket " << socket_ << "\ndir " << directory()
         << "\nsave \"\"\ndaemonize no\n";
    file << (options_.durable ? "appendonly yes\nappendfsync always\n" : "appendonly no\n");
    if (!options_.password.empty()) file << "requirepass " << options_.password << '\n';
    for (const auto& line : options_.settings) file << line << '\n';
    file.close();
    start();
}

void RedisServer::start() {
    if (server_.running()) return;
    const std::string output = directory() + "/server.log";
    std::filesystem::remove(socket_);
    server_ = Child{{.arguments = {program, directory() + "/redis.conf"}, .output = output}};
    wait_until_ready(server_, "Redis", output, [&] {
        const Socket socket{socket_};
        const std::string answer = socket.connected() ? socket.ask({"PING"}) : std::string{};
        return !answer.empty() && !answer.starts_with("-LOADING");
    });
}

std::string RedisServer::url() const {
    return "redis://" + (options_.password.empty() ? "" : ":" + options_.password + "@") +
           "127.0.0.1:" + std::to_string(port_);
}

std::string RedisServer::socket_url() const {
    return "redis+unix://" + (options_.password.empty() ? "" : ":" + options_.password + "@") + socket_;
}

std::string RedisServer::command(std::initializer_list<std::string_view> words) const {
    const Socket socket{socket_};
    if (!options_.password.empty()) socket.ask({"AUTH", options_.password});
    const std::string answer = socket.connected() ? socket.ask(words) : std::string{};
    if (answer.empty() || answer.starts_with('-')) {
        throw std::runtime_error{"Redis refuses " + std::string{*words.begin()} + ": " +
                                 (answer.empty() ? "no connection" : answer.substr(1))};
    }
    return answer.substr(1);
}

void RedisServer::pause() const { ::kill(server_.pid(), SIGSTOP); }
void RedisServer::resume() const { ::kill(server_.pid(), SIGCONT); }

std::string RedisServer::log_tail() const { return file_tail(directory() + "/server.log"); }

SplitRedisCluster::SplitRedisCluster() {
    one.command({"CLUSTER", "ADDSLOTSRANGE", "0", "0"});
    two.command({"CLUSTER", "ADDSLOTSRANGE", "1", "16383"});
    one.command({"CLUSTER", "MEET", "127.0.0.1", std::to_string(two.port())});
}

}  // namespace hufu::test_support
