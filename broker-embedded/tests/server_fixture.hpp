// hufu-broker as a child process and blocking clients, for the tests behind real sockets.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::broker::testing {

using remoting::RequestCode;
using remoting::ResponseCode;

class TemporaryFolder {
public:
    TemporaryFolder() {
        char name[] = "/tmp/hufu-broker-test-XXXXXX";
        path_ = ::mkdtemp(name);
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// hufu-broker as a child.
class BrokerProcess {
public:
    /// `files_max`: how many files it may have open, 0: as many as this process.
    BrokerProcess(const std::string& folder, std::vector<std::string> flags, rlim_t files_max = 0)
        : errors_{folder + ".stderr"} {
        int ready[2];
        EXPECT_EQ(::pipe(ready), 0);
        flags.insert(flags.begin(), {HUFU_BROKER_PROGRAM, "--data", folder, "--ready-fd", std::to_string(ready[1])});
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(ready[0]);
            const int file = ::open(errors_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
            ::dup2(file, STDERR_FILENO);
            const rlimit files{files_max, files_max};
            if (files_max > 0) ::setrlimit(RLIMIT_NOFILE, &files);
            std::vector<char*> arguments;
            for (std::string& flag : flags) arguments.push_back(flag.data());
            arguments.push_back(nullptr);
            ::execv(arguments[0], arguments.data());
            ::_exit(127);
        }
        ::close(ready[1]);
        char byte = 0;
        while (::read(ready[0], &byte, 1) == 1 && byte != '\n') address_.push_back(byte);
        ::close(ready[0]);
    }
    ~BrokerProcess() { end(SIGKILL); }
    BrokerProcess(const BrokerProcess&) = delete;
    BrokerProcess& operator=(const BrokerProcess&) = delete;

    /// Sends the signal and waits; the exit code, or minus the signal that ended it.
    int end(int signal) {
        if (pid_ <= 0) return 0;
        ::kill(pid_, signal);
        return wait();
    }
    [[nodiscard]] pid_t id() const { return pid_; }
    void signal(int number) const { ::kill(pid_, number); }
    int wait() {
        int status = 0;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    [[nodiscard]] const std::string& address() const { return address_; }
    [[nodiscard]] std::uint16_t port() const {
        return static_cast<std::uint16_t>(std::stoi(address_.substr(address_.rfind(':') + 1)));
    }
    [[nodiscard]] std::string errors() const {
        std::ifstream file{errors_};
        return {std::istreambuf_iterator<char>{file}, {}};
    }

private:
    pid_t pid_ = -1;
    std::string address_;
    std::string errors_;
};

/// A blocking client.
class Client {
public:
    explicit Client(std::uint16_t port) : socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connect(reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }
    explicit Client(const std::string& path) : socket_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        connect(reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }
    ~Client() { ::close(socket_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void write(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count <= 0) return;
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    /// False when the connection is closed, or takes nothing more for the moment.
    [[nodiscard]] bool write_some(std::string_view bytes) const {
        return ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
               static_cast<ssize_t>(bytes.size());
    }
    /// Says that no more will be written.
    void finish() const { ::shutdown(socket_, SHUT_WR); }
    /// Whether the last `receive` met the end of the connection, not the end of its patience.
    [[nodiscard]] bool at_end() const { return at_end_; }
    static std::string send_frame(std::int32_t opaque, std::int32_t queue, std::string_view body) {
        remoting::SendRequest header;
        header.producer_group = "test";
        header.topic = "orders";
        header.default_topic_queues = 1024;  // as many as the broker gives
        header.queue_id = queue;
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::binary, RequestCode::send_message_v2, opaque, header, body);
        return frame;
    }
    /// The next command; null when the connection ended (or 20 s passed).
    const remoting::CommandView* receive() {
        for (;;) {
            auto frame = decoder_.next();
            EXPECT_TRUE(frame);
            if (frame && *frame) {
                remoting::decode_command(**frame, command_).value();
                return &command_;
            }
            const auto room = decoder_.prepare();
            const ssize_t count = ::recv(socket_, room.data(), room.size(), 0);
            at_end_ = count == 0 || (count < 0 && errno == ECONNRESET);
            if (count <= 0) return nullptr;
            decoder_.commit(static_cast<std::size_t>(count));
        }
    }
    /// The bodies of one queue, from its beginning.
    std::vector<std::string> read_all(std::int32_t queue) {
        std::vector<std::string> texts;
        std::int64_t offset = 0;
        for (;;) {
            remoting::PullRequest header;
            header.consumer_group = "test";
            header.topic = "orders";
            header.queue_id = queue;
            header.queue_offset = offset;
            header.sys_flag = remoting::pull_flag::subscription;
            header.subscription = "*";
            std::string frame;
            remoting::append_request(frame, remoting::SerializeType::json, RequestCode::pull_message, 1, header);
            write(frame);
            const auto* answer = receive();
            if (answer == nullptr || answer->response_code() != ResponseCode::success) return texts;
            std::span<const std::byte> rest = std::as_bytes(std::span{answer->body});
            while (!rest.empty()) {
                texts.emplace_back(remoting::decode_record(rest).value().body);
                rest = rest.subspan(remoting::peek_record_size(rest));
            }
            offset = remoting::PullResponse::decode(*answer).value().next_begin_offset;
        }
    }
    [[nodiscard]] int socket() const { return socket_; }

private:
    void connect(const sockaddr* address, socklen_t size) const {
        const timeval limit{20, 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        EXPECT_EQ(::connect(socket_, address, size), 0);
    }
    int socket_;
    bool at_end_ = false;
    remoting::FrameDecoder decoder_;
    remoting::CommandView command_;
};

inline const std::vector<std::string> any_port{"--listen", "127.0.0.1:0"};

}  // namespace hufu::broker::testing
