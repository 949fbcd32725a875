#include <hufu/outbox/resender.hpp>

#include <condition_variable>
#include <mutex>
#include <utility>

namespace hufu::outbox {
namespace {

/// Where a published batch comes back to. Thread-safe.
class Returned {
public:
    void put(std::unique_ptr<ResendBatch> batch) {
        const std::lock_guard lock{mutex_};
        batch_ = std::move(batch);
        arrived_.notify_one();
    }
    /// Waits for a batch, the stop or the time; null for the latter two.
    std::unique_ptr<ResendBatch> take(std::optional<SteadyTime> until, const std::stop_token& stop) {
        std::unique_lock lock{mutex_};
        const auto there = [this] { return batch_ != nullptr; };
        if (until) {
            arrived_.wait_until(lock, stop, *until, there);
        } else {
            arrived_.wait(lock, stop, there);
        }
        return std::move(batch_);
    }
    /// Waits for the batch alone.
    std::unique_ptr<ResendBatch> take() {
        std::unique_lock lock{mutex_};
        arrived_.wait(lock, [this] { return batch_ != nullptr; });
        return std::move(batch_);
    }

private:
    std::mutex mutex_;
    std::condition_variable_any arrived_;
    std::unique_ptr<ResendBatch> batch_;  // guarded by mutex_
};

}  // namespace

struct Resender::Impl {
    Store& store;
    Publisher& publisher;
    AwaitingOptions options;
    Clock& clock;
    Random& random;
    Counter& resent;
    Counter& parked;
    Counter& stale;
    Counter& store_errors;
    AwaitingFigures told = {};
    Returned returned = {};

    void publish(std::unique_ptr<ResendBatch> batch) {
        // `done` may be copied, so it cannot own the batch; it is called exactly once.
        ResendBatch* const lent = batch.release();
        publisher.publish(lent->messages, lent->outcomes,
                          [this, lent] { returned.put(std::unique_ptr<ResendBatch>{lent}); });
    }
    void tell(const AwaitingFigures& figures) {
        resent.add(figures.resent - told.resent);
        parked.add(figures.parked - told.parked);
        stale.add(figures.stale - told.stale);
        store_errors.add(figures.store_errors - told.store_errors);
        told = figures;
    }
};

Resender::Resender(Store& store, Publisher& publisher, AwaitingOptions options, Clock& clock, Random& random,
                   MetricsRegistry& metrics)
    : impl_{new Impl{
          .store = store,
          .publisher = publisher,
          .options = std::move(options),
          .clock = clock,
          .random = random,
          .resent = metrics.counter("hufu_receipts_resent_total", "Messages sent again because receipts were overdue."),
          .parked = metrics.counter("hufu_receipts_exhausted_total", "Messages parked: no receipt, or the broker refused."),
          .stale = metrics.counter("hufu_receipts_stale_claims_total", "Claims not sent because they were too old."),
          .store_errors = metrics.counter("hufu_receipts_store_errors_total", "Failed calls to the book of receipts.")}} {}

Resender::~Resender() = default;

Result<void> Resender::run(std::stop_token stop) {
    Impl& self = *impl_;
    if (auto fine = validate(self.options); !fine) return fine;
    const auto rows = self.store.awaiting_rows();
    AwaitingMachine machine{self.options, self.random};
    bool out = false;
    for (;;) {
        if (stop.stop_requested()) machine.stop();
        AwaitingActions actions = machine.step(self.clock.steady_now());
        if (actions.finished) break;
        if (actions.publish) {
            out = true;
            self.publish(std::move(actions.publish));
        }
        if (actions.ask) {
            auto reply = perform(*actions.ask, *rows);
            machine.done(std::move(reply), self.clock.steady_now());
            self.tell(machine.figures());
            if (!out) continue;
        }
        // Asked to stop, only the batch is waited for; or the pause before a report is made again.
        std::unique_ptr<ResendBatch> batch;
        if (!stop.stop_requested()) {
            batch = self.returned.take(actions.ask ? self.clock.steady_now() : actions.tick_at, stop);
        } else if (out) {
            batch = self.returned.take();
        } else if (actions.tick_at) {
            self.clock.sleep_until(*actions.tick_at, {});
        }
        if (batch) {
            out = false;
            machine.published(std::move(batch), self.clock.steady_now());
        }
    }
    self.tell(machine.figures());
    if (machine.error()) return *machine.error();
    return {};
}

}  // namespace hufu::outbox
