#include <hufu/degradation/replayer.hpp>

#include <condition_variable>
#include <mutex>
#include <set>
#include <utility>

namespace hufu::degradation {
namespace {

using std::chrono::milliseconds;

/// Entries of one read. Many: on a Redis that syncs with every write each read costs a sync.
constexpr std::size_t page = 4'000;
constexpr milliseconds idle_read{100};
/// Waits of a buffer that does not answer.
constexpr milliseconds source_pause{200};
constexpr milliseconds look_again{5};
/// Between two walks through what is left.
constexpr milliseconds walk_pause{500};

bool ends_the_replay(const Error& error) {
    return error.disposition() == Disposition::fatal || error.disposition() == Disposition::reject;
}

}  // namespace

std::string_view to_string(ReplayReport::Ended ended) noexcept {
    switch (ended) {
        case ReplayReport::Ended::drained: return "drained";
        case ReplayReport::Ended::stopped: return "stopped";
        case ReplayReport::Ended::target_away: return "target_away";
        case ReplayReport::Ended::source_away: return "source_away";
        case ReplayReport::Ended::others_have: return "others_have";
    }
    return "stopped";
}

struct Replayer::Impl : std::enable_shared_from_this<Replayer::Impl> {
    using Ended = ReplayReport::Ended;

    Impl(Buffer& from, Publisher& to, ReplayOptions wanted, std::string called, const ReplayEnvironment& around)
        : source{from},
          target{to},
          name{std::move(called)},
          clock{around.clock},
          log{around.log},
          keep{around.keep},
          room_to_read{std::max<std::size_t>(std::min(page, wanted.held_max) / 4, 1)},
          filter{wanted.filter},
          machine{std::move(wanted), around.random} {}

    Result<ReplayReport> run(const std::stop_token& stop, const ReplayEnd& end) {
        const std::stop_callback wake{stop, [this] {
                                          const std::lock_guard lock{mutex};
                                          changed.notify_all();
                                      }};
        reader = source.reader(name);
        progress_at = clock.steady_now();
        auto ended = work(stop, end);
        // What is under way is waited for also after an error: its batches must not come back to nobody.
        {
            const std::lock_guard lock{mutex};
            machine.stop();
        }
        const auto finished = finish(static_cast<bool>(ended));
        static_cast<void>(reader->release());
        if (!ended) return ended.error();
        if (!finished) return finished.error();
        ReplayReport report{.ended = *ended, .figures = figures()};
        if (*ended == Ended::source_away && source_error) report.figures.last_error = *source_error;
        if (auto left = source.size()) report.left = *left;
        return report;
    }

    /// Nothing may overtake what an earlier replay set aside: before that is known, nothing is read.
    Result<void> bar_what_is_parked() {
        if (parked_is_barred) return {};
        const auto seen = source.browse(Buffer::Shelf::parked, [this](const Entry& entry) {
            const std::lock_guard lock{mutex};
            machine.bar(entry.message);
            return true;
        });
        if (!seen && seen.error().code() != ErrorCode::unsupported) return seen.error();
        parked_is_barred = true;
        return {};
    }

    Result<Ended> work(const std::stop_token& stop, const ReplayEnd& end) {
        while (!stop.stop_requested()) {
            if (auto stepped = step(); !stepped) return stepped.error();
            auto read_some = read();
            if (!read_some) return read_some.error();
            note_progress();
            if (!*read_some) {
                if (const auto reason = has_ended(end)) return *reason;
            }
            wait(*read_some, stop);
        }
        return Ended::stopped;
    }

    /// Whatever came back, then what the machine wants done.
    Result<void> step() {
        ReplayActions actions;
        {
            const std::lock_guard lock{mutex};
            const SteadyTime now = clock.steady_now();
            for (auto& batch : std::exchange(returned, {})) machine.published(std::move(batch), now);
            actions = machine.step(now);
        }
        tick_at = actions.tick_at;
        publish(actions);
        if (!actions.records.empty() && keep) {
            if (auto kept = keep(actions.records); !kept) return kept.error();
        }
        return settle(actions);
    }

    void publish(ReplayActions& actions) {
        for (auto& batch : actions.publish) {
            const auto on_its_way = std::make_shared<std::unique_ptr<ReplayBatch>>(std::move(batch));
            ReplayBatch& content = **on_its_way;
            target.publish(content.messages, content.outcomes, [self = shared_from_this(), on_its_way] {
                const std::lock_guard lock{self->mutex};
                self->returned.push_back(std::move(*on_its_way));
                self->changed.notify_all();
            });
        }
    }

    Result<void> settle(ReplayActions& actions) {
        std::vector<ReplayActions::Park> not_parked;
        for (auto& park : actions.park) {
            // Behind one that failed may be others of its key: they keep their place.
            const auto parked = not_parked.empty() ? reader->park(park.entries, park.reason) : Result<void>{*source_error};
            if (parked) continue;
            if (ends_the_replay(parked.error())) return parked.error();
            source_failed(parked.error());
            not_parked.push_back(std::move(park));
        }
        Result<std::size_t> removed = std::size_t{0};
        if (!actions.trim.empty()) removed = reader->trim(actions.trim);
        if (!removed && ends_the_replay(removed.error())) return removed.error();
        const std::lock_guard lock{mutex};
        const SteadyTime now = clock.steady_now();
        if (!not_parked.empty()) machine.not_parked(std::move(not_parked), now);
        if (actions.trim.empty()) return {};
        if (removed) {
            machine.trimmed(actions.trim.size(), *removed);
        } else {
            source_failed(removed.error());
            machine.not_trimmed(std::move(actions.trim), now);
        }
        return {};
    }

    /// True: something was read.
    Result<bool> read() {
        std::size_t room = 0;
        bool busy = false;
        {
            const std::lock_guard lock{mutex};
            room = machine.room();
            busy = !machine.idle() || !returned.empty();
        }
        if (room < room_to_read || clock.steady_now() < source_again) return false;
        const auto barred = bar_what_is_parked();
        auto entries = barred ? reader->read(std::min(page, room), busy ? milliseconds{0} : idle_read)
                              : Result<std::vector<Entry>>{barred.error()};
        if (!entries) {
            if (ends_the_replay(entries.error())) return entries.error();
            source_failed(entries.error());
            return false;
        }
        source_error.reset();
        if (entries->empty()) return false;
        const std::lock_guard lock{mutex};
        machine.deliver(std::move(*entries));
        return true;
    }

    void source_failed(const Error& error) {
        if (!source_error) log.warning("the buffer does not answer, will be asked again", {{"error", error.text()}});
        source_error = error;
        source_again = clock.steady_now() + source_pause;
    }

    void note_progress() {
        const std::lock_guard lock{mutex};
        const auto now = machine.figures();
        const std::uint64_t sum = now.read + now.confirmed + now.trimmed + now.parked;
        if (sum != progress) {
            progress = sum;
            progress_at = clock.steady_now();
        }
    }

    std::optional<Ended> has_ended(const ReplayEnd& end) {
        bool idle = false;
        bool away = false;
        std::uint64_t left_on_purpose = 0;
        {
            const std::lock_guard lock{mutex};
            idle = machine.idle() && returned.empty();
            away = machine.target_away();
            left_on_purpose = machine.figures().filtered + machine.figures().behind;
        }
        const bool out_of_patience = end.patience.count() > 0 && clock.steady_now() - progress_at >= end.patience;
        if (idle && end.when_empty && !source_error) {
            const auto only_ours = only_what_we_leave_is_left(left_on_purpose);
            if (!only_ours) {
                source_failed(only_ours.error());
            } else if (*only_ours) {
                return Ended::drained;
            } else if (out_of_patience) {
                return Ended::others_have;
            }
        }
        if (!out_of_patience) return std::nullopt;
        if (source_error) return Ended::source_away;
        if (away || !idle) return Ended::target_away;
        return std::nullopt;
    }

    /// Counting alone cannot tell: a shard that was lost is read anew and its filtered entries count again, and of those
    /// that were left some may be gone, while another replayer holds as many that match.
    Result<bool> only_what_we_leave_is_left(std::uint64_t left_on_purpose) {
        const auto size = source.size();
        if (!size) return size.error();
        if (size->entries == 0) return true;
        if (size->entries > left_on_purpose || clock.steady_now() < walk_again) return false;
        const auto waiting = preview(source, filter);
        walk_again = clock.steady_now() + walk_pause;
        if (!waiting && waiting.error().code() == ErrorCode::unsupported) return true;
        if (!waiting) return waiting.error();
        return waiting->matching == 0;
    }

    void wait(bool read_some, const std::stop_token& stop) {
        std::unique_lock lock{mutex};
        if (!returned.empty() || stop.stop_requested()) return;
        const bool full = machine.room() < room_to_read;
        if (read_some && !full) return;
        const SteadyTime now = clock.steady_now();
        SteadyTime until = now + (full ? idle_read : look_again);
        if (machine.idle()) until = std::max(now, std::min(until, source_again));
        if (tick_at) until = std::min(until, *tick_at);
        changed.wait_until(lock, until, [&] { return !returned.empty() || stop.stop_requested(); });
    }

    /// Waits for what is under way, and trims what it brought.
    Result<void> finish(bool good) {
        for (;;) {
            bool done = false;
            if (good) {
                if (auto stepped = step(); !stepped) return stepped.error();
            }
            std::unique_lock lock{mutex};
            if (!good) {
                for (auto& batch : std::exchange(returned, {})) machine.published(std::move(batch), clock.steady_now());
            }
            const bool dealt_with = !good || machine.idle() || source_error;
            done = machine.under_way() == 0 && returned.empty() && dealt_with;
            if (done) {
                machine.stop();  // counts what came back unconfirmed
                return {};
            }
            changed.wait_for(lock, look_again, [&] { return !returned.empty(); });
        }
    }

    [[nodiscard]] ReplayFigures figures() const {
        const std::lock_guard lock{mutex};
        return machine.figures();
    }

    Buffer& source;
    Publisher& target;
    const std::string name;
    Clock& clock;
    Log& log;
    const std::function<Result<void>(std::span<const ReplayRecord>)> keep;
    const std::size_t room_to_read;  ///< less is not worth a round trip
    const ReplayFilter filter;
    std::unique_ptr<BufferReader> reader;

    // The thread of `run` only.
    std::optional<SteadyTime> tick_at;
    bool parked_is_barred = false;
    std::optional<Error> source_error;
    SteadyTime source_again{};
    SteadyTime walk_again{};
    std::uint64_t progress = 0;
    SteadyTime progress_at{};

    mutable std::mutex mutex;
    std::condition_variable changed;                     // something came back, or stop
    ReplayMachine machine;                               // guarded by mutex
    std::vector<std::unique_ptr<ReplayBatch>> returned;  // guarded by mutex
};

Replayer::Replayer(Buffer& source, Publisher& target, ReplayOptions options, std::string name,
                   ReplayEnvironment environment) {
    validate(options).value();
    options.record_outcomes = static_cast<bool>(environment.keep);
    impl_ = std::make_shared<Impl>(source, target, std::move(options), std::move(name), environment);
}

Replayer::~Replayer() = default;

Result<ReplayReport> Replayer::run(std::stop_token stop, ReplayEnd end) { return impl_->run(stop, end); }

ReplayFigures Replayer::figures() const { return impl_->figures(); }

Result<ReplayPreview> preview(Buffer& source, const ReplayFilter& filter) {
    ReplayPreview found;
    std::set<ConsumerKey> parked;
    std::set<ConsumerKey> left;
    const auto key_of = [](const Entry& entry) { return ConsumerKey{entry.message.topic, entry.message.ordering_key}; };
    auto seen = source.browse(Buffer::Shelf::parked, [&](const Entry& entry) {
        ++found.parked;
        if (!entry.message.ordering_key.empty()) parked.insert(key_of(entry));
        return true;
    });
    if (!seen) return seen.error();
    seen = source.browse(Buffer::Shelf::waiting, [&](const Entry& entry) {
        const bool has_key = !entry.message.ordering_key.empty();
        if (!filter.matches(entry)) {
            ++found.filtered;
            if (has_key) left.insert(key_of(entry));
        } else if (has_key && left.contains(key_of(entry))) {
            ++found.behind;
        } else if (has_key && parked.contains(key_of(entry))) {
            ++found.parked;
        } else {
            ++found.matching;
            found.matching_bytes += entry.message.body.size();
            ++found.topics[entry.message.topic];
        }
        return true;
    });
    if (!seen) return seen.error();
    return found;
}

}  // namespace hufu::degradation
