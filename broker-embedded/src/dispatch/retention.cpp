#include "retention.hpp"

#include <algorithm>

#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::chrono::seconds look_every{10};
constexpr std::chrono::milliseconds step_every{20};  ///< while what must stay is copied
constexpr std::size_t laggards_named = 10;

/// What stands below `end`, in a sentence's words; and the groups that have not read all of it.
std::string describe(DispatchState& state, std::uint64_t end) {
    std::uint64_t messages = 0;
    for (std::uint32_t number = 0; number < state.log.queue_count(); ++number) {
        const QueueHandle queue{number};
        messages += state.log.offset_behind(queue, end) - state.log.min_offset(queue);
    }
    std::string laggards;
    std::size_t count = 0;
    for (const auto& [group, queues] : state.positions) {
        for (const auto& [queue, position] : queues) {
            const std::uint64_t first_kept = state.log.offset_behind(queue, end);
            if (position.offset >= first_kept) continue;
            if (++count > laggards_named) continue;
            const Log::QueueName name = state.log.queue_name(queue);
            laggards += (laggards.empty() ? "" : ", ") + ("group \"" + group + "\" at offset ") +
                        std::to_string(position.offset) + " of queue " + std::to_string(name.queue_id) + " of topic \"" +
                        std::string{name.topic} + "\", which will begin at " + std::to_string(first_kept);
        }
    }
    if (count > laggards_named) laggards += " and " + std::to_string(count - laggards_named) + " more";
    return std::to_string(messages) + " records in " + std::to_string(end - state.log.start_offset()) + " bytes of the log" +
           (laggards.empty() ? "; every group that has a position is past them" : "; not read yet by " + laggards);
}

SystemTime earlier(SystemTime wall, std::chrono::milliseconds by) { return wall - by; }

}  // namespace

Retention::Retention(const DispatcherOptions& options, MetricsRegistry& metrics)
    : next_at_{options.keep_for.count() > 0 || options.keep_bytes > 0 ? SteadyTime::min() : SteadyTime::max()},
      threatened_gauge_{
          metrics.gauge("hufu_broker_retention_threatened_bytes", "Bytes of the log that will be deleted soon")},
      deleted_bytes_{metrics.counter("hufu_broker_retention_deleted_bytes_total", "Bytes of the log deleted by retention")},
      deleted_segments_{
          metrics.counter("hufu_broker_retention_deleted_segments_total", "Segments of the log deleted by retention")} {}

void Retention::announce(DispatchState& state, SteadyTime now, SystemTime wall) {
    const auto& options = state.options;
    std::optional<SystemTime> keep_after;
    if (options.keep_for.count() > 0) keep_after = earlier(wall, options.keep_for - options.keep_for / 10);
    const std::uint64_t soon = state.log.end_of_expired(options.keep_bytes - options.keep_bytes / 10, keep_after);
    const std::uint64_t start = state.log.start_offset();
    threatened_gauge_.set(static_cast<std::int64_t>(soon > start ? soon - start : 0));
    std::erase_if(notices_, [start](const Notice& notice) { return notice.end <= start; });
    if (soon <= (notices_.empty() ? start : notices_.back().end)) return;
    notices_.push_back({soon, now});
    state.alarm("retention will delete " + describe(state, soon) +
                ". Raise --keep-for or --keep-bytes, or let the groups catch up");
}

/// The log offset up to which segments go now.
std::uint64_t Retention::due(const DispatchState& state, SteadyTime now, SystemTime wall) const {
    const auto& options = state.options;
    if (notices_.empty()) return 0;
    // Age can wait until its notice stood; a full disk cannot.
    const std::uint64_t by_size = std::min(state.log.end_of_expired(options.keep_bytes, std::nullopt), notices_.back().end);
    if (options.keep_for.count() <= 0) return by_size;
    const auto period = std::min<std::chrono::milliseconds>(options.keep_for / 10, std::chrono::hours{1});
    std::uint64_t stood = 0;
    for (const Notice& notice : notices_)
        if (now - notice.at >= period) stood = notice.end;
    const std::uint64_t by_age = state.log.end_of_expired(0, earlier(wall, options.keep_for));
    return std::max(by_size, std::min(by_age, stood));
}

void Retention::give_up(DispatchState& state, std::uint64_t end) {
    const std::string what = describe(state, end);
    const std::uint64_t start = state.log.start_offset();
    const std::size_t segments = state.log.drop_before(end);
    if (segments == 0) return;
    deleted_segments_.add(segments);
    deleted_bytes_.add(state.log.start_offset() - start);
    state.alarm("retention deleted " + what);
}

void Retention::tick(DispatchState& state, SteadyTime now) {
    next_at_ = now + look_every;
    const SystemTime wall = state.clock.system_now();
    announce(state, now, wall);
    const std::uint64_t end = due(state, now, wall);
    if (end <= state.log.start_offset()) return;
    auto moved = move_timers_out_of(state, end);
    if (moved && *moved) moved = move_transactions_out_of(state, end);
    if (!moved || !*moved) {
        next_at_ = now + (moved ? step_every : std::chrono::milliseconds{1'000});
        return;
    }
    give_up(state, end);
}

}  // namespace hufu::broker
