// The bundled broker, `hufu forward` and a real Kafka, as processes; the forwarder is killed, and so is Kafka.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <future>
#include <map>
#include <set>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/random.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/schema.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>
#include <hufu/test_support/kafka_server.hpp>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using test_support::Child;

int kills_wanted() {
    const char* text = std::getenv("HUFU_KILLS");
    return text == nullptr ? 3 : std::atoi(text);
}

class ForwardToKafka : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        kafka = std::make_unique<test_support::KafkaServer>(test_support::KafkaServerOptions{
            .flush_each = false,
            .settings = {"auto.create.topics.enable=true", "num.partitions=3", "message.max.bytes=200000"}});
    }
    static void TearDownTestSuite() { kafka.reset(); }

    void SetUp() override {
        const auto port = test_support::free_port();
        source_url = "rocketmq://127.0.0.1:" + std::to_string(port);
        broker = test_support::start_hufu_broker(
            {.program = HUFU_BROKER_PROGRAM, .folder = folder.path(), .port = port, .flags = {"--durability", "async"}});
    }

    [[nodiscard]] static std::string target_url() { return "kafka://" + kafka->address(); }
    [[nodiscard]] std::string topic() const { return ::testing::UnitTest::GetInstance()->current_test_info()->name(); }
    [[nodiscard]] Child forward(std::vector<std::string> more = {}) const {
        std::vector<std::string> words{HUFU_PROGRAM,  "forward", "--from",     source_url, "--to",    target_url(),
                                       "--topic",     topic(),   "--group",    "forward",  "--topic", topic() + "2",
                                       "--retry-cap", "500ms",   "--progress", "1s"};
        words.insert(words.end(), more.begin(), more.end());
        return Child{{.arguments = words, .output = folder.path() + "/forward.log"}};
    }
    Message message(std::string key, int number) {
        return {
            .id = ids.next(), .topic = topic(), .tag = "t", .ordering_key = std::move(key), .body = std::to_string(number)};
    }
    /// Until the broker has them.
    static void publish(Publisher& publisher, std::vector<Message> batch) {
        while (!batch.empty()) {
            std::vector<PublishOutcome> outcomes(batch.size());
            std::promise<void> done;
            publisher.publish(batch, outcomes, [&done] { done.set_value(); });
            done.get_future().wait();
            std::vector<Message> left;
            for (std::size_t i = 0; i < batch.size(); ++i) {
                if (outcomes[i].status != PublishStatus::confirmed) left.push_back(std::move(batch[i]));
            }
            batch = std::move(left);
        }
    }
    [[nodiscard]] std::unique_ptr<Subscription> at_the_target() const {
        return connect::subscription(target_url(), {.group = topic(), .topics = {topic(), topic() + "2"}}).value();
    }
    [[nodiscard]] std::string forward_log() const { return test_support::file_tail(folder.path() + "/forward.log"); }

    static inline std::unique_ptr<test_support::KafkaServer> kafka;
    test_support::PrivateFolder folder{"forward"};
    MessageIdGenerator ids{system_clock(), system_random()};
    std::string source_url;
    Child broker;
};

/// What arrived, against what was sent.
class Arrivals {
public:
    /// Takes what comes; false when nothing came for so long.
    bool take(Subscription& subscription, std::chrono::milliseconds wait) {
        const auto deliveries = subscription.receive(1'000, wait, {}).value();
        std::vector<DeliveryTag> tags;
        for (const Delivery& delivery : deliveries) {
            tags.push_back(delivery.tag);
            Message message = delivery.message;
            ageless += message.headers.get(header::first_stored_at) ? 0 : 1;
            message.headers.remove(header::first_stored_at);  // what the forwarder adds
            int& last = last_.try_emplace(message.ordering_key, -1).first->second;
            const int number = std::stoi(message.body);
            if (number > last + 1)
                problems.push_back(message.ordering_key + ": " + message.body + " came after " + std::to_string(last));
            last = std::max(last, number);
            const auto [known, is_new] = by_id.try_emplace(message.id, message);
            copies += is_new ? 0 : 1;
            if (known->second != message) problems.push_back("two messages have the id " + message.id.to_string());
        }
        subscription.acknowledge(tags);
        return !deliveries.empty();
    }

    std::map<MessageId, Message> by_id;
    std::vector<std::string> problems;
    int copies = 0;
    int ageless = 0;  ///< that do not say when they were stored first

private:
    std::map<std::string, int> last_;
};

TEST_F(ForwardToKafka, NothingIsLostOrOvertakenWhateverIsKilled) {
    constexpr int keys = 40;
    constexpr int per_round = 800;
    const int kills = kills_wanted();
    const auto publisher = connect::publisher(source_url).value();
    const auto subscription = at_the_target();
    std::map<MessageId, Message> sent;
    Arrivals arrivals;
    int number = 0;
    Child forwarder = forward();
    for (int round = 0; round <= kills; ++round) {
        std::vector<Message> batch;
        for (int i = 0; i < per_round; ++i, ++number) {
            batch.push_back(message("key" + std::to_string(number % keys), number / keys));
            sent.emplace(batch.back().id, batch.back());
        }
        publish(*publisher, batch);
        if (round == kills) break;
        // At a random moment of the work; every third time Kafka goes too, and stays away for a while.
        const auto enough = arrivals.by_id.size() + system_random().below(per_round);
        while (arrivals.by_id.size() < enough && arrivals.take(*subscription, 20s)) {
        }
        ASSERT_TRUE(forwarder.running()) << forward_log();
        if (round % 3 == 1) {
            kafka->kill();
            arrivals.take(*subscription, 300ms);
            ASSERT_TRUE(forwarder.running()) << "an outage of the target is waited for: " << forward_log();
            forwarder.kill();
            kafka->start();
        } else {
            forwarder.kill();
        }
        forwarder = forward();
    }
    while (arrivals.by_id.size() < sent.size() && arrivals.take(*subscription, 40s)) {
    }
    EXPECT_EQ(arrivals.by_id, sent) << forward_log();
    EXPECT_EQ(arrivals.ageless, 0);
    EXPECT_EQ(arrivals.problems, std::vector<std::string>{});
    EXPECT_EQ(forwarder.terminate(), 0) << forward_log();
    EXPECT_NE(forward_log().find("forwarder drained and stopped"), std::string::npos) << forward_log();
    RecordProperty("copies", arrivals.copies);
}

TEST_F(ForwardToKafka, TwoForwardersShareTheWorkAndATargetsRefusalIsKept) {
    const auto publisher = connect::publisher(source_url).value();
    Child first = forward();
    Child second = forward();
    std::vector<Message> batch;
    for (int i = 0; i < 400; ++i) batch.push_back(message("key" + std::to_string(i % 20), i / 20));
    Message large = message("poor", 0);
    large.headers.set("filling", std::string(1'000, 'x'));
    large.body = "0" + std::string(300'000, ' ');
    publish(*publisher, batch);
    publish(*publisher, {large, message("poor", 1)});
    const auto subscription = at_the_target();
    Arrivals arrivals;
    while (arrivals.by_id.size() < batch.size() && arrivals.take(*subscription, 40s)) {
    }
    EXPECT_EQ(arrivals.by_id.size(), batch.size());
    EXPECT_EQ(arrivals.problems, std::vector<std::string>{});
    const auto dead = connect::subscription(source_url, {.group = "people", .topics = {"%DLQ%forward"}}).value();
    std::vector<Delivery> letters;
    while (letters.size() < 2) {
        const auto some = dead->receive(10, 40s, {}).value();
        ASSERT_FALSE(some.empty()) << forward_log();
        letters.insert(letters.end(), some.begin(), some.end());
    }
    EXPECT_EQ(letters[0].message.id, large.id);
    EXPECT_EQ(letters[1].message.body, "1") << "its successor, behind it";
    EXPECT_EQ(letters[0].message.headers.get(header::dead_topic), topic());
    EXPECT_EQ(first.terminate(), 0);
    EXPECT_EQ(second.terminate(), 0);
}

TEST_F(ForwardToKafka, OnlyWhatCommittedArrives) {
    const auto halves = connect::half_publisher(source_url).value();
    Child forwarder = forward();
    const auto subscription = at_the_target();
    Arrivals arrivals;
    std::set<MessageId> committed;
    const auto run = [&](const std::vector<Message>& messages, txmsg::Verdict verdict) {
        const txmsg::HalfContext context{.transaction = ids.next(), .group = "shop"};
        std::vector<txmsg::HalfOutcome> outcomes(messages.size());
        std::promise<void> prepared;
        halves->prepare(context, messages, outcomes, [&] { prepared.set_value(); });
        prepared.get_future().wait();
        std::vector<txmsg::Half> stored;
        for (const auto& outcome : outcomes) {
            ASSERT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
            stored.push_back(outcome.half);
        }
        txmsg::EndOutcome ended;
        std::promise<void> done;
        halves->end(context, stored, verdict, "test", ended, [&] { done.set_value(); });
        done.get_future().wait();
        ASSERT_EQ(ended.state, verdict == txmsg::Verdict::commit ? txmsg::EndOutcome::State::committed
                                                                 : txmsg::EndOutcome::State::rolled_back)
            << ended.error.text();
    };
    for (int i = 0; i < 20; ++i) {
        const bool commit = i % 2 == 0;
        Message one = message("key" + std::to_string(i), 0);
        Message other = message("other" + std::to_string(i), 0);
        other.topic += "2";
        if (commit) committed.insert({one.id, other.id});
        run({one, other}, commit ? txmsg::Verdict::commit : txmsg::Verdict::rollback);
    }
    while (arrivals.by_id.size() < committed.size() && arrivals.take(*subscription, 40s)) {
    }
    arrivals.take(*subscription, 500ms);  // what should not come has had its time
    std::set<MessageId> arrived;
    for (const auto& [id, known] : arrivals.by_id) arrived.insert(id);
    EXPECT_EQ(arrived, committed) << forward_log();
    EXPECT_EQ(forwarder.terminate(), 0);
}

TEST_F(ForwardToKafka, ARelayCarriesAnOutboxThere) {
    const std::string path = folder.path() + "/orders.db";
    std::map<MessageId, Message> sent;
    {
        auto database = std::make_shared<sqlite::Database>(path);
        ASSERT_TRUE(sqlite::migrate(*database));
        sqlite::Outbox outbox;
        sqlite::Transaction tx{*database};
        for (int i = 0; i < 200; ++i) {
            const Message one = message("key" + std::to_string(i % 10), i / 10);
            sent.emplace(one.id, one);
            outbox.append(tx, one);
        }
        tx.commit();
    }
    Child relay{{.arguments = {HUFU_PROGRAM, "relay", "--outbox", "sqlite:" + path, "--to", target_url()},
                 .output = folder.path() + "/relay.log"}};
    const auto subscription = at_the_target();
    Arrivals arrivals;
    while (arrivals.by_id.size() < sent.size() && arrivals.take(*subscription, 40s)) {
    }
    ASSERT_EQ(arrivals.by_id.size(), sent.size()) << test_support::file_tail(folder.path() + "/relay.log");
    for (const auto& [id, arrived] : arrivals.by_id) {
        EXPECT_EQ(arrived.body, sent.at(id).body);
        EXPECT_EQ(arrived.ordering_key, sent.at(id).ordering_key);
    }
    EXPECT_EQ(arrivals.problems, std::vector<std::string>{});
    EXPECT_EQ(relay.terminate(), 0);
}

}  // namespace
}  // namespace hufu
