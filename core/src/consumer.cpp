#include <hufu/core/assert.hpp>
#include <hufu/core/consumer.hpp>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "alarm.hpp"
#include "consumer_reports.hpp"

namespace hufu {
namespace {

using Notice = ConsumerActions::Notice;
using Starts = std::vector<ConsumerActions::Start>;

constexpr std::size_t receive_max = 512;
constexpr std::chrono::milliseconds receive_timeout{1'000};
/// How often a full consumer looks whether queues were lost.
constexpr std::chrono::milliseconds full_pause{100};
/// How long the attendant sleeps when nothing is due; anything earlier rings.
constexpr std::chrono::hours idle{1};
/// Before a failed call for parked keys or attempt rows is made again.
constexpr std::chrono::milliseconds port_pause{1'000};

HandlerResult call_one(const Handler& handler, const Delivery& delivery) noexcept {
    try {
        return handler(delivery);
    } catch (const std::exception& failure) {
        return {Handled::retry, std::string{"the handler threw: "} + failure.what()};
    } catch (...) {
        return {Handled::retry, "the handler threw something that is not a std::exception"};
    }
}

bool is_done(const HandlerResult& result) {
    return result.handled == Handled::done || result.handled == Handled::already_done;
}

/// A handler of one as a handler of many: what stands behind a failure of its key is not run.
BatchHandler one_by_one(Handler handler) {
    return [handler = std::move(handler)](std::span<const Delivery* const> batch) {
        std::vector<HandlerResult> results;
        for (const Delivery* delivery : batch) {
            const auto& message = delivery->message;
            bool behind = false;
            for (std::size_t i = 0; i < results.size() && !message.ordering_key.empty(); ++i) {
                const auto& before = batch[i]->message;
                behind = behind || (!is_done(results[i]) && before.topic == message.topic &&
                                    before.ordering_key == message.ordering_key);
            }
            results.push_back(behind ? HandlerResult{Handled::retry, "behind a failure of its key"}
                                     : call_one(handler, *delivery));
        }
        return results;
    };
}

std::vector<HandlerResult> call(const BatchHandler& handler, std::span<const Delivery* const> batch) noexcept {
    const auto all = [&](const std::string& why) {
        return std::vector<HandlerResult>(batch.size(), HandlerResult{Handled::retry, why});
    };
    try {
        auto results = handler(batch);
        if (results.size() == batch.size()) return results;
        return all("the batch handler gave " + std::to_string(results.size()) + " answers for " +
                   std::to_string(batch.size()) + " messages");
    } catch (const std::exception& failure) {
        return all(std::string{"the handler threw: "} + failure.what());
    } catch (...) {
        return all("the handler threw something that is not a std::exception");
    }
}

}  // namespace

/// The shell: threads that feed the machine and obey it. Everything mutable is guarded by `mutex` unless it says otherwise.
///
/// Workers run handlers. The attendant does what is due at a time, publishes dead letters (no other thread does, so that a
/// publisher which confirms inside `publish` cannot recurse) and asks `ParkedKeys` and `AttemptRows`. The caller of `run`
/// receives; it reads parked keys before the first delivery of a queue.
struct Consumer::Impl : std::enable_shared_from_this<Consumer::Impl> {
    Impl(Subscription& from, Publisher& dead, ConsumerOptions wanted, const ConsumerEnvironment& around)
        : subscription{from},
          dead_letters{dead},
          options{std::move(wanted)},
          clock{around.clock},
          random{around.random},
          parked_keys{around.parked_keys},
          attempt_rows{around.attempt_rows},
          facilities{.parked_keys = parked_keys != nullptr, .attempt_rows = attempt_rows != nullptr},
          reports{around.metrics != nullptr ? *around.metrics : own_registry, around.log, options.group},
          machine{std::make_unique<ConsumerMachine>(options, random, facilities)},
          attendant_alarm{clock},
          room_alarm{clock},
          drain_alarm{clock} {}

    /// What of the machine's actions is done after the lock is left. Whoever holds one is counted in `outside`.
    struct Outside {
        std::vector<DeliveryTag> acknowledge;
        std::vector<Notice> notices;
    };

    [[nodiscard]] Outside obey(ConsumerActions actions) {
        for (auto& start : actions.start) {
            if (starts.empty() || starts.back().front().batch != start.batch) starts.emplace_back();
            starts.back().push_back(start);
            if (starts.back().size() == 1) work.notify_one();
        }
        const bool chores = !actions.dead_letters.empty() || !actions.attempts.empty() || !actions.attempts_over.empty();
        std::move(actions.dead_letters.begin(), actions.dead_letters.end(), std::back_inserter(letters));
        std::move(actions.attempts.begin(), actions.attempts.end(), std::back_inserter(attempts));
        std::move(actions.attempts_over.begin(), actions.attempts_over.end(), std::back_inserter(attempts_over));
        const auto at = machine->wake_at();
        const bool earlier = at && *at < attendant_until;
        if (earlier) attendant_until = *at;
        if (chores || earlier) attendant_alarm.ring();
        if (receiver_waits && machine->room() >= room_wanted()) room_alarm.ring();
        reports.count(actions, *machine);
        dropped += static_cast<std::size_t>(std::ranges::count(actions.notices, Notice::Kind::dropped, &Notice::kind));
        if (abandoned) return {{}, std::move(actions.notices)};
        ++outside;
        return {std::move(actions.acknowledge), std::move(actions.notices)};
    }

    /// `lock` is held before and after, not meanwhile.
    void finish_outside(std::unique_lock<std::mutex>& lock, const Outside& todo) {
        const bool counted = !abandoned;
        lock.unlock();
        if (!todo.acknowledge.empty()) subscription.acknowledge(todo.acknowledge);
        reports.tell(todo.notices);
        lock.lock();
        if (counted) --outside;
        if (!machine->finished() && !abandoned) return;
        drained.notify_all();
        drain_alarm.ring();
    }

    /// A receiver that found no room waits for a worthwhile piece of it.
    [[nodiscard]] std::size_t room_wanted() const { return std::max<std::size_t>(1, options.held_max / 8); }

    void work_until_closed(const BatchHandler& handler) {
        std::unique_lock lock{mutex};
        std::vector<const Delivery*> batch;
        for (;;) {
            work.wait(lock, [&] { return closing || !starts.empty(); });
            if (starts.empty()) return;
            const Starts mine = std::move(starts.front());
            starts.pop_front();
            lock.unlock();
            batch.clear();
            for (const auto& start : mine) batch.push_back(start.delivery);
            const SteadyTime began = clock.steady_now();
            auto results = call(handler, batch);
            reports.handler_took(clock.steady_now() - began);
            lock.lock();
            std::vector<ConsumerMachine::Answer> answers;
            for (std::size_t i = 0; i < mine.size(); ++i) answers.push_back({mine[i].job, std::move(results[i])});
            finish_outside(lock, obey(machine->handled(std::move(answers), clock.steady_now())));
        }
    }

    // ---- the attendant

    void attend_until_closed() {
        std::unique_lock lock{mutex};
        while (!closing) {
            finish_outside(lock, obey(machine->tick(clock.steady_now())));
            const bool pause = clock.steady_now() < port_at;
            const auto to_publish = std::exchange(letters, {});
            auto to_ask = pause ? decltype(attempts){} : std::exchange(attempts, {});
            auto to_end = pause ? decltype(attempts_over){} : std::exchange(attempts_over, {});
            lock.unlock();
            if (!to_ask.empty()) ask_attempts(std::move(to_ask));
            if (!to_end.empty()) end_attempts(std::move(to_end));
            for (const auto& letter : to_publish) publish(letter);
            if (parked_keys != nullptr && clock.steady_now() >= parked_at) static_cast<void>(load_parked_keys());
            lock.lock();
            const SteadyTime now = clock.steady_now();
            attendant_until = std::min(machine->wake_at().value_or(now + idle), now + idle);
            if (parked_keys != nullptr) attendant_until = std::min(attendant_until, parked_at);
            if (!attempts.empty() || !attempts_over.empty())
                attendant_until = std::min(attendant_until, std::max(now, port_at));
            const SteadyTime until = attendant_until;
            lock.unlock();
            attendant_alarm.wait_until(until);
            lock.lock();
        }
    }

    void ask_attempts(std::vector<ConsumerActions::Attempt> asked) {
        std::vector<ConsumerMachine::AttemptsSeen> seen;
        std::vector<MessageId> ids;
        std::optional<Error> failure;
        const auto looks = std::partition(asked.begin(), asked.end(), [](const auto& one) { return one.again; });
        auto next = asked.begin();
        for (; next != looks && !failure; ++next) {
            if (const auto started = attempt_rows->starts_again(next->id); started) {
                seen.push_back({next->job, 0});
            } else {
                failure = started.error();
                break;
            }
        }
        if (!failure && next != asked.end()) {
            for (auto one = next; one != asked.end(); ++one) ids.push_back(one->id);
            if (const auto counts = attempt_rows->look(ids); counts) {
                HUFU_ASSERT(counts->size() == ids.size());
                for (const auto count : *counts) seen.push_back({next++->job, count});
            } else {
                failure = counts.error();
            }
        }
        if (failure) reports.port_failed("attempt rows", *failure);
        std::unique_lock lock{mutex};
        if (failure) port_at = clock.steady_now() + port_pause;
        attempts.insert(attempts.begin(), next, asked.end());
        finish_outside(lock, obey(machine->attempts_seen(seen, clock.steady_now())));
    }

    void end_attempts(std::vector<MessageId> ids) {
        const auto ended = attempt_rows->over(ids);
        if (ended) return;
        reports.port_failed("attempt rows", ended.error());
        const std::lock_guard lock{mutex};
        port_at = clock.steady_now() + port_pause;
        // Rows that stay are of messages that were dealt with; so it is no loss when there are too many to remember.
        if (attempts_over.size() + ids.size() <= options.held_max)
            attempts_over.insert(attempts_over.begin(), ids.begin(), ids.end());
    }

    void publish(const ConsumerActions::DeadLetter& letter) {
        if (letter.park) {
            const std::lock_guard one_at_a_time{parking};
            if (const auto parked = parked_keys->park(*letter.park); !parked) {
                reports.port_failed("parked keys", parked.error());
                return settled(letter.job, false, "its key could not be parked: " + parked.error().text());
            }
        }
        auto outcome = std::make_shared<PublishOutcome>();
        dead_letters.publish({letter.message, 1}, {outcome.get(), 1},
                             [self = shared_from_this(), outcome, job = letter.job] {
                                 self->settled(job, outcome->status == PublishStatus::confirmed, outcome->error.text());
                             });
    }

    void settled(ConsumerJob job, bool confirmed, const std::string& why) {
        std::unique_lock lock{mutex};
        finish_outside(lock, obey(machine->dead_letter_settled(job, confirmed, why, clock.steady_now())));
    }

    /// No key is parked between the reading and the taking, so that none is forgotten.
    Result<void> load_parked_keys() {
        const std::lock_guard one_at_a_time{parking};
        auto keys = parked_keys->load();
        const std::lock_guard lock{mutex};
        parked_at = clock.steady_now() + (keys ? options.parked_keys_every : port_pause);
        if (!keys) {
            reports.port_failed("parked keys", keys.error());
            return keys.error();
        }
        machine->parked_loaded(std::move(*keys));
        return {};
    }

    // ---- the receiver

    Result<void> receive_until(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            std::size_t room = wait_for_room();
            std::vector<Delivery> received;
            if (room > 0 && !stop.stop_requested()) {
                auto answer = subscription.receive(std::min(room, receive_max), receive_timeout, stop);
                if (!answer) return answer.error();
                received = std::move(*answer);
            }
            if (!know_parked_keys(received, stop)) break;
            const auto lost = subscription.lost_queues();
            if (lost.empty() && received.empty()) continue;
            std::unique_lock lock{mutex};
            const SteadyTime now = clock.steady_now();
            if (!lost.empty()) finish_outside(lock, obey(machine->lose(lost, now)));
            finish_outside(lock, obey(machine->deliver(std::move(received), std::max(now, clock.steady_now()))));
        }
        return {};
    }

    /// Nothing of a queue is handled before the keys that were parked are known. False: stopped meanwhile.
    bool know_parked_keys(std::span<const Delivery> received, const std::stop_token& stop) {
        for (;;) {
            {
                const std::lock_guard lock{mutex};
                if (!machine->wants_parked_keys(received)) return true;
            }
            if (load_parked_keys()) return true;
            room_alarm.wait_until(clock.steady_now() + port_pause);
            if (stop.stop_requested()) return false;
        }
    }

    /// The room there is; waits a little when there is none.
    std::size_t wait_for_room() {
        SteadyTime until;
        {
            const std::lock_guard lock{mutex};
            if (const auto room = machine->room(); room > 0) return room;
            receiver_waits = true;
            until = clock.steady_now() + full_pause;
        }
        room_alarm.wait_until(until);
        const std::lock_guard lock{mutex};
        receiver_waits = false;
        return machine->room();
    }

    // ---- the whole run

    Result<void> run(BatchHandler wanted, std::stop_token stop) {
        const auto handler = std::make_shared<const BatchHandler>(std::move(wanted));
        {
            const std::lock_guard lock{mutex};
            if (abandoned) {
                return Error{ErrorCode::busy, Disposition::fatal,
                             "consumer of group \"" + options.group + "\": handlers of its last run have not ended yet"};
            }
            HUFU_ASSERT(!in_use);
            in_use = true;
            closing = false;
            dropped = 0;
            attendant_until = parked_at = clock.steady_now() + (parked_keys != nullptr ? options.parked_keys_every : idle);
            ConsumerOptions again = options;
            const auto dead = machine->dead_keys();
            again.dead_keys.assign(dead.begin(), dead.end());
            machine = std::make_unique<ConsumerMachine>(std::move(again), random, facilities);
        }
        Result<void> ended;
        Result<void> drained_in_time;
        {
            // Drains also when starting a thread throws.
            const struct Drain {
                Impl& self;
                Result<void>& outcome;
                ~Drain() { outcome = self.drain(); }
            } drain_at_end{*this, drained_in_time};
            attendant = std::jthread{[this] { attend_until_closed(); }};
            for (std::size_t count = 0; count < options.running_max; ++count) {
                workers.emplace_back([self = shared_from_this(), handler] { self->work_until_closed(*handler); });
            }
            const std::stop_callback wake_receiver{stop, [this] { room_alarm.ring(); }};
            ended = receive_until(stop);
        }
        return ended ? drained_in_time : ended;
    }

    /// False after `drain_max`.
    bool wait_until_drained(std::unique_lock<std::mutex>& lock) {
        const auto quiet = [&] { return machine->finished() && outside == 0; };
        if (options.drain_max.count() == 0) {
            drained.wait(lock, quiet);
            return true;
        }
        const SteadyTime until = clock.steady_now() + options.drain_max;
        while (!quiet() && clock.steady_now() < until) {
            lock.unlock();
            drain_alarm.wait_until(until);
            lock.lock();
        }
        return quiet();
    }

    Result<void> drain() {
        std::unique_lock lock{mutex};
        finish_outside(lock, obey(machine->stop(clock.steady_now())));
        const bool in_time = wait_until_drained(lock);
        const auto left = machine->running();
        if (!in_time) {
            abandoned = true;
            starts.clear();
            drained.wait(lock, [&] { return outside == 0; });  // those that talk to the subscription: it is only lent to us
        }
        closing = true;
        work.notify_all();
        attendant_alarm.ring();
        lock.unlock();
        if (attendant.joinable()) attendant.join();
        if (!in_time) {
            return Error{ErrorCode::timeout, Disposition::fatal,
                         "consumer of group \"" + options.group + "\": " + std::to_string(left) + " handlers still ran " +
                             std::to_string(options.drain_max.count()) + " ms after the stop; their messages come again"};
        }
        workers.clear();  // joins
        lock.lock();
        end_rows(lock);
        in_use = false;
        return {};
    }

    /// Rows of messages that were let go unstarted, or answered last.
    void end_rows(std::unique_lock<std::mutex>& lock) {
        const auto left = std::exchange(attempts_over, {});
        attempts.clear();
        if (left.empty()) return;
        lock.unlock();
        if (const auto ended = attempt_rows->over(left); !ended) reports.port_failed("attempt rows", ended.error());
        lock.lock();
    }

    Subscription& subscription;
    Publisher& dead_letters;
    const ConsumerOptions options;
    Clock& clock;
    Random& random;
    ParkedKeys* const parked_keys;
    AttemptRows* const attempt_rows;
    const ConsumerFacilities facilities;
    MetricsRegistry own_registry;
    ConsumerReports reports;

    std::mutex parking;  // before `mutex`; held while parked keys are read and taken, or written
    std::mutex mutex;
    std::condition_variable work;     // starts grew, or closing
    std::condition_variable drained;  // the machine may have finished
    std::unique_ptr<ConsumerMachine> machine;
    std::deque<Starts> starts;                         // one handler call each
    std::vector<ConsumerActions::DeadLetter> letters;  // for the attendant to publish
    std::vector<ConsumerActions::Attempt> attempts;    // for the attendant to ask about
    std::vector<MessageId> attempts_over;              // for the attendant to tell
    SteadyTime attendant_until{};                      // the attendant sleeps no longer than this
    SteadyTime parked_at{};                            // the next reading of parked keys
    SteadyTime port_at{};                              // not before: the next call for attempt rows
    std::size_t outside = 0;                           // threads that hand something over
    std::size_t dropped = 0;                           // messages of this run that come again
    bool receiver_waits = false;
    bool closing = false;
    bool in_use = false;
    bool abandoned = false;  // handlers were left behind by a drain

    Alarm attendant_alarm;  // guards itself
    Alarm room_alarm;       // guards itself
    Alarm drain_alarm;      // guards itself

    std::jthread attendant;             // of the caller of `run`
    std::vector<std::jthread> workers;  // of the caller of `run`, and of the consumer's destructor
};

Consumer::Consumer(Subscription& subscription, Publisher& dead_letters, ConsumerOptions options,
                   ConsumerEnvironment environment) {
    validate(options).value();
    impl_ = std::make_shared<Impl>(subscription, dead_letters, std::move(options), environment);
}

Consumer::~Consumer() { impl_->workers.clear(); }

Result<void> Consumer::run(Handler handler, std::stop_token stop) {
    if (!handler) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, "Consumer::run was given an empty handler"};
    }
    return impl_->run(one_by_one(std::move(handler)), std::move(stop));
}

Result<void> Consumer::run(BatchHandler handler, std::stop_token stop) {
    if (!handler) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, "Consumer::run was given an empty handler"};
    }
    return impl_->run(std::move(handler), std::move(stop));
}

Result<bool> Consumer::reopen(const ConsumerKey& key) {
    const std::lock_guard one_at_a_time{impl_->parking};
    bool parked = false;
    if (impl_->parked_keys != nullptr) {
        const auto reopened = impl_->parked_keys->reopen(key);
        if (!reopened) return reopened.error();
        parked = *reopened;
    }
    const std::lock_guard lock{impl_->mutex};
    return impl_->machine->reopen(key) || parked;
}

std::vector<ConsumerKey> Consumer::dead_keys() const {
    const std::lock_guard lock{impl_->mutex};
    const auto keys = impl_->machine->dead_keys();
    return {keys.begin(), keys.end()};
}

ConsumerState Consumer::state() const {
    const std::lock_guard lock{impl_->mutex};
    const auto& machine = *impl_->machine;
    return {.running = machine.running(),
            .held = machine.held(),
            .dropped = impl_->dropped,
            .outage = machine.in_outage(),
            .adaptive_rate = machine.adaptive_rate()};
}

}  // namespace hufu
