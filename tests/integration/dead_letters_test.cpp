// hufu dlq against other people's brokers: a real RocketMQ and a real Kafka.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <sstream>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/deadletter/redriver.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/kafka_server.hpp>
#include <hufu/test_support/rocketmq_server.hpp>

namespace hufu {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class DeadLetters {
public:
    explicit DeadLetters(std::string url) : url_{std::move(url)}, publisher_{connect::publisher(url_).value()} {}

    /// `hufu dlq …`; its exit code. What it says goes to `said`.
    int dlq(std::vector<std::string> words, std::string& said) {
        words.insert(words.begin(), {HUFU_PROGRAM, "dlq"});
        words.insert(words.end(), {"--broker", url_});
        const std::string file = folder_.path() + "/said." + std::to_string(++runs_);
        test_support::Child child{{.arguments = words, .output = file}};
        const int code = child.wait();
        std::ostringstream text;
        text << std::ifstream{file}.rdbuf();
        said = text.str();
        return code;
    }
    void publish(std::vector<Message> batch) {
        const auto until = system_clock().steady_now() + std::chrono::seconds{60};
        while (!batch.empty()) {
            std::vector<PublishOutcome> outcomes(batch.size());
            std::promise<void> done;
            publisher_->publish(batch, outcomes, [&done] { done.set_value(); });
            done.get_future().wait();
            std::vector<Message> left;
            for (std::size_t i = 0; i < batch.size(); ++i) {
                if (outcomes[i].status != PublishStatus::confirmed) left.push_back(std::move(batch[i]));
            }
            batch = std::move(left);
            ASSERT_LT(system_clock().steady_now(), until) << "the server takes nothing";
        }
    }
    std::vector<deadletter::DeadLetter> all_of(const std::string& topic) {
        const auto reader = connect::topic_reader(url_).value();
        std::vector<deadletter::DeadLetter> letters;
        const auto read = deadletter::each_letter(*reader, {}, topic, [&](deadletter::DeadLetter letter, const auto*) {
            letters.push_back(std::move(letter));
            return true;
        });
        EXPECT_TRUE(read) << read.error().text();
        return letters;
    }

    void plays_through() {
        std::vector<Message> letters;
        std::vector<std::string> wanted;
        for (int i = 0; i < 400; ++i) {
            Message letter{.id = ids_.next(), .topic = "%DLQ%stock", .ordering_key = "k", .body = std::to_string(i)};
            letter.headers.set(header::dead_reason, i < 200 ? "declined" : "timed out");
            letter.headers.set(header::dead_topic, "orders");
            wanted.push_back(letter.body);
            letters.push_back(std::move(letter));
        }
        publish(letters);
        std::string said;
        EXPECT_EQ(dlq({"list"}, said), 0) << said;
        EXPECT_THAT(said, AllOf(HasSubstr("%DLQ%stock"), HasSubstr("400")));
        EXPECT_EQ(
            dlq({"redrive", "--group", "stock", "--dead-reason", "declined", "--reason", "paid", "--actor", "ann"}, said), 0)
            << said;
        EXPECT_EQ(dlq({"redrive", "--group", "stock", "--reason", "the rest"}, said), 0) << said;
        EXPECT_EQ(dlq({"redrive", "--group", "stock", "--reason", "once more"}, said), 0) << said;
        EXPECT_THAT(said, HasSubstr("nothing is left to do"));
        std::vector<std::string> bodies;
        for (const auto& letter : all_of("orders")) {
            bodies.push_back(letter.message.body);
            EXPECT_EQ(letter.redrives, 1U);
        }
        EXPECT_THAT(bodies, ElementsAreArray(wanted));
        EXPECT_EQ(dlq({"audit"}, said), 0);
        EXPECT_THAT(said, AllOf(HasSubstr("ann"), HasSubstr("200 settled"), HasSubstr("paid")));
        EXPECT_EQ(dlq({"redrive", "--group", "other", "--reason", "x"}, said), 1);
        EXPECT_THAT(said, HasSubstr("%DLQ%stock"));
    }

private:
    std::string url_;
    test_support::PrivateFolder folder_{"dead-letters"};
    int runs_ = 0;
    MessageIdGenerator ids_{system_clock(), system_random()};
    std::unique_ptr<Publisher> publisher_;
};

TEST(DeadLettersOfRocketmq, AreRedrivenOnceInOrderWithAnAudit) {
    const test_support::RocketmqServer server;
    DeadLetters{"rocketmq://" + server.name_server()}.plays_through();
}

TEST(DeadLettersOfKafka, AreRedrivenOnceInOrderWithAnAudit) {
    const test_support::KafkaServer server{
        {.flush_each = false, .settings = {"auto.create.topics.enable=true", "num.partitions=3"}}};
    DeadLetters{"kafka://" + server.address()}.plays_through();
}

}  // namespace
}  // namespace hufu
