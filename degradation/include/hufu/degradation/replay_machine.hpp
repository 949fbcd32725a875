// What the replayer decides: which entry is published when, what is trimmed, what is set aside, what stays.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/degradation/buffer.hpp>

namespace hufu::degradation {

/// Which entries are replayed; the others are left in the buffer. Empty parts match everything. An entry stays, too, behind
/// one of its key that stays: nothing overtakes what is left.
struct ReplayFilter {
    std::vector<std::string> topics = {};
    std::vector<std::string> keys = {};    ///< an ordering key, or one of `Message::keys`
    std::optional<SystemTime> since = {};  ///< spilled then or later
    std::optional<SystemTime> until = {};  ///< spilled before
    [[nodiscard]] bool matches(const Entry& entry) const;
};

struct ReplayOptions {
    ReplayFilter filter = {};
    double per_second = 0;  ///< messages, in even batches of a millisecond's worth; 0: as fast as the broker takes them
    std::chrono::milliseconds warm_up{
        0};  ///< the rate rises from a tenth of `per_second` over this time, also after an outage
    std::size_t batch_messages = 1'000;  ///< most messages in one batch
    std::size_t batches_max = 6;         ///< batches under way at the same time; small ones, with a rate: up to 32
    std::size_t held_max = 20'000;       ///< entries in memory
    /// Waits of a key whose message was not confirmed, and of everything while nothing at all is. Never exhausted.
    RetrySchedule retry = RetrySchedule::capped(std::chrono::milliseconds{100}, std::chrono::seconds{5}).jitter(0.2);
    bool record_outcomes = false;  ///< fills `ReplayActions::records`
};

/// Refuses options that make no sense; names option, value and rule.
[[nodiscard]] Result<void> validate(const ReplayOptions& options);

/// Messages on their way. The shell publishes `messages` into `outcomes` and hands the object back when all are final.
struct ReplayBatch {
    std::vector<Message> messages = {};
    std::vector<PublishOutcome> outcomes = {};
    struct Origin {
        EntryId id = {};
        std::uint64_t key = 0;  ///< hash of its key, 0 without one
    };
    std::vector<Origin> origins = {};
    std::uint64_t number = 0;
    std::uint64_t confirmed_before = 0;
};

/// Totals. At the end read = confirmed + parked + filtered + behind + given_back.
struct ReplayFigures {
    std::uint64_t read = 0;
    std::uint64_t confirmed = 0;   ///< by the broker
    std::uint64_t parked = 0;      ///< rejected, or behind a rejected one of their key
    std::uint64_t filtered = 0;    ///< left because of the filter
    std::uint64_t behind = 0;      ///< left behind one of their key that was filtered
    std::uint64_t given_back = 0;  ///< not dealt with when the replay ended; they are in the buffer
    std::uint64_t retried = 0;     ///< messages published once more
    std::uint64_t trimmed = 0;     ///< removed from the buffer
    std::uint64_t taken_over = 0;  ///< confirmed, but another replayer has the shard and publishes them once more
    std::uint64_t bytes = 0;       ///< of bodies that were confirmed
    std::uint64_t held = 0;        ///< in memory now
    Error last_error = {};         ///< latest failure, for people
    [[nodiscard]] bool adds_up() const noexcept { return read == confirmed + parked + filtered + behind + given_back; }
};

/// What became of one message, for the outcome file.
struct ReplayRecord {
    MessageId id = {};
    std::string topic = {};
    std::string ordering_key = {};
    bool confirmed = false;   ///< or parked
    std::string detail = {};  ///< the broker's id of it, or why it was set aside
};

/// What to do now.
struct ReplayActions {
    std::vector<std::unique_ptr<ReplayBatch>> publish = {};  ///< in the order given
    std::vector<ReplayRecord> records = {};                  ///< to be kept before anything is trimmed or parked
    std::vector<EntryId> trim = {};                          ///< answer with `trimmed` or `not_trimmed`
    struct Park {
        std::vector<EntryId> entries = {};
        std::string reason = {};
    };
    std::vector<Park> park = {};             ///< answer with `not_parked` if it failed
    std::optional<SteadyTime> tick_at = {};  ///< call `step` again then, if nothing happens before
};

/// The replayer as a state machine: owns no thread, socket or clock. Tell it what happened, then call `step(now)` and obey.
/// One thread at a time; time must not go back. A machine that is simply destroyed is a replayer that crashed.
///
/// Delivery: an entry is trimmed after the broker confirmed its message, so a crash at any point repeats and never loses;
/// a copy has the id of the first. Order: of a key one batch is under way at a time, and after a failure the next begins
/// with the message that failed. A message that the broker rejects is set aside with every later one of its key.
class ReplayMachine {
public:
    /// Borrows `random` for its life.
    ReplayMachine(ReplayOptions options, Random& random);

    /// The key has entries that were set aside earlier: what follows is set aside behind them.
    void bar(const Message& parked);
    void deliver(std::vector<Entry> entries);
    /// Gives the batch back, settled: whoever allocated its messages may free them.
    std::unique_ptr<ReplayBatch> published(std::unique_ptr<ReplayBatch> batch, SteadyTime now);
    void trimmed(std::size_t asked, std::size_t removed);
    void not_trimmed(std::vector<EntryId> entries, SteadyTime now);
    /// In the order in which they were handed out: the first one that failed and all behind it, which may be of its key.
    void not_parked(std::vector<ReplayActions::Park> park, SteadyTime now);
    /// Publishes nothing more; what is under way is waited for. What it holds is given back.
    void stop();

    [[nodiscard]] ReplayActions step(SteadyTime now);

    /// How many entries there is room for.
    [[nodiscard]] std::size_t room() const noexcept;
    [[nodiscard]] std::size_t under_way() const noexcept { return out_; }
    /// Nothing is held: everything that was delivered has been dealt with.
    [[nodiscard]] bool idle() const noexcept { return held() == 0; }
    /// While it holds: nothing was confirmed lately, and one batch at a time probes the broker.
    [[nodiscard]] bool target_away() const noexcept { return outage_ > 0; }
    [[nodiscard]] ReplayFigures figures() const;

private:
    struct Item {
        Message message;
        EntryId id;
        std::uint64_t key = 0;
    };
    /// Entries of one key of which some are under way or wait.
    struct Lane {
        std::deque<Item>* waiting = nullptr;  // owned; most lanes never need one
        std::uint64_t out = 0;                // number of the batch that has some
        std::uint32_t failures = 0;
        Lane() = default;
        ~Lane() { delete waiting; }
        Lane(const Lane&) = delete;
        Lane& operator=(const Lane&) = delete;
        [[nodiscard]] bool empty() const { return waiting == nullptr || waiting->empty(); }
        std::deque<Item>& items() { return waiting == nullptr ? *(waiting = new std::deque<Item>) : *waiting; }
    };

    [[nodiscard]] std::size_t held() const noexcept;
    [[nodiscard]] std::uint64_t key_of(const Message& message) const;
    [[nodiscard]] std::size_t allowance(SteadyTime now);
    [[nodiscard]] double rate_at(SteadyTime now) const;
    [[nodiscard]] bool has_work() const noexcept { return !ready_.empty() || !fresh_.empty(); }
    [[nodiscard]] std::unique_ptr<ReplayBatch> next_batch(std::size_t most);
    void fill_from_lanes(ReplayBatch& batch, std::size_t most);
    void fill_from_fresh(ReplayBatch& batch, std::size_t most);
    void add(ReplayBatch& batch, Item item);
    void settle(ReplayBatch& batch, std::size_t index, std::map<std::uint64_t, std::deque<Item>>& failed,
                std::unordered_set<std::uint64_t>& rejected);
    void park(Message message, EntryId id, std::uint64_t key, const std::string& reason);
    void park_behind(const std::unordered_set<std::uint64_t>& keys);
    void back_off(std::uint64_t key, std::deque<Item> items, bool outage, SteadyTime now);
    void release(std::uint64_t key, std::uint64_t batch);
    void wake(SteadyTime now);
    void hand_out_trims(SteadyTime now, ReplayActions& actions);

    const ReplayOptions options_;
    Random& random_;
    std::deque<Item> fresh_;
    std::unordered_map<std::uint64_t, Lane> lanes_;
    std::deque<std::uint64_t> ready_;                             // lanes that may go; may name some that are gone
    std::multimap<SteadyTime, std::uint64_t> waits_;              // lanes that back off
    std::size_t waiting_ = 0;                                     // items in lanes
    std::unordered_map<std::uint64_t, std::string> parked_keys_;  // key -> why the next ones are set aside
    std::unordered_set<std::uint64_t> left_keys_;
    std::vector<EntryId> trim_;
    std::optional<SteadyTime> trim_since_;
    std::size_t trimming_ = 0;  // asked for, no answer yet
    std::vector<ReplayActions::Park> park_;
    std::vector<ReplayRecord> records_;
    std::size_t out_ = 0;  // batches under way
    std::size_t out_messages_ = 0;
    std::uint64_t last_batch_ = 0;
    std::uint32_t outage_ = 0;  // batches in a row without any confirmation
    SteadyTime pause_until_{};
    SteadyTime retry_notes_at_{};  // trims and parks that failed
    std::optional<SteadyTime> warm_from_;
    double credit_ = 0;
    std::optional<SteadyTime> credit_at_;
    bool stopping_ = false;
    ReplayFigures figures_;
};

}  // namespace hufu::degradation
