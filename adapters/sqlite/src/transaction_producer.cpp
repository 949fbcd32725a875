#include <hufu/sqlite/transaction_producer.hpp>

#include <optional>
#include <utility>

#include "error.hpp"
#include "verdict_row.hpp"

namespace hufu::sqlite {
namespace {

class SqliteLocal final : public txmsg::LocalTransaction {
public:
    explicit SqliteLocal(Database& database) : database_{database} {}

    Result<void> begin() override {
        return caught<void>([&] { transaction_.emplace(database_); });
    }
    Result<void> insert_verdict(const txmsg::TransactionId& transaction) override {
        return caught<void>([&] { open_verdict(*transaction_, transaction); });
    }
    Result<void> commit() override {
        auto committed = caught<void>([&] { transaction_->commit(); });
        transaction_.reset();
        return committed;
    }
    void roll_back() noexcept override { transaction_.reset(); }

    Transaction& transaction() { return *transaction_; }

private:
    Database& database_;
    std::optional<Transaction> transaction_;
};

}  // namespace

struct TransactionProducer::Impl {
    Impl(Database& database_, txmsg::HalfPublisher& halves, txmsg::ProducerOptions options, Clock& clock, Random& random,
         VerdictStoreOptions store_options)
        : database{database_},
          store{database_.path(), store_options},
          producer{halves, store, std::move(options), clock, random} {}

    Database& database;
    VerdictStore store;
    txmsg::Producer producer;  // last: its responder uses the store
};

TransactionProducer::TransactionProducer(Database& database, txmsg::HalfPublisher& halves, txmsg::ProducerOptions options,
                                         Clock& clock, Random& random, VerdictStoreOptions store)
    : impl_{std::make_unique<Impl>(database, halves, std::move(options), clock, random, store)} {}
TransactionProducer::~TransactionProducer() = default;

txmsg::TransactionResult TransactionProducer::send(Message message, const Local& local, const txmsg::SendOptions& options) {
    std::vector<Message> messages;
    messages.push_back(std::move(message));
    return send(std::move(messages), local, options);
}

txmsg::TransactionResult TransactionProducer::send(std::vector<Message> messages, const Local& local,
                                                   const txmsg::SendOptions& options) {
    SqliteLocal transaction{impl_->database};
    return impl_->producer.send(
        std::move(messages), transaction, [&] { return local(transaction.transaction()); }, options);
}

VerdictStore& TransactionProducer::verdicts() noexcept { return impl_->store; }

}  // namespace hufu::sqlite
