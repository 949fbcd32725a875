#include "world.hpp"

#include <optional>
#include <set>

#include <hufu/core/ids.hpp>

#include "broker_node.hpp"
#include "consumer_node.hpp"
#include "effect_database.hpp"
#include "event_queue.hpp"
#include "outbox_database.hpp"
#include "relay_node.hpp"
#include "sim_disk.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t messages_wanted = 200;
constexpr std::size_t crashes_wanted = 5;
constexpr std::size_t keys = 12;
constexpr std::size_t writers = 4;
constexpr std::uint64_t steps_max = 2'000'000;  // more is a livelock
constexpr auto quiet_within = 120s;             // of virtual time, after the last fault

class World {
public:
    World(std::uint64_t seed, std::string* trace)
        : random_{seed},
          events_{clock_, random_, trace},
          kind_{random_.below(3) == 0 ? StoreKind::sqlite : StoreKind::postgres},
          database_{kind_, events_},
          broker_{events_, disk_},
          relays_{
              RelayNode{"relay-a", events_, database_, broker_, [this](const std::string& what) { complain("P4", what); }},
              RelayNode{"relay-b", events_, database_, broker_, [this](const std::string& what) { complain("P4", what); }}},
          consumers_{ConsumerNode{events_, broker_, effects_, hooks()}, ConsumerNode{events_, broker_, effects_, hooks()}} {}

    RunResult run(std::uint64_t seed) {
        broker_.start();
        for (auto& relay : relays_) relay.start();
        for (auto& consumer : consumers_) consumer.start();
        for (std::size_t queue = 0; queue < BrokerNode::queues; ++queue) give(queue, queue % 2);
        for (std::size_t writer = 0; writer < writers; ++writer) write_soon();
        events_.between(10ms, 60ms, [this] { do_harm(); });
        events_.after(50ms, [this] { look_after_parked(); });

        while (!healing_ && events_.steps() < steps_max && events_.step()) {
        }
        heal();
        const SteadyTime deadline = events_.now() + quiet_within;
        while (!is_quiet() && events_.now() < deadline && events_.steps() < steps_max && events_.step()) {
        }

        RunResult result;
        result.seed = seed;
        result.steps = events_.steps();
        result.messages = ledger_.size();
        result.effects = effects_.effects().size();
        result.crashes = crashes_;
        result.violations = std::move(violations_);
        for (auto& violation : ledger_.check(effects_.effects())) result.violations.push_back(std::move(violation));
        if (!database_.empty() && result.violations.empty()) {
            result.violations.push_back({"P2", "the outbox did not become empty: " + std::to_string(database_.rows()) +
                                                   " rows, " + std::to_string(database_.parked()) + " parked"});
        }
        return result;
    }

private:
    ConsumerNode::Hooks hooks() {
        return {[this](std::size_t queue, const BrokerNode::Stored& stored) { served(queue, stored); },
                [this](const std::string& what) { complain("P2", what); }};
    }

    void complain(std::string promise, const std::string& what) {
        if (violations_.size() < 20) violations_.push_back({std::move(promise), what});
    }

    /// What a consumer was shown at a place of a queue must stay there.
    void served(std::size_t queue, const BrokerNode::Stored& stored) {
        if (!stored.intact) complain("P2", "the broker served a damaged record at " + std::to_string(stored.offset));
        const auto [seen, fresh] = seen_.try_emplace({queue, stored.offset}, stored.body);
        if (!fresh && seen->second != stored.body) {
            complain("P2", "offset " + std::to_string(stored.offset) + " of queue " + std::to_string(queue) +
                               " was served with two contents");
        }
    }

    // Business.

    struct Work {
        OutboxDatabase::TransactionId transaction = 0;
        std::size_t left = 0;
        std::vector<MessageId> ids = {};
        std::map<std::string, std::uint64_t> versions = {};
    };

    void write_soon() {
        events_.between(100us, 12ms, [this] {
            if (ledger_.size() >= messages_wanted) return;
            const auto transaction = database_.begin();
            if (!transaction) return write_soon();  // SQLite is busy with another writer
            auto work = std::make_shared<Work>(Work{*transaction, 1 + random_.below(3)});
            write_row(work);
        });
    }

    void write_row(const std::shared_ptr<Work>& work) {
        Message message;
        message.id = ids_.next();
        message.topic = "orders";
        if (random_.below(12) == 0) {
            message.body = "0";
            if (random_.below(2) == 0)
                message.deliver_at = events_.system_now() + std::chrono::milliseconds{random_.below(400)};
        } else {
            const std::string key = "order-" + std::to_string(random_.below(keys));
            // The row lock of the order: held by a transaction until its end.
            if (locked_.contains(key) && !work->versions.contains(key)) return end_soon(work);
            locked_.insert(key);
            auto& version = work->versions.try_emplace(key, versions_[key]).first->second;
            message.ordering_key = key;
            message.body = std::to_string(++version);
            if (random_.below(60) == 0) message.tag = "poison";
        }
        ledger_.attempted(message.id, message.ordering_key, std::strtoull(message.body.c_str(), nullptr, 10));
        if (message.tag == "poison") poison_.insert(message.id);
        database_.insert(work->transaction, message);
        work->ids.push_back(message.id);
        if (--work->left == 0) return end_soon(work);
        events_.between(50us, 2ms, [this, work] { write_row(work); });
    }

    void end_soon(const std::shared_ptr<Work>& work) {
        const bool long_one = random_.below(40) == 0;
        events_.between(50us, long_one ? 600'000us : 3'000us, [this, work] { end(*work); });
    }

    void end(const Work& work) {
        const bool roll_back = random_.below(25) == 0;
        if (roll_back) {
            database_.abort(work.transaction);
        } else if (database_.commit(work.transaction)) {
            for (const auto& id : work.ids) {
                ledger_.committed(id);
                since_standby_.push_back(id);
            }
            for (const auto& [key, version] : work.versions) versions_[key] = version;
        }
        for (const auto& [key, version] : work.versions) locked_.erase(key);
        write_soon();
    }

    // A person who looks at what is parked.
    void look_after_parked() {
        for (const auto& parked : database_.parked_heads()) {
            const bool throw_away = poison_.contains(parked.head);
            if (throw_away) ledger_.discarded(parked.head);
            database_.release_parked(parked.key, throw_away);
        }
        events_.between(50ms, 200ms, [this] { look_after_parked(); });
    }

    // Harm.

    void do_harm() {
        if (ledger_.size() >= messages_wanted && crashes_ >= crashes_wanted) {
            healing_ = true;
            return;
        }
        auto& relay = relays_[random_.below(2)];
        auto& consumer = consumers_[random_.below(2)];
        switch (random_.below(12)) {
            case 0:
            case 1: crash_broker(true); break;
            case 2: crash_broker(false); break;
            case 3:
            case 4:
                if (relay.is_up()) {
                    events_.note("a relay is killed");
                    ++crashes_;
                    relay.kill();
                    events_.between(1ms, 100ms, [&relay] { relay.start(); });
                }
                break;
            case 5:
                events_.note("a relay is stopped for a while");
                relay.pause(std::chrono::milliseconds{50 + random_.below(900)});
                break;
            case 6: relay.reset_connection(); break;
            case 7:
                if (consumer.is_up()) {
                    events_.note("a consumer is killed");
                    ++crashes_;
                    consumer.kill();
                    events_.between(1ms, 60ms, [this, &consumer] {
                        consumer.start();
                        for (std::size_t queue = 0; queue < BrokerNode::queues; ++queue) {
                            if (&consumers_[owner_[queue]] == &consumer) give(queue, owner_[queue]);
                        }
                    });
                }
                break;
            case 8:
                events_.note("the consumers' database restarts");
                ++crashes_;
                effects_.restart();
                break;
            case 9: harm_outbox_database(); break;
            case 10:
                events_.note("a sync fails");
                disk_.fail_nth(DiskCall::sync, 1 + random_.below(3));
                break;
            case 11: rebalance(); break;
        }
        events_.between(5ms, 60ms, [this] { do_harm(); });
    }

    void crash_broker(bool power) {
        if (!broker_.is_up()) return;
        events_.note(power ? "the broker's power is cut" : "the broker is killed");
        ++crashes_;
        if (power) {
            broker_.crash();
        } else {
            broker_.kill();
        }
        for (auto& relay : relays_) events_.between(100us, 2ms, [&relay] { relay.reset_connection(); });
        events_.between(1ms, 40ms, [this] {
            if (!broker_.is_up()) broker_.start();
        });
    }

    void harm_outbox_database() {
        if (kind_ == StoreKind::sqlite || random_.below(2) == 0) {
            events_.note("the outbox database restarts");
            ++crashes_;
            database_.restart();
            return;
        }
        if (!standby_marked_) {
            standby_marked_ = true;
            database_.mark_standby();
            since_standby_.clear();
            standby_versions_ = versions_;
            return;
        }
        events_.note("the outbox database fails over, without its last commits");
        ++crashes_;
        standby_marked_ = false;
        database_.fail_over();
        for (const auto& id : since_standby_) ledger_.lost_by_failover(id);
        since_standby_.clear();
        versions_ = standby_versions_;
    }

    void give(std::size_t queue, std::size_t consumer) {
        owner_[queue] = consumer;
        if (consumers_[consumer].is_up()) consumers_[consumer].assign(queue, ++session_);
    }

    void rebalance() {
        const std::size_t queue = random_.below(BrokerNode::queues);
        const std::size_t before = owner_[queue];
        give(queue, 1 - before);
        // The member that lost it hears of it late, and works on meanwhile.
        events_.between(1ms, 50ms, [this, queue, before] {
            if (owner_[queue] != before) consumers_[before].revoke(queue);
        });
    }

    void heal() {
        events_.note("no more harm");
        disk_.heal();
        if (!broker_.is_up()) broker_.start();
        for (auto& relay : relays_) {
            if (!relay.is_up()) relay.start();
        }
    }

    bool is_quiet() {
        // Looked at rarely: it walks over everything.
        if (events_.now() < next_look_) return false;
        next_look_ = events_.now() + 20ms;
        return database_.empty() && !database_.has_open_transactions() && ledger_.missing(effects_.effects()).empty();
    }

    SeededRandom random_;
    testing::FakeClock clock_{testing::FakeClock::Sleep::advances};
    EventQueue events_;
    MessageIdGenerator ids_{clock_, random_};
    StoreKind kind_;
    OutboxDatabase database_;
    SimDisk disk_{random_};
    BrokerNode broker_;
    EffectDatabase effects_;
    RelayNode relays_[2];
    ConsumerNode consumers_[2];
    Ledger ledger_;
    std::vector<Violation> violations_;
    std::map<std::pair<std::size_t, std::uint64_t>, std::string> seen_;
    std::map<std::string, std::uint64_t> versions_;
    std::map<std::string, std::uint64_t> standby_versions_;
    std::vector<MessageId> since_standby_;
    std::set<std::string> locked_;
    std::set<MessageId> poison_;
    std::size_t owner_[BrokerNode::queues] = {};
    std::uint64_t session_ = 0;
    std::uint64_t crashes_ = 0;
    bool standby_marked_ = false;
    bool healing_ = false;
    SteadyTime next_look_{};
};

}  // namespace

RunResult run_seed(std::uint64_t seed, std::string* trace) { return std::make_unique<World>(seed, trace)->run(seed); }

}  // namespace hufu::simulation
