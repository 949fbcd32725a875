#include <hufu/degradation/replayer.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace hufu::degradation {
namespace {

using std::chrono::milliseconds;

/// Entries of one read. Many: on a Redis that syncs with every write each read costs a sync.
constexpr std::size_t page = 4'000;
constexpr milliseconds idle_read{100};
constexpr milliseconds busy_read{10};
/// Waits of a buffer that does not answer.
constexpr milliseconds source_pause{200};
constexpr milliseconds look_again{5};
/// Between two walks through what is left.
constexpr milliseconds walk_pause{500};

/// With a rate, reads are as even as publishing.
std::size_t page_of(const ReplayOptions& options) {
    constexpr std::size_t least = 100;
    constexpr double reads_per_second = 100;
    const std::size_t most = std::max<std::size_t>(std::min(page, options.held_max), 1);
    if (options.per_second <= 0) return most;
    const double worth = std::min(options.per_second / reads_per_second, static_cast<double>(most));
    return std::clamp(static_cast<std::size_t>(worth), std::min(least, most), most);
}

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
          page_most{page_of(wanted)},
          room_to_read{std::max<std::size_t>(page_most / 4, 1)},
          filter{wanted.filter},
          machine{std::move(wanted), around.random} {}

    Result<ReplayReport> run(const std::stop_token& stop, const ReplayEnd& end) {
        const std::stop_callback wake{stop, [this] {
                                          const std::lock_guard lock{mutex};
                                          changed.notify_all();
                                      }};
        reader = source.reader(name);
        progress_at = clock.steady_now();
        std::jthread read_thread{[this] { read_on(); }};
        std::jthread settle_thread{[this] { settle_on(); }};
        auto ended = work(stop, end);
        // What is under way is waited for also after an error: its batches must not come back to nobody.
        {
            const std::lock_guard lock{mutex};
            reading_ends = true;
            machine.stop();
            changed.notify_all();
        }
        const auto finished = finish(static_cast<bool>(ended));
        {
            const std::lock_guard lock{mutex};
            settling_ends = true;
            changed.notify_all();
        }
        read_thread.join();
        settle_thread.join();
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
            note_progress();
            if (time_to_judge()) {
                if (const auto reason = has_ended(end)) return *reason;
            }
            wait(stop);
        }
        return Ended::stopped;
    }

    /// Whatever came back, then what the machine wants done.
    Result<void> step() {
        ReplayActions actions;
        {
            const std::lock_guard lock{mutex};
            if (fatal) return *fatal;
            const SteadyTime now = clock.steady_now();
            take_back(now);
            delivered = false;
            actions = machine.step(now);
            parks_on_their_way += actions.park.empty() ? 0 : 1;
        }
        tick_at = actions.tick_at;
        publish(actions);
        if (!actions.records.empty() && keep) {
            if (auto kept = keep(actions.records); !kept) return kept.error();
        }
        if (actions.trim.empty() && actions.park.empty()) return {};
        const std::lock_guard lock{mutex};
        to_settle.push_back(std::move(actions));
        changed.notify_all();
        return {};
    }

    /// What came back goes to the machine, and from there to the thread that reads: it allocated the messages, and freeing
    /// them elsewhere would have the threads wait for each other's memory. The mutex is held.
    void take_back(SteadyTime now) {
        for (auto& batch : std::exchange(returned, {})) spent.push_back(machine.published(std::move(batch), now));
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

    /// A thread's work: trims and parks, in the order in which the machine wants it. Nothing is read beside a park: a buffer may
    /// set aside at once what it reads of a key that is barred, and that would stand before what the park brings.
    void settle_on() {
        std::unique_lock lock{mutex};
        for (;;) {
            changed.wait(lock, [this] { return settling_ends || !to_settle.empty(); });
            if (to_settle.empty()) return;
            auto actions = std::move(to_settle.front());
            to_settle.pop_front();
            settling = true;
            const bool parks = !actions.park.empty();
            if (parks) changed.wait(lock, [this] { return !reading; });
            lock.unlock();
            const auto done = settle(actions);
            lock.lock();
            parks_on_their_way -= parks ? 1 : 0;
            settling = false;
            settled = true;
            if (!done) {
                fatal = done.error();
                to_settle.clear();
            }
            changed.notify_all();
        }
    }

    Result<void> settle(ReplayActions& actions) {
        std::vector<ReplayActions::Park> not_parked;
        for (auto& park : actions.park) {
            // Behind one that failed may be others of its key: they keep their place.
            if (not_parked.empty()) {
                const auto parked = reader->park(park.entries, park.reason);
                if (parked) continue;
                if (ends_the_replay(parked.error())) return parked.error();
                source_failed(parked.error());
            }
            not_parked.push_back(std::move(park));
        }
        Result<std::size_t> removed = std::size_t{0};
        if (!actions.trim.empty()) removed = reader->trim(actions.trim);
        if (!removed && ends_the_replay(removed.error())) return removed.error();
        if (!removed) source_failed(removed.error());
        const std::lock_guard lock{mutex};
        const SteadyTime now = clock.steady_now();
        if (!not_parked.empty()) machine.not_parked(std::move(not_parked), now);
        if (actions.trim.empty()) return {};
        if (removed) {
            machine.trimmed(actions.trim.size(), *removed);
        } else {
            machine.not_trimmed(std::move(actions.trim), now);
        }
        return {};
    }

    /// A thread's work: reads ahead as far as the machine has room.
    void read_on() {
        std::unique_lock lock{mutex};
        while (!reading_ends) {
            const std::size_t room = parks_on_their_way > 0 ? 0 : machine.room();
            if (const SteadyTime now = clock.steady_now(); room < room_to_read || now < source_again) {
                changed.wait_until(lock, std::max(now + look_again, source_again), [this] { return reading_ends; });
                continue;
            }
            const milliseconds patience = machine.idle() ? idle_read : busy_read;
            auto to_free = std::exchange(spent, {});
            reading = true;
            lock.unlock();
            to_free.clear();
            auto entries = read(std::min(page_most, room), patience);
            lock.lock();
            reading = false;
            if (!entries) {
                fatal = entries.error();
            } else if (!entries->empty()) {
                read_nothing = false;
                delivered = true;
                machine.deliver(std::move(*entries));
            } else {
                read_nothing = looked = true;
            }
            changed.notify_all();
            if (fatal) return;
        }
    }

    /// An error ends the replay; a buffer that is away has nothing.
    Result<std::vector<Entry>> read(std::size_t most, milliseconds patience) {
        const auto barred = bar_what_is_parked();
        auto entries = barred ? reader->read(most, patience) : Result<std::vector<Entry>>{barred.error()};
        if (!entries) {
            if (ends_the_replay(entries.error())) return entries.error();
            source_failed(entries.error());
            return std::vector<Entry>{};
        }
        const std::lock_guard lock{mutex};
        source_error.reset();
        return entries;
    }

    void source_failed(const Error& error) {
        const std::lock_guard lock{mutex};
        if (!source_error) log.warning("the buffer does not answer, will be asked again", {{"error", error.text()}});
        source_error = error;
        source_again = clock.steady_now() + source_pause;
    }

    /// A read has brought nothing, there is no room to read more, or what came of the last read has just been dealt with.
    bool time_to_judge() {
        const std::lock_guard lock{mutex};
        const bool idle = machine.idle();
        const bool became_idle = idle && !std::exchange(was_idle, idle);
        was_idle = idle;
        return std::exchange(looked, false) || (became_idle && read_nothing) || machine.room() < room_to_read;
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
        bool no_answer = false;
        std::uint64_t left_on_purpose = 0;
        {
            const std::lock_guard lock{mutex};
            no_answer = source_error.has_value();
            idle = machine.idle() && returned.empty();
            away = machine.target_away();
            left_on_purpose = machine.figures().filtered + machine.figures().behind;
        }
        const bool out_of_patience = end.patience.count() > 0 && clock.steady_now() - progress_at >= end.patience;
        if (idle && end.when_empty && !no_answer) {
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
        if (no_answer) return Ended::source_away;
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

    void wait(const std::stop_token& stop) {
        std::unique_lock lock{mutex};
        const SteadyTime now = clock.steady_now();
        SteadyTime until = now + (machine.idle() ? look_again : idle_read);
        if (tick_at) until = std::min(until, *tick_at);
        changed.wait_until(lock, until, [&] {
            return !returned.empty() || delivered || settled || looked || fatal || stop.stop_requested();
        });
        settled = false;
    }

    /// Waits for what is under way, and trims what it brought.
    Result<void> finish(bool good) {
        Result<void> stepped;
        for (;;) {
            if (good) {
                stepped = step();
                good = static_cast<bool>(stepped);
            }
            std::unique_lock lock{mutex};
            if (!good) {
                take_back(clock.steady_now());
                to_settle.clear();
            }
            const bool at_rest = machine.under_way() == 0 && returned.empty() && to_settle.empty() && !settling;
            if (at_rest && (!good || machine.idle() || source_error)) {
                machine.stop();  // counts what came back unconfirmed
                return stepped;
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
    const std::size_t page_most;
    const std::size_t room_to_read;  ///< less is not worth a round trip
    const ReplayFilter filter;
    std::unique_ptr<BufferReader> reader;

    bool parked_is_barred = false;  // the reading thread's

    // The thread of `run` only.
    std::optional<SteadyTime> tick_at;
    SteadyTime walk_again{};
    std::uint64_t progress = 0;
    SteadyTime progress_at{};

    mutable std::mutex mutex;
    std::condition_variable changed;
    // All below is guarded by mutex.
    ReplayMachine machine;
    std::vector<std::unique_ptr<ReplayBatch>> returned;
    std::vector<std::unique_ptr<ReplayBatch>> spent;  // settled, to be freed
    std::deque<ReplayActions> to_settle;
    int parks_on_their_way = 0;  // actions with parks that the machine gave and the buffer has not answered
    bool reading = false;
    bool settling = false;      // one of them is under way
    bool settled = false;       // one has ended since the machine's last step
    bool delivered = false;     // entries came since then
    bool read_nothing = false;  // the last read
    bool looked = false;        // a read has brought nothing, which has not been judged yet
    bool was_idle = false;
    bool reading_ends = false;
    bool settling_ends = false;
    std::optional<Error> fatal;
    std::optional<Error> source_error;
    SteadyTime source_again{};
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

}  // namespace hufu::degradation
