#include "guard_world.hpp"

#include <map>
#include <memory>
#include <set>

#include <hufu/idempotency/once.hpp>

#include "effect_database.hpp"
#include "event_queue.hpp"
#include "guard_judge.hpp"
#include "lease_node.hpp"
#include "lock_node.hpp"
#include "sim_redis.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;
using idempotency::OnceAction;
using idempotency::OnceMachine;

namespace {

constexpr int leased_messages = 40;
constexpr int copies = 4;
constexpr int guarded_messages = 20;
constexpr std::size_t nodes = 3;
constexpr auto harm_for = 3s;
constexpr auto window = 1500ms;      // of the database's guard rows
constexpr auto replays_within = 4s;  // later than that window: what the horizon is for
constexpr auto quiet_within = 120s;  // of virtual time, after the last harm
constexpr std::uint64_t steps_max = 500'000;

class GuardWorld {
public:
    GuardWorld(std::uint64_t seed, std::string* trace) : random_{seed}, events_{clock_, random_, trace} {
        for (std::size_t i = 0; i < nodes; ++i) {
            lease_nodes_.push_back(std::make_unique<LeaseNode>("node " + std::to_string(i), events_, redis_, judge_));
            lock_nodes_.push_back(std::make_unique<LockNode>(events_, redis_, account_));
        }
    }

    GuardRunResult run() {
        for (auto& node : lease_nodes_) node->start();
        for (auto& node : lock_nodes_) node->start();
        for (int message = 0; message < leased_messages; ++message) {
            // The copies come close together, some of them much later.
            const auto first = std::chrono::milliseconds{random_.below(2500)};
            for (int copy = 0; copy < copies; ++copy) {
                const auto apart = events_.chance(4) ? 1500ms : 3ms;
                events_.between(first, first + apart, [this, message] { deliver(message); });
            }
        }
        for (int message = 0; message < guarded_messages; ++message) store_guarded(message);
        events_.between(5ms, 60ms, [this] { do_harm(); });
        events_.after(200ms, [this] { purge(); });
        const SteadyTime begin = events_.now();
        while (events_.now() < begin + harm_for && events_.steps() < steps_max && events_.step()) {
        }
        heal();
        const SteadyTime deadline = events_.now() + quiet_within;
        while (!is_quiet() && events_.now() < deadline && events_.steps() < steps_max && events_.step()) {
        }
        return result();
    }

private:
    void deliver(int message) {
        auto& node = *lease_nodes_[random_.below(nodes)];
        if (!node.is_up()) return deliver_again(message);
        auto answered = std::make_shared<bool>(false);
        node.deliver(message, [this, message, answered](bool acknowledged) {
            *answered = true;
            if (!acknowledged) deliver_again(message);
        });
        // A process that dies does not answer: the broker delivers again, as it does after its own time-out.
        events_.after(10s, [this, message, answered] {
            if (!*answered && !judge_.settled(message)) deliver(message);
        });
    }

    void deliver_again(int message) {
        events_.between(20ms, 200ms, [this, message] { deliver(message); });
    }

    // The database's guard: each message comes, and is replayed once more up to `replays_within` later.
    void store_guarded(int message) {
        events_.between(1ms, 1500ms, [this, message] {
            Delivery delivery;
            delivery.message.id = MessageId{{static_cast<std::uint8_t>(message), 1}};
            delivery.stored_at = events_.system_now();
            handle(delivery);
            const auto later = std::chrono::milliseconds{
                random_.below(static_cast<std::uint64_t>(std::chrono::milliseconds{replays_within}.count()))};
            events_.after(later, [this, delivery] { handle(delivery); });
        });
    }

    struct Execution {
        OnceMachine machine;
        Delivery delivery;
        std::optional<EffectDatabase::TransactionId> transaction = {};
    };

    void handle(const Delivery& delivery) {
        const idempotency::GuardKey key{"stock", delivery.message.id};
        step(std::make_shared<Execution>(Execution{OnceMachine{key, idempotency::first_stored_at(delivery)}, delivery}));
    }

    void step(const std::shared_ptr<Execution>& one) {
        auto& machine = one->machine;
        const bool gone = one->transaction && !effects_.is_open(*one->transaction);
        if (gone && machine.next() != OnceAction::roll_back) {
            machine.failed(Error{ErrorCode::unavailable, Disposition::in_doubt, "the connection was lost"});
        }
        switch (machine.next()) {
            case OnceAction::begin:
                one->transaction = effects_.begin();
                machine.done();
                break;
            case OnceAction::insert_guard:
                if (const auto seen = effects_.insert(*one->transaction, machine.key())) machine.seen(*seen);
                break;
            case OnceAction::find_guard: machine.seen(effects_.find(machine.key())); break;
            case OnceAction::run_effect:
                effects_.add_effect(*one->transaction, {one->delivery.message.id, {}, 0});
                machine.returned(Handled::done);
                break;
            case OnceAction::keep_result: machine.done(); break;
            case OnceAction::commit:
                effects_.commit(*one->transaction, events_.system_now());
                one->transaction.reset();
                machine.done();
                break;
            case OnceAction::roll_back:
                effects_.roll_back(*one->transaction);
                one->transaction.reset();
                machine.done();
                break;
            case OnceAction::finished: return finished(*one);
        }
        events_.between(20us, 2ms, [this, one] { step(one); });
    }

    void finished(const Execution& one) {
        const auto handled = one.machine.outcome().handled;
        if (handled == Handled::reject) rejected_.insert(one.delivery.message.id);
        if (handled == Handled::retry) events_.between(5ms, 50ms, [this, delivery = one.delivery] { handle(delivery); });
    }

    void purge() {
        effects_.purge(events_.system_now() - window);
        events_.after(200ms, [this] { purge(); });
    }

    // Harm.

    void do_harm() {
        if (healed_) return;
        auto& lease_node = *lease_nodes_[random_.below(nodes)];
        auto& lock_node = *lock_nodes_[random_.below(nodes)];
        const auto long_one = std::chrono::milliseconds{random_.below(700)};
        switch (random_.below(10)) {
            case 0: kill_for_a_while(lease_node, "a holder of leases is killed"); break;
            case 1: kill_for_a_while(lock_node, "a holder of the lock is killed"); break;
            case 2:
            case 3:
                events_.note("a holder of leases is stopped for a while");
                lease_node.pause(long_one);
                break;
            case 4:
            case 5:
                events_.note("a holder of the lock is stopped for a while");
                lock_node.pause(long_one);
                break;
            case 6:
                events_.note("Redis does not answer for a while");
                redis_.go_away(long_one / 2);
                for (auto& node : lease_nodes_) node->disturb();
                break;
            case 7:
                if (!events_.chance(3)) break;
                events_.note("Redis has forgotten everything");
                ++crashes_;
                redis_.forget_everything();
                break;
            case 8:
                if (!events_.chance(3)) break;
                events_.note("a replica takes over without the last writes");
                ++crashes_;
                redis_.forget_since(events_.now() - long_one / 4);
                break;
            case 9:
                events_.note("the databases restart");
                ++crashes_;
                effects_.restart();
                account_.restart();
                break;
        }
        events_.between(10ms, 150ms, [this] { do_harm(); });
    }

    template <class Node>
    void kill_for_a_while(Node& node, const char* what) {
        if (!node.is_up()) return;
        events_.note(what);
        ++crashes_;
        node.kill();
        events_.between(1ms, 100ms, [&node] {
            if (!node.is_up()) node.start();
        });
    }

    void heal() {
        events_.note("no more harm");
        healed_ = true;
        for (auto& node : lease_nodes_) {
            if (!node->is_up()) node->start();
        }
        for (auto& node : lock_nodes_) {
            if (!node->is_up()) node->start();
        }
    }

    [[nodiscard]] bool is_quiet() const {
        if (events_.now() < quiet_from()) return false;
        for (int message = 0; message < leased_messages; ++message) {
            if (!judge_.settled(message)) return false;
        }
        return true;
    }
    /// The last copies and replays have come by then.
    [[nodiscard]] SteadyTime quiet_from() const { return begin_ + harm_for + replays_within; }

    GuardRunResult result() {
        std::map<MessageId, int> effects;
        for (const auto& effect : effects_.effects()) ++effects[effect.id];
        for (int message = 0; message < guarded_messages; ++message) {
            const MessageId id{{static_cast<std::uint8_t>(message), 1}};
            const int count = effects.contains(id) ? effects[id] : 0;
            if (count > 1) judge_.complain("guarded message " + std::to_string(message) + " has a second effect");
            if (count == 0 && !rejected_.contains(id)) {
                judge_.complain("guarded message " + std::to_string(message) + " has no effect, and nobody was told");
            }
        }
        for (int message = 0; message < leased_messages; ++message) {
            if (!judge_.settled(message)) judge_.complain("message " + std::to_string(message) + " was never handled");
        }
        return {.steps = events_.steps(),
                .messages = leased_messages + guarded_messages,
                .crashes = crashes_,
                .doubles = judge_.doubles(),
                .lock_updates = account_.updates(),
                .violations = judge_.violations()};
    }

    SeededRandom random_;
    testing::FakeClock clock_{testing::FakeClock::Sleep::advances};
    EventQueue events_;
    SteadyTime begin_ = events_.now();
    SimRedis redis_{events_};
    GuardJudge judge_;
    AccountDatabase account_{events_, [this](const std::string& what) { judge_.complain(what); }};
    EffectDatabase effects_;
    std::vector<std::unique_ptr<LeaseNode>> lease_nodes_;
    std::vector<std::unique_ptr<LockNode>> lock_nodes_;
    std::set<MessageId> rejected_;
    std::uint64_t crashes_ = 0;
    bool healed_ = false;
};

}  // namespace

GuardRunResult run_guard_seed(std::uint64_t seed, std::string* trace) {
    return std::make_unique<GuardWorld>(seed, trace)->run();
}

}  // namespace hufu::simulation
