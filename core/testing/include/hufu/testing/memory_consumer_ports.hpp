// What a consumer group remembers, in memory: outlives the consumers of a test as a database outlives processes.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <hufu/core/consumer_ports.hpp>

namespace hufu::testing {

/// Calls that fail while told so, and are counted. Safe from any thread.
class FailingCalls {
public:
    /// Every call fails with `error` from now on; none: they work again.
    void fail(std::optional<Error> error) {
        const std::lock_guard lock{mutex_};
        failure_ = std::move(error);
    }
    /// Blocks until so many calls were made since the beginning, failed ones with them.
    void wait_for_calls(std::size_t count) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return calls_ >= count; });
    }

protected:
    /// Counts a call and holds the lock for it.
    std::unique_lock<std::mutex> call() {
        std::unique_lock lock{mutex_};
        ++calls_;
        changed_.notify_all();
        return lock;
    }
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t calls_ = 0;         // guarded by mutex_
    std::optional<Error> failure_;  // guarded by mutex_
};

/// Parked keys of one group. Safe from any thread.
class MemoryParkedKeys final : public ParkedKeys, public FailingCalls {
public:
    Result<std::vector<ParkedKey>> load() override {
        const auto lock = call();
        if (failure_) return *failure_;
        std::vector<ParkedKey> all;
        for (const auto& [name, key] : keys_) all.push_back(key);
        return all;
    }
    Result<void> park(const ParkedKey& key) override {
        const auto lock = call();
        if (failure_) return *failure_;
        keys_.try_emplace(key.key, key);
        return {};
    }
    Result<bool> reopen(const ConsumerKey& key) override {
        const auto lock = call();
        if (failure_) return *failure_;
        return keys_.erase(key) > 0;
    }
    /// What is parked, without counting as a call.
    [[nodiscard]] std::vector<ConsumerKey> parked() const {
        const std::lock_guard lock{mutex_};
        std::vector<ConsumerKey> names;
        for (const auto& [name, key] : keys_) names.push_back(name);
        return names;
    }

private:
    std::map<ConsumerKey, ParkedKey> keys_;  // guarded by mutex_
};

/// Attempt rows of one group. Safe from any thread.
class MemoryAttemptRows final : public AttemptRows, public FailingCalls {
public:
    Result<std::vector<std::uint32_t>> look(std::span<const MessageId> ids) override {
        const auto lock = call();
        if (failure_) return *failure_;
        std::vector<std::uint32_t> unanswered;
        for (const auto& id : ids) {
            const auto [row, fresh] = starts_.try_emplace(id, 1);
            unanswered.push_back(fresh ? 0 : row->second);
        }
        return unanswered;
    }
    Result<void> starts_again(const MessageId& id) override {
        const auto lock = call();
        if (failure_) return *failure_;
        ++starts_[id];
        return {};
    }
    Result<void> over(std::span<const MessageId> ids) override {
        const auto lock = call();
        if (failure_) return *failure_;
        for (const auto& id : ids) starts_.erase(id);
        return {};
    }
    /// As left behind by processes that ended under the message's handler so often.
    void remember(const MessageId& id, std::uint32_t starts) {
        const std::lock_guard lock{mutex_};
        starts_[id] = starts;
    }
    /// How often a handler was started that has not answered, without counting as a call; 0: there is no row.
    [[nodiscard]] std::uint32_t starts(const MessageId& id) const {
        const std::lock_guard lock{mutex_};
        const auto row = starts_.find(id);
        return row == starts_.end() ? 0 : row->second;
    }

private:
    std::map<MessageId, std::uint32_t> starts_;  // guarded by mutex_
};

}  // namespace hufu::testing
