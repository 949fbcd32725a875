// hufu-fault-txmsg-service: a service that sends transaction messages, or only answers checks, and stands still at a step
// until it is killed or told to go on.
//
// Usage: hufu-fault-txmsg-service DATABASE-URL BROKER-URL FOLDER STEP ROUND TRANSACTIONS SCENE [lie]
// STEP: before_half, after_half, during_local, between_commit_and_end, during_check, or none. With `lie` every check is
// answered with commit. In FOLDER: `ready` is made when checks are answered, `reached` when every transaction (or the first
// check) stands at the step, `finished` when all have been sent; `go` is waited for; `checks` grows a byte per answer; `said`
// has a line for every verdict that is said to the broker, written before it is.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <hufu/connect/connect.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/postgres/transaction_producer.hpp>

#include "txmsg_plan.hpp"

namespace hufu::fault {
namespace {

struct Arguments {
    std::string database, broker, folder, step, round;
    int transactions;
    std::string scene;
    bool lie;
};

/// Where everybody who comes by stands still, once.
class Barrier {
public:
    explicit Barrier(const Arguments& arguments)
        : arguments_{arguments}, wanted_{arguments.step == "during_check" ? 1 : arguments.transactions} {}
    void pass(const std::string& step) {
        if (step != arguments_.step) return;
        arrive();
        Clock& clock = system_clock();
        while (!std::filesystem::exists(arguments_.folder + "/go")) {
            clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{2}, {});
        }
    }

    void arrive() {
        if (++arrived_ == wanted_) std::ofstream{arguments_.folder + "/reached"};
    }

private:
    const Arguments& arguments_;
    const int wanted_;
    std::atomic<int> arrived_ = 0;
};

/// The real way to the broker, with the steps in it.
class Steps final : public txmsg::HalfPublisher {
public:
    Steps(txmsg::HalfPublisher& real, const Arguments& arguments, Barrier& barrier)
        : real_{real}, arguments_{arguments}, barrier_{barrier} {}
    void prepare(const txmsg::HalfContext& context, std::span<const Message> messages,
                 std::span<txmsg::HalfOutcome> outcomes, Done done) override {
        {
            const std::lock_guard lock{mutex_};
            ids_[context.transaction] = messages.front().body;
        }
        barrier_.pass("before_half");
        std::promise<void> stored;
        real_.prepare(context, messages, outcomes, [&] { stored.set_value(); });
        stored.get_future().wait();
        barrier_.pass("after_half");
        done();
    }
    void end(const txmsg::HalfContext& context, std::span<const txmsg::Half> halves, txmsg::Verdict verdict,
             std::string_view reason, txmsg::EndOutcome& outcome, Done done) override {
        barrier_.pass("between_commit_and_end");
        note(id_of(context.transaction), verdict);
        real_.end(context, halves, verdict, reason, outcome, std::move(done));
    }
    Result<void> serve_checks(std::string group, std::vector<std::string> handlers, OnCheck on_check) override {
        if (!on_check) return real_.serve_checks(std::move(group), std::move(handlers), nullptr);
        return real_.serve_checks(
            std::move(group), std::move(handlers), [this, on_check](txmsg::Check check, Answer answer) {
                const std::string id = check.message.body;
                on_check(std::move(check), [this, id, answer](txmsg::Verdict verdict, std::string reason) {
                    barrier_.pass("during_check");
                    if (arguments_.lie) verdict = txmsg::Verdict::commit;
                    note(id, verdict);
                    answer(verdict, std::move(reason));
                    std::ofstream{arguments_.folder + "/checks", std::ios::app} << '.';
                });
            });
    }

private:
    std::string id_of(const txmsg::TransactionId& transaction) {
        const std::lock_guard lock{mutex_};
        return ids_.at(transaction);
    }
    void note(const std::string& id, txmsg::Verdict verdict) const {
        if (verdict == txmsg::Verdict::unknown) return;
        std::ofstream{arguments_.folder + "/said", std::ios::app}
            << id + (verdict == txmsg::Verdict::commit ? " commit\n" : " rollback\n");
    }

    txmsg::HalfPublisher& real_;
    const Arguments& arguments_;
    Barrier& barrier_;
    std::mutex mutex_;
    std::map<txmsg::TransactionId, std::string> ids_;  // guarded by mutex_
};

void send(postgres::TransactionProducer& producer, const Arguments& arguments, Barrier& barrier, int number) {
    const std::string id = arguments.round + "-" + std::to_string(number);
    bool ran = false;
    std::vector<Message> messages;
    for (const auto& topic : topics_of(arguments.scene, number)) {
        messages.push_back({.topic = topic, .ordering_key = one_queue, .body = id});
    }
    try {
        const auto sent = producer.send(std::move(messages), [&](pqxx::work& tx) {
            ran = true;
            tx.exec_params("insert into done(id) values ($1)", id);
            barrier.pass("during_local");
            return wants_rollback(number) ? txmsg::Decision::rollback : txmsg::Decision::commit;
        });
        std::fprintf(stderr, "%s state %d %s\n", id.c_str(), static_cast<int>(sent.state), sent.error.text().c_str());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s %s\n", id.c_str(), error.what());  // what died is put right by check-back
    }
    // On a slow machine a check may decide before the local transaction began: it never stands there, nobody waits for it.
    if (!ran && arguments.step == "during_local") barrier.arrive();
}

int run(const Arguments& arguments) {
    Barrier barrier{arguments};
    const auto real = connect::half_publisher(arguments.broker).value();
    Steps halves{*real, arguments, barrier};
    postgres::TransactionProducer producer{arguments.database, halves, {.group = arguments.scene}};
    std::ofstream{arguments.folder + "/ready"};
    {
        std::vector<std::jthread> senders;
        for (int number = 0; number < arguments.transactions; ++number) {
            senders.emplace_back([&, number] { send(producer, arguments, barrier, number); });
        }
    }
    std::ofstream{arguments.folder + "/finished"};
    Clock& clock = system_clock();
    for (;;) clock.sleep_until(clock.steady_now() + std::chrono::hours{1}, {});
}

}  // namespace
}  // namespace hufu::fault

int main(int count, char** words) {
    if (count < 8) {
        std::fprintf(stderr, "hufu-fault-txmsg-service: started by hufu-fault-txmsg\n");
        return 2;
    }
    try {
        return hufu::fault::run(
            {words[1], words[2], words[3], words[4], words[5], std::atoi(words[6]), words[7], count > 8});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-fault-txmsg-service: %s\n", error.what());
        return 1;
    }
}
