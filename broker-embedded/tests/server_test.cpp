// The broker behind real sockets: as a process that is killed and restarted, and inside this one.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <hufu/broker/embedded.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::broker {
namespace {

using remoting::RequestCode;
using remoting::ResponseCode;
using ::testing::HasSubstr;
using ::testing::StartsWith;

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
    BrokerProcess(const std::string& folder, std::vector<std::string> flags) : errors_{folder + ".stderr"} {
        int ready[2];
        EXPECT_EQ(::pipe(ready), 0);
        flags.insert(flags.begin(), {HUFU_BROKER_PROGRAM, "--data", folder, "--ready-fd", std::to_string(ready[1])});
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(ready[0]);
            const int file = ::open(errors_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
            ::dup2(file, STDERR_FILENO);
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
    static std::string send_frame(std::int32_t opaque, std::int32_t queue, std::string_view body) {
        remoting::SendRequest header;
        header.producer_group = "test";
        header.topic = "orders";
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
    remoting::FrameDecoder decoder_;
    remoting::CommandView command_;
};

const std::vector<std::string> any_port{"--listen", "127.0.0.1:0"};

TEST(BrokerServer, KeepsWhatItAcknowledgedThroughKillAndRestart) {
    const TemporaryFolder folder;
    const std::string data = folder.path() + "/data";
    constexpr int rounds = 3;
    constexpr int per_round = 400;
    std::vector<std::string> acknowledged;
    for (int round = 0; round < rounds; ++round) {
        BrokerProcess broker{data, any_port};
        ASSERT_FALSE(broker.address().empty()) << broker.errors();
        Client client{broker.port()};
        // Twice as many are sent as are waited for, so that the kill hits work in flight.
        std::string frames;
        for (int number = 0; number < 2 * per_round; ++number)
            frames += Client::send_frame(number, 1, "r" + std::to_string(round) + "-" + std::to_string(number));
        client.write(frames);
        for (int number = 0; number < per_round; ++number) {
            const auto* answer = client.receive();
            ASSERT_NE(answer, nullptr);
            ASSERT_EQ(answer->response_code(), ResponseCode::success) << answer->remark;
            EXPECT_EQ(answer->opaque, number);
            acknowledged.push_back("r" + std::to_string(round) + "-" + std::to_string(number));
        }
        EXPECT_EQ(broker.end(SIGKILL), -SIGKILL);
    }
    BrokerProcess broker{data, any_port};
    ASSERT_FALSE(broker.address().empty()) << broker.errors();
    const auto found = Client{broker.port()}.read_all(1);
    // Every acknowledged message, in order; between the rounds there may be some that were stored and not acknowledged.
    auto expected = acknowledged.begin();
    for (const std::string& body : found)
        if (expected != acknowledged.end() && body == *expected) ++expected;
    EXPECT_EQ(expected, acknowledged.end()) << "missing " << *expected;
    EXPECT_EQ(broker.end(SIGTERM), 0) << broker.errors();
    EXPECT_THAT(broker.errors(), HasSubstr("listening on 127.0.0.1:"));
}

TEST(BrokerServer, AnswersWhatItAcceptedBeforeACleanStop) {
    const TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data", any_port};
    Client client{broker.port()};
    client.write(Client::send_frame(1, 0, "last words"));
    ASSERT_NE(client.receive(), nullptr);
    EXPECT_EQ(broker.end(SIGTERM), 0) << broker.errors();
    EXPECT_EQ(client.receive(), nullptr);
}

TEST(BrokerServer, SaysWhatIsInItsWay) {
    const TemporaryFolder folder;
    BrokerProcess first{folder.path() + "/one", any_port};
    ASSERT_FALSE(first.address().empty()) << first.errors();

    BrokerProcess same_port{folder.path() + "/two", {"--listen", first.address()}};
    EXPECT_EQ(same_port.wait(), 1);
    EXPECT_THAT(same_port.errors(), HasSubstr("cannot listen on " + first.address()));
    EXPECT_THAT(same_port.errors(), HasSubstr("port 0 takes any free port"));

    BrokerProcess same_folder{folder.path() + "/one", any_port};
    EXPECT_EQ(same_folder.wait(), 1);
    EXPECT_THAT(same_folder.errors(), HasSubstr(folder.path() + "/one"));

    BrokerProcess remote{folder.path() + "/three", {"--listen", "0.0.0.0:0"}};
    EXPECT_EQ(remote.wait(), 1);
    EXPECT_THAT(remote.errors(), HasSubstr("--allow-remote"));

    BrokerProcess nonsense{folder.path() + "/four", {"--listen", "here"}};
    EXPECT_EQ(nonsense.wait(), 1);
    EXPECT_THAT(nonsense.errors(), HasSubstr("\"here\": must be HOST:PORT"));

    BrokerProcess unknown{folder.path() + "/five", {"--port", "1"}};
    EXPECT_EQ(unknown.wait(), 1);
    EXPECT_THAT(unknown.errors(), HasSubstr("unknown flag \"--port\""));
}

TEST(BrokerServer, ClosesConnectionsThatSpeakNoProtocol) {
    const TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data", any_port};
    using namespace std::string_view_literals;
    for (const std::string_view bytes :
         {"GET / HTTP/1.1\r\n\r\n"sv, "\xff\xff\xff\xff\x00\x00\x00\x00"sv, "\x00\x00\x00\x00\x00\x00\x00\x00"sv,
          "\x7f\xff\xff\xff\x00\x00\x00\x10"sv, "\x00\x00\x00\x08\x00\xff\xff\xff{}{}"sv,
          "\x00\x00\x00\x08\x09\x00\x00\x04{}{}"sv}) {
        Client client{broker.port()};
        client.write(bytes);
        EXPECT_EQ(client.receive(), nullptr);
    }
    Client client{broker.port()};
    // A frame in single bytes is still a frame.
    for (const char byte : Client::send_frame(5, 0, "slow")) client.write({&byte, 1});
    const auto* answer = client.receive();
    ASSERT_NE(answer, nullptr);
    EXPECT_EQ(answer->response_code(), ResponseCode::success);
    EXPECT_EQ(broker.end(SIGTERM), 0) << broker.errors();
}

TEST(BrokerServer, ServesMetricsAndHealth) {
    const TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data", {"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"}};
    ASSERT_FALSE(broker.address().empty()) << broker.errors();
    Client client{broker.port()};
    client.write(Client::send_frame(1, 0, "x"));
    ASSERT_NE(client.receive(), nullptr);
    const std::string errors = broker.errors();
    const auto at = errors.find("metrics on http://127.0.0.1:");
    ASSERT_NE(at, std::string::npos) << errors;
    const auto port = static_cast<std::uint16_t>(std::stoi(errors.substr(at + 28)));
    const auto get = [&](const std::string& path) {
        const Client http{port};
        http.write("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
        std::string text;
        char bytes[4096];
        for (ssize_t count = 1; (count = ::recv(http.socket(), bytes, sizeof bytes, 0)) > 0;)
            text.append(bytes, static_cast<std::size_t>(count));
        return text;
    };
    EXPECT_THAT(get("/metrics"), HasSubstr("\nhufu_broker_messages_stored_total 1\n"));
    EXPECT_THAT(get("/healthz"), StartsWith("HTTP/1.1 200 OK"));
    EXPECT_THAT(get("/"), StartsWith("HTTP/1.1 404"));
}

TEST(EmbeddedBroker, ServesItsFolderOverAUnixSocketAndIsAlone) {
    const TemporaryFolder folder;
    ServerOptions options;
    options.folder = folder.path() + "/data";
    MetricsRegistry metrics;
    {
        auto broker = EmbeddedBroker::open(options, system_clock(), system_random(), metrics, no_log());
        ASSERT_TRUE(broker) << broker.error().text();
        const auto second = EmbeddedBroker::open(options, system_clock(), system_random(), metrics, no_log());
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().code(), ErrorCode::busy);
        Client client{EmbeddedBroker::socket_path(options.folder)};
        client.write(Client::send_frame(1, 0, "inside"));
        ASSERT_NE(client.receive(), nullptr);
    }
    EXPECT_FALSE(std::filesystem::exists(EmbeddedBroker::socket_path(options.folder)));
    auto broker = EmbeddedBroker::open(options, system_clock(), system_random(), metrics, no_log());
    ASSERT_TRUE(broker) << broker.error().text();
    EXPECT_THAT(Client{EmbeddedBroker::socket_path(options.folder)}.read_all(0), ::testing::ElementsAre("inside"));
}

}  // namespace
}  // namespace hufu::broker
