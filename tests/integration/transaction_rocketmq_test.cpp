// Transaction messages against a real RocketMQ: halves, END, its questions, and what it does not do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <pqxx/pqxx>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/transaction_producer.hpp>
#include <hufu/test_support/postgres_server.hpp>
#include <hufu/test_support/rocketmq_server.hpp>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using txmsg::Verdict;
using State = txmsg::EndOutcome::State;

/// Everything that becomes visible in two topics of a test's own, read along from before the first message.
class Seen {
public:
    explicit Seen(const std::string& url, const std::string& prefix)
        : thread_{[this, subscription = connect::subscription(
                                            url, {.group = "reader-" + prefix, .topics = {prefix + "-a", prefix + "-b"}})
                                            .value()](std::stop_token stop) {
              while (!stop.stop_requested()) {
                  const auto some = subscription->receive(100, 200ms, stop);
                  if (!some) continue;
                  const std::lock_guard lock{mutex_};
                  for (const Delivery& delivery : *some) ++copies_[{delivery.message.id, delivery.message.body}];
                  came_.notify_all();
              }
          }} {}

    using Copies = std::map<std::pair<MessageId, std::string>, int>;
    /// What was seen when there were `count` different ones, or `limit` has passed.
    Copies wait(std::size_t count, std::chrono::seconds limit = 40s) {
        std::unique_lock lock{mutex_};
        came_.wait_for(lock, limit, [&] { return copies_.size() >= count; });
        return copies_;
    }
    /// What was seen after so long.
    Copies after(std::chrono::milliseconds time) {
        std::unique_lock lock{mutex_};
        came_.wait_for(lock, time, [] { return false; });
        return copies_;
    }

private:
    std::mutex mutex_;
    std::condition_variable came_;
    Copies copies_;  // guarded by mutex_
    std::jthread thread_;
};

class OnRocketmq : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        server = std::make_unique<test_support::RocketmqServer>(test_support::RocketmqServerOptions{
            .settings = {"transactionTimeOut=1000", "transactionCheckInterval=500", "transactionOpBatchInterval=50"}});
    }
    static void TearDownTestSuite() { server.reset(); }

    [[nodiscard]] static std::string url() { return "rocketmq://" + server->name_server(); }
    [[nodiscard]] static std::string prefix() { return ::testing::UnitTest::GetInstance()->current_test_info()->name(); }
    [[nodiscard]] static std::string topic(char which) { return prefix() + "-" + which; }
    Message message(char which, std::string body) {
        return {.id = ids.next(), .topic = topic(which), .ordering_key = "k", .body = std::move(body)};
    }
    txmsg::HalfContext context(std::string handler = {}) {
        return {.transaction = ids.next(), .group = prefix(), .handler = std::move(handler), .store = "store-1"};
    }
    static std::vector<txmsg::HalfOutcome> prepared(txmsg::HalfPublisher& halves, const txmsg::HalfContext& of,
                                                    const std::vector<Message>& messages) {
        std::vector<txmsg::HalfOutcome> outcomes(messages.size());
        std::promise<void> done;
        halves.prepare(of, messages, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        return outcomes;
    }
    static std::vector<txmsg::Half> prepare(txmsg::HalfPublisher& halves, const txmsg::HalfContext& of,
                                            const std::vector<Message>& messages) {
        std::vector<txmsg::Half> stored;
        for (const auto& outcome : prepared(halves, of, messages)) {
            EXPECT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
            stored.push_back(outcome.half);
        }
        return stored;
    }
    static txmsg::EndOutcome end(txmsg::HalfPublisher& halves, const txmsg::HalfContext& of,
                                 const std::vector<txmsg::Half>& stored, Verdict verdict) {
        txmsg::EndOutcome outcome;
        std::promise<void> done;
        halves.end(of, stored, verdict, "test", outcome, [&done] { done.set_value(); });
        done.get_future().wait();
        return outcome;
    }

    static inline std::unique_ptr<test_support::RocketmqServer> server;
    MessageIdGenerator ids{system_clock(), system_random()};
};

TEST_F(OnRocketmq, HalvesOfOneTransactionAreEndedOneByOneAndSeenWithTheirIds) {
    Seen seen{url(), prefix()};
    const auto halves = connect::half_publisher(url()).value();
    const auto of = context();
    const std::vector<Message> messages{message('a', "1"), message('a', "2"), message('b', "3")};
    const auto stored = prepare(*halves, of, messages);
    const auto other = context();
    const auto dropped = prepare(*halves, other, {message('a', "never"), message('b', "never")});
    EXPECT_THAT(seen.after(500ms), UnorderedElementsAre()) << "a half was visible";

    const auto rolled_back = end(*halves, other, dropped, Verdict::rollback);
    EXPECT_EQ(rolled_back.state, State::rolled_back) << rolled_back.error.text();
    const auto committed = end(*halves, of, stored, Verdict::commit);
    EXPECT_EQ(committed.state, State::committed) << committed.error.text();
    EXPECT_THAT(seen.wait(3), UnorderedElementsAre(Pair(std::pair{messages[0].id, std::string{"1"}}, 1),
                                                   Pair(std::pair{messages[1].id, std::string{"2"}}, 1),
                                                   Pair(std::pair{messages[2].id, std::string{"3"}}, 1)));
    EXPECT_EQ(seen.after(2s).size(), 3U) << "what was rolled back came";
}

TEST_F(OnRocketmq, QuestionsGoToWhoeverServesTheHandlerInAnotherProcess) {
    Seen seen{url(), prefix()};
    // Each half publisher is a client of its own: the broker knows no difference to three processes.
    std::mutex mutex;
    std::vector<txmsg::Check> checks;
    const auto responder = connect::half_publisher(url()).value();
    ASSERT_TRUE(responder->serve_checks(prefix(), {"paid"}, [&](txmsg::Check check, txmsg::HalfPublisher::Answer answer) {
        const std::lock_guard lock{mutex};
        checks.push_back(check);
        // The first two questions are not answered, as by a responder that died over them.
        if (checks.size() > 2) answer(check.message.body == "no" ? Verdict::rollback : Verdict::commit, "it is known here");
    }));
    const auto stranger = connect::half_publisher(url()).value();
    ASSERT_TRUE(stranger->serve_checks(prefix(), {"other"}, [](txmsg::Check, txmsg::HalfPublisher::Answer) {
        ADD_FAILURE() << "a question about another handler";
    }));
    auto producer = connect::half_publisher(url()).value();
    auto of = context("paid");
    const auto stored = prepare(*producer, of, {message('a', "yes"), message('b', "yes")});
    const auto refused = context("paid");
    prepare(*producer, refused, {message('a', "no")});
    producer.reset();

    const auto copies = seen.wait(2);
    EXPECT_EQ(copies.size(), 2U) << server->log_tail();
    for (const auto& half : stored) EXPECT_TRUE(copies.contains({half.id, "yes"}));
    EXPECT_EQ(seen.after(2s).size(), 2U);
    const std::lock_guard lock{mutex};
    for (const auto& check : checks) {
        EXPECT_EQ(check.context, check.message.body == "no" ? refused : of);
        EXPECT_EQ(check.half.topic, check.message.topic);
    }
}

TEST_F(OnRocketmq, AMessageForLaterIsRefusedWithTheReason) {
    const auto halves = connect::half_publisher(url()).value();
    Message later = message('a', "later");
    later.deliver_at = system_clock().system_now() + 1h;
    const auto outcomes = prepared(*halves, context(), {later, message('a', "now")});
    EXPECT_EQ(outcomes[0].status, PublishStatus::rejected);
    EXPECT_EQ(outcomes[0].error.code(), ErrorCode::unsupported);
    EXPECT_THAT(outcomes[0].error.text(), HasSubstr("this broker does not hold back transaction messages"));
    EXPECT_EQ(outcomes[1].status, PublishStatus::confirmed) << outcomes[1].error.text();
}

/// A process that dies between its commit and END, as the broker sees it.
class LostEnds final : public txmsg::HalfPublisher {
public:
    explicit LostEnds(txmsg::HalfPublisher& real) : real_{real} {}
    void prepare(const txmsg::HalfContext& context, std::span<const Message> messages,
                 std::span<txmsg::HalfOutcome> outcomes, Done done) override {
        real_.prepare(context, messages, outcomes, std::move(done));
    }
    void end(const txmsg::HalfContext&, std::span<const txmsg::Half>, Verdict, std::string_view, txmsg::EndOutcome& outcome,
             Done done) override {
        outcome.error = Error{ErrorCode::timeout, Disposition::in_doubt, "END is lost"};
        done();
    }
    Result<void> serve_checks(std::string group, std::vector<std::string> handlers, OnCheck on_check) override {
        return real_.serve_checks(std::move(group), std::move(handlers), std::move(on_check));
    }

private:
    txmsg::HalfPublisher& real_;
};

class OnRocketmqAndPostgres : public OnRocketmq {
protected:
    OnRocketmqAndPostgres() {
        postgres::migrate(database).value();
        pqxx::connection connection{database};
        pqxx::work work{connection};
        work.exec("create table paid(id text)");
        work.commit();
    }
    int paid() {
        pqxx::connection connection{database};
        pqxx::work work{connection};
        return work.exec("select count(*) from paid")[0][0].as<int>();
    }
    static void insert(pqxx::work& tx) { tx.exec("insert into paid(id) values ('7')"); }

    test_support::PostgresServer postgres;
    std::string database = postgres.create_database();
};

TEST_F(OnRocketmqAndPostgres, RowsAndMessagesAreBothThereOrBothAbsentWhetherEndComesOrNot) {
    Seen seen{url(), prefix()};
    const auto halves = connect::half_publisher(url()).value();
    LostEnds lost{*halves};
    {
        postgres::TransactionProducer producer{database, *halves, {.group = prefix()}};
        const auto sent = producer.send({message('a', "ended"), message('b', "ended")}, insert);
        EXPECT_EQ(sent.state, txmsg::TransactionResult::State::committed) << sent.error.text();
        EXPECT_EQ(sent.end.state, State::committed) << sent.end.error.text();
    }
    postgres::TransactionProducer producer{database, lost, {.group = prefix()}};
    const auto sent = producer.send({message('a', "asked"), message('b', "asked")}, insert);
    EXPECT_EQ(sent.state, txmsg::TransactionResult::State::committed) << sent.error.text();
    const auto dropped = producer.send(message('a', "never"), [](pqxx::work& tx) {
        insert(tx);
        return txmsg::Decision::rollback;
    });
    EXPECT_EQ(dropped.state, txmsg::TransactionResult::State::rolled_back);
    std::multiset<std::string> bodies;
    for (const auto& [what, count] : seen.wait(4)) bodies.insert(what.second);
    EXPECT_EQ(bodies, (std::multiset<std::string>{"asked", "asked", "ended", "ended"})) << server->log_tail();
    EXPECT_EQ(seen.after(2s).size(), 4U);
    EXPECT_EQ(paid(), 2);
}

TEST_F(OnRocketmqAndPostgres, ABrokerThatIsKilledBeforeEndAsksAfterwards) {
    Seen seen{url(), prefix()};
    const auto halves = connect::half_publisher(url()).value();
    postgres::TransactionProducer producer{database, *halves, {.group = prefix()}};
    const auto sent = producer.send({message('a', "paid"), message('b', "paid")}, [](pqxx::work& tx) {
        insert(tx);
        server->kill_broker();
    });
    EXPECT_EQ(sent.state, txmsg::TransactionResult::State::committed) << sent.error.text();
    EXPECT_EQ(sent.end.state, State::unknown) << "nobody was there to answer END";
    server->start_broker();
    EXPECT_EQ(seen.wait(2, 60s).size(), 2U) << server->log_tail();
    EXPECT_EQ(paid(), 1);
}

}  // namespace
}  // namespace hufu
