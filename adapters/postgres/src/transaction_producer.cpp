#include <hufu/postgres/transaction_producer.hpp>

#include <pqxx/pqxx>

#include <optional>
#include <utility>

#include <hufu/postgres/once.hpp>

#include "pqxx_errors.hpp"

namespace hufu::postgres {
namespace {

constexpr std::string_view about = "transaction message";

template <class Action>
Result<void> guarded(Setting setting, const Action& action) {
    try {
        action();
        return {};
    } catch (const std::exception&) {
        return current_pqxx_error(setting, about);
    }
}

/// One send's transaction, on a connection that is borrowed when it begins.
class PqxxLocal final : public txmsg::LocalTransaction {
public:
    explicit PqxxLocal(ConnectionPool& pool) : pool_{pool} {}

    Result<void> begin() override {
        auto lent = pool_.lend();
        if (!lent) return lent.error();
        lent_.emplace(std::move(*lent));
        return guarded(Setting::in_transaction, [&] { work_.emplace(**lent_); });
    }

    Result<void> insert_verdict(const txmsg::TransactionId& transaction) override {
        return guarded(Setting::in_transaction,
                       [&] { work_->exec_params("select hufu.open_verdict($1::uuid)", transaction.to_string()); });
    }

    Result<void> commit() override {
        auto committed = guarded(Setting::committing, [&] { work_->commit(); });
        end();
        return committed;
    }

    void roll_back() noexcept override { end(); }

    pqxx::work& work() { return *work_; }

private:
    void end() noexcept {
        work_.reset();
        lent_.reset();
    }

    ConnectionPool& pool_;
    std::optional<ConnectionPool::Lent> lent_;
    std::optional<pqxx::work> work_;
};

}  // namespace

struct TransactionProducer::Impl {
    Impl(std::string url, txmsg::HalfPublisher& halves, txmsg::ProducerOptions options, Clock& clock, Random& random,
         VerdictStoreOptions store_options)
        : pool{url}, store{std::move(url), store_options}, producer{halves, store, std::move(options), clock, random} {}

    ConnectionPool pool;
    VerdictStore store;
    txmsg::Producer producer;  // last: its responder uses the store
};

TransactionProducer::TransactionProducer(std::string url, txmsg::HalfPublisher& halves, txmsg::ProducerOptions options,
                                         Clock& clock, Random& random, VerdictStoreOptions store)
    : impl_{std::make_unique<Impl>(std::move(url), halves, std::move(options), clock, random, store)} {}
TransactionProducer::~TransactionProducer() = default;

txmsg::TransactionResult TransactionProducer::send(Message message, const Local& local, const txmsg::SendOptions& options) {
    std::vector<Message> messages;
    messages.push_back(std::move(message));
    return send(std::move(messages), local, options);
}

txmsg::TransactionResult TransactionProducer::send(std::vector<Message> messages, const Local& local,
                                                   const txmsg::SendOptions& options) {
    PqxxLocal transaction{impl_->pool};
    return impl_->producer.send(
        std::move(messages), transaction, [&] { return local(transaction.work()); }, options);
}

VerdictStore& TransactionProducer::verdicts() noexcept { return impl_->store; }

}  // namespace hufu::postgres
