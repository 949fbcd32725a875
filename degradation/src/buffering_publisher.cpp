#include <hufu/degradation/buffering_publisher.hpp>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include <hufu/core/ids.hpp>

#include "drain_machine.hpp"
#include "ladder_metrics.hpp"

namespace hufu::degradation {
namespace {

constexpr std::chrono::milliseconds size_every{500};
/// How long the constructor waits for the buffers' settings.
constexpr std::chrono::milliseconds first_look{1'000};
/// How long a replayer waits for entries, and before it tries again what could not be published.
constexpr std::chrono::milliseconds drain_pause{200};
constexpr std::size_t drain_batch_max = 512;

std::vector<std::string> names_of(const Ladder& ladder) {
    std::vector<std::string> names;
    for (const auto& rung : ladder.rungs) {
        names.push_back(rung.options.name);
    }
    return names;
}

std::vector<RungOptions> options_of(const Ladder& ladder) {
    std::vector<RungOptions> options;
    for (const auto& rung : ladder.rungs) {
        options.push_back(rung.options);
    }
    return options;
}

}  // namespace

/// Shared with callbacks of brokers and buffers, which may come late.
struct BufferingPublisher::Impl : std::enable_shared_from_this<BufferingPublisher::Impl> {
    struct Caller {
        std::span<PublishOutcome> outcomes;
        Done done;
        std::size_t left = 0;
    };

    Impl(Ladder wanted, const LadderEnvironment& around)
        : ladder{std::move(wanted)},
          clock{around.clock},
          log{around.log},
          ids{around.clock, around.random},
          random{around.random},
          metrics{around.metrics != nullptr ? *around.metrics : own_registry, ladder.brokers.size(), names_of(ladder)},
          machine{ladder.options, ladder.brokers.size(), options_of(ladder), around.random},
          wants_inspection(ladder.rungs.size(), false) {}

    void start() {
        threads.emplace_back([this] { decide(); });
        for (std::size_t rung = 0; rung < ladder.rungs.size(); ++rung) {
            threads.emplace_back([this, rung](const std::stop_token& stop) { look_after(rung, stop); });
            threads.emplace_back([this, rung](const std::stop_token& stop) { drain(rung, stop); });
        }
        std::unique_lock lock{mutex};
        changed = true;
        work.notify_all();
        progress.wait_for(lock, first_look, [&] {
            return std::none_of(machine.rungs().begin(), machine.rungs().end(),
                                [](const LadderRung& rung) { return rung.state() == LadderRung::State::unchecked; });
        });
    }

    void stop() {
        {
            const std::lock_guard lock{mutex};
            machine.close();
            stopping = true;
            changed = true;
            work.notify_all();
            progress.notify_all();
        }
        for (auto& thread : threads) {
            thread.request_stop();
        }
        threads.clear();  // joined
        // Ends what is on its way; the callbacks find nobody waiting.
        ladder.brokers.clear();
        ladder.rungs.clear();
    }

    // The thread that decides.

    void decide() {
        std::unique_lock lock{mutex};
        for (;;) {
            for (const auto& take_back : std::exchange(returned, {})) {
                take_back();
            }
            changed = false;
            const LadderActions actions = machine.step(clock.steady_now());
            metrics.show(machine);
            std::vector<Done> dones = write_outcomes(actions.completed);
            for (const std::size_t rung : actions.inspect) {
                wants_inspection[rung] = true;
            }
            progress.notify_all();
            const bool ended = stopping;
            lock.unlock();
            obey(actions);
            for (const Done& done : dones) {
                done();
            }
            lock.lock();
            if (ended) {
                return;
            }
            const auto something = [&] { return changed || !returned.empty(); };
            if (actions.tick_at) {
                work.wait_until(lock, *actions.tick_at, something);
            } else {
                work.wait(lock, something);
            }
        }
    }

    std::vector<Done> write_outcomes(const std::vector<LadderCompletion>& completed) {
        std::vector<Done> dones;
        for (const LadderCompletion& completion : completed) {
            const auto caller = callers.find(completion.ticket);
            caller->second.outcomes[completion.index] = completion.outcome;
            if (--caller->second.left == 0) {
                dones.push_back(std::move(caller->second.done));
                callers.erase(caller);
            }
        }
        return dones;
    }

    void obey(const LadderActions& actions) {
        for (const LadderNotice& notice : actions.notices) {
            report(notice);
        }
        for (const auto& flight : actions.publish) {
            ladder.brokers[flight->broker]->publish(flight->messages, flight->outcomes, [self = shared_from_this(), flight] {
                self->give_back([&machine = self->machine, &clock = self->clock, flight] {
                    machine.published(flight, clock.steady_now());
                });
            });
        }
        for (const auto& flight : actions.spill) {
            ladder.rungs[flight->rung].buffer->spill(
                flight->messages, flight->when, flight->outcomes, [self = shared_from_this(), flight] {
                    self->give_back([&machine = self->machine, &clock = self->clock, flight] {
                        machine.spilled(flight, clock.steady_now());
                    });
                });
        }
        for (const auto read : actions.read_epochs) {
            ladder.rungs[read.rung].buffer->epoch([self = shared_from_this(), read](Result<std::uint64_t> epoch) {
                self->give_back([&machine = self->machine, &clock = self->clock, read, epoch = std::move(epoch)] {
                    machine.epoch_read(read, epoch, clock.steady_now());
                });
            });
        }
    }

    void give_back(std::function<void()> take_back) {
        const std::lock_guard lock{mutex};
        returned.push_back(std::move(take_back));
        work.notify_one();
    }

    void report(const LadderNotice& notice) {
        using Kind = LadderNotice::Kind;
        switch (notice.kind) {
            case Kind::breaker:
                log.warning("circuit breaker changed", {{"broker", notice.name}, {"state", notice.text}});
                break;
            case Kind::rung_up: log.info("buffer is there", {{"buffer", notice.name}, {"loss", notice.text}}); break;
            case Kind::rung_changed:
                log.warning("a buffer's settings were changed", {{"buffer", notice.name}, {"loss", notice.text}});
                break;
            case Kind::rung_away: log.warning("buffer is away", {{"buffer", notice.name}, {"reason", notice.text}}); break;
            case Kind::refused: report_rarely("messages given back: nothing takes them", notice.text); break;
            case Kind::shed: report_rarely("messages shed to make room", notice.text); break;
        }
    }

    /// At most one line a second: an outage without room must not fill the log as well. Called by one thread.
    void report_rarely(std::string_view event, const std::string& reason) {
        ++unreported;
        const SteadyTime now = clock.steady_now();
        if (now - reported_at < std::chrono::seconds{1}) {
            return;
        }
        log.error(event, {{"times", std::exchange(unreported, 0)}, {"reason", reason}});
        reported_at = now;
    }

    // Those that look after one buffer each. Their calls block.

    void look_after(std::size_t number, const std::stop_token& stop) {
        Buffer& buffer = *ladder.rungs[number].buffer;
        std::unique_lock lock{mutex};
        SteadyTime size_at{};
        while (!stop.stop_requested()) {
            if (wants_inspection[number]) {
                wants_inspection[number] = false;
                lock.unlock();
                const auto statement = buffer.inspect();
                lock.lock();
                machine.inspected(number, statement, clock.steady_now());
                changed = true;
                work.notify_one();
            }
            if (machine.rungs()[number].state() == LadderRung::State::up && clock.steady_now() >= size_at) {
                lock.unlock();
                const auto size = buffer.size();
                lock.lock();
                if (size) {
                    machine.sized(number, *size);
                }
                size_at = clock.steady_now() + size_every;
            }
            progress.wait_for(lock, size_every, [&] { return stopping || wants_inspection[number]; });
        }
    }

    /// Replays a buffer when there is something in it and a broker to take it.
    void drain(std::size_t number, const std::stop_token& stop) {
        const auto reader = ladder.rungs[number].buffer->reader("ladder-" + ids.next().to_string());
        DrainMachine decide;
        bool some_parked = true;  // by an earlier process, for all that is known
        std::size_t batch = 1;    // grows with success, so that a broker that is just back is not run over
        while (!stop.stop_requested()) {
            if (!wait_for_work(number)) {
                continue;
            }
            auto read = reader->read(batch, drain_pause);
            if (!read || read->empty()) {
                if (!read) {
                    pause();
                }
                continue;
            }
            const auto held = held_by_earlier(number, *read);
            auto parked = some_parked ? parked_keys(number) : std::optional{std::set<ConsumerKey>{}};
            if (!held || !parked) {
                batch = 1;  // what waits for nobody goes, as far as it stands in front
                (void)reader->release();
                pause();
                continue;
            }
            some_parked = !parked->empty();
            const auto messages = decide.take(std::move(*read), *held, std::move(*parked));
            const auto outcomes = publish_through_breaker(messages);
            const auto settled = decide.settle(outcomes);
            const bool kept = apply(number, *reader, settled);
            some_parked = some_parked || !settled.park.empty();
            batch = settled.confirmed > 0 ? std::min(batch * 2, drain_batch_max) : 1;
            if (settled.again || !kept) {
                (void)reader->release();
                if (settled.confirmed == 0) {
                    pause();
                }
            }
        }
    }

    bool apply(std::size_t number, BufferReader& reader, const DrainMachine::Settled& settled) {
        for (const auto& [entry, reason] : settled.park) {
            log.error("buffered message parked", {{"buffer", ladder.rungs[number].options.name}, {"reason", reason}});
            if (!reader.park(std::vector{entry}, reason)) {
                return false;
            }
        }
        if (settled.trim.empty()) {
            return true;
        }
        const auto trimmed = reader.trim(settled.trim);
        const std::lock_guard lock{mutex};
        replayed += settled.confirmed;
        metrics.replayed(settled.confirmed);
        return trimmed.has_value();
    }

    bool wait_for_work(std::size_t number) {
        std::unique_lock lock{mutex};
        const auto ready = [&] {
            const LadderRung& rung = machine.rungs()[number];
            return rung.state() == LadderRung::State::up && rung.holds_something() &&
                   std::any_of(machine.breakers().begin(), machine.breakers().end(),
                               [&](const CircuitBreaker& breaker) { return breaker.admits(clock.steady_now()); });
        };
        progress.wait_for(lock, drain_pause, [&] { return stopping || ready(); });
        return !stopping && ready();
    }

    void pause() {
        std::unique_lock lock{mutex};
        progress.wait_for(lock, drain_pause, [&] { return stopping; });
    }

    /// Which entries wait for an earlier rung; nothing when one does not answer.
    std::optional<std::vector<bool>> held_by_earlier(std::size_t number, const std::vector<Entry>& entries) {
        std::vector<bool> held(entries.size(), false);
        std::vector<ConsumerKey> keys;
        bool keyed = false;
        for (const Entry& entry : entries) {
            keys.push_back({entry.message.topic, entry.message.ordering_key});
            keyed = keyed || !entry.message.ordering_key.empty();
        }
        if (!keyed) {
            return held;
        }
        for (std::size_t earlier = 0; earlier < number; ++earlier) {
            const auto answer = ladder.rungs[earlier].buffer->holds(keys);
            if (!answer) {
                return {};
            }
            for (std::size_t index = 0; index < held.size(); ++index) {
                held[index] = held[index] || (*answer)[index];
            }
        }
        return held;
    }

    /// Keys of which the buffer has something set aside; nothing when it does not say. A buffer that cannot be looked at sees
    /// to it itself.
    std::optional<std::set<ConsumerKey>> parked_keys(std::size_t number) {
        std::set<ConsumerKey> keys;
        const auto seen = ladder.rungs[number].buffer->browse(Buffer::Shelf::parked, [&](const Entry& entry) {
            if (!entry.message.ordering_key.empty()) {
                keys.insert({entry.message.topic, entry.message.ordering_key});
            }
            return true;
        });
        if (!seen && seen.error().code() != ErrorCode::unsupported) {
            return {};
        }
        return keys;
    }

    struct Replay {
        std::vector<Message> messages;
        std::vector<PublishOutcome> outcomes;
        bool ended = false;  // guarded by mutex
    };

    std::vector<PublishOutcome> publish_through_breaker(std::span<const Message> messages) {
        const auto replay = std::make_shared<Replay>();
        replay->messages.assign(messages.begin(), messages.end());
        replay->outcomes.resize(messages.size());
        for (auto& outcome : replay->outcomes) {
            outcome.status = PublishStatus::not_sent;
        }
        if (messages.empty()) {
            return replay->outcomes;
        }
        std::unique_lock lock{mutex};
        const auto admitted = machine.admit_replay(clock.steady_now());
        if (stopping || !admitted) {
            return replay->outcomes;
        }
        const auto [broker, permit] = *admitted;
        for (auto& outcome : replay->outcomes) {
            outcome = {};
        }
        lock.unlock();
        ladder.brokers[broker]->publish(
            replay->messages, replay->outcomes, [self = shared_from_this(), replay, broker = broker, permit = permit] {
                const std::lock_guard inner{self->mutex};
                self->machine.replayed(broker, permit, replay->outcomes, self->clock.steady_now());
                replay->ended = true;
                self->changed = true;
                self->work.notify_one();
                self->progress.notify_all();
            });
        lock.lock();
        progress.wait(lock, [&] { return replay->ended || stopping; });
        return replay->ended ? replay->outcomes : std::vector<PublishOutcome>(messages.size());
    }

    Ladder ladder;
    Clock& clock;
    Log& log;
    MessageIdGenerator ids;
    Random& random;
    MetricsRegistry own_registry;

    mutable std::mutex mutex;
    std::condition_variable work;      // for the deciding thread
    std::condition_variable progress;  // for all others
    // Guarded by mutex.
    LadderMetrics metrics;
    LadderMachine machine;
    std::unordered_map<Ticket, Caller> callers;
    Ticket last_ticket = 0;
    std::vector<std::function<void()>> returned;
    std::vector<bool> wants_inspection;
    std::uint64_t replayed = 0;
    bool changed = false;
    bool stopping = false;
    // The deciding thread's.
    std::uint64_t unreported = 0;
    SteadyTime reported_at{};

    std::vector<std::jthread> threads;
};

BufferingPublisher::BufferingPublisher(Ladder ladder, LadderEnvironment environment) {
    if (ladder.brokers.empty()) {
        throw Exception{Error{ErrorCode::invalid_argument, Disposition::reject, "ladder: a broker is needed"}};
    }
    validate(ladder.options, options_of(ladder)).value();
    impl_ = std::make_shared<Impl>(std::move(ladder), environment);
    impl_->start();
}

BufferingPublisher::~BufferingPublisher() { impl_->stop(); }

void BufferingPublisher::publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) {
    if (batch.empty()) {
        done();
        return;
    }
    std::vector<Message> messages{batch.begin(), batch.end()};
    for (Message& message : messages) {
        if (message.id.is_nil()) {
            message.id = impl_->ids.next();
        }
    }
    std::unique_lock lock{impl_->mutex};
    if (impl_->ladder.options.overload == LadderOptions::Overload::block) {
        impl_->progress.wait_for(lock, impl_->ladder.options.wait_max,
                                 [&] { return impl_->machine.has_room() || impl_->stopping; });
    }
    const Ticket ticket = ++impl_->last_ticket;
    impl_->callers.emplace(ticket, Impl::Caller{outcomes, std::move(done), batch.size()});
    impl_->machine.accept(ticket, std::move(messages), impl_->clock.steady_now());
    impl_->changed = true;
    impl_->work.notify_one();
}

LadderStatus BufferingPublisher::status() const {
    const std::lock_guard lock{impl_->mutex};
    const LadderMachine& machine = impl_->machine;
    LadderStatus status{.figures = machine.figures(), .degraded = machine.degraded(), .replayed = impl_->replayed};
    status.way = machine.describe_way(impl_->ladder.options.need, impl_->clock.steady_now());
    for (const CircuitBreaker& breaker : machine.breakers()) {
        status.brokers.push_back({breaker.state(), breaker.openings(), std::string{breaker.reason()}});
    }
    for (std::size_t number = 0; number < machine.rungs().size(); ++number) {
        const LadderRung& rung = machine.rungs()[number];
        status.rungs.push_back({rung.options().name, impl_->ladder.rungs[number].buffer->describe(), rung.state(),
                                rung.statement(), rung.size(), rung.full(), rung.trouble()});
    }
    return status;
}

}  // namespace hufu::degradation
