#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include <hufu/sqlite/consumer_memory.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/outbox_store.hpp>
#include <hufu/sqlite/schema.hpp>

#include "tests/program.hpp"

namespace hufu::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class Cli : public testing::Test {
protected:
    Program program_;
    std::string path_ = program_.file("orders.db");
    std::string url_ = "sqlite:" + path_;
};

/// With two rows of one key parked.
class CliOutbox : public Cli {
protected:
    void SetUp() override {
        auto database = std::make_shared<sqlite::Database>(path_);
        ASSERT_TRUE(sqlite::migrate(*database));
        sqlite::Outbox outbox;
        {
            sqlite::Transaction tx{*database};
            outbox.append(tx, {.topic = "orders", .ordering_key = "42", .body = "first"});
            outbox.append(tx, {.topic = "orders", .ordering_key = "42", .body = "second"});
            outbox.append(tx, {.topic = "orders", .ordering_key = "43", .body = "other"});
            tx.commit();
        }
        const auto store = sqlite::outbox_store(database);
        const auto claim = store->lease()->acquire("test", std::chrono::seconds{5}).value().value();
        const std::vector<outbox::ParkRow> rows{{1, 10, "too large", false}, {2, 0, "waits behind row 1", false}};
        ASSERT_EQ(store->parking_lot()->park(claim, rows).value(), outbox::Ownership::held);
    }
};

TEST_F(Cli, ListsItsCommands) {
    const auto said = program_.run({"--help"});
    EXPECT_EQ(said.exit_code, 0);
    EXPECT_THAT(said.out, AllOf(HasSubstr("hufu relay"), HasSubstr("hufu forward"), HasSubstr("hufu outbox migrate"),
                                HasSubstr("hufu broker")));
    EXPECT_EQ(program_.run({}).exit_code, 2);
    EXPECT_EQ(program_.run({"outbox", "release", "--help"}).exit_code, 0);
}

TEST_F(Cli, PrintsItsVersion) {
    EXPECT_THAT(program_.run({"version"}).out, StartsWith("hufu "));
    EXPECT_THAT(program_.run({"version", "--json"}).out, StartsWith("{\"version\":\""));
}

TEST_F(Cli, NamesWhatItDoesNotKnow) {
    EXPECT_THAT(program_.run({"outbux"}).err, HasSubstr("\"outbux\" is not a command"));
    EXPECT_THAT(program_.run({"outbox", "lst"}).err, HasSubstr("\"lst\" is not a verb"));
    const auto flag = program_.run({"outbox", "list", "--outbux", url_});
    EXPECT_EQ(flag.exit_code, 2);
    EXPECT_THAT(flag.err, AllOf(HasSubstr("--outbux"), HasSubstr("outbox")));
    const auto url = program_.run({"outbox", "list", "--outbox", "mysql://localhost/orders"});
    EXPECT_EQ(url.exit_code, 2);
    EXPECT_THAT(url.err, AllOf(HasSubstr("mysql://localhost/orders"), HasSubstr("sqlite:PATH")));
    EXPECT_THAT(url.out, IsEmpty());
}

TEST_F(Cli, ForwardSaysWhatIsMissingOrWrongBeforeItStarts) {
    const std::vector<std::string> words{"forward", "--from", "rocketmq://127.0.0.1:1", "--group", "g", "--topic", "orders"};
    const auto with = [&](std::vector<std::string> more) {
        more.insert(more.begin(), words.begin(), words.end());
        return program_.run(more);
    };
    EXPECT_THAT(with({}).err, HasSubstr("to"));
    EXPECT_EQ(with({}).exit_code, 2);
    for (const std::string url : {"amqp://localhost:5672", "kafka://localhost", "kafka://localhost:9092?acks=0"}) {
        const auto said = with({"--to", url});
        EXPECT_EQ(said.exit_code, 2) << url;
        EXPECT_THAT(said.err, testing::AnyOf(HasSubstr("kafka://HOST:PORT"), HasSubstr("host:port"), HasSubstr("\"acks\"")));
    }
    EXPECT_EQ(with({"--to", "kafka://127.0.0.1:1", "--rejected", "drop"}).exit_code, 2);
}

TEST_F(Cli, ForwardEndsWhenAskedThoughNoBrokerIsThere) {
    const pid_t child = program_.start({"forward", "--from", "rocketmq://127.0.0.1:1", "--to", "kafka://127.0.0.1:1",
                                        "--group", "g", "--topic", "orders", "--progress", "20ms"});
    const std::string err = program_.file("err");
    const auto said_so = [&] {
        std::ostringstream text;
        text << std::ifstream{err}.rdbuf();
        return text.str().find("forwarding") != std::string::npos;
    };
    while (!said_so()) {
        ASSERT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "it ended by itself";
    }
    ::kill(child, SIGTERM);
    const auto said = program_.wait(child);
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_THAT(said.err, HasSubstr("forwarder drained and stopped"));
}

TEST_F(Cli, FailsWithAWayOutWhereThereIsNoDatabase) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"outbox", "status", "--outbox", url_},
          std::vector<std::string>{"relay", "--outbox", url_, "--to", "rocketmq://127.0.0.1:1"}}) {
        const auto said = program_.run(words);
        EXPECT_EQ(said.exit_code, 1);
        EXPECT_THAT(said.err, AllOf(HasSubstr(path_), HasSubstr("does not exist"), HasSubstr("hufu outbox migrate")));
    }
}

TEST_F(Cli, RefusesAnotherSchemaVersion) {
    {
        sqlite::Database database{path_};
        ASSERT_TRUE(sqlite::migrate(database));
        sqlite::Transaction tx{database};
        tx.execute("insert into hufu_schema values (99, 'newer', 0)");
        tx.commit();
    }
    for (const std::string verb : {"status", "list", "migrate"}) {
        const auto said = program_.run({"outbox", verb, "--outbox", url_});
        EXPECT_EQ(said.exit_code, 1) << verb;
        EXPECT_THAT(said.err, AllOf(HasSubstr("schema version 99"), HasSubstr("newer program"))) << verb;
    }
}

TEST_F(Cli, MigratesAndPrintsTheScript) {
    EXPECT_THAT(program_.run({"outbox", "migrate", "--outbox", "sqlite:", "--print"}).out, HasSubstr("hufu_outbox"));
    EXPECT_EQ(program_.run({"outbox", "migrate", "--outbox", url_}).exit_code, 0);
    const auto again = program_.run({"outbox", "migrate", "--outbox", url_, "--json"});
    EXPECT_EQ(again.exit_code, 0);
    EXPECT_EQ(again.out, "{\"schema_version\":" + std::to_string(outbox::latest_version(sqlite::migrations())) + "}\n");
}

constexpr std::int64_t day_us = 86'400'000'000;

std::int64_t microseconds(SystemTime time) { return time.time_since_epoch().count(); }

TEST_F(CliOutbox, ListsAndReopensParkedKeysOfAConsumerGroup) {
    {
        sqlite::Database database{path_};
        ASSERT_TRUE(sqlite::parked_keys(database, "stock")->park({{"orders", "42"}, MessageId{{1}}, "no amount"}));
    }
    const std::vector<std::string> of_stock{"--outbox", url_, "--group", "stock"};
    const auto consumer = [&](const std::string& verb, const std::vector<std::string>& more) {
        std::vector<std::string> words{"consumer", verb};
        words.insert(words.end(), of_stock.begin(), of_stock.end());
        words.insert(words.end(), more.begin(), more.end());
        return program_.run(words);
    };
    EXPECT_THAT(consumer("list", {}).out, AllOf(HasSubstr("42"), HasSubstr("no amount")));
    EXPECT_THAT(consumer("list", {"--json"}).out,
                HasSubstr(R"({"group":"stock","parked":[{"topic":"orders","key":"42","first_id":"01000000-)"));
    const std::vector<std::string> key{"--topic", "orders", "--key", "42"};
    EXPECT_EQ(consumer("reopen", key).exit_code, 2) << "without actor and reason";
    const std::vector<std::string> decided{"--topic", "orders", "--key", "42", "--actor", "eva", "--reason", "corrected"};
    const auto reopened = consumer("reopen", decided);
    EXPECT_EQ(reopened.exit_code, 0) << reopened.err;
    EXPECT_THAT(consumer("list", {}).out, HasSubstr("group stock has parked no key"));
    const auto again = consumer("reopen", decided);
    EXPECT_EQ(again.exit_code, 1);
    EXPECT_THAT(again.err, HasSubstr(R"(group "stock" has no parked key "42" of topic "orders")"));
    EXPECT_THAT(program_.run({"outbox", "audit", "--outbox", url_, "--json"}).out,
                HasSubstr(R"("action":"reopen stock","topic":"orders","key":"42","seq":null,"rows":1,"actor":"eva")"));
}

TEST_F(CliOutbox, PurgesGuardsOfAWindowThatIsLongEnough) {
    {
        sqlite::Database database{path_};
        sqlite::Transaction tx{database};
        tx.execute(
            "insert into hufu_guard(consumer_group, message_id, seen_at_us, result) values ('stock', zeroblob(16), 5, x'')");
        const auto now = microseconds(system_clock().system_now());
        for (const auto& [group, started_at] :
             {std::pair{"stock", now - 9 * day_us}, {"stock", now}, {"payment", now - 9 * day_us}})
            tx.execute("insert into hufu_consumer_attempt values (?, randomblob(16), 1, ?)", group, started_at);
        tx.commit();
    }
    const auto purge = [&](std::vector<std::string> flags) {
        flags.insert(flags.begin(), {"guard", "purge", "--outbox", url_});
        return program_.run(flags);
    };
    const auto too_short = purge({"--group", "stock", "--window", "1d", "--replay", "7d"});
    EXPECT_EQ(too_short.exit_code, 2);
    EXPECT_THAT(too_short.err, HasSubstr("forgets a message after 1 d, but a duplicate may come 7 d 4 h 45 min"));
    const auto unknown = purge({"--group", "stok", "--window", "8d"});
    EXPECT_EQ(unknown.exit_code, 1);
    EXPECT_THAT(unknown.err, HasSubstr("no guard rows of group \"stok\"; it has those of stock"));
    const auto done = purge({"--group", "stock", "--window", "8d", "--replay", "7d", "--json"});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    EXPECT_THAT(done.out, HasSubstr(R"("group":"stock","rows":1,"attempt_rows":1,"horizon":")"));
}

TEST_F(CliOutbox, ShowsWhatIsParked) {
    const auto status = program_.run({"outbox", "status", "--outbox", url_, "--json"});
    EXPECT_THAT(status.out, AllOf(HasSubstr("\"pending\":1"), HasSubstr("\"parked_rows\":2"), HasSubstr("\"parked_keys\":1"),
                                  HasSubstr("\"owner\":\"test\"")));
    EXPECT_THAT(program_.run({"outbox", "status", "--outbox", url_}).out, HasSubstr("2 rows of 1 keys"));
    EXPECT_THAT(program_.run({"outbox", "list", "--outbox", url_}).out, AllOf(HasSubstr("orders"), HasSubstr("too large")));
    EXPECT_THAT(program_.run({"outbox", "list", "--outbox", url_, "--json"}).out,
                HasSubstr("\"rows\":2,\"rows_released\":0"));
    const auto shown = program_.run({"outbox", "show", "--outbox", url_, "--topic", "orders", "--key", "42", "--json"});
    EXPECT_THAT(shown.out, AllOf(HasSubstr("\"body\":\"first\""), HasSubstr("\"body\":\"second\"")));
}

TEST_F(CliOutbox, ReleasesAndDiscardsWithAnAudit) {
    const std::vector<std::string> key{"--outbox", url_, "--topic", "orders", "--key", "42"};
    const auto run = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
        words.insert(words.end(), key.begin(), key.end());
        words.insert(words.end(), more.begin(), more.end());
        return program_.run(words);
    };
    const auto unsigned_release = run({"outbox", "release"}, {});
    EXPECT_EQ(unsigned_release.exit_code, 2);
    EXPECT_THAT(unsigned_release.err, HasSubstr("actor"));
    const auto one = run({"outbox", "release"}, {"--seq", "2", "--actor", "ann", "--reason", "try"});
    EXPECT_EQ(one.exit_code, 1);
    EXPECT_THAT(one.err, HasSubstr("release the whole key"));
    EXPECT_EQ(run({"outbox", "discard"}, {"--seq", "1", "--actor", "ann", "--reason", "test data", "--json"}).out,
              "{\"discarded\":1}\n");
    EXPECT_EQ(run({"outbox", "release"}, {"--actor", "bob", "--reason", "limit raised", "--json"}).out,
              "{\"released\":1}\n");
    const auto audit = program_.run({"outbox", "audit", "--outbox", url_});
    EXPECT_THAT(audit.out, AllOf(HasSubstr("ann"), HasSubstr("test data"), HasSubstr("bob"), HasSubstr("limit raised")));
}

TEST_F(CliOutbox, SaysWhenNothingIsParkedThere) {
    const auto said = program_.run(
        {"outbox", "release", "--outbox", url_, "--topic", "orders", "--key", "44", "--actor", "ann", "--reason", "try"});
    EXPECT_EQ(said.exit_code, 1);
    EXPECT_THAT(said.err, AllOf(HasSubstr("nothing is parked"), HasSubstr("\"44\"")));
}

TEST_F(CliOutbox, RelayWaitsForItsBrokerAndStopsWhenAsked) {
    const auto child = program_.start({"relay", "--outbox", url_, "--to", "rocketmq://127.0.0.1:1"});
    // The lane's owner changes when the relay has begun; nothing else tells from outside.
    sqlite::Database database{path_};
    const auto store = sqlite::outbox_store(std::make_shared<sqlite::Database>(path_));
    for (int looks = 0; looks < 100; ++looks) {
        const auto status = store->status();
        if (status && status->owner && status->owner->owner != "test") {
            break;
        }
        auto& clock = system_clock();
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{100}, std::stop_token{});
    }
    ::kill(child, SIGTERM);
    const auto said = program_.wait(child);
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(store->status()->pending, 1u);
}

}  // namespace
}  // namespace hufu::cli
