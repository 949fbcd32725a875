// The broker behind real sockets: as a process that is killed and restarted, and inside this one.
#include <hufu/broker/embedded.hpp>

#include "server_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

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
}  // namespace hufu::broker::testing
