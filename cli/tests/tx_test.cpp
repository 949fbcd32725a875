// hufu tx against the bundled broker as a process of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include <boost/json.hpp>

#include <hufu/core/ids.hpp>
#include <hufu/rocketmq/half_publisher.hpp>
#include <hufu/test_support/child.hpp>

#include "tests/program.hpp"

namespace hufu::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class CliTx : public testing::Test {
protected:
    void SetUp() override {
        const std::string address = "127.0.0.1:" + std::to_string(port_);
        const std::string log = program_.file("broker.log");
        test_support::ProcessOptions process;
        process.arguments = {HUFU_BROKER_PROGRAM, "--data", program_.file("data"), "--listen", address};
        process.output = log;
        broker_ = test_support::Child{process};
        test_support::wait_until_ready(broker_, "hufu-broker", log, [this] { return test_support::accepts(port_); });
        publisher_ = rocketmq::open_half_publisher({.name_servers = {address}}).value();
    }
    /// Stores one half that nobody ends; the id of its transaction.
    std::string leave_behind(const std::string& topic) {
        const txmsg::HalfContext of{.transaction = ids_.next(), .group = "shop", .handler = {}, .store = {}};
        const std::vector<Message> messages{{.id = ids_.next(), .topic = topic, .ordering_key = "42", .body = "paid"}};
        std::vector<txmsg::HalfOutcome> outcomes(1);
        std::promise<void> done;
        publisher_->prepare(of, messages, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        EXPECT_EQ(outcomes[0].status, PublishStatus::confirmed) << outcomes[0].error.text();
        return of.transaction.to_string();
    }
    /// `hufu tx …` at this broker.
    Said tx(std::vector<std::string> words) const {
        words.insert(words.begin(), "tx");
        words.insert(words.end(), {"--broker", "rocketmq://127.0.0.1:" + std::to_string(port_)});
        return program_.run(words);
    }
    /// The one JSON object that a command printed.
    static boost::json::object object(const Said& said) {
        EXPECT_EQ(said.exit_code, 0) << said.err;
        return boost::json::parse(said.out).as_object();
    }

    Program program_;
    std::uint16_t port_ = test_support::free_port();
    test_support::Child broker_;
    MessageIdGenerator ids_{system_clock(), system_random()};
    std::unique_ptr<txmsg::HalfPublisher> publisher_;
};

TEST_F(CliTx, ListsShowsAndSettlesWhatNobodyDecided) {
    const std::string first = leave_behind("orders");
    const std::string second = leave_behind("stock");
    const auto listed = tx({"list"});
    EXPECT_EQ(listed.exit_code, 0) << listed.err;
    EXPECT_THAT(listed.out, AllOf(HasSubstr(first), HasSubstr(second), HasSubstr("pending"), HasSubstr("shop")));
    const auto narrowed = object(tx({"list", "--topic", "stock", "--state", "pending", "--group", "shop", "--json"}));
    ASSERT_EQ(narrowed.at("transactions").as_array().size(), 1U);
    EXPECT_EQ(narrowed.at("transactions").at(0).at("transaction").as_string(), second);
    EXPECT_TRUE(narrowed.at("next").is_null());
    EXPECT_THAT(tx({"list", "--older-than", "1h"}).out, HasSubstr("no such transactions"));

    const auto shown = object(tx({"show", first, "--json"}));
    EXPECT_EQ(shown.at("state").as_string(), "pending");
    EXPECT_EQ(shown.at("messages").at(0).at("topic").as_string(), "orders");
    EXPECT_EQ(shown.at("messages").at(0).at("body_bytes").as_int64(), 4);

    const auto committed = object(tx({"commit", first, "--reason", "the bank has it", "--actor", "ann", "--json"}));
    EXPECT_EQ(committed.at("state").as_string(), "committed");
    EXPECT_THAT(tx({"rollback", second, "--reason", "the bank does not"}).out, HasSubstr("rolled_back"));
    EXPECT_THAT(tx({"show", first}).out, AllOf(HasSubstr("committed"), HasSubstr("ann"), HasSubstr("the bank has it")));
    EXPECT_THAT(tx({"list"}).out, AllOf(Not(HasSubstr(first)), Not(HasSubstr(second))));

    const auto too_late = tx({"rollback", first, "--reason", "changed my mind"});
    EXPECT_EQ(too_late.exit_code, 1);
    EXPECT_THAT(too_late.err, HasSubstr("the first verdict counts"));
}

TEST_F(CliTx, RefusesWhatItCannotDo) {
    EXPECT_EQ(tx({"show"}).exit_code, 2);
    EXPECT_THAT(tx({"show"}).err, HasSubstr("name the transaction"));
    EXPECT_EQ(tx({"commit", "x"}).exit_code, 2) << "without a reason";
    EXPECT_EQ(tx({"list", "--state", "lost"}).exit_code, 2);
    const auto unknown = tx({"show", ids_.next().to_string()});
    EXPECT_EQ(unknown.exit_code, 1);
    broker_.kill();
    const auto away = tx({"list"});
    EXPECT_EQ(away.exit_code, 1);
    EXPECT_THAT(away.err, HasSubstr("no connection"));
}

}  // namespace
}  // namespace hufu::cli
