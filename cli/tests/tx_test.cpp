// hufu tx against the bundled broker as a process of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include <boost/json.hpp>

#include <hufu/core/ids.hpp>
#include <hufu/rocketmq/half_publisher.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>

#include "tests/program.hpp"

namespace hufu::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class CliTx : public testing::Test {
protected:
    void SetUp() override { start({}); }
    void start(const std::vector<std::string>& more) {
        broker_ = test_support::start_hufu_broker(
            {.program = HUFU_BROKER_PROGRAM, .folder = program_.folder(), .port = port_, .flags = more});
        publisher_ = rocketmq::open_half_publisher({.name_servers = {"127.0.0.1:" + std::to_string(port_)}}).value();
    }
    /// Stores one half that nobody ends; the id of its transaction.
    std::string leave_behind(const std::string& topic) {
        const txmsg::HalfContext& of = context_ = {.transaction = ids_.next(), .group = "shop", .handler = {}, .store = {}};
        const std::vector<Message> messages{{.id = ids_.next(), .topic = topic, .ordering_key = "42", .body = "paid"}};
        std::vector<txmsg::HalfOutcome> outcomes(1);
        std::promise<void> done;
        publisher_->prepare(of, messages, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        EXPECT_EQ(outcomes[0].status, PublishStatus::confirmed) << outcomes[0].error.text();
        half_ = outcomes[0].half;
        return of.transaction.to_string();
    }
    /// END for what was left behind last.
    txmsg::EndOutcome end(txmsg::Verdict verdict) {
        txmsg::EndOutcome outcome;
        std::promise<void> done;
        publisher_->end(context_, {&half_, 1}, verdict, "late", outcome, [&done] { done.set_value(); });
        done.get_future().wait();
        return outcome;
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
    txmsg::HalfContext context_;  // of the last one left behind
    txmsg::Half half_;
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

TEST_F(CliTx, ShowsAConflictUntilSomebodyHasLookedAtIt) {
    const std::string id = leave_behind("orders");
    EXPECT_EQ(tx({"rollback", id, "--reason", "nobody knew"}).exit_code, 0);
    EXPECT_EQ(end(txmsg::Verdict::commit).state, txmsg::EndOutcome::State::refused) << "the first verdict counts";
    const auto listed = object(tx({"list", "--state", "conflict", "--json"}));
    ASSERT_EQ(listed.at("transactions").as_array().size(), 1U);
    EXPECT_EQ(listed.at("transactions").at(0).at("transaction").as_string(), id);
    EXPECT_THAT(tx({"show", id}).out, AllOf(HasSubstr("conflict"), HasSubstr("nobody knew"), HasSubstr("late")));

    EXPECT_EQ(tx({"rollback", id, "--reason", "the rows were undone", "--actor", "ann"}).exit_code, 0);
    EXPECT_THAT(tx({"list"}).out, HasSubstr("no such transactions"));
    EXPECT_THAT(tx({"show", id}).out, AllOf(HasSubstr("dismissed"), HasSubstr("the rows were undone")));
}

TEST_F(CliTx, CommitsAfterAConflictWhenAPersonSaysSo) {
    const std::string id = leave_behind("orders");
    EXPECT_EQ(tx({"rollback", id, "--reason", "nobody knew"}).exit_code, 0);
    EXPECT_EQ(end(txmsg::Verdict::commit).state, txmsg::EndOutcome::State::refused);
    const auto committed = object(tx({"commit", id, "--reason", "the rows are there", "--actor", "ann", "--json"}));
    EXPECT_EQ(committed.at("state").as_string(), "committed");
    EXPECT_THAT(tx({"list"}).out, HasSubstr("no such transactions"));
}

class CliTxShortBudget : public CliTx {
protected:
    void SetUp() override {
        start({"--tx-first-check", "50ms", "--tx-check-interval", "50ms", "--tx-check-interval-max", "50ms", "--tx-budget",
               "1s"});
    }
    /// Waits for the state in which the broker has the transaction.
    std::string state_of(const std::string& id, const std::string& wanted) {
        std::string state;
        const SteadyTime give_up = system_clock().steady_now() + std::chrono::seconds{30};
        while (state != wanted && system_clock().steady_now() < give_up)
            state = std::string{object(tx({"show", id, "--json"})).at("state").as_string()};
        return state;
    }
};

TEST_F(CliTxShortBudget, ResumesWhatIsParkedAndItIsAskedAboutAgain) {
    // Nobody of the group is there: within its budget nobody answers.
    const std::string id = leave_behind("orders");
    ASSERT_EQ(state_of(id, "parked"), "parked");
    const auto parked = object(tx({"list", "--state", "parked", "--json"}));
    ASSERT_EQ(parked.at("transactions").as_array().size(), 1U);
    EXPECT_NE(parked.at("transactions").at(0).at("reason").as_string(), "");

    ASSERT_TRUE(publisher_->serve_checks("shop", {}, [](txmsg::Check, txmsg::HalfPublisher::Answer answer) {
        answer(txmsg::Verdict::commit, "the row is there");
    }));
    EXPECT_EQ(state_of(id, "parked"), "parked") << "asked about without a word from a person";
    EXPECT_EQ(tx({"resume", id, "--reason", "the service is back", "--actor", "ann"}).exit_code, 0);
    EXPECT_EQ(state_of(id, "committed"), "committed");
    EXPECT_THAT(tx({"show", id}).out, AllOf(HasSubstr("resumed"), HasSubstr("the service is back"), HasSubstr("ann")));
    const auto decided = tx({"resume", id, "--reason", "again"});
    EXPECT_EQ(decided.exit_code, 1) << "what is decided is not asked about";
}

TEST(CliTxPurge, DeletesOldVerdictsAndMovesTheWatermark) {
    const Program program;
    const std::string url = "sqlite:" + program.file("orders.db");
    ASSERT_EQ(program.run({"outbox", "migrate", "--outbox", url}).exit_code, 0);
    {
        sqlite::Database database{program.file("orders.db")};
        sqlite::Transaction tx{database};
        const std::int64_t now_us =
            std::chrono::duration_cast<std::chrono::microseconds>(system_clock().system_now().time_since_epoch()).count();
        // One that began in 1970, one that began now: the time is in the id.
        MessageIdGenerator ids{system_clock(), system_random()};
        const std::string now{reinterpret_cast<const char*>(ids.next().bytes().data()), 16};
        const std::string long_ago(16, '\0');
        constexpr const char* insert =
            "insert into hufu_verdict(tx_id, verdict, decided_at_us, decided_by) values (?, 'commit', ?, 't')";
        tx.execute(insert, sqlite::Blob{long_ago}, 1);
        tx.execute(insert, sqlite::Blob{now}, now_us);
        tx.commit();
    }
    const auto purge = [&](const std::vector<std::string>& more) {
        std::vector<std::string> words{"tx", "purge", "--outbox", url};
        words.insert(words.end(), more.begin(), more.end());
        return program.run(words);
    };
    const auto first = purge({"--retention", "1h", "--json"});
    ASSERT_EQ(first.exit_code, 0) << first.err;
    const auto said = boost::json::parse(first.out).as_object();
    EXPECT_EQ(said.at("rows").to_number<int>(), 1);
    EXPECT_TRUE(said.at("finished").as_bool());
    EXPECT_THAT(purge({}).out, HasSubstr("0 verdicts deleted"));
    EXPECT_EQ(purge({"--retention", "5m"}).exit_code, 2) << "shorter than a broker may ask";
    EXPECT_EQ(purge({"--retention", "90m"}).exit_code, 2);
    const auto missing = program.run({"tx", "purge", "--outbox", "sqlite:" + program.file("missing.db")});
    EXPECT_EQ(missing.exit_code, 1);
    EXPECT_THAT(missing.err, HasSubstr("missing.db"));
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
