// Peers that mean no good, against the running program: every input is answered or its connection closed, memory stays
// within its bounds, and those who behave are served all the while.
#include <hufu/broker/embedded.hpp>
#include <poll.h>
#include <sys/resource.h>

#include <chrono>
#include <memory>

#include <hufu/core/clock.hpp>
#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/bytes.hpp>

#include "server_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

/// A command of any code with a JSON header and a body.
std::string frame_of(std::int32_t code, const std::string& fields_json, std::string_view body = {}) {
    const std::string header = R"({"code":)" + std::to_string(code) + R"(,"opaque":1,"extFields":)" + fields_json + "}";
    std::string frame;
    remoting::append(frame, static_cast<std::uint32_t>(4 + header.size() + body.size()));
    remoting::append(frame, static_cast<std::uint32_t>(header.size()));
    return frame.append(header).append(body);
}

bool serves(const BrokerProcess& broker) {
    Client client{broker.port()};
    client.write(Client::send_frame(1, 0, "fine"));
    const auto* answer = client.receive();
    return answer != nullptr && answer->response_code() == ResponseCode::success;
}

std::size_t resident_mb(pid_t process) {
    std::ifstream file{"/proc/" + std::to_string(process) + "/status"};
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("RssAnon:")) return static_cast<std::size_t>(std::stoul(line.substr(8))) / 1024;
    return 0;
}

TEST(HostilePeers, EveryMalformedInputIsAnsweredOrItsConnectionClosed) {
    const TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data", any_port};
    ASSERT_FALSE(broker.address().empty()) << broker.errors();
    using namespace std::string_literals;
    const std::string deep(20'000, '[');
    const std::string deep_objects = [] {
        std::string text;
        for (int depth = 0; depth < 20'000; ++depth) text += "{\"a\":";
        return text;
    }();
    std::vector<std::string> inputs{
        "\0\0\0\0"s,
        "\377\377\377\377"s,
        "\200\0\0\0\0\0\0\0"s,
        "\1\0\0\1\0\0\0\4"s,          // a byte more than the largest frame
        "\0\0\0\4\0\377\377\377"s,    // a header longer than its frame
        "\0\0\0\4\0\0\0\0"s,          // no header at all
        "\0\0\0\6\0\0\0\2{}"s,        // no code
        "\0\0\0\5\1\0\0\1x"s,         // binary, cut short
        "\26\3\1\2\0\1\0\1\374\3\3"s  // a TLS greeting
    };
    for (const int code : {10, 11,  12,  14,  15,  17,  29,  30,  33,  34,  35,  36,  37, 38, 41,        42,
                           46, 105, 200, 208, 222, 310, 320, 321, 324, 325, 361, 370, 0,  -1, 2147483647}) {
        inputs.push_back(frame_of(code, "{}"));
        inputs.push_back(frame_of(code, "null", "\0\1\2\3"s));
        inputs.push_back(
            frame_of(code, R"({"topic":"","b":"","consumerGroup":"","group":"","queueId":"-1","queueOffset":"-9"})"));
        inputs.push_back(
            frame_of(code, R"({"a":"g","b":"t","c":"TBW102","d":"4","e":"99999999999","f":"0","g":"0","h":"0"})"));
        inputs.push_back(frame_of(code,
                                  R"({"a":"g","b":"t","c":"TBW102","d":"-4","e":"0","f":"-1","g":"-1","h":"-1","m":"true"})",
                                  "\377\377\377\377\377\377\377\377"s));
        inputs.push_back(frame_of(code, "{}", deep));
        inputs.push_back(frame_of(code, "{}", deep_objects));
        inputs.push_back(frame_of(code, deep));
        inputs.push_back(frame_of(code, R"({"topic":")" + std::string(100'000, 't') + R"(","queueId":"0"})"));
    }
    for (const std::string& input : inputs) {
        Client client{broker.port()};
        client.write(input);
        client.finish();
        // Whatever it is, the end of the connection follows, and before it at most answers.
        while (client.receive() != nullptr) {
        }
        EXPECT_TRUE(client.at_end()) << input.substr(0, 200);
    }
    EXPECT_TRUE(serves(broker));
    EXPECT_LT(resident_mb(broker.id()), 400U);  // of the sanitized build; the product stays below 20
    EXPECT_EQ(broker.end(SIGTERM), 0) << broker.errors();
}

TEST(HostilePeers, TheLargestFrameIsRefusedAndCostsNothingAfterwards) {
    const TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data", any_port};
    Client client{broker.port()};
    client.write(Client::send_frame(1, 0, std::string((16U << 20U) - 4096, 'x')));
    const auto* answer = client.receive();
    ASSERT_NE(answer, nullptr);
    EXPECT_EQ(answer->response_code(), ResponseCode::message_illegal);
    client.write(Client::send_frame(2, 0, "small"));
    ASSERT_NE(client.receive(), nullptr);
    EXPECT_EQ(broker.end(SIGTERM), 0) << broker.errors();
}

TEST(HostilePeers, TheNewestConnectionBeyondTheLimitIsClosed) {
    const TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data", {"--listen", "127.0.0.1:0", "--connections-max", "3"}};
    std::vector<std::unique_ptr<Client>> clients;
    for (int number = 0; number < 3; ++number) clients.push_back(std::make_unique<Client>(broker.port()));
    const auto works = [](Client& client) {
        client.write(Client::send_frame(1, 0, "x"));
        return client.receive() != nullptr;
    };
    for (const auto& client : clients) EXPECT_TRUE(works(*client));
    Client one_more{broker.port()};
    EXPECT_EQ(one_more.receive(), nullptr);
    EXPECT_TRUE(one_more.at_end());
    for (const auto& client : clients) EXPECT_TRUE(works(*client));
    // Room again once one has left; the broker learns it when it reads the end of the connection.
    clients.pop_back();
    bool let_in = false;
    for (int tries = 0; tries < 1000 && !let_in; ++tries) let_in = works(*std::make_unique<Client>(broker.port()));
    EXPECT_TRUE(let_in);
    EXPECT_EQ(broker.end(SIGTERM), 0);
    EXPECT_THAT(broker.errors(), HasSubstr("too many connections: new ones are closed open=3"));
}

TEST(HostilePeers, ABrokerOutOfDescriptorsServesThoseItHas) {
    const TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data", any_port, 64};
    ASSERT_FALSE(broker.address().empty()) << broker.errors();
    Client first{broker.port()};
    first.write(Client::send_frame(1, 0, "x"));
    ASSERT_NE(first.receive(), nullptr);
    std::vector<std::unique_ptr<Client>> crowd;
    for (int number = 0; number < 200; ++number) crowd.push_back(std::make_unique<Client>(broker.port()));
    first.write(Client::send_frame(2, 0, "x"));
    EXPECT_NE(first.receive(), nullptr);
    crowd.clear();
    bool served = false;
    for (int tries = 0; tries < 1000 && !served; ++tries) served = serves(broker);
    EXPECT_TRUE(served);
    EXPECT_EQ(broker.end(SIGTERM), 0) << broker.errors();
}

/// A server in this process, whose patience is short.
class ImpatientServer : public ::testing::Test {
protected:
    void start(const ConnectionPatience& patience) {
        ServerOptions options;
        options.folder = folder.path() + "/data";
        options.patience = patience;
        broker = EmbeddedBroker::open(options, system_clock(), system_random(), metrics, no_log()).value();
        path = EmbeddedBroker::socket_path(options.folder);
    }
    static constexpr std::chrono::milliseconds soon{100};
    static constexpr std::chrono::milliseconds never{std::chrono::hours{1}};

    TemporaryFolder folder;
    MetricsRegistry metrics;
    std::unique_ptr<EmbeddedBroker> broker;
    std::string path;
};

TEST_F(ImpatientServer, ClosesWhoSaysNothing) {
    start({.silence = soon, .frame = never, .unread_answers = never});
    Client client{path};
    EXPECT_EQ(client.receive(), nullptr);
    EXPECT_TRUE(client.at_end());
}

TEST_F(ImpatientServer, ClosesWhoStopsInTheMiddleOfAFrame) {
    start({.silence = never, .frame = soon, .unread_answers = never});
    const std::string frame = Client::send_frame(1, 0, "half");
    for (const std::size_t count : {std::size_t{1}, std::size_t{7}, frame.size() - 1}) {
        Client client{path};
        client.write(frame.substr(0, count));
        EXPECT_EQ(client.receive(), nullptr);
        EXPECT_TRUE(client.at_end()) << count;
    }
}

TEST_F(ImpatientServer, ClosesWhoSendsAByteNowAndThen) {
    start({.silence = never, .frame = soon, .unread_answers = never});
    Client client{path};
    const std::string frame = Client::send_frame(1, 0, std::string(60'000, 'x'));
    std::size_t at = 0;
    // A byte whenever nothing comes back for 5 ms: the whole would take five minutes.
    pollfd readable{client.socket(), POLLIN, 0};
    for (; at < frame.size() && ::poll(&readable, 1, 5) == 0; ++at) client.write(frame.substr(at, 1));
    EXPECT_LT(at, frame.size());
    EXPECT_EQ(client.receive(), nullptr);
}

TEST_F(ImpatientServer, ClosesWhoNeverReadsItsAnswersAndServesTheOthers) {
    start({.silence = never, .frame = never, .unread_answers = soon});
    Client deaf{path};
    Client other{path};
    std::string ask;
    for (int number = 0; number < 200; ++number) ask += Client::send_frame(number, 0, "x");
    // Writes until the broker takes no more or has closed.
    for (int round = 0; round < 2'000 && deaf.write_some(ask); ++round) {
        other.write(Client::send_frame(1, 0, "y"));
        ASSERT_NE(other.receive(), nullptr);
    }
    pollfd closed{deaf.socket(), POLLRDHUP, 0};
    EXPECT_EQ(::poll(&closed, 1, 20'000), 1);
    other.write(Client::send_frame(2, 0, "y"));
    EXPECT_NE(other.receive(), nullptr);
}

TEST(HostilePeers, UnfinishedFramesOfManyStayWithinTheirMemory) {
    const TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data", any_port};
    const std::size_t before = resident_mb(broker.id());
    // 48 peers claim 16 MiB each and send 12 of them: 576 MiB, six times what is held. (The sanitizer keeps freed bytes for long.)
    const std::string frame = Client::send_frame(1, 0, std::string((16U << 20U) - 4096, 'x'));
    std::vector<std::unique_ptr<Client>> peers;
    for (int number = 0; number < 48; ++number) {
        peers.push_back(std::make_unique<Client>(broker.port()));
        peers.back()->write(std::string_view{frame}.substr(0, 12U << 20U));
        EXPECT_LT(resident_mb(broker.id()), before + 520) << number;
    }
    EXPECT_TRUE(serves(broker));
    peers.clear();
    EXPECT_EQ(broker.end(SIGTERM), 0);
    EXPECT_THAT(broker.errors(), HasSubstr("unfinished frames hold too much memory"));
}

}  // namespace
}  // namespace hufu::broker::testing
