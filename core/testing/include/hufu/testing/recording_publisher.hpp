// A publisher that keeps what it is given.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include <hufu/core/publisher.hpp>

namespace hufu::testing {

/// Confirms at once, inside `publish`, unless told otherwise by `answer_next`. Safe from any thread.
class RecordingPublisher final : public Publisher {
public:
    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        {
            const std::lock_guard lock{mutex_};
            for (std::size_t index = 0; index < batch.size(); ++index) {
                tried_.push_back(batch[index]);
                PublishOutcome outcome{.status = PublishStatus::confirmed};
                if (!answers_.empty()) {
                    outcome = std::move(answers_.front());
                    answers_.pop_front();
                }
                if (outcome.status == PublishStatus::confirmed) confirmed_.push_back(batch[index]);
                outcomes[index] = std::move(outcome);
            }
            changed_.notify_all();
        }
        done();
    }

    /// The outcome of the next message that has none yet.
    void answer_next(PublishOutcome outcome) {
        const std::lock_guard lock{mutex_};
        answers_.push_back(std::move(outcome));
    }
    [[nodiscard]] std::vector<Message> confirmed() const {
        const std::lock_guard lock{mutex_};
        return confirmed_;
    }
    /// Every attempt, also those that were answered otherwise.
    [[nodiscard]] std::vector<Message> tried() const {
        const std::lock_guard lock{mutex_};
        return tried_;
    }
    void wait_for_tries(std::size_t count) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return tried_.size() >= count; });
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<PublishOutcome> answers_;  // guarded by mutex_
    std::vector<Message> confirmed_;      // guarded by mutex_
    std::vector<Message> tried_;          // guarded by mutex_
};

}  // namespace hufu::testing
