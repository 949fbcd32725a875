#include "transaction_world.hpp"

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <utility>

#include <hufu/core/ids.hpp>
#include <hufu/remoting/transaction_bodies.hpp>

#include "dispatch_node.hpp"
#include "event_queue.hpp"
#include "service_node.hpp"
#include "sim_disk.hpp"
#include "transaction_ledger.hpp"
#include "verdict_database.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;
using remoting::RequestCode;

namespace {

constexpr std::size_t transactions_wanted = 40;
constexpr std::size_t crashes_wanted = 6;
constexpr std::uint64_t steps_max = 1'000'000;  // more is a livelock
constexpr auto budget = 2h;
constexpr auto quiet_within = 10min;  // of virtual time, after the last fault
constexpr std::array topics{"orders", "payments"};
constexpr std::int32_t queues = 2;

/// What a seed does beside its harm.
enum class Story : std::uint8_t {
    plain,
    hour_alone,   ///< every service is down for an hour
    late_resume,  ///< every service is down past the budget, verdicts are purged, then somebody resumes what is parked
};

broker::DispatcherOptions broker_options() {
    broker::DispatcherOptions options;
    options.advertised = {{10, 0, 0, 1}, 10911};
    options.default_queues = queues;
    options.transactions.first_check = 150ms;
    options.transactions.check_interval = 100ms;
    options.transactions.check_interval_max = 20s;
    options.transactions.checks_max = 15;
    options.transactions.budget = budget;
    options.transactions.answer_within = 250ms;
    return options;
}

class TransactionWorld {
public:
    TransactionWorld(std::uint64_t seed, std::string* trace)
        : random_{seed * 2 + 1},
          events_{clock_, random_, trace},
          story_{random_.below(3) == 0   ? Story::hour_alone
                 : random_.below(3) == 0 ? Story::late_resume
                                         : Story::plain},
          database_{ids_.next().to_string()},
          copy_{ids_.next().to_string()},
          broker_{events_, disk_, ids_, broker_options()},
          services_{ServiceNode{"service-a", events_, broker_, database_, ledger_},
                    ServiceNode{"service-b", events_, broker_, database_, ledger_}},
          stranger_{"restored-copy", events_, broker_, copy_, ledger_} {}

    TransactionRunResult run() {
        broker_.start();
        for (auto& service : services_) service.start();
        stranger_.start();
        watch();
        send_soon();
        events_.between(20ms, 80ms, [this] { do_harm(); });
        run_until([this] { return harm_done_; });
        if (story_ != Story::plain) leave_alone();
        heal();
        const SteadyTime deadline = events_.now() + quiet_within;
        run_until([this, deadline] { return is_settled() || events_.now() > deadline; });
        look();
        TransactionRunResult result;
        ledger_.check(undecided());
        result.violations = ledger_.take_violations();
        if (events_.steps() >= steps_max) result.violations.push_back({"P2", "it does not come to rest"});
        result.steps = events_.steps();
        result.transactions = ledger_.transactions();
        result.messages = ledger_.messages();
        result.crashes = crashes_;
        return result;
    }

private:
    template <class Done>
    void run_until(Done done) {
        while (events_.steps() < steps_max && !done() && events_.step()) {
        }
    }
    void run_for(EventQueue::Duration how_long) {
        const SteadyTime until = events_.now() + how_long;
        bool over = false;
        events_.at(until, [&over] { over = true; });
        run_until([&over] { return over; });
    }

    // Business.

    void send_soon() {
        events_.between(1ms, 60ms, [this] {
            if (ledger_.transactions() >= transactions_wanted || harm_done_) return;
            auto& service = services_[random_.below(2)];
            if (service.is_up()) service.send(plan());
            send_soon();
        });
    }

    BusinessPlan plan() {
        BusinessPlan plan;
        plan.context.transaction = ids_.next();
        plan.context.group = ServiceNode::group;
        plan.context.handler = ServiceNode::handlers()[random_.below(2)];
        plan.context.store = database_.uuid();
        const std::size_t count = 1 + random_.below(3);
        for (std::size_t at = 0; at < count; ++at) {
            Message message;
            message.id = ids_.next();
            message.topic = topics[at % topics.size()];
            message.body = message.id.to_string();
            if (random_.below(8) == 0)
                message.deliver_at = events_.system_now() + std::chrono::milliseconds{random_.below(3000)};
            plan.messages.push_back(std::move(message));
        }
        // One in four is still at work when the first check comes.
        plan.takes = random_.below(4) == 0 ? EventQueue::Duration{std::chrono::milliseconds{100 + random_.below(600)}}
                                           : EventQueue::Duration{std::chrono::microseconds{50 + random_.below(5000)}};
        plan.roll_back = random_.below(8) == 0;
        plan.fails = random_.below(12) == 0;
        plan.end_one_way = random_.below(6) == 0;
        return plan;
    }

    // Consumers: one that looks at everything.

    void watch() {
        look();
        const auto pause = alone_       ? EventQueue::Duration{10min}
                           : harm_done_ ? EventQueue::Duration{100ms}
                                        : EventQueue::Duration{15ms};
        events_.after(pause, [this, turn = ++watch_turn_] {
            if (turn == watch_turn_) watch();
        });
    }

    void look() {
        for (const auto* topic : topics) {
            for (std::int32_t queue = 0; queue < queues; ++queue) {
                std::uint64_t& next = next_[{topic, queue}];
                for (;;) {
                    const auto messages = broker_.pull(topic, queue, next);
                    if (!messages || messages->empty()) break;
                    for (const auto& message : *messages) {
                        next = message.offset + 1;
                        const std::string place =
                            std::string{topic} + "/" + std::to_string(queue) + "/" + std::to_string(message.offset);
                        events_.note("visible: ", message.id, " at ", place);
                        ledger_.seen(message.id, place, message.intact);
                    }
                }
            }
        }
    }

    // Harm.

    void do_harm() {
        if (ledger_.transactions() >= transactions_wanted && crashes_ >= crashes_wanted) {
            harm_done_ = true;
            return;
        }
        auto& service = services_[random_.below(2)];
        switch (random_.below(12)) {
            case 0:
            case 1: crash_broker(true); break;
            case 2: crash_broker(false); break;
            case 3:
            case 4:
            case 5: kill_service(service); break;
            case 6:
                events_.note("a service is stopped for a while");
                service.pause(std::chrono::milliseconds{50 + random_.below(1500)});
                break;
            case 7: service.reset_connection(); break;
            case 8:
                events_.note("the database restarts");
                ++crashes_;
                database_.restart();
                break;
            case 9:
                events_.note("a sync fails");
                disk_.fail_nth(DiskCall::sync, 1 + random_.below(3));
                break;
            case 10: fail_over(); break;
            case 11: step_clock(); break;
        }
        events_.between(10ms, 120ms, [this] { do_harm(); });
    }

    void crash_broker(bool power) {
        if (!broker_.is_up()) return;
        events_.note(power ? "the broker's power is cut" : "the broker is killed");
        ++crashes_;
        power ? broker_.crash() : broker_.kill();
        events_.between(1ms, 60ms, [this] {
            if (!broker_.is_up()) broker_.start();
        });
    }

    void kill_service(ServiceNode& service) {
        if (!service.is_up()) return;
        events_.note("a service is killed");
        ++crashes_;
        service.kill();
        events_.between(1ms, 800ms, [this, &service] {
            if (!service.is_up() && !alone_) service.start();
        });
    }

    void fail_over() {
        if (!standby_marked_) {
            standby_marked_ = true;
            return database_.mark_standby();
        }
        if (random_.below(3) != 0) return;  // rarely: every transaction since the mark is excused
        events_.note("the database fails over, without its last commits");
        ++crashes_;
        standby_marked_ = false;
        for (const auto& transaction : database_.fail_over()) ledger_.forgotten(transaction);
    }

    /// Never by more than a watermark is old.
    void step_clock() {
        const auto by = std::chrono::milliseconds{random_.below(4000)} - 2000ms;
        events_.note("the wall clock steps by ", by.count(), " ms");
        clock_.step_system(by);
    }

    // Stories.

    void leave_alone() {
        // Some are caught between their COMMIT and END.
        for (int at = 0; at < 8; ++at)
            if (auto& service = services_[random_.below(2)]; service.is_up()) service.send(plan());
        run_for(std::chrono::microseconds{500 + random_.below(8000)});
        alone_ = true;
        events_.note("every service goes away");
        for (auto& service : services_) service.kill();
        stranger_.kill();
        if (!broker_.is_up()) broker_.start();
        disk_.heal();
        if (story_ == Story::hour_alone) {
            run_for(1h);
        } else {
            run_for(budget + 1h);
            events_.note("old verdicts are purged");
            database_.move_watermark(events_.system_now() - 1h);
            database_.purge();
        }
        alone_ = false;
    }

    void heal() {
        events_.note("no more harm");
        disk_.heal();
        if (!broker_.is_up()) broker_.start();
        for (auto& service : services_)
            if (!service.is_up()) service.start();
        if (!stranger_.is_up()) stranger_.start();
        watch();
        if (story_ == Story::late_resume) events_.after(1s, [this] { resume_all(); });
    }

    void resume_all() {
        for (const auto& [transaction, state] : undecided()) {
            if (!state.starts_with("parked")) continue;
            events_.note("somebody resumes ", transaction);
            const remoting::TransactionCommand command{
                .id = transaction, .reason = "the service is back", .operator_ = "test"};
            broker_.ask(RequestCode::resume_transaction, remoting::NoFields{}, command.to_json());
        }
    }

    [[nodiscard]] std::map<std::string, std::string> undecided() {
        std::map<std::string, std::string> list;
        remoting::TransactionFilter filter;
        filter.limit = remoting::transactions_listed_max;
        const auto answer = broker_.ask(RequestCode::list_transactions, remoting::NoFields{}, filter.to_json());
        const auto parsed = answer ? remoting::TransactionList::parse(answer->body)
                                   : Result<remoting::TransactionList>{remoting::TransactionList{}};
        if (!answer || !parsed) {
            list["?"] = "pending: the broker does not say what it holds";
            return list;
        }
        for (const auto& one : parsed->transactions) list[one.transaction_id] = one.state + ": " + one.reason;
        return list;
    }

    bool is_settled() {
        if (events_.now() < next_look_) return false;
        next_look_ = events_.now() + 100ms;
        for (const auto& service : services_)
            if (!service.is_idle()) return false;
        return broker_.is_up() && ledger_.all_settled(undecided());
    }

    SeededRandom random_;
    testing::FakeClock clock_{testing::FakeClock::Sleep::advances};
    EventQueue events_;
    MessageIdGenerator ids_{clock_, random_};
    const Story story_;
    TransactionLedger ledger_;
    VerdictDatabase database_;
    VerdictDatabase copy_;  ///< restored from a backup: another store, without the rows
    SimDisk disk_{random_};
    DispatchNode broker_;
    std::array<ServiceNode, 2> services_;
    ServiceNode stranger_;
    std::map<std::pair<std::string, std::int32_t>, std::uint64_t> next_;
    std::uint64_t crashes_ = 0;
    std::uint64_t watch_turn_ = 0;
    bool standby_marked_ = false;
    bool harm_done_ = false;
    bool alone_ = false;
    SteadyTime next_look_{};
};

}  // namespace

TransactionRunResult run_transaction_seed(std::uint64_t seed, std::string* trace) {
    return std::make_unique<TransactionWorld>(seed, trace)->run();
}

}  // namespace hufu::simulation
