#include "storage/postgres_store.hpp"

#include <algorithm>
#include <hufu/connect/connect.hpp>
#include <hufu/outbox/wake.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/postgres/outbox.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/store.hpp>
#include <hufu/postgres/transaction_producer.hpp>
#include <optional>
#include <pqxx/pqxx>
#include <utility>

#include "storage/evidence.hpp"
#include "storage/rerun.hpp"
#include "storage/sending.hpp"

namespace shop {
namespace {

/// Calls `body` and turns pqxx's exceptions into ours, with what may be done next.
template <class Body>
void translated(Body&& body) {
    const auto rethrow = [](hufu::ErrorCode code, hufu::Disposition disposition, const std::exception& why) {
        throw hufu::Exception{{code, disposition, std::string{"PostgreSQL: "} + why.what()}};
    };
    try {
        body();
    } catch (const pqxx::in_doubt_error& why) {
        rethrow(hufu::ErrorCode::unavailable, hufu::Disposition::in_doubt, why);
    } catch (const pqxx::broken_connection& why) {
        rethrow(hufu::ErrorCode::unavailable, hufu::Disposition::retry, why);
    } catch (const pqxx::transaction_rollback& why) {  // serialization failure, deadlock
        rethrow(hufu::ErrorCode::conflict, hufu::Disposition::abort_transaction, why);
    } catch (const pqxx::failure& why) {
        rethrow(hufu::ErrorCode::internal, hufu::Disposition::fatal, why);
    }
}

class PostgresTransaction final : public Transaction {
public:
    PostgresTransaction(pqxx::transaction_base& tx, hufu::postgres::Outbox& outbox) : tx_{tx}, outbox_{outbox} {}

    Rows run(std::string_view sql, std::initializer_list<Value> values) override {
        std::vector<std::string> parameters;
        for (const auto& value : values) parameters.push_back(value.text());
        // Defined once per connection; pqxx passes over a definition that it knows.
        const auto name = "shop_" + std::to_string(std::hash<std::string_view>{}(sql));
        tx_.conn().prepare(name, std::string{sql});
        const auto result =
            tx_.exec_prepared(name, pqxx::prepare::make_dynamic_params(parameters.begin(), parameters.end()));
        Rows rows;
        rows.reserve(static_cast<std::size_t>(result.size()));
        for (const auto& row : result) {
            std::vector<std::string> columns;
            for (const auto& field : row) columns.emplace_back(field.c_str(), field.size());
            rows.emplace_back(std::move(columns));
        }
        return rows;
    }

    void append(const hufu::Message& message) override {
        outbox_.append(tx_, message);
        appended_ = true;
    }

    [[nodiscard]] std::string_view row_lock() const noexcept override { return " for update"; }
    [[nodiscard]] bool appended() const noexcept { return appended_; }

private:
    pqxx::transaction_base& tx_;
    hufu::postgres::Outbox& outbox_;
    bool appended_ = false;
};

class PostgresStore final : public Store {
public:
    explicit PostgresStore(const std::string& url) : url_{url}, pool_{url}, relays_{hufu::connect::lane_name(url).value()} {}

    void prepare(std::span<const std::string_view> tables) override {
        hufu::postgres::migrate(url_).value();
        translated([&] {
            const auto connection = pool_.lend().value();
            pqxx::work tx{*connection};
            for (const auto table : tables) tx.exec0(with_serial(table, "bigint generated always as identity primary key"));
            tx.commit();
        });
    }

    void transact(const std::function<void(Transaction&)>& work) override {
        rerun_while_allowed([&] {
            translated([&] {
                const auto connection = pool_.lend().value();
                pqxx::work tx{*connection};
                PostgresTransaction port{tx, outbox_};
                work(port);
                tx.commit();
                if (port.appended()) relays_.wake();
            });
        });
    }

    void send_through(hufu::txmsg::HalfPublisher& halves, const std::string& group) override {
        producer_.emplace(url_, halves, hufu::txmsg::ProducerOptions{.group = group});
    }

    bool send(std::vector<hufu::Message> messages, const std::function<bool(Transaction&)>& work) override {
        bool kept = true;
        bool committed = false;
        translated([&] {
            const auto result = producer_.value().send(std::move(messages), [&](pqxx::work& tx) {
                PostgresTransaction port{tx, outbox_};
                kept = work(port);
                return kept ? hufu::txmsg::Decision::commit : hufu::txmsg::Decision::rollback;
            });
            committed = settled(result, kept);
        });
        return committed;
    }

    void read(const std::function<void(Transaction&)>& work) override {
        translated([&] {
            const auto connection = pool_.lend().value();
            pqxx::transaction<pqxx::repeatable_read, pqxx::read_only> tx{*connection};
            PostgresTransaction port{tx, outbox_};
            work(port);
        });
    }

    hufu::beast::Guarding<Transaction&> answering(const hufu::idempotency::HttpGuard& edge) override {
        return [this, &edge](const hufu::idempotency::HttpCall& call,
                             const std::function<hufu::idempotency::HttpReply(Transaction&)>& application) {
            constexpr std::chrono::milliseconds wait_for_the_first{1000};
            hufu::idempotency::HttpReply reply;
            bool appended = false;
            translated([&] {
                reply = hufu::postgres::answer_once(pool_, edge, call, wait_for_the_first, [&](pqxx::work& tx) {
                    PostgresTransaction port{tx, outbox_};
                    auto answer = application(port);
                    appended = port.appended();
                    return answer;
                });
            });
            if (appended) relays_.wake();
            return reply;
        };
    }

    hufu::Handler once(const hufu::idempotency::GuardDeclaration& guard, Effect effect) override {
        auto guarded = hufu::postgres::once(
            pool_, guard, [this, effect = std::move(effect)](pqxx::work& tx, const hufu::Message& message) {
                PostgresTransaction port{tx, outbox_};
                return effect(port, message);
            });
        return [this, guarded = std::move(guarded)](const hufu::Delivery& delivery) {
            auto result = guarded(delivery);
            if (result.handled == hufu::Handled::done) relays_.wake();  // the effect may have appended
            if (result.handled == hufu::Handled::already_done) {
                transact([&](Transaction& tx) { record_absorbed(tx, delivery.message); });
            }
            return result;
        };
    }

    std::unique_ptr<hufu::outbox::Store> outbox() override { return std::make_unique<hufu::postgres::Store>(url_); }

private:
    std::string url_;
    hufu::postgres::ConnectionPool pool_;
    hufu::postgres::Outbox outbox_;
    hufu::outbox::DatagramHint relays_;
    std::optional<hufu::postgres::TransactionProducer> producer_;
};

}  // namespace

std::unique_ptr<Store> open_postgres_store(const std::string& url) { return std::make_unique<PostgresStore>(url); }

void create_postgres_database(const std::string& url, const std::string& name) {
    translated([&] {
        pqxx::connection connection{url};
        pqxx::nontransaction session{connection};
        session.exec0("create database " + session.quote_name(name));
    });
}

}  // namespace shop
