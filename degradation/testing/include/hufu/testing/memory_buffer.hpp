// A buffer in memory, which a test can make refuse, fall silent, or lose what it holds.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <hufu/degradation/buffer.hpp>

namespace hufu::testing {

/// One shard. Answers inside the call, unless `hold_back`. One reader owns the shard at a time: the first that reads, until
/// it releases or ends. Safe from any thread.
class MemoryBuffer final : public degradation::Buffer {
public:
    using Status = degradation::SpillOutcome::Status;

    explicit MemoryBuffer(Clock& clock, degradation::Loss loss = degradation::Loss::nothing)
        : clock_{clock}, statement_{loss, "in memory, for a test"} {}
    ~MemoryBuffer() override { answer_all(); }

    [[nodiscard]] std::string describe() const override { return "memory:"; }

    [[nodiscard]] Result<degradation::LossStatement> inspect() override {
        const std::lock_guard lock{mutex_};
        if (away_) return *away_;
        return statement_;
    }

    void spill(std::span<const Message> messages, degradation::SpillWhen when, std::span<degradation::SpillOutcome> outcomes,
               Done done) override {
        {
            const std::lock_guard lock{mutex_};
            ++spill_calls_;
            std::set<ConsumerKey> failed;
            for (std::size_t index = 0; index < messages.size(); ++index) {
                const ConsumerKey key{messages[index].topic, messages[index].ordering_key};
                outcomes[index] = failed.contains(key) ? refused("behind another one") : append(messages[index], key, when);
                if (outcomes[index].status != Status::spilled && !key.ordering_key.empty()) failed.insert(key);
            }
            changed_.notify_all();
            if (holding_) {
                held_.push_back(std::move(done));
                return;
            }
        }
        done();
    }

    void epoch(OnEpoch on_epoch) override {
        std::optional<Result<std::uint64_t>> answer;
        {
            const std::lock_guard lock{mutex_};
            ++epoch_reads_;
            answer = away_ ? Result<std::uint64_t>{*away_} : Result<std::uint64_t>{epoch_now()};
            if (holding_) {
                held_.push_back([on_epoch, answer] { on_epoch(*answer); });
                return;
            }
        }
        on_epoch(*answer);
    }

    [[nodiscard]] Result<degradation::BufferSize> size() override {
        const std::lock_guard lock{mutex_};
        if (away_) return *away_;
        degradation::BufferSize size{.entries = entries_.size(), .parked = parked_.size()};
        for (const auto& [seq, entry] : entries_) size.bytes += entry.message.body.size();
        if (!entries_.empty()) {
            size.oldest_age = std::chrono::duration_cast<std::chrono::milliseconds>(clock_.system_now() -
                                                                                    entries_.begin()->second.spilled_at);
        }
        return size;
    }

    [[nodiscard]] Result<std::vector<bool>> holds(std::span<const ConsumerKey> keys) override {
        const std::lock_guard lock{mutex_};
        if (away_) return *away_;
        std::vector<bool> held;
        for (const ConsumerKey& key : keys) held.push_back(barred_.contains(key));
        return held;
    }

    [[nodiscard]] Result<void> browse(Shelf shelf, const std::function<bool(const degradation::Entry&)>& see) override {
        std::vector<degradation::Entry> shown;
        {
            const std::lock_guard lock{mutex_};
            if (away_) return *away_;
            for (const auto& [seq, entry] : shelf == Shelf::parked ? parked_ : entries_) {
                shown.push_back({{0, std::to_string(seq)}, entry.message, entry.spilled_at, entry.deliveries});
            }
        }
        for (const auto& entry : shown) {
            if (!see(entry)) break;
        }
        return {};
    }

    [[nodiscard]] std::unique_ptr<degradation::BufferReader> reader(std::string) override {
        return std::make_unique<Reader>(*this);
    }

    // What a test does to it.
    void go_away(Error error = {ErrorCode::unavailable, Disposition::retry, "connection refused"}) {
        const std::lock_guard lock{mutex_};
        away_ = std::move(error);
    }
    void come_back() {
        const std::lock_guard lock{mutex_};
        away_.reset();
        changed_.notify_all();
    }
    void state(degradation::LossStatement statement) {
        const std::lock_guard lock{mutex_};
        statement_ = std::move(statement);
    }
    /// Refuses every spill with this error, though it answers otherwise; nothing: takes them again.
    void refuse(std::optional<Error> error) {
        const std::lock_guard lock{mutex_};
        refusal_ = std::move(error);
    }
    /// Works, but answers only when `answer_all` says so.
    void hold_back(bool on) {
        const std::lock_guard lock{mutex_};
        holding_ = on;
    }
    void answer_all() {
        for (;;) {
            Done next;
            {
                const std::lock_guard lock{mutex_};
                if (held_.empty()) return;
                next = std::move(held_.front());
                held_.pop_front();
            }
            next();
        }
    }
    /// It was flushed.
    void lose_everything() {
        const std::lock_guard lock{mutex_};
        entries_.clear();
        parked_.clear();
        barred_.clear();
    }
    [[nodiscard]] std::vector<Message> messages() const {
        const std::lock_guard lock{mutex_};
        std::vector<Message> all;
        for (const auto& [seq, entry] : entries_) all.push_back(entry.message);
        return all;
    }
    [[nodiscard]] std::vector<Message> parked() const {
        const std::lock_guard lock{mutex_};
        std::vector<Message> all;
        for (const auto& [seq, entry] : parked_) all.push_back(entry.message);
        return all;
    }
    void wait_for_entries(std::size_t count) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return entries_.size() == count; });
    }
    [[nodiscard]] std::uint64_t spill_calls() const {
        const std::lock_guard lock{mutex_};
        return spill_calls_;
    }
    [[nodiscard]] std::uint64_t epoch_reads() const {
        const std::lock_guard lock{mutex_};
        return epoch_reads_;
    }

private:
    class Reader final : public degradation::BufferReader {
    public:
        explicit Reader(MemoryBuffer& buffer) : buffer_{buffer} {}
        ~Reader() override { buffer_.give_up(this); }
        [[nodiscard]] Result<std::vector<degradation::Entry>> read(std::size_t max,
                                                                   std::chrono::milliseconds timeout) override {
            return buffer_.read(this, taken_, max, timeout);
        }
        [[nodiscard]] Result<std::size_t> trim(std::span<const degradation::EntryId> entries) override {
            return buffer_.remove(this, entries, false);
        }
        [[nodiscard]] Result<void> park(std::span<const degradation::EntryId> entries, std::string_view) override {
            if (auto removed = buffer_.remove(this, entries, true); !removed) return removed.error();
            return {};
        }
        Result<void> release() override {
            taken_ = 0;
            buffer_.give_up(this);
            return {};
        }

    private:
        MemoryBuffer& buffer_;
        std::uint64_t taken_ = 0;
    };
    struct Stored {
        Message message;
        SystemTime spilled_at;
        std::uint32_t deliveries = 0;
    };

    static degradation::SpillOutcome refused(std::string why) {
        return {.status = Status::refused, .error = Error{ErrorCode::cancelled, Disposition::retry, std::move(why)}};
    }
    degradation::SpillOutcome append(const Message& message, const ConsumerKey& key, degradation::SpillWhen when) {
        if (away_) return {.status = Status::in_doubt, .error = *away_};
        const bool keyed = !key.ordering_key.empty();
        if (when == degradation::SpillWhen::if_key_is_buffered && (!keyed || !barred_.contains(key))) {
            return {.status = Status::not_buffered};
        }
        if (refusal_) return {.status = Status::refused, .error = *refusal_};
        entries_.emplace(++last_, Stored{message, clock_.system_now()});
        if (keyed) ++barred_[key];
        return {.status = Status::spilled};
    }
    [[nodiscard]] std::uint64_t epoch_now() const { return barred_.empty() ? 0 : last_; }

    Result<std::vector<degradation::Entry>> read(const Reader* reader, std::uint64_t& taken, std::size_t max,
                                                 std::chrono::milliseconds timeout) {
        std::unique_lock lock{mutex_};
        const auto mine = [&] { return owner_ == nullptr || owner_ == reader; };
        const auto any = [&] { return away_ || (mine() && entries_.upper_bound(taken) != entries_.end()); };
        changed_.wait_for(lock, timeout, any);
        if (away_) return *away_;
        std::vector<degradation::Entry> read;
        if (!mine()) return read;
        owner_ = reader;
        for (auto at = entries_.upper_bound(taken); at != entries_.end() && read.size() < max; ++at) {
            taken = at->first;
            read.push_back(
                {{0, std::to_string(at->first)}, at->second.message, at->second.spilled_at, at->second.deliveries++});
        }
        return read;
    }
    Result<std::size_t> remove(const Reader* reader, std::span<const degradation::EntryId> ids, bool park) {
        const std::lock_guard lock{mutex_};
        if (away_) return *away_;
        if (owner_ != reader) return std::size_t{0};
        std::size_t removed = 0;
        for (const auto& id : ids) {
            const auto found = entries_.find(std::stoull(id.position));
            if (found == entries_.end()) continue;
            ++removed;
            const ConsumerKey key{found->second.message.topic, found->second.message.ordering_key};
            if (park) {
                parked_.emplace(found->first, found->second);
            } else if (const auto barred = barred_.find(key); barred != barred_.end() && --barred->second == 0) {
                barred_.erase(barred);
            }
            entries_.erase(found);
        }
        changed_.notify_all();
        return removed;
    }
    void give_up(const Reader* reader) {
        const std::lock_guard lock{mutex_};
        if (owner_ == reader) owner_ = nullptr;
        changed_.notify_all();
    }

    Clock& clock_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    // All guarded by mutex_.
    degradation::LossStatement statement_;
    std::optional<Error> away_;
    std::optional<Error> refusal_;
    std::map<std::uint64_t, Stored> entries_;
    std::map<std::uint64_t, Stored> parked_;
    std::map<ConsumerKey, std::size_t> barred_;
    std::uint64_t last_ = 0;
    const Reader* owner_ = nullptr;
    bool holding_ = false;
    std::deque<Done> held_;
    std::uint64_t spill_calls_ = 0;
    std::uint64_t epoch_reads_ = 0;
};

}  // namespace hufu::testing
