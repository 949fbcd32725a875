// What the log's tests share: records, a clock that stands still, and the simplest shell.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include <hufu/broker/log.hpp>
#include <hufu/broker/log_record.hpp>
#include <hufu/core/clock.hpp>

namespace hufu::broker::testing {

class StoppedClock final : public Clock {
public:
    SystemTime system_now() const noexcept override {
        return SystemTime{} + std::chrono::milliseconds{now_ms + wall_shift_ms};
    }
    SteadyTime steady_now() const noexcept override { return SteadyTime{} + std::chrono::milliseconds{now_ms}; }
    void sleep_until(SteadyTime, std::stop_token) override {}

    std::int64_t now_ms = 1'000'000;
    std::int64_t wall_shift_ms = 0;  ///< the wall clock was set
};

/// A record in the wire layout's length with `text` at its end.
inline std::vector<std::byte> record_of(std::string_view text) {
    std::vector<std::byte> record(log_record::bytes_min + text.size());
    log_record::store_u32(record.data() + log_record::size_at, static_cast<std::uint32_t>(record.size()));
    std::memcpy(record.data() + log_record::bytes_min, text.data(), text.size());
    return record;
}

struct ReadRecord {
    std::uint64_t offset = 0;
    std::uint64_t log_offset = 0;
    std::uint64_t stored_at_ms = 0;
    std::string text;
};

inline std::vector<ReadRecord> split(std::span<const std::byte> bytes) {
    std::vector<ReadRecord> records;
    while (!bytes.empty()) {
        const auto size = log_record::load_u32(bytes.data());
        const auto one = bytes.first(size);
        records.push_back(
            {log_record::load_u64(one.data() + log_record::queue_offset_at),
             log_record::load_u64(one.data() + log_record::log_offset_at),
             log_record::load_u64(one.data() + log_record::store_timestamp_at(one)),
             {reinterpret_cast<const char*>(one.data()) + log_record::bytes_min, size - log_record::bytes_min}});
        bytes = bytes.subspan(size);
    }
    return records;
}

/// Everything readable of a queue from `offset` on.
inline std::vector<ReadRecord> read_all(Log& log, QueueHandle queue, std::uint64_t offset = 0) {
    std::vector<std::byte> bytes;
    for (;;) {
        const auto result = log.read(queue, offset, {}, {}, bytes);
        if (result.status == ReadStatus::at_end || result.status == ReadStatus::beyond) return split(bytes);
        offset = result.next_offset;
    }
}

/// Performs what waits until nothing does; returns the outcomes.
inline std::vector<Outcome> settle(Log& log) {
    std::vector<Outcome> outcomes;
    const auto note = [&](const Outcome& outcome) {
        if (outcome.through > 0) outcomes.push_back(outcome);
    };
    for (;;) {
        if (auto* group = log.take_group()) {
            auto done = Log::write(*group);
            if (done) done = Log::sync(*group);
            note(done ? log.completed(group) : log.failed(group, done.error()));
        } else if (auto chore = log.take_chore()) {
            chore->run();
            note(log.finished(std::move(chore)));
        } else {
            return outcomes;
        }
    }
}

}  // namespace hufu::broker::testing
