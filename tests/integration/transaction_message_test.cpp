// Transaction messages from the databases' producers through the bundled broker to a consumer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pqxx/pqxx>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include <stdlib.h>

#include <hufu/connect/connect.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/transaction_producer.hpp>
#include <hufu/sqlite/schema.hpp>
#include <hufu/sqlite/transaction_producer.hpp>
#include <hufu/test_support/postgres_server.hpp>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::UnorderedElementsAre;
using txmsg::Decision;
using State = txmsg::TransactionResult::State;

/// A process that dies between its commit and END, as the broker sees it.
class LostEnds final : public txmsg::HalfPublisher {
public:
    explicit LostEnds(txmsg::HalfPublisher& real) : real_{real} {}
    void prepare(const txmsg::HalfContext& context, std::span<const Message> messages,
                 std::span<txmsg::HalfOutcome> outcomes, Done done) override {
        real_.prepare(context, messages, outcomes, std::move(done));
    }
    void end(const txmsg::HalfContext&, std::span<const txmsg::Half>, txmsg::Verdict, std::string_view,
             txmsg::EndOutcome& outcome, Done done) override {
        outcome.error = Error{ErrorCode::timeout, Disposition::in_doubt, "END is lost"};
        done();
    }
    Result<void> serve_checks(std::string group, std::vector<std::string> handlers, OnCheck on_check) override {
        return real_.serve_checks(std::move(group), std::move(handlers), std::move(on_check));
    }

private:
    txmsg::HalfPublisher& real_;
};

class TransactionMessage : public testing::Test {
protected:
    TransactionMessage() {
        std::string name = (std::filesystem::temp_directory_path() / "hufu-txmsg-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error{"no temporary folder at " + name};
        }
        folder_ = name;
        halves_ = connect::half_publisher("embedded:" + folder_ + "/broker").value();
    }
    ~TransactionMessage() override {
        halves_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    static Message message(std::string topic, std::string body) {
        return {.topic = std::move(topic), .ordering_key = "7", .body = std::move(body)};
    }
    /// Bodies that a new group receives, in order, until there are `count`.
    std::vector<std::string> seen(const std::vector<std::string>& topics, std::size_t count) {
        const auto subscription =
            connect::subscription("embedded:" + folder_ + "/broker", {.group = "reader", .topics = topics}).value();
        std::vector<std::string> bodies;
        while (bodies.size() < count) {
            for (auto& delivery : subscription->receive(100, 60s, {}).value()) {
                bodies.push_back(std::move(delivery.message.body));
            }
        }
        return bodies;
    }

    std::string folder_;
    std::unique_ptr<txmsg::HalfPublisher> halves_;
};

class OnPostgres : public TransactionMessage {
protected:
    OnPostgres() {
        postgres::migrate(url_).value();
        change("create table paid(id text)");
    }
    void change(const std::string& sql) {
        pqxx::connection connection{url_};
        pqxx::work work{connection};
        work.exec(sql);
        work.commit();
    }
    int paid() {
        pqxx::connection connection{url_};
        pqxx::work work{connection};
        return work.exec("select count(*) from paid")[0][0].as<int>();
    }

    test_support::PostgresServer server_;
    std::string url_ = server_.create_database();
};

TEST_F(OnPostgres, RowsAndMessagesAreBothThereOrBothAbsent) {
    auto& halves = *halves_;
    const auto& url = url_;
    const std::string order_id = "7";
    // [send]
    hufu::postgres::TransactionProducer producer{url, halves, {.group = "payment"}};
    const auto sent = producer.send({message("orders", "paid"), message("stock", "reserve")},
                                    [&](pqxx::work& tx) { tx.exec_params("insert into paid(id) values ($1)", order_id); });
    // [/send]
    EXPECT_EQ(sent.state, State::committed) << sent.error.text();
    EXPECT_EQ(sent.end.state, txmsg::EndOutcome::State::committed) << sent.end.error.text();
    const auto dropped = producer.send(message("orders", "never"), [](pqxx::work& tx) {
        tx.exec("insert into paid(id) values ('8')");
        return Decision::rollback;
    });
    EXPECT_EQ(dropped.state, State::rolled_back);
    EXPECT_EQ(dropped.end.state, txmsg::EndOutcome::State::rolled_back) << dropped.end.error.text();
    EXPECT_THAT(seen({"orders", "stock"}, 2), UnorderedElementsAre("paid", "reserve"));
    EXPECT_EQ(paid(), 1);
}

TEST_F(OnPostgres, CheckBackSettlesWhatNobodyEnded) {
    LostEnds lost{*halves_};
    postgres::TransactionProducer producer{url_, lost, {.group = "payment"}};
    const txmsg::SendOptions soon{.first_check_after = 1s};
    const auto dropped = producer.send(
        message("orders", "never"), [](pqxx::work&) { return Decision::rollback; }, soon);
    EXPECT_EQ(dropped.state, State::rolled_back);
    const auto sent = producer.send(
        message("orders", "paid"), [](pqxx::work& tx) { tx.exec("insert into paid(id) values ('7')"); }, soon);
    EXPECT_EQ(sent.state, State::committed);
    EXPECT_EQ(sent.end.state, txmsg::EndOutcome::State::unknown);
    EXPECT_THAT(seen({"orders"}, 1), ElementsAre("paid"));
}

TEST_F(TransactionMessage, CheckBackSettlesFromASqliteFile) {
    sqlite::Database database{folder_ + "/orders.db"};
    sqlite::migrate(database).value();
    LostEnds lost{*halves_};
    sqlite::TransactionProducer producer{database, lost, {.group = "payment"}};
    const auto sent =
        producer.send(message("orders", "paid"), [](sqlite::Transaction& tx) { tx.execute("create table paid(id text)"); },
                      {.first_check_after = 1s});
    EXPECT_EQ(sent.state, State::committed);
    EXPECT_THAT(seen({"orders"}, 1), ElementsAre("paid"));
}

}  // namespace
}  // namespace hufu
