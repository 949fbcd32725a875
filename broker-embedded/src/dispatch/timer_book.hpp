// Which delayed messages are pending, and how far delivery has come. Memory only; timers.cpp keeps it and the log in step.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hufu::broker {

/// One pending message: when it is due, and its offset in the queue of pending messages.
struct Timer {
    std::int64_t due_ms = 0;
    std::uint64_t offset = 0;
    friend auto operator<=>(const Timer&, const Timer&) = default;
};

/// How far delivery has come. Timers are delivered in order of (due, offset), so one pair says it for all of them, as long as
/// the wall clock does not step back: what is accepted after that may be due before what was delivered. Then a new part
/// begins, at that offset, with an order of its own.
struct TimerProgress {
    struct Part {
        std::uint64_t start = 0;                                  ///< its timers have offsets from here on
        Timer last{std::numeric_limits<std::int64_t>::min(), 0};  ///< all up to this one are delivered
    };

    std::vector<Part> parts{Part{}};  ///< in order of `start`, at least one
    std::uint64_t low = 0;            ///< nothing below this offset is pending
    std::uint64_t recalls_low = 0;    ///< no recall below this offset matters any more

    [[nodiscard]] bool covers(const Timer& timer) const noexcept;
    [[nodiscard]] Part& part_of(std::uint64_t offset) noexcept;

    [[nodiscard]] std::string encode() const;
    [[nodiscard]] static std::optional<TimerProgress> decode(std::string_view text);
};

/// Not thread-safe. 16 bytes for each pending timer; recalled ones are remembered until they would have been due.
class TimerBook {
public:
    // At start: progress, then every entry from `progress().low` on, recalls, then `restored`.
    void restore(TimerProgress progress) { progress_ = std::move(progress); }
    /// Nothing happens when progress covers it.
    void restore(const Timer& timer);
    void restored();

    /// Whether a timer can be accepted as it is.
    struct Admission {
        std::int64_t due_ms = 0;
        bool new_part = false;  ///< the clock has stepped back: a new part begins with it
    };
    [[nodiscard]] Admission admit(std::int64_t due_ms, std::int64_t now_ms) const noexcept;
    void begin_part(std::uint64_t offset);
    void add(const Timer& timer);

    /// The next one to be due; null when none is pending.
    [[nodiscard]] const Timer* next() const noexcept { return heap_.empty() ? nullptr : &heap_.front(); }
    Timer take_next();
    /// Taken, and not delivered after all.
    void put_back(std::span<const Timer> timers);
    /// Everything up to `timer` is delivered, in the order in which timers were taken.
    void passed(const Timer& timer) noexcept;
    /// Pending and not recalled below `offset`, in order of offset.
    [[nodiscard]] std::vector<Timer> live_below(std::uint64_t offset) const;
    /// The log has dropped everything below `offset`. Returns how many timers were lost with it.
    std::size_t purge_below(std::uint64_t offset);
    /// Pending timers that are due at exactly this time.
    [[nodiscard]] std::vector<Timer> due_at(std::int64_t due_ms, std::size_t count_max) const;

    /// The message at `offset` will not be delivered; the recall stands at `recall_offset` in the queue of recalls.
    void recall(std::uint64_t offset, std::uint64_t recall_offset) { recalled_.try_emplace(offset, recall_offset); }
    [[nodiscard]] bool is_recalled(std::uint64_t offset) const { return recalled_.contains(offset); }
    /// The recalled message has been passed.
    void forget_recall(std::uint64_t offset) { recalled_.erase(offset); }

    /// The log refused what was appended from these offsets on: timers, recalls.
    void refuse(std::uint64_t offset, std::uint64_t recall_offset);

    /// Looks for the lowest pending offset again, when enough was delivered to make it worth while. `next`, `next_recall`:
    /// what is appended next.
    void raise_low(std::size_t delivered, std::uint64_t next, std::uint64_t next_recall);

    [[nodiscard]] const TimerProgress& progress() const noexcept { return progress_; }
    void set_progress(TimerProgress progress) { progress_ = std::move(progress); }
    /// Pending, those included that were recalled and not passed yet.
    [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }
    [[nodiscard]] std::size_t recalled() const noexcept { return recalled_.size(); }

private:
    std::vector<Timer> heap_;  ///< the earliest first
    std::unordered_map<std::uint64_t, std::uint64_t> recalled_;
    TimerProgress progress_;
    std::size_t delivered_since_look_ = 0;
};

}  // namespace hufu::broker
