// The relay's shell: threads and callbacks around `RelayMachine`.
#include <hufu/outbox/relay.hpp>
#include <hufu/outbox/relay_machine.hpp>
#include <hufu/outbox/resender.hpp>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "relay_metrics.hpp"

namespace hufu::outbox {
namespace {

std::string made_up_owner(Random& random) {
    std::string name = "relay-";
    for (int digit = 0; digit < 16; ++digit) name += "0123456789abcdef"[random.below(16)];
    return name;
}

using Returned =
    std::variant<std::unique_ptr<PublishBatch>, Result<LeaseReply>, Result<LaneReply>, Result<Settled>, Result<LotReply>>;

/// What came back since the machine looked last. Thread-safe.
class Inbox {
public:
    void put(Returned returned) {
        const std::lock_guard lock{mutex_};
        returned_.push_back(std::move(returned));
        // Inside the lock: the waiter may destroy this object once it has seen the last of what it waits for.
        arrived_.notify_one();
    }
    void wake() {
        const std::lock_guard lock{mutex_};
        woken_ = true;
        arrived_.notify_one();
    }
    void stop() {
        const std::lock_guard lock{mutex_};
        stopped_ = true;
        arrived_.notify_one();
    }

    struct Taken {
        std::vector<Returned> returned;
        bool woken = false;
        bool stopped = false;
    };
    /// Waits until something is there or `until` has come.
    Taken take(std::optional<SteadyTime> until) {
        std::unique_lock lock{mutex_};
        const auto something = [&] { return !returned_.empty() || woken_ || stopped_; };
        if (until) {
            arrived_.wait_until(lock, *until, something);
        } else {
            arrived_.wait(lock, something);
        }
        return {.returned = std::exchange(returned_, {}),
                .woken = std::exchange(woken_, false),
                .stopped = std::exchange(stopped_, false)};
    }

private:
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::vector<Returned> returned_;  // guarded by mutex_
    bool woken_ = false;              // guarded by mutex_
    bool stopped_ = false;            // guarded by mutex_
};

/// A thread that performs one request after another. Destroyed when none is outstanding.
template <class Request>
class Worker {
public:
    template <class Perform>
    explicit Worker(Perform perform) : thread_{[this, perform](const std::stop_token& stop) { work(perform, stop); }} {}

    void ask(Request request) {
        const std::lock_guard lock{mutex_};
        requests_.push_back(std::move(request));
        asked_.notify_one();
    }

private:
    template <class Perform>
    void work(const Perform& perform, const std::stop_token& stop) {
        std::unique_lock lock{mutex_};
        while (asked_.wait(lock, stop, [&] { return !requests_.empty(); })) {
            const Request request = std::move(requests_.front());
            requests_.erase(requests_.begin());
            lock.unlock();
            perform(request);
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable_any asked_;
    std::vector<Request> requests_;  // guarded by mutex_; at most one per channel
    std::jthread thread_;            // last: its work uses what stands above
};

}  // namespace

struct Relay::Impl {
    Store& store;
    Publisher& publisher;
    RelayOptions options;
    Clock& clock;
    Random& random;
    MetricsRegistry& registry;
    RelayMetrics metrics;
    Inbox inbox;

    Impl(Store& from, Publisher& to, RelayOptions relay_options, Clock& time, Random& chance, MetricsRegistry& measured)
        : store{from},
          publisher{to},
          options{std::move(relay_options)},
          clock{time},
          random{chance},
          registry{measured},
          metrics{measured} {
        if (options.owner.empty()) options.owner = made_up_owner(random);
    }

    void publish(std::unique_ptr<PublishBatch> batch) {
        // `done` may be copied, so it cannot own the batch; it is called exactly once.
        PublishBatch* const lent = batch.release();
        publisher.publish(lent->messages, lent->outcomes, [this, lent] { inbox.put(std::unique_ptr<PublishBatch>{lent}); });
    }

    static void hand_in(RelayMachine& machine, Returned returned, SteadyTime now) {
        switch (returned.index()) {
            case 0: return machine.published(std::get<0>(std::move(returned)), now);
            case 1: return machine.lease_done(std::get<1>(std::move(returned)), now);
            case 2: return machine.read_done(std::get<2>(std::move(returned)), now);
            case 3: return machine.settle_done(std::get<3>(std::move(returned)), now);
            default: return machine.lot_done(std::get<4>(std::move(returned)), now);
        }
    }
};

Relay::Relay(Store& store, Publisher& publisher, RelayOptions options, Clock& clock, Random& random,
             MetricsRegistry& metrics)
    : impl_{std::make_unique<Impl>(store, publisher, std::move(options), clock, random, metrics)} {}

Relay::~Relay() = default;

void Relay::wake() noexcept { impl_->inbox.wake(); }

Result<void> Relay::run(std::stop_token stop) {
    Impl& self = *impl_;
    if (auto valid = validate(self.options); valid.has_error()) return valid.error();
    const auto lease = self.store.lease();
    const auto reader = self.store.reader();
    const auto settler = self.store.settler();
    const auto lot = self.store.parking_lot();
    const auto delayed = self.store.delayed_rows();
    RelayMachine machine{self.options, self.random};
    Inbox& inbox = self.inbox;
    // The lease has a thread of its own, so that a slow statement cannot cost it.
    Worker<LeaseRequest> lease_worker{[&](const LeaseRequest& request) { inbox.put(perform(request, *lease)); }};
    Worker<LaneRequest> read_worker{[&](const LaneRequest& request) { inbox.put(perform(request, *reader)); }};
    Worker<SettleRequest> settle_worker{[&](const SettleRequest& request) { inbox.put(perform(request, *settler)); }};
    Worker<LotRequest> lot_worker{[&](const LotRequest& request) { inbox.put(perform(request, *lot, *delayed)); }};
    const std::stop_callback on_stop{stop, [&] { inbox.stop(); }};
    // What waits for receipts is sent again beside the lane: on a thread and a connection of its own, also while another
    // relay owns the lane.
    Result<void> resent;
    SeededRandom chance{self.random.next()};
    std::jthread resender;
    if (self.options.resend_unconfirmed) {
        resender = std::jthread{[&](const std::stop_token& enough) {
            Resender again{self.store, self.publisher, self.options.receipts, self.clock, chance, self.registry};
            resent = again.run(enough);
            if (resent.has_error()) inbox.stop();
        }};
    }

    while (true) {
        RelayActions actions = machine.step(self.clock.steady_now());
        if (actions.finished) break;
        for (auto& batch : actions.publish) self.publish(std::move(batch));
        if (actions.read) read_worker.ask(std::move(*actions.read));
        if (actions.settle) settle_worker.ask(std::move(*actions.settle));
        if (actions.lease) lease_worker.ask(std::move(*actions.lease));
        if (actions.lot) lot_worker.ask(std::move(*actions.lot));
        self.metrics.update(machine.figures(), self.clock.system_now());

        Inbox::Taken taken = inbox.take(actions.tick_at);
        if (taken.stopped) {
            machine.stop();
            resender.request_stop();
        }
        if (taken.woken) machine.wake();
        const SteadyTime now = self.clock.steady_now();
        for (Returned& returned : taken.returned) Impl::hand_in(machine, std::move(returned), now);
    }
    self.metrics.update(machine.figures(), self.clock.system_now());
    if (resender.joinable()) {
        resender.request_stop();
        resender.join();
    }
    if (machine.error()) return *machine.error();
    return resent;
}

}  // namespace hufu::outbox
