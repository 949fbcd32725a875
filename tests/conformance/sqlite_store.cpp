// SQLite, in a file of its own per test.
#include <filesystem>
#include <stdexcept>

#include <stdlib.h>

#include <hufu/sqlite/consumer_memory.hpp>
#include <hufu/sqlite/once.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/outbox_store.hpp>
#include <hufu/sqlite/schema.hpp>
#include <hufu/sqlite/transaction_producer.hpp>

#include "suites.hpp"

namespace hufu::conformance {
namespace {

class SqliteProducer final : public ProducerUnderTest {
public:
    SqliteProducer(sqlite::Database& database, txmsg::HalfPublisher& halves, std::string group, Clock& clock)
        : producer_{database, halves,          {.group = std::move(group)},
                    clock,    system_random(), {.wait_most = StoreUnderTest::check_wait}} {}
    txmsg::TransactionResult send(std::vector<Message> messages, const std::function<txmsg::Decision()>& local) override {
        return producer_.send(std::move(messages), [&](sqlite::Transaction& tx) {
            tx.execute("insert into entries default values");
            return local();
        });
    }

private:
    sqlite::TransactionProducer producer_;
};

class SqliteUnderTest final : public StoreUnderTest {
public:
    SqliteUnderTest() {
        std::string name = (std::filesystem::temp_directory_path() / "hufu-conformance-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error{"no temporary folder at " + name};
        }
        folder_ = name;
        database_ = std::make_shared<sqlite::Database>(folder_ + "/test.db");
        sqlite::migrate(*database_).value();
        verdicts_ = std::make_unique<sqlite::VerdictStore>(
            database_->path(), sqlite::VerdictStoreOptions{.wait_most = check_wait, .purge_batch = 7});
        change("create table entries(n integer primary key)");
        change("create table effects(n integer not null)");
        change("insert into effects values (0)");
        store_ = sqlite::outbox_store(database_);
    }
    ~SqliteUnderTest() override {
        verdicts_.reset();
        store_.reset();
        database_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    outbox::Store& store() override { return *store_; }

    void append(const std::vector<Message>& messages, bool commit) override {
        sqlite::Transaction tx{*database_};
        for (const auto& message : messages) {
            outbox_.append(tx, message);
        }
        if (commit) {
            tx.commit();
        }
    }

    void append_asking(const Message& message, const outbox::Receipts& receipts, bool commit) override {
        sqlite::Transaction tx{*database_};
        outbox_.append(tx, message, receipts);
        if (commit) tx.commit();
    }
    void make_receipts_overdue() override { change("update hufu_awaiting_due set due_at_us = 1"); }
    void leave_due_row(const MessageId& id) override {
        sqlite::Transaction tx{*database_};
        const std::string bytes{reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()};
        tx.execute("insert into hufu_awaiting_due values (?, 1, 1)", sqlite::Blob{bytes});
        tx.commit();
    }
    HandlerResult consume(const std::string& group, const Message& message,
                          const std::function<idempotency::EffectResult()>& effect) override {
        const auto handler = sqlite::once(*database_, group, [&](sqlite::Transaction& tx, const Message&) {
            tx.execute("update effects set n = n + 1");
            return effect();
        });
        return handler(Delivery{.message = message, .stored_at = now()});
    }

    void expire_lease() override { change("update hufu_lane set lease_until_us = 1"); }
    void make_delayed_due() override { change("update hufu_delayed set due_at_us = 1"); }

    idempotency::OnceOutcome deliver(const std::string& group, const MessageId& id, SystemTime first_stored_at,
                                     const std::function<idempotency::EffectResult()>& effect) override {
        return sqlite::run_once(*database_, {group, id}, first_stored_at, [&](sqlite::Transaction& tx) {
            tx.execute("update effects set n = n + 1");
            return effect();
        });
    }

    Handler processor(const std::string& group,
                      std::function<idempotency::EffectResult(const Message&, idempotency::Outgoing&)> effect) override {
        return [path = database_->path(), group, effect = std::move(effect)](const Delivery& delivery) {
            sqlite::Database own{path};
            return sqlite::once(own, group,
                                [&](sqlite::Transaction& tx, const Message& message, idempotency::Outgoing& outgoing) {
                                    tx.execute("update effects set n = n + 1");
                                    return effect(message, outgoing);
                                })(delivery);
        };
    }
    BatchHandler batch_handler(const std::string& group,
                               std::function<idempotency::EffectResult(const Message&)> effect) override {
        return sqlite::once_batch(*database_, group,
                                  [effect = std::move(effect)](sqlite::Transaction& tx, const Message& message) {
                                      tx.execute("update effects set n = n + 1");
                                      return effect(message);
                                  });
    }
    std::unique_ptr<ParkedKeys> parked_keys(const std::string& group) override {
        return sqlite::parked_keys(*database_, group);
    }
    std::unique_ptr<AttemptRows> attempt_rows(const std::string& group) override {
        return sqlite::attempt_rows(*database_, group);
    }
    Result<void> reopen_parked_key(const std::string& group, const ConsumerKey& key,
                                   const outbox::AuditNote& note) override {
        return sqlite::reopen_parked_key(*database_, group, key, note);
    }
    Result<std::uint64_t> purge_attempt_rows(const std::string& group, std::chrono::seconds age) override {
        return sqlite::purge_attempt_rows(*database_, group, age);
    }

    int effects() override { return static_cast<int>(number("select n from effects")); }

    void purge_old_guards(const std::string& group) override {
        change("update hufu_guard set seen_at_us = seen_at_us - 7200000000");
        sqlite::purge_guards(*database_, group, std::chrono::hours{1}).value();
    }

    txmsg::VerdictStore& verdicts() override { return *verdicts_; }
    std::unique_ptr<ProducerUnderTest> producer(txmsg::HalfPublisher& halves, std::string group, Clock& clock) override {
        return std::make_unique<SqliteProducer>(*database_, halves, std::move(group), clock);
    }
    int entries() override { return static_cast<int>(number("select count(*) from entries")); }
    void age_verdicts() override { change("update hufu_verdict set decided_at_us = decided_at_us - 7200000000"); }
    std::int64_t verdict_rows() override { return number("select count(*) from hufu_verdict"); }
    void drop_verdict_table() override { change("drop table hufu_verdict"); }

    SystemTime now() override { return database_->clock().system_now(); }

private:
    std::int64_t number(std::string_view sql) {
        sqlite::Transaction tx{*database_, sqlite::Transaction::Access::read};
        auto rows = tx.query(sql);
        rows.step();
        return rows.integer(0);
    }
    void change(std::string_view sql) {
        sqlite::Transaction tx{*database_};
        tx.execute(sql);
        tx.commit();
    }

    std::string folder_;
    std::shared_ptr<sqlite::Database> database_;
    std::unique_ptr<outbox::Store> store_;
    std::unique_ptr<sqlite::VerdictStore> verdicts_;
    sqlite::Outbox outbox_;
};

Factory sqlite_factory() {
    return {"sqlite", [] { return std::make_unique<SqliteUnderTest>(); }};
}

INSTANTIATE_TEST_SUITE_P(Sqlite, OutboxStore, testing::Values(sqlite_factory()));
INSTANTIATE_TEST_SUITE_P(Sqlite, ParkingLot, testing::Values(sqlite_factory()));
INSTANTIATE_TEST_SUITE_P(Sqlite, Guard, testing::Values(sqlite_factory()));
INSTANTIATE_TEST_SUITE_P(Sqlite, ReceiptBook, testing::Values(sqlite_factory()));
INSTANTIATE_TEST_SUITE_P(Sqlite, ConsumeProcessProduce, testing::Values(sqlite_factory()));
INSTANTIATE_TEST_SUITE_P(Sqlite, GuardedBatches, testing::Values(sqlite_factory()));
INSTANTIATE_TEST_SUITE_P(Sqlite, ConsumerMemory, testing::Values(sqlite_factory()));
INSTANTIATE_TEST_SUITE_P(Sqlite, Verdicts, testing::Values(sqlite_factory()));

}  // namespace
}  // namespace hufu::conformance
