#include "ladder_world.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <hufu/core/ids.hpp>

#include "ladder_node.hpp"
#include "replay_node.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;
using degradation::LadderOptions;
using degradation::Loss;

namespace {

constexpr std::size_t callers = 6;  // one key each; the last one's messages have none
constexpr int messages_each = 40;
constexpr auto harm_for = 3500ms;
constexpr auto quiet_within = 120s;  // of virtual time, after the last harm
constexpr std::uint64_t steps_max = 400'000;

/// What differs from seed to seed.
struct Weather {
    /// Keys are published by either process, one message after the other. Then Redis is well: of two journals, and of what
    /// was buffered in a Redis that died, the other process knows nothing (docs/outage.md, "Order").
    bool shared_keys;
    Loss redis_loses;
    LadderOptions::Silence when_silent;
};

class LadderWorld {
public:
    LadderWorld(std::uint64_t seed, std::string* trace) : random_{seed}, events_{clock_, random_, trace} {
        for (const char* name : {"first", "second"}) {
            nodes_.push_back(std::make_unique<LadderNode>(std::string{name} + " producer", events_, broker_, server_,
                                                          ledger_, ladder_options(), weather_.shared_keys));
            replayers_.push_back(std::make_unique<ReplayNode>(std::string{name} + " replayer", events_, broker_, server_,
                                                              weather_.shared_keys));
        }
    }

    LadderRunResult run() {
        for (auto& node : nodes_) node->start();
        for (std::size_t caller = 0; caller < callers; ++caller) call_soon(caller);
        events_.between(20ms, 150ms, [this] { do_harm(); });
        events_.between(100ms, 600ms, [this] { replay_now_and_then(); });
        const SteadyTime begin = events_.now();
        while (events_.now() < begin + harm_for && events_.steps() < steps_max && events_.step()) {
        }
        heal();
        const SteadyTime deadline = events_.now() + quiet_within;
        while (!is_quiet() && events_.now() < deadline && events_.steps() < steps_max && events_.step()) {
        }
        judge();
        return {.steps = events_.steps(),
                .messages = ledger_.accepted_count(),
                .crashes = crashes_,
                .lost = ledger_.lost_count(),
                .violations = ledger_.violations()};
    }

private:
    struct Caller {
        std::vector<Message> open;  // called for, not accepted; or to be called for again
        int made = 0;
        bool waits = false;
    };

    Weather draw_weather() {
        const bool shared_keys = random_.below(3) == 0;
        return {shared_keys, random_.below(2) == 0 ? Loss::nothing : Loss::last_second,
                random_.below(2) == 0 ? LadderOptions::Silence::as_last_known : LadderOptions::Silence::holds_every_key};
    }

    LadderOptions ladder_options() {
        LadderOptions options;
        // Every other seed has a topic that a Redis of one second is not good enough for: it goes to the journal.
        if (!weather_.shared_keys) options.needs["payments"] = Loss::nothing;
        options.need = Loss::last_second;
        options.when_silent = weather_.when_silent;
        options.batch_messages = 1 + random_.below(5);
        options.publishes_max = 1 + random_.below(6);
        options.live_probe_after = 60ms;
        options.breaker.probe_after = RetrySchedule::capped(20ms, 200ms).jitter(0.2);
        options.breaker.probes_to_close = 1 + static_cast<std::uint32_t>(random_.below(3));
        return options;
    }

    // The business: of a key the next message is published when the one before was accepted.

    void call_soon(std::size_t number) {
        events_.between(1ms, 90ms, [this, number] { call(number); });
    }

    void call(std::size_t number) {
        Caller& caller = callers_[number];
        if (caller.open.empty() && (healed_ || caller.made >= messages_each)) {
            caller.waits = false;
            return;
        }
        caller.waits = true;
        LadderNode& node = *nodes_[weather_.shared_keys ? random_.below(2) : number % 2];
        if (!node.takes_calls()) return call_soon(number);
        const std::size_t wanted = caller.open.size() + (healed_ || caller.made >= messages_each ? 0 : random_.below(3));
        while (caller.open.size() < std::max<std::size_t>(wanted, 1)) caller.open.push_back(next_message(number));
        node.publish(caller.open, [this, number](const std::vector<PublishOutcome>& outcomes) { ended(number, outcomes); });
    }

    Message next_message(std::size_t number) {
        const std::string key = number + 1 < callers ? "k" + std::to_string(number) : "";
        Message message{.id = ids_.next(),
                        .topic = number % 3 == 0 ? "payments" : "orders",
                        .ordering_key = key,
                        .body = key + "#" + std::to_string(++callers_[number].made)};
        ledger_.called(message);
        return message;
    }

    void ended(std::size_t number, const std::vector<PublishOutcome>& outcomes) {
        Caller& caller = callers_[number];
        std::vector<Message> left;
        for (std::size_t index = 0; index < outcomes.size(); ++index) {
            Message& message = caller.open[index];
            const PublishOutcome& outcome = outcomes[index];
            if (outcome.status == PublishStatus::confirmed) {
                events_.note("accepted: ", message.body, " ", outcome.broker_id);
                ledger_.accepted(message, outcome.broker_id);
                if (!left.empty() && !message.ordering_key.empty()) {
                    ledger_.complain("of " + message.body + " and one before it in its call only the later was accepted");
                }
            } else if (outcome.status != PublishStatus::rejected) {
                left.push_back(std::move(message));
            }
        }
        if (outcomes.empty()) {
            // The process has died. Whoever called it may call again, or never find out.
            if (events_.chance(2)) left = caller.open;
        }
        caller.open = std::move(left);
        call_soon(number);
    }

    // Harm.

    void do_harm() {
        if (healed_) return;
        const auto span = std::chrono::milliseconds{30 + random_.below(500)};
        switch (random_.below(weather_.shared_keys ? 9 : 13)) {
            case 0:
            case 1:
                events_.note("the broker refuses connections");
                ++crashes_;
                broker_.refuse_connections(span);
                break;
            case 2:
                events_.note("the broker keeps silent");
                broker_.keep_silent(span);
                break;
            case 3:
                events_.note("the broker will die within a batch");
                ++crashes_;
                broker_.die_in_next_batch();
                break;
            case 4:
                events_.note("the broker rejects a key");
                broker_.reject(events_.chance(2) ? "k" + std::to_string(random_.below(callers - 1)) : "");
                break;
            case 5: harm_replayer(span); break;
            case 6: harm_replayer(span * 3); break;
            case 7:
            case 8: kill_producer(); break;
            default: harm_redis(span);
        }
        for (auto& node : nodes_) {
            if (!node->is_up() && events_.chance(2)) node->start();
        }
        events_.between(30ms, 250ms, [this] { do_harm(); });
    }

    void harm_replayer(EventQueue::Duration span) {
        ReplayNode& replayer = *replayers_[random_.below(2)];
        if (!replayer.is_up()) return;
        if (events_.chance(2)) {
            events_.note("a replayer stands still");
            replayer.stand_still(span);
        } else {
            events_.note("a replayer is killed");
            ++crashes_;
            replayer.kill();
        }
    }

    void kill_producer() {
        LadderNode& node = *nodes_[random_.below(2)];
        if (!node.is_up()) return;
        switch (random_.below(5)) {
            case 0: node.fail_next_sync(); return;
            case 1: node.stand_still(std::chrono::milliseconds{random_.below(600)}); return;
            case 2: node.fail_power_in_next_write(); break;
            case 3: node.kill(true); break;
            default: node.kill(false);
        }
        events_.note("a producer is killed");
        ++crashes_;
    }

    void harm_redis(EventQueue::Duration span) {
        switch (random_.below(4)) {
            case 0:
                events_.note("Redis keeps silent");
                server_.keep_silent(span);
                break;
            case 1:
                events_.note("Redis refuses connections");
                server_.refuse_connections(span);
                break;
            default:
                events_.note("Redis crashes");
                ++crashes_;
                server_.crash(span);
        }
    }

    void replay_now_and_then() {
        ReplayNode& replayer = *replayers_[random_.below(2)];
        if (!replayer.is_up()) replayer.start(healed_ || events_.chance(4));
        events_.between(50ms, 500ms, [this] { replay_now_and_then(); });
    }

    void heal() {
        events_.note("no more harm");
        healed_ = true;
        broker_.heal();
        server_.heal();
        // Whoever remembers what was set aside begins anew; a person has it put back.
        for (auto& replayer : replayers_) {
            if (replayer->is_up()) replayer->kill();
        }
        for (auto& node : nodes_) {
            node->heal();
            if (node->is_up() && !node->has_parked() && events_.chance(2)) continue;
            if (node->is_up()) node->kill(false);
            node->start(true);
        }
    }

    [[nodiscard]] bool is_quiet() {
        const auto busy = [](const auto& node) { return !node->is_up() || !node->journal_is_empty(); };
        return server_.epoch() == 0 && server_.size().entries + server_.size().parked == 0 &&
               std::none_of(callers_.begin(), callers_.end(), [](const Caller& caller) { return caller.waits; }) &&
               std::none_of(nodes_.begin(), nodes_.end(), busy);
    }

    void judge() {
        for (const auto& node : nodes_) {
            if (!node->is_up() || !node->journal_is_empty()) ledger_.complain("a journal was not emptied");
        }
        const auto size = server_.size();
        if (server_.epoch() != 0 || size.entries + size.parked > 0) {
            ledger_.complain("Redis was not emptied: " + std::to_string(size.entries) + " entries, " +
                             std::to_string(size.parked) + " set aside");
        }
        for (const Caller& caller : callers_) {
            if (caller.waits) ledger_.complain("a caller waits for ever");
        }
        if (weather_.redis_loses == Loss::nothing && ledger_.lost_count() > 0) {
            ledger_.complain("Redis lost what it had synced");
        }
        ledger_.judge(broker_.effects());
    }

    SeededRandom random_;
    testing::FakeClock clock_{testing::FakeClock::Sleep::advances};
    EventQueue events_;
    const Weather weather_ = draw_weather();
    MessageIdGenerator ids_{clock_, random_};
    LadderLedger ledger_;
    LadderBroker broker_{events_, ledger_};
    StreamServer server_{events_, ledger_, weather_.redis_loses};
    std::vector<std::unique_ptr<LadderNode>> nodes_;
    std::vector<std::unique_ptr<ReplayNode>> replayers_;
    std::array<Caller, callers> callers_;
    std::uint64_t crashes_ = 0;
    bool healed_ = false;
};

}  // namespace

LadderRunResult run_ladder_seed(std::uint64_t seed, std::string* trace) {
    return std::make_unique<LadderWorld>(seed, trace)->run();
}

}  // namespace hufu::simulation
