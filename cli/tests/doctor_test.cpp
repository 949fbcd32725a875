// hufu doctor against real servers, whole and broken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include <boost/json.hpp>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/postgres/connection.hpp>
#include <hufu/rocketmq/half_publisher.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>
#include <hufu/test_support/postgres_server.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "tests/program.hpp"

namespace hufu::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Doctor : public ::testing::Test {
protected:
    void SetUp() override {
        start_broker();
        outbox_ = postgres_.create_database();
        ASSERT_TRUE(connect::migrate_outbox(outbox_));
    }
    void start_broker() {
        broker_ =
            test_support::start_hufu_broker({.program = HUFU_BROKER_PROGRAM,
                                             .folder = program_.folder(),
                                             .port = port_,
                                             .flags = {"--metrics-listen", "127.0.0.1:" + std::to_string(metrics_port_)}});
    }
    std::vector<std::string> all() const {
        return {"doctor",   "--outbox",   outbox_,
                "--broker", broker_url(), "--verdicts",
                outbox_,    "--metrics",  "http://127.0.0.1:" + std::to_string(metrics_port_) + "/metrics",
                "--redis",  redis_.url()};
    }
    std::string broker_url() const { return "rocketmq://127.0.0.1:" + std::to_string(port_); }
    Said doctor(std::vector<std::string> more = {}) const {
        auto words = all();
        words.insert(words.end(), more.begin(), more.end());
        return program_.run(words);
    }
    /// "grade" of the check, as --json says it.
    std::string grade(const std::string& subject, const std::string& check) const {
        const auto said = doctor({"--json"});
        const auto object = boost::json::parse(said.out);
        for (const auto& each : object.at("checks").as_array()) {
            if (each.at("subject").as_string() == subject && each.at("check").as_string() == check) {
                EXPECT_EQ(each.at("way_out").is_null(), each.at("grade").as_string() == "ok");
                return std::string{each.at("grade").as_string()};
            }
        }
        return "no such check in " + said.out + said.err;
    }

    Program program_;
    test_support::PostgresServer postgres_{{.durable = true}};
    test_support::RedisServer redis_{{.durable = true}};
    std::uint16_t port_ = test_support::free_port();
    std::uint16_t metrics_port_ = test_support::free_port();
    test_support::Child broker_;
    std::string outbox_;
};

TEST_F(Doctor, FindsAWholeSetUpWellAndTellsWhatIsNot) {
    const auto well = doctor();
    EXPECT_EQ(well.exit_code, 0) << well.out << well.err;
    EXPECT_THAT(well.out, AllOf(HasSubstr("PostgreSQL"), HasSubstr("hufu"), HasSubstr("noeviction"), HasSubstr("well")));
    EXPECT_EQ(grade("relay", "owner"), "warn") << "no relay runs, and none is missed";

    // A dead letter, an undecided transaction of another store, a row that nobody relays, a Redis that evicts.
    {
        const auto publisher = connect::publisher(broker_url()).value();
        const std::vector<Message> letter{{.topic = "%DLQ%stock", .body = "x"}};
        std::vector<PublishOutcome> outcomes(1);
        std::promise<void> done;
        publisher->publish(letter, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        ASSERT_EQ(outcomes[0].status, PublishStatus::confirmed);
    }
    {
        MessageIdGenerator ids{system_clock(), system_random()};
        const auto halves = connect::half_publisher(broker_url()).value();
        const txmsg::HalfContext of{
            .transaction = ids.next(), .group = "shop", .handler = {}, .store = ids.next().to_string()};
        const std::vector<Message> half{{.id = ids.next(), .topic = "orders", .body = "paid"}};
        std::vector<txmsg::HalfOutcome> outcomes(1);
        std::promise<void> done;
        halves->prepare(of, half, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        ASSERT_EQ(outcomes[0].status, PublishStatus::confirmed);
    }
    const std::string database = outbox_.substr(outbox_.rfind('/') + 1);
    postgres_.query("select hufu.publish('orders', 'x'::bytea)", database);
    postgres_.query("update hufu.outbox_0 set created_at = now() - interval '1 hour'", database);
    redis_.config_set("maxmemory-policy", "allkeys-lru");
    const auto ill = doctor();
    EXPECT_EQ(ill.exit_code, 1);
    EXPECT_THAT(ill.out, AllOf(HasSubstr("hufu relay"), HasSubstr("hufu dlq list"), HasSubstr("not well")));
    EXPECT_EQ(grade("broker", "dead letters"), "warn");
    EXPECT_EQ(grade("verdicts", "store matches"), "warn");
    EXPECT_EQ(grade("relay", "owner"), "fail");
    EXPECT_EQ(grade("relay", "lag"), "fail");
    EXPECT_EQ(grade("redis", "eviction"), "fail");
    EXPECT_EQ(grade("redis", "persistence"), "ok");
    EXPECT_EQ(grade("broker", "takes messages"), "ok");
    EXPECT_EQ(grade("metrics", "log"), "ok");
}

TEST_F(Doctor, GoesOnWhenAServerIsDown) {
    redis_.kill();
    EXPECT_EQ(grade("redis", "reachable"), "fail");
    EXPECT_EQ(grade("database", "reachable"), "ok");
    broker_.kill();
    EXPECT_EQ(grade("broker", "reachable"), "fail");
    EXPECT_EQ(grade("metrics", "reachable"), "fail");
    postgres_.stop();
    EXPECT_EQ(grade("database", "reachable"), "fail");
    const auto dead = doctor();
    EXPECT_EQ(dead.exit_code, 1);
    EXPECT_THAT(dead.out, HasSubstr("4 failures"));
    postgres_.start();
}

TEST_F(Doctor, SeesAnOldSchemaASleepyCommitAndALongTransaction) {
    const std::string database = outbox_.substr(outbox_.rfind('/') + 1);
    auto session = postgres::Connection::open(outbox_).value();
    ASSERT_TRUE(session->run("begin"));
    ASSERT_TRUE(session->run("select count(*) from hufu.outbox_0"));
    EXPECT_THAT(program_.run({"doctor", "--outbox", outbox_, "--transaction-max", "0ms"}).out,
                AllOf(HasSubstr("idle in transaction"), HasSubstr("pg_terminate_backend")));
    postgres_.query("alter database " + database + " set synchronous_commit = off");
    EXPECT_EQ(grade("database", "durability"), "fail");
    postgres_.query("delete from hufu.schema_migration where version = (select max(version) from hufu.schema_migration)",
                    database);
    EXPECT_EQ(grade("database", "schema version"), "fail");
    outbox_ = postgres_.create_database();
    EXPECT_EQ(grade("database", "schema version"), "fail") << "no schema at all";
}

TEST_F(Doctor, KnowsSqliteToo) {
    const std::string url = "sqlite:" + program_.file("shop.db");
    EXPECT_EQ(program_.run({"doctor", "--outbox", url}).exit_code, 1) << "there is no such file";
    ASSERT_TRUE(connect::migrate_outbox(url));
    const auto said = program_.run({"doctor", "--outbox", url});
    EXPECT_EQ(said.exit_code, 0) << said.out;
    EXPECT_EQ(program_.run({"doctor", "--outbox", url, "--strict"}).exit_code, 1) << "no relay runs";
}

TEST_F(Doctor, TellsHowMuchWaitsInTheBuffers) {
    const std::vector<std::string> urls{redis_.url() + "?buffer=shop", "journal:" + program_.file("journal")};
    MessageIdGenerator ids{system_clock(), system_random()};
    for (const auto& url : urls) {
        const auto buffer = connect::buffer(url).value();
        const std::vector<Message> messages{{.id = ids.next(), .topic = "orders", .ordering_key = "o-1", .body = "x"}};
        std::vector<degradation::SpillOutcome> outcomes(1);
        std::promise<void> done;
        buffer->spill(messages, degradation::SpillWhen::always, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        ASSERT_EQ(outcomes[0].status, degradation::SpillOutcome::Status::spilled) << outcomes[0].error.text();
        if (url.starts_with("journal:")) {
            const auto held = program_.run({"doctor", "--buffer", url});
            EXPECT_EQ(held.exit_code, 0) << "a service that has it open drains it by itself";
            EXPECT_THAT(held.out, HasSubstr("its metrics"));
        }
    }
    const auto said = program_.run({"doctor", "--buffer", urls[0] + "," + urls[1], "--lag-max", "0ms"});
    EXPECT_EQ(said.exit_code, 1);
    EXPECT_THAT(said.out, AllOf(HasSubstr("1 messages"), HasSubstr("hufu replay --from " + urls[0]),
                                HasSubstr("hufu replay --from " + urls[1]), HasSubstr("2 failures")));
    EXPECT_EQ(program_.run({"doctor", "--buffer", urls[0], "--lag-max", "1h"}).exit_code, 0) << "a warning";
    EXPECT_EQ(program_.run({"doctor", "--buffer", "journal:" + program_.file("nothing")}).exit_code, 1);
    EXPECT_EQ(program_.run({"doctor", "--buffer", "memcached://x"}).exit_code, 1);
}

TEST_F(Doctor, RefusesWhatItCannotRead) {
    EXPECT_EQ(program_.run({"doctor"}).exit_code, 2);
    EXPECT_EQ(program_.run({"doctor", "--verdicts", outbox_}).exit_code, 2);
    EXPECT_EQ(program_.run({"doctor", "--redis", "http://x"}).exit_code, 1);
    EXPECT_EQ(program_.run({"doctor", "--metrics", "ftp://x"}).exit_code, 1);
    EXPECT_EQ(program_.run({"doctor", "--broker", "smtp://x"}).exit_code, 1);
    EXPECT_EQ(program_.run({"doctor", "--outbox", "mongodb://x"}).exit_code, 1);
    // A web server that is something else.
    EXPECT_EQ(
        program_.run({"doctor", "--metrics", "http://127.0.0.1:" + std::to_string(metrics_port_) + "/other"}).exit_code, 1);
    const auto wrong = program_.run({"doctor", "--redis", "redis://:wrong@127.0.0.1:" + std::to_string(redis_.port())});
    EXPECT_EQ(wrong.exit_code, 1);
}

}  // namespace
}  // namespace hufu::cli
