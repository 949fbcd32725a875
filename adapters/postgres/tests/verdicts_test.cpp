#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pqxx/pqxx>

#include <fstream>
#include <future>
#include <thread>

#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/transaction_producer.hpp>
#include <hufu/postgres/verdicts.hpp>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using txmsg::Seen;
using txmsg::Verdict;
using State = txmsg::TransactionResult::State;

/// Takes every half, and notes what END says.
class Halves final : public txmsg::HalfPublisher {
public:
    void prepare(const txmsg::HalfContext& context, std::span<const Message> messages,
                 std::span<txmsg::HalfOutcome> outcomes, Done done) override {
        for (std::size_t i = 0; i < messages.size(); ++i) {
            outcomes[i] = {PublishStatus::confirmed, {}, {messages[i].id, messages[i].topic, "token"}};
        }
        begun.set_value(context.transaction);
        done();
    }
    void end(const txmsg::HalfContext&, std::span<const txmsg::Half>, Verdict verdict, std::string_view,
             txmsg::EndOutcome& outcome, Done done) override {
        said.push_back(verdict);
        outcome.state =
            verdict == Verdict::commit ? txmsg::EndOutcome::State::committed : txmsg::EndOutcome::State::rolled_back;
        done();
    }
    Result<void> serve_checks(std::string, std::vector<std::string>, OnCheck) override { return {}; }

    std::promise<txmsg::TransactionId> begun;
    std::vector<Verdict> said;
};

class VerdictTable : public testing::Test {
protected:
    void SetUp() override { run("create table paid(id int)"); }

    void run(const std::string& script) { connection->run_script(script).value(); }
    std::string value(const std::string& sql) { return value_of(*connection, sql); }
    txmsg::TransactionResult pay() {
        return producer.send(Message{.topic = "orders", .body = "paid"},
                             [](pqxx::work& work) { work.exec("insert into paid values (7)"); });
    }
    static txmsg::TransactionId new_id() { return MessageIdGenerator{system_clock(), system_random()}.next(); }

    std::string url = migrated_database();
    std::unique_ptr<Connection> connection = connect(url);
    Halves halves;
    TransactionProducer producer{url, halves, {.group = "pay"}};
    VerdictStore store{url, {.wait_most = 300ms}};
};

TEST_F(VerdictTable, RollsBackWhenTheServerEndsTheSessionAtCommit) {
    // The trigger runs inside COMMIT, and ends its own session before the commit record is written.
    run("create function die() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); "
        "return null; end $$; create constraint trigger die after insert on paid deferrable initially deferred for each row "
        "execute function die()");
    const auto sent = pay();
    EXPECT_EQ(sent.state, State::rolled_back) << sent.error.text();
    EXPECT_EQ(halves.said, std::vector{Verdict::rollback});
    EXPECT_EQ(value("select count(*) from paid"), "0");
    EXPECT_EQ(value("select verdict from hufu.verdict"), "rollback");
}

/// COMMIT waits for a standby that does not exist: committed, but the client does not know.
class NobodyReplicates {
public:
    NobodyReplicates() {
        server().query("alter system set synchronous_standby_names = 'nobody'");
        server().query("select pg_reload_conf()");
    }
    ~NobodyReplicates() { stop(); }
    NobodyReplicates(const NobodyReplicates&) = delete;
    NobodyReplicates& operator=(const NobodyReplicates&) = delete;
    void stop() {
        if (!stopped_) {
            stopped_ = true;
            server().query("alter system reset synchronous_standby_names");
            server().query("select pg_reload_conf()");
        }
    }

private:
    bool stopped_ = false;
};

TEST_F(VerdictTable, CommitsWhenTheSessionEndsAfterTheCommitRecord) {
    while (value("select current_setting('synchronous_standby_names')") != "") {
    }
    NobodyReplicates nobody;
    while (server().query("show synchronous_standby_names") != "nobody") {
    }
    auto sent = std::async(std::launch::async, [this] { return pay(); });
    const auto id = halves.begun.get_future().get();
    // The backend that waits for replication is ended: its transaction is committed, its client is told nothing.
    while (server().query("select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'") ==
           "0") {
    }
    const auto result = sent.get();
    nobody.stop();
    EXPECT_EQ(result.state, State::committed) << result.error.text();
    EXPECT_EQ(halves.said, std::vector{Verdict::commit});
    EXPECT_EQ(value("select count(*) from paid"), "1");
    EXPECT_EQ(store.check(id).value(), Seen::committed);
}

TEST_F(VerdictTable, RefusesATransactionThatTheServerMayForget) {
    run("alter role current_user set synchronous_commit = off");
    const auto sent = pay();
    run("alter role current_user reset synchronous_commit");
    EXPECT_EQ(sent.state, State::rolled_back);
    EXPECT_THAT(sent.error.text(), HasSubstr("synchronous_commit is off"));
    EXPECT_EQ(value("select count(*) from paid"), "0");
}

TEST_F(VerdictTable, ChecksOnlyWaitAsLongAsTheyMay) {
    const auto id = new_id();
    pqxx::connection other{url};
    pqxx::work local{other};
    local.exec_params("select hufu.open_verdict($1::uuid)", id.to_string());
    std::vector<std::future<Seen>> checks;
    const auto start = system_clock().steady_now();
    for (int i = 0; i < 4; ++i) {
        checks.push_back(std::async(std::launch::async, [&] { return store.check(id).value(); }));
    }
    for (auto& check : checks) {
        EXPECT_EQ(check.get(), Seen::ongoing);
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(system_clock().steady_now() - start);
    RecordProperty("four_checks_ms", static_cast<int>(took.count()));
    EXPECT_LT(took, 300ms + 3s) << "side by side, not one after the other";
    local.commit();
    EXPECT_EQ(store.check(id).value(), Seen::committed);
}

TEST_F(VerdictTable, FailsALocalTransactionThatWaitedForATombstone) {
    const auto id = new_id();
    pqxx::connection other{url};
    pqxx::work tombstone{other};
    tombstone.exec_params("insert into hufu.verdict(tx_id, verdict) values ($1::uuid, 'rollback')", id.to_string());
    auto local = std::async(std::launch::async, [&] {
        pqxx::connection mine{url};
        pqxx::work work{mine};
        work.exec_params("select hufu.open_verdict($1::uuid)", id.to_string());
    });
    while (value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == "0") {
    }
    tombstone.commit();
    try {
        local.get();
        FAIL() << "committed beside a tombstone";
    } catch (const pqxx::sql_error& error) {
        EXPECT_EQ(error.sqlstate(), "HF003");
        EXPECT_THAT(error.what(), HasSubstr(id.to_string()));
    }
}

TEST_F(VerdictTable, IsSerialisableToo) {
    run("alter database " + value("select current_database()") + " set default_transaction_isolation = 'serializable'");
    Halves fresh;
    TransactionProducer strict{url, fresh, {.group = "pay"}};
    const auto sent = strict.send(Message{.topic = "orders", .body = "paid"},
                                  [](pqxx::work& work) { work.exec("insert into paid values (7)"); });
    EXPECT_EQ(sent.state, State::committed) << sent.error.text();
    EXPECT_EQ(store.check(sent.transaction).value(), Seen::committed);
    EXPECT_EQ(store.check(new_id()).value(), Seen::rolled_back);
}

TEST_F(VerdictTable, SaysWhoLacksWhichRight) {
    run("create role checker login; grant usage on schema hufu to checker; grant select on all tables in schema hufu to "
        "checker");
    std::string as_checker = url;
    as_checker.replace(as_checker.find("hufu@"), 5, "checker@");
    VerdictStore poor{as_checker};
    EXPECT_TRUE(poor.uuid());
    const auto seen = poor.check(new_id());
    ASSERT_FALSE(seen);
    EXPECT_EQ(seen.error().code(), ErrorCode::permission);
    EXPECT_EQ(seen.error().disposition(), Disposition::fatal);
    EXPECT_THAT(seen.error().text(), HasSubstr("grant this user rights on schema hufu"));
    run("drop owned by checker; drop role checker");
}

TEST_F(VerdictTable, AnswersNothingFromAnotherServersDump) {
    const auto before = store.uuid().value();
    run("update hufu.verdict_store set system_identifier = 'another'");
    VerdictStore restored{url};
    EXPECT_EQ(restored.uuid().error().code(), ErrorCode::fenced);
    EXPECT_EQ(restored.check(new_id()).error().code(), ErrorCode::fenced);
    EXPECT_THAT(restored.check(new_id()).error().text(), HasSubstr("hufu.adopt_verdicts"));
    run("select hufu.adopt_verdicts(false)");
    EXPECT_EQ(restored.uuid().value(), before);
    run("select hufu.adopt_verdicts(true)");
    EXPECT_NE(restored.uuid().value(), before);
}

TEST(VerdictTableOfAStandby, AnswersNothing) {
    test_support::PostgresServer standby;
    const std::string url = standby.create_database();
    migrate(url).value();
    VerdictStore store{url};
    ASSERT_TRUE(store.uuid());
    standby.stop();
    std::ofstream{standby.directory() + "/data/standby.signal"}.flush();
    standby.start();
    const auto seen = store.check(MessageIdGenerator{system_clock(), system_random()}.next());
    ASSERT_FALSE(seen);
    EXPECT_EQ(seen.error().code(), ErrorCode::fenced);
    EXPECT_THAT(seen.error().text(), HasSubstr("is a standby"));
    EXPECT_EQ(store.uuid().error().code(), ErrorCode::fenced) << store.uuid().error().text();
}

TEST_F(VerdictTable, PurgesNothingThatARunningTransactionMayStillMiss) {
    run("insert into hufu.verdict(tx_id, verdict, decided_at) values "
        "('01900000-0000-7000-8000-000000000001', 'rollback', now() - interval '3 hours')");
    pqxx::connection other{url};
    pqxx::work older{other};
    older.exec("select pg_current_xact_id()");
    VerdictStore hurried{url, {.purge_wait = 50ms}};
    const auto first = hurried.purge(1h).value();
    EXPECT_EQ(first.rows, 0u);
    EXPECT_FALSE(first.finished);
    EXPECT_EQ(hurried.check(txmsg::TransactionId::parse("01900000-0000-7000-8000-000000000002").value()).value(),
              Seen::beyond_retention)
        << "the watermark counts at once";
    older.commit();
    const auto second = hurried.purge(1h).value();
    EXPECT_EQ(second.rows, 1u);
}

TEST_F(VerdictTable, ReadsTheTimeOfAnIdAsTheLibraryDoes) {
    const auto id = new_id();
    EXPECT_EQ(
        value("select hufu.minted_ms('" + id.to_string() + "')"),
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(id.minted_at().time_since_epoch()).count()));
    EXPECT_EQ(value("select hufu.minted_ms('ffffffff-ffff-4fff-8fff-ffffffffffff')"), "0");
}

}  // namespace
}  // namespace hufu::postgres
