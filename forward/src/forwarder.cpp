#include <hufu/forward/forwarder.hpp>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace hufu::forward {
namespace {

using Notice = ForwardActions::Notice;

constexpr std::size_t receive_max = 1'000;
constexpr std::chrono::milliseconds receive_timeout{1'000};
/// How often a full forwarder looks whether queues were lost.
constexpr std::chrono::milliseconds full_pause{100};

struct Metrics {
    Metrics(MetricsRegistry& registry, const std::string& group)
        : received{counter(registry, group, "received_total", "Messages taken from the source.")},
          forwarded{counter(registry, group, "forwarded_total", "Messages that the target confirmed.")},
          retried{counter(registry, group, "retried_total", "Messages published once more.")},
          dead{counter(registry, group, "dead_total", "Messages that became dead letters.")},
          stuck{counter(registry, group, "stuck_total",
                        "Attempts that failed though no waiting will help: rejected and held, or no dead letter possible.")},
          dropped{counter(registry, group, "dropped_total", "Messages let go: another member has their queue.")},
          held{registry.gauge("hufu_forward_held", "Messages in memory.", {{"group", group}})},
          keys_waiting{
              registry.gauge("hufu_forward_keys_waiting", "Keys that wait to be tried again.", {{"group", group}})} {}

    static Counter& counter(MetricsRegistry& registry, const std::string& group, const char* name, const char* help) {
        return registry.counter(std::string{"hufu_forward_"} + name, help, {{"group", group}});
    }

    void show(const ForwardFigures& now) {
        received.add(now.received - shown.received);
        forwarded.add(now.forwarded - shown.forwarded);
        retried.add(now.retried - shown.retried);
        dead.add(now.dead - shown.dead);
        dropped.add(now.dropped - shown.dropped);
        held.set(static_cast<std::int64_t>(now.held));
        keys_waiting.set(static_cast<std::int64_t>(now.keys_waiting));
        shown = now;
    }

    Counter& received;
    Counter& forwarded;
    Counter& retried;
    Counter& dead;
    Counter& stuck;
    Counter& dropped;
    Gauge& held;
    Gauge& keys_waiting;
    ForwardFigures shown = {};
};

}  // namespace

/// The caller of `run` receives; one thread of ours decides and publishes.
struct Forwarder::Impl : std::enable_shared_from_this<Forwarder::Impl> {
    Impl(Subscription& from, Publisher& to, Publisher& dead, ForwardOptions wanted, const ForwardEnvironment& around)
        : source{from},
          target{to},
          dead_letters{dead},
          options{std::move(wanted)},
          clock{around.clock},
          log{around.log},
          metrics{around.metrics != nullptr ? *around.metrics : own_registry, options.group},
          machine{options, around.random} {}

    Result<void> run(const std::stop_token& stop) {
        std::jthread publishing{[this] { publish_until_finished(); }};
        const std::stop_callback wake{stop, [this] {
                                          const std::lock_guard lock{mutex};
                                          room.notify_all();
                                      }};
        auto ended = receive_until(stop);
        {
            const std::lock_guard lock{mutex};
            machine.stop();
            changed = true;
            work.notify_all();
        }
        return ended;
    }

    Result<void> receive_until(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            const std::size_t space = wait_for_room(stop);
            std::vector<Delivery> received;
            if (space > 0) {
                auto answer = source.receive(std::min(space, receive_max), receive_timeout, stop);
                if (!answer) {
                    return answer.error();
                }
                received = std::move(*answer);
            }
            const auto lost = source.lost_queues();
            if (lost.empty() && received.empty()) {
                continue;
            }
            const std::lock_guard lock{mutex};
            machine.lose(lost);
            machine.deliver(std::move(received));
            changed = true;
            work.notify_all();
        }
        return {};
    }

    std::size_t wait_for_room(const std::stop_token& stop) {
        std::unique_lock lock{mutex};
        room.wait_for(lock, full_pause, [&] { return machine.room() > 0 || stop.stop_requested(); });
        return machine.room();
    }

    void publish_until_finished() {
        std::unique_lock lock{mutex};
        for (;;) {
            for (auto& batch : std::exchange(returned, {})) {
                machine.published(std::move(batch), clock.steady_now());
            }
            changed = false;
            ForwardActions actions = machine.step(clock.steady_now());
            metrics.show(machine.figures());
            if (machine.room() > 0) {
                room.notify_all();
            }
            lock.unlock();
            obey(actions);
            lock.lock();
            if (actions.finished) {
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

    void obey(ForwardActions& actions) {
        if (!actions.acknowledge.empty()) {
            source.acknowledge(actions.acknowledge);
        }
        for (const Notice& notice : actions.notices) {
            report(notice);
        }
        for (auto& batch : actions.publish) {
            // Held by its own callback until that has been called.
            const auto on_its_way = std::make_shared<std::unique_ptr<ForwardBatch>>(std::move(batch));
            ForwardBatch& content = **on_its_way;
            Publisher& publisher = content.dead_letters ? dead_letters : target;
            publisher.publish(content.messages, content.outcomes, [self = shared_from_this(), on_its_way] {
                const std::lock_guard lock{self->mutex};
                self->returned.push_back(std::move(*on_its_way));
                self->work.notify_all();
            });
        }
    }

    void report(const Notice& notice) {
        const auto line = [&](LogLevel level, std::string_view event) {
            log.write(level, event,
                      {{"group", options.group},
                       {"topic", notice.key.topic},
                       {"key", notice.key.ordering_key},
                       {"id", notice.id.to_string()},
                       {"keys", notice.messages},
                       {"reason", notice.reason}});
        };
        switch (notice.kind) {
            case Notice::Kind::retry: line(LogLevel::warning, "not confirmed by the target, will be published again"); break;
            case Notice::Kind::dead: line(LogLevel::error, "message became a dead letter"); break;
            case Notice::Kind::stuck:
                metrics.stuck.add();
                line(LogLevel::error, "message is stuck: it stays unacknowledged and is tried again");
                break;
        }
    }

    Subscription& source;
    Publisher& target;
    Publisher& dead_letters;
    const ForwardOptions options;
    Clock& clock;
    Log& log;
    MetricsRegistry own_registry;

    mutable std::mutex mutex;
    std::condition_variable work;                         // something came back, arrived, or stop
    std::condition_variable room;                         // there may be room, or stop
    Metrics metrics;                                      // shown under mutex
    ForwardMachine machine;                               // guarded by mutex
    std::vector<std::unique_ptr<ForwardBatch>> returned;  // guarded by mutex
    bool changed = false;                                 // guarded by mutex
};

Forwarder::Forwarder(Subscription& source, Publisher& target, Publisher& dead_letters, ForwardOptions options,
                     ForwardEnvironment environment) {
    validate(options).value();
    impl_ = std::make_shared<Impl>(source, target, dead_letters, std::move(options), environment);
}

Forwarder::~Forwarder() = default;

Result<void> Forwarder::run(std::stop_token stop) { return impl_->run(stop); }

ForwardFigures Forwarder::figures() const {
    const std::lock_guard lock{impl_->mutex};
    return impl_->machine.figures();
}

bool Forwarder::reopen(const ConsumerKey& key) {
    const std::lock_guard lock{impl_->mutex};
    return impl_->machine.reopen(key);
}

}  // namespace hufu::forward
