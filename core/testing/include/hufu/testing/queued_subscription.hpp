// A subscription that is fed by a test.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <hufu/core/subscription.hpp>

namespace hufu::testing {

/// Hands out what was `add`ed, in order; remembers acknowledgements. Its `receive` ignores the time-out: it waits for a
/// delivery, a loss, a failure or the stop, so that no test depends on time. Safe from any thread.
class QueuedSubscription final : public Subscription {
public:
    Result<std::vector<Delivery>> receive(std::size_t max, std::chrono::milliseconds, std::stop_token stop) override {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, stop, [&] { return !pending_.empty() || !lost_.empty() || failure_; });
        if (failure_) return *failure_;
        std::vector<Delivery> out;
        while (!stop.stop_requested() && !pending_.empty() && out.size() < max) {
            out.push_back(std::move(pending_.front()));
            pending_.pop_front();
        }
        return out;
    }
    void acknowledge(std::span<const DeliveryTag> tags) override {
        const std::lock_guard lock{mutex_};
        acknowledged_.insert(acknowledged_.end(), tags.begin(), tags.end());
        changed_.notify_all();
    }
    std::vector<std::uint64_t> lost_queues() override {
        const std::lock_guard lock{mutex_};
        return std::exchange(lost_, {});
    }

    void add(Delivery delivery) {
        const std::lock_guard lock{mutex_};
        pending_.push_back(std::move(delivery));
        changed_.notify_all();
    }
    void lose(std::uint64_t queue) {
        const std::lock_guard lock{mutex_};
        lost_.push_back(queue);
        changed_.notify_all();
    }
    void fail(Error error) {
        const std::lock_guard lock{mutex_};
        failure_ = std::move(error);
        changed_.notify_all();
    }
    /// Losses that nobody was told of yet.
    [[nodiscard]] std::size_t pending_losses() const {
        const std::lock_guard lock{mutex_};
        return lost_.size();
    }
    /// In the order of the calls.
    [[nodiscard]] std::vector<DeliveryTag> acknowledged() const {
        const std::lock_guard lock{mutex_};
        return acknowledged_;
    }
    void wait_for_acknowledged(std::size_t count) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return acknowledged_.size() >= count; });
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<Delivery> pending_;           // guarded by mutex_
    std::vector<std::uint64_t> lost_;        // guarded by mutex_
    std::vector<DeliveryTag> acknowledged_;  // guarded by mutex_
    std::optional<Error> failure_;           // guarded by mutex_
};

}  // namespace hufu::testing
