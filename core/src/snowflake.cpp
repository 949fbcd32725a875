#include <hufu/core/assert.hpp>
#include <hufu/core/snowflake.hpp>

#include <algorithm>

namespace hufu {
namespace {

using std::chrono::milliseconds;

constexpr unsigned counter_bits = 12;
constexpr unsigned worker_bits = 10;
constexpr std::uint32_t counter_max = (1u << counter_bits) - 1;
constexpr std::uint16_t workers_max = 1u << worker_bits;
constexpr std::int64_t epoch_ms = 1'704'067'200'000;  // 2024-01-01 00:00 UTC
constexpr std::int64_t time_max = (std::int64_t{1} << 41) - 1;

std::int64_t whole_ms(SystemTime time) noexcept { return std::chrono::floor<milliseconds>(time.time_since_epoch()).count(); }
SystemTime from_ms(std::int64_t count) noexcept { return SystemTime{milliseconds{count}}; }

}  // namespace

// ---- MemoryWorkerIdLease

MemoryWorkerIdLease::MemoryWorkerIdLease(std::uint16_t workers) : entries_(workers) {
    HUFU_ASSERT(workers >= 1 && workers <= workers_max);
}

Result<WorkerIdRange> MemoryWorkerIdLease::acquire(SystemTime now, milliseconds length) {
    const std::lock_guard lock{mutex_};
    const auto from = from_ms(whole_ms(now));
    for (std::size_t worker = 0; worker < entries_.size(); ++worker) {
        Entry& entry = entries_[worker];
        if (entry.until > from) continue;
        entry.until = from + length;
        ++entry.epoch;
        return WorkerIdRange{static_cast<std::uint16_t>(worker), from, entry.until, entry.epoch};
    }
    return Error{
        ErrorCode::busy, Disposition::retry,
        "all " + std::to_string(entries_.size()) + " worker ids are reserved: try again when a reservation has ended"};
}

Result<WorkerIdRange> MemoryWorkerIdLease::renew(const WorkerIdRange& held, SystemTime until) {
    const std::lock_guard lock{mutex_};
    HUFU_ASSERT(held.worker < entries_.size());
    Entry& entry = entries_[held.worker];
    if (entry.epoch != held.epoch) {
        return Error{ErrorCode::fenced, Disposition::retry,
                     "worker id " + std::to_string(held.worker) + " was taken over: acquire another"};
    }
    entry.until = std::max(entry.until, until);
    return WorkerIdRange{held.worker, held.from, entry.until, entry.epoch};
}

// ---- Snowflake

SnowflakeParts snowflake_parts(std::int64_t id) noexcept {
    return {.minted_at = from_ms((id >> (worker_bits + counter_bits)) + epoch_ms),
            .worker = static_cast<std::uint16_t>((id >> counter_bits) & (workers_max - 1)),
            .counter = static_cast<std::uint16_t>(id & counter_max)};
}

Snowflake::Snowflake(Clock& clock, WorkerIdLease& lease, SnowflakeOptions options)
    : clock_{clock}, lease_{lease}, options_{options} {
    HUFU_ASSERT(options_.range >= milliseconds{100} && options_.wait_max.count() >= 0);
}

Result<void> Snowflake::ensure_range(SystemTime now) {
    if (held_ && now < held_->until) {
        const bool due = held_->until - now < options_.range / 2 && clock_.steady_now() >= renew_after_;
        if (!due) return {};
    }
    renew_after_ = clock_.steady_now() + options_.renew_pause;
    if (held_) {
        const auto longer = lease_.renew(*held_, now + options_.range);
        if (longer) {
            held_ = *longer;
            return {};
        }
        // What is left of the range stays ours, whatever became of the lease.
        if (now < held_->until) return {};
    }
    const auto fresh = lease_.acquire(now, options_.range);
    if (!fresh) return fresh.error();
    HUFU_ASSERT(fresh->worker < workers_max && fresh->from < fresh->until);
    // A smaller worker id would make a smaller id within the same millisecond.
    if (held_ && held_->worker != fresh->worker) counter_ = counter_max;
    held_ = *fresh;
    return {};
}

void Snowflake::wait(std::chrono::microseconds time) {
    const std::stop_token never_stopped;
    clock_.sleep_until(clock_.steady_now() + time, never_stopped);
}

Result<std::int64_t> Snowflake::next() {
    // The lock is held while waiting: whoever comes meanwhile would have to wait for the same millisecond.
    const std::lock_guard lock{mutex_};
    for (;;) {
        const SystemTime now = clock_.system_now();
        const std::int64_t now_ms = whole_ms(now);
        if (now_ms < epoch_ms || now_ms - epoch_ms > time_max) {
            return Error{ErrorCode::unavailable, Disposition::retry,
                         "the machine's clock is outside 2024 to 2093: set it before minting ids"};
        }
        const std::int64_t behind = last_ms_ - now_ms;
        if (behind > options_.wait_max.count()) {
            return Error{
                ErrorCode::unavailable, Disposition::retry,
                "the machine's clock stepped back by " + std::to_string(behind) +
                    " ms since the last id; ids go on when it has caught up, or after a restart with another worker id"};
        }
        if (behind > 0 || (behind == 0 && counter_ == counter_max)) {
            const auto next_ms = from_ms(behind > 0 ? last_ms_ : last_ms_ + 1);
            wait(next_ms - now);
            continue;
        }
        if (auto ensured = ensure_range(now); !ensured) return ensured.error();
        if (behind == 0 && counter_ == counter_max) continue;
        if (now < held_->from) {
            if (held_->from - now <= options_.wait_max) {
                wait(held_->from - now);
                continue;
            }
            return Error{ErrorCode::unavailable, Disposition::retry,
                         "the machine's clock is before the time worker id " + std::to_string(held_->worker) +
                             " is reserved for; ids go on when it has caught up"};
        }
        counter_ = behind == 0 ? counter_ + 1 : 0;
        last_ms_ = now_ms;
        return (now_ms - epoch_ms) << (worker_bits + counter_bits) | std::int64_t{held_->worker} << counter_bits |
               std::int64_t{counter_};
    }
}

}  // namespace hufu
