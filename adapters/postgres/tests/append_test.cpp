#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pqxx/pqxx>

#include <string>
#include <thread>
#include <vector>

#include <hufu/postgres/outbox.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/store.hpp>
#include <hufu/postgres/transaction.hpp>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<outbox::Row> rows_of(const std::string& url) {
    Store store{url};
    return store.reader()->read({.after = 0, .limit = 1000}).value().rows;
}

/// As appended: without what the store adds.
Message appended(Message read) {
    EXPECT_TRUE(read.headers.get(header::committed_at).has_value());
    read.headers.remove(header::committed_at);
    return read;
}

std::vector<std::string> bodies_of(const std::string& url) {
    std::vector<std::string> bodies;
    for (auto& row : rows_of(url)) bodies.push_back(row.message.body);
    return bodies;
}

Error error_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Exception& exception) {
        return exception.error();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
}

Message everything() {
    Message full = message("orders", "key \"\\,{}' \xC3\xA9", std::string{"body\0with \x01 bytes\xFF", 18});
    full.tag = "created";
    full.keys = {"order-7", "customer-3"};
    full.headers.set("traceparent", "00-1-2-03");
    full.headers.set("empty", "");
    full.headers.set("bytes", std::string{"\0\xFF", 2});
    return full;
}

TEST(Append, KeepsEveryFieldOfAMessage) {
    const auto url = migrated_database();
    pqxx::connection connection{url};
    pqxx::work work{connection};
    Outbox outbox;
    Message sent = everything();
    sent.id = outbox.append(work, sent);
    work.commit();
    const auto rows = rows_of(url);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(appended(rows[0].message), sent);
    EXPECT_FALSE(sent.id.is_nil());
    EXPECT_GT(rows[0].created_at, SystemTime{});
}

TEST(Append, WritesASpanInOrderWithEveryField) {
    const auto url = migrated_database();
    pqxx::connection connection{url};
    pqxx::work work{connection};
    Outbox outbox;
    std::vector<Message> messages(3, everything());
    messages[0].body = "first";
    messages[2].body = "last";
    outbox.append(work, messages);
    work.commit();
    const auto rows = rows_of(url);
    ASSERT_EQ(rows.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(appended(rows[i].message), messages[i]);
    EXPECT_LT(messages[0].id, messages[1].id);
}

TEST(Append, IsUndoneWithTheCallersTransaction) {
    const auto url = migrated_database();
    pqxx::connection connection{url};
    {
        pqxx::work work{connection};
        Outbox{}.append(work, message("orders", "1", "never"));
    }
    EXPECT_TRUE(rows_of(url).empty());
}

TEST(Append, PutsAFutureMessageAsideAndAPastOneIntoTheLane) {
    const auto url = migrated_database();
    pqxx::connection connection{url};
    pqxx::work work{connection};
    Outbox outbox;
    Message later = message("orders", "", "later");
    later.deliver_at = system_clock().system_now() + std::chrono::hours{1};
    Message past = message("orders", "", "past");
    past.deliver_at = system_clock().system_now() - std::chrono::hours{1};
    outbox.append(work, later);
    outbox.append(work, past);
    std::vector<Message> both{later, past};
    outbox.append(work, both);
    work.commit();
    EXPECT_THAT(bodies_of(url), ElementsAre("past", "past"));
    const auto status = Store{url}.status().value();
    EXPECT_EQ(status.delayed, 2U);
    EXPECT_GT(status.next_due_in, std::chrono::minutes{59});
}

TEST(Append, RefusesAMessageNoBrokerTakesBeforeAnythingIsSent) {
    const auto url = migrated_database();
    pqxx::connection connection{url};
    pqxx::work work{connection};
    Outbox outbox;
    const auto bad_topic = error_of([&] { outbox.append(work, message("or ders", "", "")); });
    EXPECT_EQ(bad_topic.disposition(), Disposition::reject);
    const auto zero = error_of([&] { outbox.append(work, message("orders", std::string{"a\0b", 3}, "")); });
    EXPECT_EQ(zero.disposition(), Disposition::reject);
    EXPECT_THAT(zero.text(), HasSubstr("zero byte"));
    outbox.append(work, message("orders", "", "good"));  // the transaction is unharmed
    work.commit();
    EXPECT_THAT(bodies_of(url), ElementsAre("good"));
}

TEST(Append, RefusesAsynchronousCommitUnlessTold) {
    const auto url = migrated_database();
    pqxx::connection connection{url};
    {
        pqxx::work work{connection};
        work.exec("set local synchronous_commit = off");
        const auto refused = error_of([&] { Outbox{}.append(work, message("orders", "", "no")); });
        EXPECT_EQ(refused.code(), ErrorCode::invalid_argument);
        EXPECT_THAT(refused.text(), HasSubstr("synchronous_commit is off"));
    }
    pqxx::work work{connection};
    work.exec("set local synchronous_commit = off");
    Outbox told{{.allow_asynchronous_commit = true}};
    told.append(work, message("orders", "", "yes"));
    work.commit();
    EXPECT_THAT(bodies_of(url), ElementsAre("yes"));
}

TEST(Append, NamesTheWayOutWhenTheSchemaIsMissing) {
    pqxx::connection connection{server().create_database()};
    pqxx::work work{connection};
    const auto missing = error_of([&] { Outbox{}.append(work, message("orders", "", "")); });
    EXPECT_EQ(missing.code(), ErrorCode::wrong_version);
    EXPECT_THAT(missing.text(), HasSubstr("hufu outbox migrate"));
}

TEST(Publish, AppendsFromSqlInAnyLanguage) {
    const auto url = migrated_database();
    auto connection = connect(url);
    const auto id = value_of(*connection,
                             "hufu.publish('orders', '\\x00ff', ordering_key => '7', tag => 'created', "
                             "keys => array['a','b'], headers => '{\"traceparent\": \"00-1\", \"n\": 5}')");
    const auto rows = rows_of(url);
    ASSERT_EQ(rows.size(), 1U);
    const Message& read = rows[0].message;
    EXPECT_EQ(read.id.to_string(), id);
    EXPECT_EQ(id[14], '7');
    EXPECT_LT(std::chrono::abs(read.id.minted_at() - system_clock().system_now()), std::chrono::seconds{60});
    EXPECT_EQ(read.body, (std::string{"\0\xFF", 2}));
    EXPECT_THAT(read.keys, ElementsAre("a", "b"));
    EXPECT_EQ(read.headers.get("traceparent"), "00-1");
    EXPECT_EQ(read.headers.get("n"), "5");
    EXPECT_EQ(read.tag, "created");
    EXPECT_EQ(read.ordering_key, "7");
}

TEST(Publish, RefusesWhatTheLibraryRefuses) {
    auto connection = connect(migrated_database());
    for (const char* call :
         {"hufu.publish('or ders', '')", "hufu.publish('orders', null)", "hufu.publish('orders', '', tag => 'a||b')",
          "hufu.publish('orders', '', keys => array['a b'])", "hufu.publish('orders', '', ordering_key => repeat('x', 256))",
          "hufu.publish('orders', '', headers => '{\"\": \"x\"}')"}) {
        const auto refused = connection->run(std::string{"select "} + call);
        ASSERT_FALSE(refused) << call;
        EXPECT_EQ(refused.error().disposition(), Disposition::reject) << call;
    }
}

TEST(Publish, AsksForReceipts) {
    const auto url = migrated_database();
    auto connection = connect(url);
    const auto id = value_of(*connection,
                             "hufu.publish_with_receipts('orders', 'x', array['stock','points'], ordering_key => '7', "
                             "deadline => '5 seconds', outcome_topic => 'ends')");
    const auto rows = rows_of(url);
    ASSERT_EQ(rows.size(), 1U);
    const auto asked = outbox::decode_receipts(rows[0].message.headers.get(outbox::receipts_header).value()).value();
    EXPECT_EQ(asked, (outbox::Receipts{
                         .groups = {"stock", "points"}, .deadline = std::chrono::seconds{5}, .outcome_topic = "ends"}));
    const auto book = Store{url}.awaiting_rows();
    EXPECT_EQ(book->trace({.key = "7"}, 10)->at(0).id.to_string(), id);
    const std::vector<outbox::Receipt> both{{.message = rows[0].message.id, .group = "stock"},
                                            {.message = rows[0].message.id, .group = "points"}};
    EXPECT_THAT(book->take(both).value(), ElementsAre(outbox::ReceiptVerdict::taken, outbox::ReceiptVerdict::completed));
    for (const char* call :
         {"array[]::text[]", "array['a','a']", "array['a,b']", "array[null]::text[]", "array['a'], deadline => '-1 second'",
          "array['a'], deadline => '0'", "array['a'], sends_max => 0", "array['a'], backoff_cap => '1 second'",
          "array['a'], outcome_topic => 'no spaces'"}) {
        const auto refused = connection->run(std::string{"select hufu.publish_with_receipts('orders', 'x', "} + call + ")");
        ASSERT_FALSE(refused) << call;
        EXPECT_EQ(refused.error().disposition(), Disposition::reject) << call;
    }
    EXPECT_EQ(rows_of(url).size(), 2U) << "the announcement of the end is the only other row";
}

TEST(Transaction, AppendsWhatAsksForReceiptsInTheFlight) {
    const auto url = migrated_database();
    auto connection = connect(url);
    MessageId id;
    {
        Transaction transaction{*connection};
        id = transaction.append(message("orders", "7", "x"), {.groups = {"stock"}});
        EXPECT_EQ(error_of([&] { transaction.append(message("orders", "8", "y"), {}); }).disposition(), Disposition::reject);
        transaction.commit();
    }
    const auto book = Store{url}.awaiting_rows();
    EXPECT_EQ(book->trace({.id = id}, 1)->at(0).state, "pending");
    Transaction again{*connection};
    Message twice = message("orders", "7", "x");
    twice.id = id;
    again.append(twice, {.groups = {"stock"}});
    EXPECT_EQ(error_of([&] { again.commit(); }).code(), ErrorCode::conflict);
    EXPECT_EQ(rows_of(url).size(), 1U);
}

TEST(Transaction, SendsStatementsAndMessagesWithCommit) {
    const auto url = migrated_database();
    auto connection = connect(url);
    connection->run_script("create table orders(id bigint primary key, name text)").value();
    Transaction transaction{*connection};
    transaction.run("insert into orders(id, name) values ($1, $2)", parameters(7, "seven"));
    Message sent = everything();
    sent.id = transaction.append(sent);
    std::vector<Message> more{message("orders", "7", "b"), message("orders", "7", "c")};
    transaction.append(more);
    transaction.commit();
    EXPECT_EQ(value_of(*connection, "select name from orders where id = 7"), "seven");
    const auto rows = rows_of(url);
    ASSERT_EQ(rows.size(), 3U);
    EXPECT_EQ(appended(rows[0].message), sent);
    EXPECT_EQ(appended(rows[1].message), more[0]);
    EXPECT_EQ(appended(rows[2].message), more[1]);
}

TEST(Transaction, AnswersAQueryAndGoesOn) {
    const auto url = migrated_database();
    auto connection = connect(url);
    connection->run_script("create table counter(n bigint); insert into counter values (4)").value();
    Transaction transaction{*connection};
    const auto rows = transaction.query("update counter set n = n + $1 returning n", parameters(3));
    EXPECT_EQ(rows.int8(0, 0), 7);
    transaction.append(message("orders", "", "x"));
    transaction.commit();
    EXPECT_EQ(value_of(*connection, "select n from counter"), "7");
    EXPECT_THAT(bodies_of(url), ElementsAre("x"));
}

TEST(Transaction, LeavesNothingWhenAStatementFails) {
    const auto url = migrated_database();
    auto connection = connect(url);
    connection->run_script("create table orders(id bigint primary key)").value();
    for (int round = 0; round < 2; ++round) {
        Transaction transaction{*connection};
        transaction.append(message("orders", "", "x"));
        transaction.run("insert into orders(id) values ($1)", parameters(1));
        if (round == 0) {
            transaction.commit();
            continue;
        }
        const auto conflict = error_of([&] { transaction.commit(); });
        EXPECT_EQ(conflict.code(), ErrorCode::conflict);
        EXPECT_EQ(conflict.disposition(), Disposition::reject);
    }
    EXPECT_FALSE(connection->in_transaction());
    EXPECT_THAT(bodies_of(url), ElementsAre("x"));
}

TEST(Transaction, RollsBackWhenDestroyed) {
    const auto url = migrated_database();
    auto connection = connect(url);
    {
        Transaction transaction{*connection};
        transaction.append(message("orders", "", "x"));
        EXPECT_EQ(transaction.query("select 1::bigint").int8(0, 0), 1);
        EXPECT_TRUE(connection->in_transaction());
    }
    EXPECT_FALSE(connection->in_transaction());
    EXPECT_TRUE(rows_of(url).empty());
}

TEST(Transaction, RefusesAsynchronousCommitUnlessTold) {
    const auto url = migrated_database();
    auto connection = connect(url);
    connection->run_script("set synchronous_commit = off").value();
    {
        Transaction transaction{*connection};
        transaction.append(message("orders", "", "no"));
        EXPECT_THAT(error_of([&] { transaction.commit(); }).text(), HasSubstr("synchronous_commit is off"));
    }
    Transaction transaction{*connection, {.allow_asynchronous_commit = true}};
    transaction.append(message("orders", "", "yes"));
    transaction.commit();
    EXPECT_THAT(bodies_of(url), ElementsAre("yes"));
}

class CountingHint final : public outbox::WakeHint {
public:
    void wake() noexcept override { ++calls; }
    int calls = 0;
};

TEST(Transaction, WakesTheRelayAfterCommittedAppendsOnly) {
    auto connection = connect(migrated_database());
    CountingHint hint;
    {
        Transaction without{*connection, {.wake = &hint}};
        without.run("select 1");
        without.commit();
    }
    {
        Transaction undone{*connection, {.wake = &hint}};
        undone.append(message("orders", "", "x"));
    }
    EXPECT_EQ(hint.calls, 0);
    Transaction with{*connection, {.wake = &hint}};
    with.append(message("orders", "", "x"));
    with.commit();
    EXPECT_EQ(hint.calls, 1);
}

TEST(Transaction, LostBeforeCommitIsAborted) {
    const auto url = migrated_database();
    auto killer = connect(url);
    auto connection = connect(url);
    const auto pid = value_of(*connection, "pg_backend_pid()");
    Transaction transaction{*connection};
    transaction.append(message("orders", "", "x"));
    (void)transaction.query("select 1");
    killer->run("select pg_terminate_backend(" + pid + ", 5000)").value();
    const auto lost = error_of([&] { (void)transaction.query("select 1"); });
    EXPECT_EQ(lost.disposition(), Disposition::abort_transaction) << lost.text();
    EXPECT_EQ(lost.code(), ErrorCode::unavailable);
    EXPECT_FALSE(connection->usable());
}

TEST(Transaction, LostAtCommitIsInDoubt) {
    const auto url = migrated_database();
    auto killer = connect(url);
    auto connection = connect(url);
    // COMMIT runs into a deferred trigger that waits until the session is ended.
    connection
        ->run_script(
            "create table orders(id bigint); create function linger() returns trigger language plpgsql as "
            "$$ begin perform pg_sleep(60); return null; end $$; create constraint trigger linger after insert on orders "
            "deferrable initially deferred for each row execute function linger()")
        .value();
    const auto pid = value_of(*connection, "pg_backend_pid()");
    const std::jthread ending{[&] {
        while (value_of(*killer,
                        "select count(*) from pg_stat_activity where pid = " + pid + " and wait_event = 'PgSleep'") == "0") {
            killer->run("select pg_sleep(0.01)").value();
        }
        killer->run("select pg_terminate_backend(" + pid + ", 5000)").value();
    }};
    Transaction transaction{*connection};
    transaction.append(message("orders", "", "x"));
    transaction.run("insert into orders values (1)");
    const auto lost = error_of([&] { transaction.commit(); });
    EXPECT_EQ(lost.disposition(), Disposition::in_doubt) << lost.text();
    EXPECT_THAT(lost.text(), HasSubstr("unknown"));
}

TEST(Schema, IsAppliedOnceAndAgainWithoutHarm) {
    const auto url = server().create_database();
    auto connection = connect(url);
    EXPECT_EQ(schema_version(*connection).value(), 0);
    EXPECT_EQ(check_schema(*connection).error().code(), ErrorCode::wrong_version);
    const int latest = outbox::latest_version(migrations());
    EXPECT_EQ(migrate(url).value(), latest);
    EXPECT_EQ(migrate(url).value(), latest);
    EXPECT_EQ(schema_version(*connection).value(), latest);
    EXPECT_TRUE(check_schema(*connection));
}

TEST(Schema, PrintedScriptDoesTheSameAndMayRunTwice) {
    auto connection = connect(server().create_database());
    const auto script = outbox::printed(migrations());
    for (int round = 0; round < 2; ++round) {
        const auto applied = connection->run_script(script);
        ASSERT_TRUE(applied) << applied.error().text();
    }
    EXPECT_TRUE(check_schema(*connection));
}

TEST(Schema, ANewerOneIsRefusedPolitely) {
    const auto url = migrated_database();
    auto connection = connect(url);
    connection->run("insert into hufu.schema_migration(version, name) values (999, 'future')").value();
    const auto refused = check_schema(*connection);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::wrong_version);
    EXPECT_EQ(refused.error().disposition(), Disposition::fatal);
    EXPECT_THAT(refused.error().text(), HasSubstr("version 999"));
    EXPECT_EQ(migrate(url).error().code(), ErrorCode::wrong_version);
    EXPECT_EQ(Store{url}.reader()->start().error().code(), ErrorCode::wrong_version);
}

TEST(Connect, NamesWhatIsWrong) {
    EXPECT_EQ(Connection::open(server().url("missing")).error().code(), ErrorCode::not_found);
    EXPECT_EQ(Connection::open("postgresql://nobody_here@127.0.0.1:" + std::to_string(server().port()) + "/postgres")
                  .error()
                  .code(),
              ErrorCode::permission);
    const auto away = Connection::open("postgresql://hufu@127.0.0.1:1/postgres");
    EXPECT_EQ(away.error().code(), ErrorCode::unavailable);
    EXPECT_EQ(away.error().disposition(), Disposition::retry);
    EXPECT_EQ(Connection::open("postgresql://a:b:c@[/x").error().code(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace hufu::postgres
