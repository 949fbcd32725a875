// hufu-fault-receipts-consumer: a consumer whose effect and receipt are one transaction, and which kills itself at a step.
//
// Usage: hufu-fault-receipts-consumer DATABASE-URL BROKER-URL GROUP STEP NTH [unguarded]
// STEP: before_effect, before_commit, after_commit (at the NTH delivery), or none. The group "points" refuses messages with the
// tag "refuse". With `unguarded` the effect has no guard, so that the judge must see effects twice.
#include <signal.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include <pqxx/pqxx>

#include <hufu/connect/connect.hpp>
#include <hufu/core/consumer.hpp>
#include <hufu/outbox/receipts.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/postgres/outbox.hpp>

namespace hufu::fault {
namespace {

using std::chrono::milliseconds;

struct Arguments {
    std::string database, broker, group, step;
    int nth = 1;
    bool unguarded = false;
};

/// Dies at the nth time that the step is passed.
class Death {
public:
    explicit Death(const Arguments& arguments) : step_{arguments.step}, left_{arguments.nth} {}
    void pass(const char* step) {
        if (step_ == step && --left_ == 0) ::raise(SIGKILL);
    }

private:
    const std::string step_;
    std::atomic<int> left_;
};

idempotency::EffectResult effect(pqxx::work& tx, const Message& message, const Arguments& arguments, Death& death) {
    death.pass("before_effect");
    if (message.tag == "refuse" && arguments.group == "points") return {Handled::reject, "", "sold out"};
    tx.exec_params("insert into effects(message_id) values ($1::uuid)", message.id.to_string());
    death.pass("before_commit");
    return Handled::done;
}

/// Seeded: no guard, so a second delivery is a second effect.
Handler without_guard(postgres::ConnectionPool& pool, const Arguments& arguments, Death& death) {
    return [&](const Delivery& delivery) -> HandlerResult {
        const outbox::ReceiptDuty duty{arguments.group, delivery.message};
        auto lent = pool.lend();
        if (!lent) return {Handled::retry, lent.error().text()};
        pqxx::work tx{**lent};
        const auto result = effect(tx, delivery.message, arguments, death);
        if (result.handled == Handled::retry) return {result.handled, result.reason};
        if (const auto refusal = duty.afterwards(result.handled, result.reason, false))
            postgres::Outbox{}.append(tx, *refusal);
        if (const auto receipt = duty.with_effect(result.handled)) postgres::Outbox{}.append(tx, *receipt);
        tx.commit();
        return {result.handled, result.reason};
    };
}

int run(const Arguments& arguments) {
    const auto subscription =
        connect::subscription(arguments.broker, {.group = arguments.group, .topics = {"orders"}}).value();
    const auto dead_letters = connect::publisher(arguments.broker).value();
    postgres::ConnectionPool pool{arguments.database};
    Death death{arguments};
    const Handler guarded = arguments.unguarded
                                ? without_guard(pool, arguments, death)
                                : postgres::once(pool, arguments.group, [&](pqxx::work& tx, const Message& message) {
                                      return effect(tx, message, arguments, death);
                                  });
    ConsumerOptions options;
    options.group = arguments.group;
    options.retry = RetrySchedule::capped(milliseconds{50}, milliseconds{500}).jitter(0.2);
    Consumer consumer{*subscription, *dead_letters, options};
    const auto ended = consumer.run(
        [&](const Delivery& delivery) {
            auto result = guarded(delivery);
            if (result.handled == Handled::done) death.pass("after_commit");
            return result;
        },
        {});
    std::fprintf(stderr, "ended: %s\n", ended ? "asked to" : ended.error().text().c_str());
    return 1;
}

}  // namespace
}  // namespace hufu::fault

int main(int count, char** words) {
    if (count < 6) {
        std::fprintf(stderr, "hufu-fault-receipts-consumer: started by hufu-fault-receipts\n");
        return 2;
    }
    try {
        return hufu::fault::run({words[1], words[2], words[3], words[4], std::atoi(words[5]), count > 6});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-fault-receipts-consumer: %s\n", error.what());
        return 1;
    }
}
