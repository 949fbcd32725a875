#include "storage/sqlite_store.hpp"

#include <array>
#include <hufu/core/clock.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/sqlite/once.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/schema.hpp>
#include <hufu/sqlite/outbox_store.hpp>
#include <hufu/sqlite/transaction_producer.hpp>
#include <optional>
#include <utility>

#include "storage/evidence.hpp"
#include "storage/rerun.hpp"
#include "storage/sending.hpp"

namespace shop {
namespace {

constexpr std::size_t values_max = 10;

/// Binds a list whose length is known at run time.
template <std::size_t... I>
void bind_all(hufu::sqlite::Statement& statement, [[maybe_unused]] std::span<const Value> values,
              std::index_sequence<I...>) {
    statement.bind(values[I].text()...);
}

template <std::size_t N = 0>
void bind(hufu::sqlite::Statement& statement, std::span<const Value> values) {
    if (values.size() == N) return bind_all(statement, values, std::make_index_sequence<N>{});
    if constexpr (N < values_max) return bind<N + 1>(statement, values);
    throw std::length_error{"a statement of this service has at most 10 parameters"};
}

class SqliteTransaction final : public Transaction {
public:
    SqliteTransaction(hufu::sqlite::Transaction& tx, hufu::sqlite::Outbox& outbox) : tx_{tx}, outbox_{outbox} {}

    Rows run(std::string_view sql, std::initializer_list<Value> values) override {
        auto statement = tx_.prepare(sql);
        bind(statement, {values.begin(), values.size()});
        Rows rows;
        while (statement.step()) {
            std::vector<std::string> columns;
            for (int i = 0; i < statement.columns(); ++i) columns.push_back(statement.text(i));
            rows.emplace_back(std::move(columns));
        }
        return rows;
    }

    void append(const hufu::Message& message) override { outbox_.append(tx_, message); }

    // There is one writer at a time: what a write transaction has read stays.
    [[nodiscard]] std::string_view row_lock() const noexcept override { return ""; }

private:
    hufu::sqlite::Transaction& tx_;
    hufu::sqlite::Outbox& outbox_;
};

class SqliteStore final : public Store {
public:
    explicit SqliteStore(const std::string& path) : shared_{std::make_shared<hufu::sqlite::Database>(path)} {}

    void prepare(std::span<const std::string_view> tables) override {
        hufu::sqlite::migrate(database_).value();
        hufu::sqlite::Transaction tx{database_};
        for (const auto table : tables) tx.execute(with_serial(table, "integer primary key autoincrement"));
        tx.commit();
    }

    void transact(const std::function<void(Transaction&)>& work) override {
        rerun_while_allowed([&] {
            hufu::sqlite::Transaction tx{database_};
            SqliteTransaction port{tx, outbox_};
            work(port);
            tx.commit();
        });
    }

    void send_through(hufu::txmsg::HalfPublisher& halves, const std::string& group) override {
        producer_.emplace(database_, halves, hufu::txmsg::ProducerOptions{.group = group});
    }

    bool send(std::vector<hufu::Message> messages, const std::function<bool(Transaction&)>& work) override {
        bool kept = true;
        const auto result = producer_.value().send(std::move(messages), [&](hufu::sqlite::Transaction& tx) {
            SqliteTransaction port{tx, outbox_};
            kept = work(port);
            return kept ? hufu::txmsg::Decision::commit : hufu::txmsg::Decision::rollback;
        });
        return settled(result, kept);
    }

    void read(const std::function<void(Transaction&)>& work) override {
        hufu::sqlite::Transaction tx{database_, hufu::sqlite::Transaction::Access::read};
        SqliteTransaction port{tx, outbox_};
        work(port);
    }

    hufu::beast::Guarding<Transaction&> answering(const hufu::idempotency::HttpGuard& edge) override {
        return [this, &edge](const hufu::idempotency::HttpCall& call,
                             const std::function<hufu::idempotency::HttpReply(Transaction&)>& application) {
            return hufu::sqlite::answer_once(database_, edge, call, [&](hufu::sqlite::Transaction& tx) {
                SqliteTransaction port{tx, outbox_};
                return application(port);
            });
        };
    }

    hufu::Handler once(const hufu::idempotency::GuardDeclaration& guard, Effect effect) override {
        auto guarded = hufu::sqlite::once(
            database_, guard,
            [this, effect = std::move(effect)](hufu::sqlite::Transaction& tx, const hufu::Message& message) {
                SqliteTransaction port{tx, outbox_};
                return effect(port, message);
            });
        return [this, guarded = std::move(guarded)](const hufu::Delivery& delivery) {
            auto result = guarded(delivery);
            if (result.handled == hufu::Handled::already_done) {
                transact([&](Transaction& tx) { record_absorbed(tx, delivery.message); });
            }
            return result;
        };
    }

    std::unique_ptr<hufu::outbox::Store> outbox() override { return hufu::sqlite::outbox_store(shared_); }

private:
    std::shared_ptr<hufu::sqlite::Database> shared_;
    hufu::sqlite::Database& database_ = *shared_;
    hufu::sqlite::Outbox outbox_;
    std::optional<hufu::sqlite::TransactionProducer> producer_;
};

}  // namespace

std::unique_ptr<Store> open_sqlite_store(const std::string& path) { return std::make_unique<SqliteStore>(path); }

}  // namespace shop
