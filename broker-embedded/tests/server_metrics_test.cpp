// /metrics and /healthz over a real socket, and the page that describes them.
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "server_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class MetricsServer : public ::testing::Test {
protected:
    std::uint16_t metrics_port() {
        const std::string errors = broker.errors();
        const auto at = errors.find("metrics on http://127.0.0.1:");
        EXPECT_NE(at, std::string::npos) << errors;
        return static_cast<std::uint16_t>(std::stoi(errors.substr(at + 28)));
    }
    static std::string read_all(int socket) {
        std::string text;
        char bytes[4096];
        for (ssize_t count = 1; (count = ::recv(socket, bytes, sizeof bytes, 0)) > 0;)
            text.append(bytes, static_cast<std::size_t>(count));
        return text;
    }
    std::string ask(const std::string& method, const std::string& path) {
        const Client http{metrics_port()};
        http.write(method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
        return read_all(http.socket());
    }
    static std::size_t promised(const std::string& answer) {
        const auto at = answer.find("Content-Length: ");
        return at == std::string::npos ? 0 : std::stoul(answer.substr(at + 16));
    }
    static std::string body(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

    TemporaryFolder folder;
    BrokerProcess broker{folder.path() + "/data",
                         {"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "json"}};
};

struct Described {
    std::string kind;
    std::set<std::string> labels;
    friend bool operator==(const Described&, const Described&) = default;
    friend std::ostream& operator<<(std::ostream& out, const Described& one) {
        out << one.kind;
        for (const std::string& label : one.labels) out << " " << label;
        return out;
    }
};

/// The tables of docs/metrics.md: | `name` | kind | labels | meaning |
std::map<std::string, Described> described() {
    std::map<std::string, Described> page;
    std::ifstream file{HUFU_METRICS_PAGE};
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("| `hufu_")) continue;
        std::istringstream cells{line};
        std::string cell;
        std::vector<std::string> row;
        while (std::getline(cells, cell, '|')) row.push_back(cell);
        Described& one = page[row.at(1).substr(2, row.at(1).rfind('`') - 2)];
        one.kind = row.at(2).substr(1, row.at(2).find_last_not_of(' '));
        std::istringstream labels{row.at(3)};
        for (std::string label; labels >> label;) one.labels.insert(label.substr(0, label.find(',')));
    }
    return page;
}

/// What an answer exports. Labels as far as there are samples.
std::map<std::string, Described> exported(const std::string& text) {
    std::map<std::string, Described> families;
    std::istringstream lines{text};
    std::string name;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("# TYPE ")) {
            const auto end = line.find(' ', 7);
            name = line.substr(7, end - 7);
            families[name].kind = line.substr(end + 1);
        } else if (const auto brace = line.find('{'); !line.starts_with("#") && brace != std::string::npos) {
            std::istringstream labels{line.substr(brace + 1, line.find('}') - brace - 1)};
            for (std::string label; std::getline(labels, label, ',');)
                if (!label.starts_with("le=")) families[name].labels.insert(label.substr(0, label.find('=')));
        }
    }
    return families;
}

TEST_F(MetricsServer, ExportsWhatThePageDescribes) {
    Client client{broker.port()};
    client.write(Client::send_frame(1, 0, "x"));
    ASSERT_NE(client.receive(), nullptr);
    ASSERT_EQ(client.read_all(0).size(), 1U);
    remoting::UpdateOffsetRequest position;
    position.consumer_group = "test";
    position.topic = "orders";
    remoting::QueueRequest missing;
    missing.topic = "missing";
    std::string frames;
    remoting::append_request(frames, remoting::SerializeType::json, RequestCode::update_consumer_offset, 2, position);
    remoting::append_request(frames, remoting::SerializeType::json, RequestCode::get_max_offset, 3, missing);
    for (const auto* topic : {"%RETRY%test", "%DLQ%test"}) {
        remoting::SendRequest send;
        send.producer_group = "test";
        send.topic = topic;
        send.queue_id = 0;
        remoting::append_request(frames, remoting::SerializeType::json, RequestCode::send_message_v2, 4, send, "x");
    }
    client.write(frames);
    for (int i = 0; i < 4; ++i) ASSERT_NE(client.receive(), nullptr);

    const auto page = described();
    const auto metrics = exported(body(ask("GET", "/metrics")));
    ASSERT_GT(page.size(), 40U);
    for (const auto& [name, one] : metrics) {
        const auto found = page.find(name);
        ASSERT_NE(found, page.end()) << name << " is exported: give it a row in docs/metrics.md";
        EXPECT_EQ(found->second, one) << name;
    }
    for (const auto& [name, one] : page) EXPECT_TRUE(metrics.contains(name)) << name << " is on the page and not exported";
}

TEST_F(MetricsServer, SendsALargeAnswerWholeToASlowReader) {
    Client client{broker.port()};
    // Many topics with long names: far more text than a socket's buffer takes.
    constexpr int topics = 1'500;
    std::string frames;
    for (int i = 0; i < topics; ++i) {
        const std::string topic = std::string(110, 't') + std::to_string(i);
        remoting::SendRequest send;
        send.producer_group = "test";
        send.topic = topic;
        send.queue_id = 0;
        remoting::append_request(frames, remoting::SerializeType::json, RequestCode::send_message_v2, i, send, "x");
        if (i % 100 != 99) continue;
        client.write(frames);
        frames.clear();
        for (int answered = 0; answered < 100; ++answered) ASSERT_NE(client.receive(), nullptr);
    }
    const Client http{metrics_port()};
    const int small = 4096;
    ::setsockopt(http.socket(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    http.write("GET /metrics HTTP/1.1\r\n\r\n");
    // The broker serves others while this answer waits to be read.
    client.write(Client::send_frame(1, 0, "x"));
    ASSERT_NE(client.receive(), nullptr);
    const std::string answer = read_all(http.socket());
    EXPECT_GT(promised(answer), 400'000U);
    EXPECT_EQ(body(answer).size(), promised(answer));
    EXPECT_THAT(answer, EndsWith("\n"));
}

TEST_F(MetricsServer, AnswersHeadAndHealth) {
    const std::string head = ask("HEAD", "/metrics");
    EXPECT_THAT(head, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_GT(promised(head), 1000U);
    EXPECT_THAT(head, EndsWith("\r\n\r\n"));
    EXPECT_EQ(body(ask("GET", "/healthz")), "ok\n");
    EXPECT_EQ(body(ask("GET", "/healthz?verbose")),
              "{\"status\":\"ok\",\"checks\":[{\"name\":\"log\",\"ok\":true,\"fault\":\"\"},{\"name\":\"disk\",\"ok\":true,"
              "\"fault\":\"\"},{\"name\":\"stopping\",\"ok\":true,\"fault\":\"\"}]}\n");
    EXPECT_THAT(ask("POST", "/metrics"), StartsWith("HTTP/1.1 405 "));
    EXPECT_THAT(broker.errors(), HasSubstr("\"event\":\"log recovered\""));
}

}  // namespace
}  // namespace hufu::broker::testing
