#include <hufu/core/assert.hpp>
#include <hufu/core/consumer.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "alarm.hpp"

namespace hufu {
namespace {

using Notice = ConsumerActions::Notice;

constexpr std::size_t receive_max = 512;
constexpr std::chrono::milliseconds receive_timeout{1'000};
/// How often a full consumer looks whether queues were lost.
constexpr std::chrono::milliseconds full_pause{100};
/// How long the attendant sleeps when nothing is due; anything earlier rings.
constexpr std::chrono::hours idle{1};

struct ConsumerMetrics {
    ConsumerMetrics(MetricsRegistry& registry, const std::string& group)
        : handled{registry.counter("hufu_consumer_handled_total", "Messages whose handler answered done.",
                                   {{"group", group}})},
          absorbed{
              registry.counter("hufu_consumer_absorbed_total", "Duplicates that a guard absorbed.", {{"group", group}})},
          retried{registry.counter("hufu_consumer_retried_total", "Handler runs that failed and are repeated.",
                                   {{"group", group}})},
          dead{registry.counter("hufu_consumer_dead_total", "Messages that became dead letters.", {{"group", group}})},
          dead_letter_failures{registry.counter("hufu_consumer_dead_letter_failures_total",
                                                "Attempts to publish a dead letter that were not confirmed.",
                                                {{"group", group}})},
          overdue{registry.counter("hufu_consumer_overdue_total", "Handlers that ran longer than their time-out.",
                                   {{"group", group}})},
          dropped{registry.counter("hufu_consumer_dropped_total",
                                   "Messages let go unhandled because their queue was lost or the consumer stopped.",
                                   {{"group", group}})},
          in_flight{registry.gauge("hufu_consumer_in_flight", "Handlers running now.", {{"group", group}})},
          held{registry.gauge("hufu_consumer_held", "Messages in memory.", {{"group", group}})},
          handler_seconds{registry.histogram(
              "hufu_consumer_handler_seconds", "Time in the handler.",
              {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
              {{"group", group}})} {}

    Counter& handled;
    Counter& absorbed;
    Counter& retried;
    Counter& dead;
    Counter& dead_letter_failures;
    Counter& overdue;
    Counter& dropped;
    Gauge& in_flight;
    Gauge& held;
    Histogram& handler_seconds;
};

HandlerResult call(const Handler& handler, const Delivery& delivery) noexcept {
    try {
        return handler(delivery);
    } catch (const std::exception& failure) {
        return {Handled::retry, std::string{"the handler threw: "} + failure.what()};
    } catch (...) {
        return {Handled::retry, "the handler threw something that is not a std::exception"};
    }
}

}  // namespace

/// The shell: threads that feed the machine and obey it. Everything mutable is guarded by `mutex` unless it says otherwise.
///
/// Workers run handlers. The attendant does what is due at a time and publishes dead letters (no other thread does, so that
/// a publisher which confirms inside `publish` cannot recurse). The caller of `run` receives.
struct Consumer::Impl : std::enable_shared_from_this<Consumer::Impl> {
    Impl(Subscription& from, Publisher& dead, ConsumerOptions wanted, const ConsumerEnvironment& around)
        : subscription{from},
          dead_letters{dead},
          options{std::move(wanted)},
          clock{around.clock},
          random{around.random},
          log{around.log},
          metrics{around.metrics != nullptr ? *around.metrics : own_registry, options.group},
          machine{std::make_unique<ConsumerMachine>(options, random)},
          attendant_alarm{clock},
          room_alarm{clock} {}

    /// What of the machine's actions is done after the lock is left.
    struct Outside {
        std::vector<DeliveryTag> acknowledge;
        std::vector<Notice> notices;
    };

    Outside obey(ConsumerActions actions) {
        for (auto& start : actions.start) {
            starts.push_back(start);
            work.notify_one();
        }
        bool ring = !actions.dead_letters.empty();
        for (auto& letter : actions.dead_letters) letters.push_back(letter);
        if (const auto at = machine->wake_at(); at && *at < attendant_until) {
            attendant_until = *at;
            ring = true;
        }
        if (ring) attendant_alarm.ring();
        if (receiver_waits && machine->room() >= room_wanted()) room_alarm.ring();
        if (machine->finished()) drained.notify_all();

        metrics.handled.add(actions.done);
        metrics.absorbed.add(actions.absorbed);
        metrics.in_flight.set(static_cast<std::int64_t>(machine->running()));
        metrics.held.set(static_cast<std::int64_t>(machine->held()));
        return {std::move(actions.acknowledge), std::move(actions.notices)};
    }

    void finish_outside(const Outside& outside) {
        if (!outside.acknowledge.empty()) subscription.acknowledge(outside.acknowledge);
        for (const auto& notice : outside.notices) report(notice);
    }

    void report(const Notice& notice) {
        const auto line = [&](LogLevel level, std::string_view event) {
            if (!log.enabled(level)) return;
            log.write(level, event,
                      {{"group", options.group},
                       {"topic", notice.key.topic},
                       {"key", notice.key.ordering_key},
                       {"id", notice.id.to_string()},
                       {"attempts", notice.attempts},
                       {"wait_ms", notice.wait.count()},
                       {"reason", notice.reason}});
        };
        switch (notice.kind) {
            case Notice::Kind::retry:
                metrics.retried.add();
                line(LogLevel::warning, "handler failed, the message will be retried");
                break;
            case Notice::Kind::dead:
                metrics.dead.add();
                line(LogLevel::error, "message became a dead letter");
                break;
            case Notice::Kind::dead_letter_failed:
                metrics.dead_letter_failures.add();
                line(LogLevel::error, "dead letter was not confirmed; the message stays unacknowledged");
                break;
            case Notice::Kind::overdue:
                metrics.overdue.add();
                line(LogLevel::warning, "handler is overdue");
                break;
            case Notice::Kind::dropped:
                metrics.dropped.add();
                line(LogLevel::debug, "message let go unhandled; it will come again");
                break;
        }
    }

    /// A receiver that found no room waits for a worthwhile piece of it.
    [[nodiscard]] std::size_t room_wanted() const { return std::max<std::size_t>(1, options.held_max / 8); }

    void work_until_closed(const Handler& handler) {
        std::unique_lock lock{mutex};
        for (;;) {
            work.wait(lock, [&] { return closing || !starts.empty(); });
            if (starts.empty()) return;
            const auto start = starts.front();
            starts.pop_front();
            lock.unlock();
            const SteadyTime began = clock.steady_now();
            HandlerResult result = call(handler, *start.delivery);
            metrics.handler_seconds.observe(std::chrono::duration<double>(clock.steady_now() - began).count());
            lock.lock();
            const Outside outside = obey(machine->handled(start.job, std::move(result), clock.steady_now()));
            lock.unlock();
            finish_outside(outside);
            lock.lock();
        }
    }

    void attend_until_closed() {
        std::unique_lock lock{mutex};
        while (!closing) {
            const SteadyTime now = clock.steady_now();
            const Outside outside = obey(machine->tick(now));
            const auto to_publish = std::exchange(letters, {});
            attendant_until = std::min(machine->wake_at().value_or(now + idle), now + idle);
            const SteadyTime until = attendant_until;
            lock.unlock();
            finish_outside(outside);
            for (const auto& letter : to_publish) publish(letter);
            attendant_alarm.wait_until(until);
            lock.lock();
        }
    }

    void publish(const ConsumerActions::DeadLetter& letter) {
        auto outcome = std::make_shared<PublishOutcome>();
        dead_letters.publish(
            {letter.message, 1}, {outcome.get(), 1}, [self = shared_from_this(), outcome, job = letter.job] {
                std::unique_lock guard{self->mutex};
                ++self->settling;
                const Outside outside = self->obey(self->machine->dead_letter_settled(
                    job, outcome->status == PublishStatus::confirmed, outcome->error.text(), self->clock.steady_now()));
                guard.unlock();
                self->finish_outside(outside);
                guard.lock();
                --self->settling;
                self->drained.notify_all();
            });
    }

    Result<void> receive_until(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            std::size_t room = wait_for_room();
            std::vector<Delivery> received;
            if (room > 0 && !stop.stop_requested()) {
                auto answer = subscription.receive(std::min(room, receive_max), receive_timeout, stop);
                if (!answer) return answer.error();
                received = std::move(*answer);
            }
            const auto lost = subscription.lost_queues();
            if (lost.empty() && received.empty()) continue;
            std::unique_lock lock{mutex};
            const SteadyTime now = clock.steady_now();
            Outside first;
            if (!lost.empty()) first = obey(machine->lose(lost, now));
            const Outside second = obey(machine->deliver(std::move(received), now));
            lock.unlock();
            finish_outside(first);
            finish_outside(second);
        }
        return {};
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

    Result<void> run(const Handler& handler, std::stop_token stop) {
        if (!handler) {
            return Error{ErrorCode::invalid_argument, Disposition::reject, "Consumer::run was given an empty handler"};
        }
        std::vector<std::jthread> threads;  // joined by drain, also when starting one of them throws
        const struct Drain {
            Impl& self;
            std::vector<std::jthread>& threads;
            ~Drain() { self.drain(threads); }
        } drain_at_end{*this, threads};
        {
            const std::lock_guard lock{mutex};
            HUFU_ASSERT(!in_use);
            in_use = true;
            closing = false;
            attendant_until = clock.steady_now() + idle;
            ConsumerOptions again = options;
            again.dead_keys.assign(machine->dead_keys().begin(), machine->dead_keys().end());
            machine = std::make_unique<ConsumerMachine>(std::move(again), random);
        }
        threads.reserve(options.running_max + 1);
        threads.emplace_back([this] { attend_until_closed(); });
        for (std::size_t count = 0; count < options.running_max; ++count) {
            threads.emplace_back([this, &handler] { work_until_closed(handler); });
        }
        const std::stop_callback wake_receiver{stop, [this] { room_alarm.ring(); }};
        return receive_until(stop);
    }

    void drain(std::vector<std::jthread>& threads) {
        std::unique_lock lock{mutex};
        const Outside outside = obey(machine->stop(clock.steady_now()));
        lock.unlock();
        finish_outside(outside);
        lock.lock();
        drained.wait(lock, [&] { return machine->finished() && settling == 0; });
        closing = true;
        work.notify_all();
        attendant_alarm.ring();
        lock.unlock();
        threads.clear();  // joins: acknowledgements of the last handlers are handed over
        lock.lock();
        in_use = false;
    }

    Subscription& subscription;
    Publisher& dead_letters;
    const ConsumerOptions options;
    Clock& clock;
    Random& random;
    Log& log;
    MetricsRegistry own_registry;
    ConsumerMetrics metrics;

    std::mutex mutex;
    std::condition_variable work;     // starts grew, or closing
    std::condition_variable drained;  // the machine may have finished
    std::unique_ptr<ConsumerMachine> machine;
    std::deque<ConsumerActions::Start> starts;
    std::vector<ConsumerActions::DeadLetter> letters;  // for the attendant to publish
    SteadyTime attendant_until{};                      // the attendant sleeps no longer than this
    std::size_t settling = 0;                          // publisher callbacks that have work to do
    bool receiver_waits = false;
    bool closing = false;
    bool in_use = false;

    Alarm attendant_alarm;  // guards itself
    Alarm room_alarm;       // guards itself
};

Consumer::Consumer(Subscription& subscription, Publisher& dead_letters, ConsumerOptions options,
                   ConsumerEnvironment environment) {
    validate(options).value();
    impl_ = std::make_shared<Impl>(subscription, dead_letters, std::move(options), environment);
}

Consumer::~Consumer() = default;

Result<void> Consumer::run(Handler handler, std::stop_token stop) { return impl_->run(handler, std::move(stop)); }

bool Consumer::reopen(const ConsumerKey& key) {
    const std::lock_guard lock{impl_->mutex};
    return impl_->machine->reopen(key);
}

std::vector<ConsumerKey> Consumer::dead_keys() const {
    const std::lock_guard lock{impl_->mutex};
    return {impl_->machine->dead_keys().begin(), impl_->machine->dead_keys().end()};
}

}  // namespace hufu
