// Delayed messages: stored in a hidden queue until they are due, then copied to the queue they were sent to.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/broker/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/remoting/record.hpp>

#include "delay.hpp"
#include "timer_book.hpp"

namespace hufu::broker {

class DispatchState;
struct Topic;

/// Three hidden queues of the log hold everything:
/// - the wheel: the messages, whole, naming the topic and queue they are for; tag code = when they are due;
/// - recalls: one record for each message that is not to be delivered; tag code = its offset in the wheel;
/// - progress: how far delivery has come (TimerProgress); the last record counts.
/// A delivery is one group of the log: the copies and the progress beyond them. After a crash both are there, or neither.
class Timers {
public:
    Timers(Log& log, MetricsRegistry& metrics);

    /// At start: reads the three queues' indexes and the last progress.
    void load(DispatchState& state);

    /// Due messages are copied here, one bounded slice a call.
    void deliver(DispatchState& state, SteadyTime now);
    /// When `deliver` has something to do.
    [[nodiscard]] SteadyTime next_at() const noexcept { return next_at_; }
    /// The log's verdict on what was appended.
    void settled(DispatchState& state, const Outcome& outcome, SteadyTime now);

    // For store_delayed, recall and retention.

    /// See store_delayed.
    Result<Appended> store(DispatchState& state, remoting::Record& record, const Traits& traits, const Delay& delay);
    /// The pending message at `offset` of the wheel will not be delivered, once this is durable.
    Result<Appended> recall(DispatchState& state, std::uint64_t offset, std::string_view unique_key);
    /// See move_timers_out_of.
    Result<bool> move_out_of(DispatchState& state, std::uint64_t log_offset);

    /// Whether a durable message waits at this offset of the wheel, recalled or not.
    [[nodiscard]] bool waits_at(std::uint64_t offset);
    [[nodiscard]] const TimerBook& book() const noexcept { return book_; }
    [[nodiscard]] QueueHandle wheel() const noexcept { return wheel_; }
    /// Pending and not recalled.
    [[nodiscard]] std::size_t pending() const noexcept { return book_.size() - book_.recalled(); }

private:
    /// Appends of one group of the log that are not settled.
    struct Flight {
        std::uint64_t ticket = 0;
        std::vector<Timer> taken = {};  ///< pending again if the log refuses
        std::vector<QueueHandle> grown = {};
        std::uint64_t bytes = 0;
        SteadyTime began = {};
        TimerProgress progress = {};
    };
    /// One timer of a slice.
    struct Due {
        Timer timer;
        std::optional<remoting::Record> record = {};  ///< nothing: recalled, or unreadable
        QueueHandle queue = {};
        bool recalled = false;
        bool astray = false;  ///< its topic is no more
    };

    std::vector<Due> take_due(std::int64_t now_ms);
    void read(std::vector<Due>& slice);
    std::uint64_t address(DispatchState& state, std::vector<Due>& slice);
    Result<void> copy(DispatchState& state, std::vector<Due>& slice, std::int64_t now_ms);
    Result<Appended> copy_one(DispatchState& state, const Due& due, std::int64_t now_ms);
    void report(DispatchState& state, const std::vector<Due>& slice);
    void put_back(const std::vector<Due>& slice);
    Result<Appended> append_progress(DispatchState& state, std::size_t delivered);
    Result<Appended> append_timer(DispatchState& state, remoting::Record& record, const Traits& traits,
                                  const TimerBook::Admission& admission);
    Result<void> move_one(DispatchState& state, const Timer& timer);
    void fly(Flight flight);
    void landed(DispatchState& state, Flight& flight);
    void adapt(std::chrono::nanoseconds flight);
    void refused();
    void wait_for_next(SteadyTime now, std::int64_t now_ms);
    void note_pending();

    Log& log_;
    const QueueHandle wheel_;
    const QueueHandle recalls_;
    const QueueHandle progress_;
    TimerBook book_;
    TimerProgress durable_;  ///< what the log has settled
    std::deque<Flight> flights_;
    std::uint64_t flying_bytes_ = 0;
    static constexpr std::uint64_t flying_max_most = 1U << 20U;
    std::uint64_t flying_max_ = flying_max_most;  ///< less on a disk that takes long
    SteadyTime turn_{};                           ///< of the slice that is being delivered
    std::uint64_t next_offset_ = 0;               ///< of the wheel: what is appended next
    std::uint64_t next_recall_ = 0;               ///< of the recalls
    std::uint64_t progress_log_offset_ = 0;       ///< where the newest progress stands in the log
    std::uint64_t moved_ticket_ = 0;              ///< of the last move
    std::uint64_t settled_ticket_ = 0;
    static constexpr std::size_t slice_records_max = 256;
    std::size_t slice_records_ = slice_records_max;  ///< fewer when the log had no room for so many
    bool waits_for_log_ = false;                     ///< the next settled group is a reason to look again
    SteadyTime next_at_ = SteadyTime::max();
    std::vector<std::byte> read_;  // scratch: records of a slice
    std::string properties_;       // scratch

    Gauge& pending_gauge_;
    Counter& accepted_count_;
    Counter& delivered_count_;
    Counter& recalled_count_;
    Counter& astray_count_;
    Histogram& lateness_;
};

/// Stores a message for later. `record` names its real topic and queue and holds the sender's properties; what a consumer of
/// RocketMQ would see is added to them (REAL_TOPIC, REAL_QID, for times TIMER_OUT_MS and TIMER_ENQUEUE_MS). The record is then as
/// it was stored. The caller awaits the ticket. Errors: those of Log::append; `busy` when too many are pending; `too_large`
/// when the properties leave no room.
Result<Appended> store_delayed(DispatchState& state, remoting::Record& record, const Traits& traits, const Delay& delay);

/// For retention, before the log gives up what stands below `log_offset`: pending messages are copied behind it, a bounded
/// number a call. True once nothing pending stands below and all copies are durable; false: call again after the next settled
/// group. Errors: those of Log::append, all to be retried.
Result<bool> move_timers_out_of(DispatchState& state, std::uint64_t log_offset);

}  // namespace hufu::broker
