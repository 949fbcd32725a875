// PostgreSQL: one private server for the program, a database of its own per test.
#include <pqxx/pqxx>

#include <hufu/postgres/consumer_memory.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/postgres/outbox.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/store.hpp>
#include <hufu/postgres/transaction_producer.hpp>
#include <hufu/test_support/postgres_server.hpp>

#include "suites.hpp"

namespace hufu::conformance {
namespace {

class Server final : public testing::Environment {
public:
    void SetUp() override { held() = std::make_unique<test_support::PostgresServer>(); }
    void TearDown() override { held().reset(); }
    static std::unique_ptr<test_support::PostgresServer>& held() {
        static std::unique_ptr<test_support::PostgresServer> server;
        return server;
    }
};

[[maybe_unused]] const auto* const environment = testing::AddGlobalTestEnvironment(new Server);

class PostgresProducer final : public ProducerUnderTest {
public:
    PostgresProducer(const std::string& url, txmsg::HalfPublisher& halves, std::string group, Clock& clock)
        : producer_{url,   halves,          {.group = std::move(group)},
                    clock, system_random(), {.wait_most = StoreUnderTest::check_wait}} {}
    txmsg::TransactionResult send(std::vector<Message> messages, const std::function<txmsg::Decision()>& local) override {
        return producer_.send(std::move(messages), [&](pqxx::work& work) {
            work.exec("insert into entries default values");
            return local();
        });
    }

private:
    postgres::TransactionProducer producer_;
};

class PostgresUnderTest final : public StoreUnderTest {
public:
    explicit PostgresUnderTest(const std::string& url)
        : url_{url}, pool_{url}, connection_{url}, store_{url}, verdicts_{url, {.wait_most = check_wait, .purge_batch = 7}} {
        postgres::migrate(url).value();
        change("create table entries(n integer generated always as identity)");
        change("create table effects(n integer not null)");
        change("insert into effects values (0)");
    }

    outbox::Store& store() override { return store_; }

    void append(const std::vector<Message>& messages, bool commit) override {
        pqxx::work work{connection_};
        for (const auto& message : messages) outbox_.append(work, message);
        if (commit) {
            work.commit();
        }
    }

    void append_asking(const Message& message, const outbox::Receipts& receipts, bool commit) override {
        pqxx::work work{connection_};
        outbox_.append(work, message, receipts);
        if (commit) work.commit();
    }
    void make_receipts_overdue() override { change("update hufu.awaiting_due set due_at = timestamptz 'epoch'"); }
    void leave_due_row(const MessageId& id) override {
        change("insert into hufu.awaiting_due values ('" + id.to_string() + "', timestamptz 'epoch', 1)");
    }
    HandlerResult consume(const std::string& group, const Message& message,
                          const std::function<idempotency::EffectResult()>& effect) override {
        const auto handler = postgres::once(pool_, group, [&](pqxx::work& work, const Message&) {
            work.exec("update effects set n = n + 1");
            return effect();
        });
        return handler(Delivery{.message = message, .stored_at = now()});
    }

    void expire_lease() override { change("update hufu.lane set lease_until = timestamptz 'epoch'"); }
    void make_delayed_due() override { change("update hufu.delayed_0 set due_at = timestamptz 'epoch'"); }

    idempotency::OnceOutcome deliver(const std::string& group, const MessageId& id, SystemTime first_stored_at,
                                     const std::function<idempotency::EffectResult()>& effect) override {
        return postgres::run_once(pool_, {group, id}, first_stored_at, [&](pqxx::work& work) {
            work.exec("update effects set n = n + 1");
            return effect();
        });
    }

    Handler processor(const std::string& group,
                      std::function<idempotency::EffectResult(const Message&, idempotency::Outgoing&)> effect) override {
        return [url = url_, group, effect = std::move(effect)](const Delivery& delivery) {
            postgres::ConnectionPool own{url};
            return postgres::once(own, group,
                                  [&](pqxx::work& work, const Message& message, idempotency::Outgoing& outgoing) {
                                      work.exec("update effects set n = n + 1");
                                      return effect(message, outgoing);
                                  })(delivery);
        };
    }
    BatchHandler batch_handler(const std::string& group,
                               std::function<idempotency::EffectResult(const Message&)> effect) override {
        return postgres::once_batch(pool_, group, [effect = std::move(effect)](pqxx::work& work, const Message& message) {
            work.exec("update effects set n = n + 1");
            return effect(message);
        });
    }
    std::unique_ptr<ParkedKeys> parked_keys(const std::string& group) override {
        return postgres::parked_keys(pool_, group);
    }
    std::unique_ptr<AttemptRows> attempt_rows(const std::string& group) override {
        return postgres::attempt_rows(pool_, group);
    }
    Result<void> reopen_parked_key(const std::string& group, const ConsumerKey& key,
                                   const outbox::AuditNote& note) override {
        return postgres::reopen_parked_key(pool_, group, key, note);
    }
    Result<std::uint64_t> purge_attempt_rows(const std::string& group, std::chrono::seconds age) override {
        return postgres::purge_attempt_rows(pool_, group, age);
    }

    int effects() override { return static_cast<int>(number("select n from effects")); }

    void purge_old_guards(const std::string& group) override {
        change("update hufu.guard set seen_at = seen_at - interval '2 hours'");
        postgres::purge_guards(pool_, group, std::chrono::hours{1}).value();
    }

    txmsg::VerdictStore& verdicts() override { return verdicts_; }
    std::unique_ptr<ProducerUnderTest> producer(txmsg::HalfPublisher& halves, std::string group, Clock& clock) override {
        return std::make_unique<PostgresProducer>(url_, halves, std::move(group), clock);
    }
    int entries() override { return static_cast<int>(number("select count(*) from entries")); }
    void age_verdicts() override { change("update hufu.verdict set decided_at = decided_at - interval '2 hours'"); }
    std::int64_t verdict_rows() override { return number("select count(*) from hufu.verdict"); }
    void drop_verdict_table() override { change("drop table hufu.verdict"); }

    SystemTime now() override {
        return SystemTime{
            std::chrono::microseconds{number("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")}};
    }

private:
    void change(const std::string& sql) {
        pqxx::work work{connection_};
        work.exec(sql);
        work.commit();
    }
    std::int64_t number(const std::string& sql) {
        pqxx::work work{connection_};
        return work.exec(sql)[0][0].as<std::int64_t>();
    }

    std::string url_;
    postgres::ConnectionPool pool_;
    pqxx::connection connection_;
    postgres::Store store_;
    postgres::VerdictStore verdicts_;
    postgres::Outbox outbox_;
};

Factory postgres_factory() {
    return {"postgres", [] { return std::make_unique<PostgresUnderTest>(Server::held()->create_database()); }};
}

INSTANTIATE_TEST_SUITE_P(Postgres, OutboxStore, testing::Values(postgres_factory()));
INSTANTIATE_TEST_SUITE_P(Postgres, ParkingLot, testing::Values(postgres_factory()));
INSTANTIATE_TEST_SUITE_P(Postgres, Guard, testing::Values(postgres_factory()));
INSTANTIATE_TEST_SUITE_P(Postgres, ReceiptBook, testing::Values(postgres_factory()));
INSTANTIATE_TEST_SUITE_P(Postgres, ConsumeProcessProduce, testing::Values(postgres_factory()));
INSTANTIATE_TEST_SUITE_P(Postgres, GuardedBatches, testing::Values(postgres_factory()));
INSTANTIATE_TEST_SUITE_P(Postgres, ConsumerMemory, testing::Values(postgres_factory()));
INSTANTIATE_TEST_SUITE_P(Postgres, Verdicts, testing::Values(postgres_factory()));

}  // namespace
}  // namespace hufu::conformance
