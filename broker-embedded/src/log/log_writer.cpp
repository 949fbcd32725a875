#include <hufu/broker/log_writer.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <hufu/core/assert.hpp>
#include <hufu/core/threads.hpp>

#include "log/group.hpp"

namespace hufu::broker {
namespace {

constexpr int quiet_enough = 16;  // small groups in a row
constexpr std::uint64_t own_bytes_max = 64U << 10U;
constexpr int own_at_once = 2;     // and then the loop hears others again
constexpr int weight_of_past = 7;  // in eighths, of the usual time of a sync

struct Performed {
    LogGroup* group = nullptr;
    Result<void> result;
    std::chrono::nanoseconds took{};
};

}  // namespace

struct LogWriter::Impl {
    Impl(Log& log_, Clock& clock_, const LogWriterOptions& options_, std::function<void()> notify_)
        : log{log_}, clock{clock_}, options{options_}, notify{std::move(notify_)} {
        group_thread = std::thread{[this] { carry_groups(); }};
        chore_thread = std::thread{[this] { carry_chores(); }};
    }

    ~Impl() {
        {
            const std::scoped_lock lock{mutex};
            stopping = true;
        }
        group_ready.notify_all();
        chore_ready.notify_all();
        group_thread.join();
        chore_thread.join();
    }

    /// The next group, or null when stopping. Looks for a while before it blocks: waking a thread costs more than a sync.
    LogGroup* next_group() {
        const auto until = clock.steady_now() + options.spin;
        while (waiting.load(std::memory_order_acquire) == 0 && clock.steady_now() < until) {
            for (int i = 0; i < 32; ++i) spin_pause();
        }
        std::unique_lock lock{mutex};
        group_ready.wait(lock, [this] { return stopping || !groups.empty(); });
        if (groups.empty()) return nullptr;
        auto* group = groups.front();
        groups.pop_front();
        waiting.store(groups.size(), std::memory_order_release);
        return group;
    }

    [[nodiscard]] Performed perform(LogGroup* group) const {
        const auto begun = clock.steady_now();
        auto result = Log::write(*group);
        if (result) result = Log::sync(*group);
        const auto took = clock.steady_now() - begun;
        if (result) observe(*group, took);
        return {group, std::move(result), took};
    }

    void carry_groups() {
        work_in_short_turns();
        while (auto* group = next_group()) {
            auto done = perform(group);
            {
                const std::scoped_lock lock{mutex};
                performed.push_back(std::move(done));
                changed.notify_all();
            }
            notify();
        }
    }

    void observe(const LogGroup& group, std::chrono::nanoseconds took) const {
        if (options.flush_seconds != nullptr) options.flush_seconds->observe(std::chrono::duration<double>{took}.count());
        if (options.flush_records != nullptr) options.flush_records->observe(static_cast<double>(group.table.size()));
        if (options.flush_bytes != nullptr) options.flush_bytes->observe(static_cast<double>(group.bytes()));
    }

    void carry_chores() {
        work_behind_others();
        for (;;) {
            std::unique_lock lock{mutex};
            chore_ready.wait(lock, [this] { return stopping || chore; });
            if (stopping) return;
            auto work = std::move(chore);
            lock.unlock();
            work->run();
            lock.lock();
            chore_done = std::move(work);
            changed.notify_all();
            lock.unlock();
            notify();
        }
    }

    // The owner's thread.

    /// Looks at a group that is about to be carried: whether the owner does it. Waiting for the disk it hears nobody, so this is
    /// for when nobody else speaks; a crowd shows in the next group, and a slow disk in the time of a sync.
    [[nodiscard]] bool is_own(const LogGroup& group) {
        const bool small = group.table.size() <= options.own_records_max && group.bytes() <= own_bytes_max;
        small_in_a_row = small ? small_in_a_row + 1 : 0;
        return small_in_a_row > quiet_enough && carried == 0 && own_now < own_at_once && usual_sync <= options.own_sync_most;
    }

    Outcome settle(const Performed& done) {
        usual_sync = (usual_sync * weight_of_past + done.took) / (weight_of_past + 1);
        return done.result ? log.completed(done.group) : log.failed(done.group, done.result.error());
    }

    void hand_over_groups(std::vector<Outcome>& outcomes) {
        while (auto* group = log.take_group()) {
            if (is_own(*group)) {
                outcomes.push_back(settle(perform(group)));
                ++own_groups;
                ++own_now;
                continue;
            }
            ++carried;
            {
                const std::scoped_lock lock{mutex};
                groups.push_back(group);
                waiting.store(groups.size(), std::memory_order_release);
            }
            group_ready.notify_one();
        }
    }

    void pump(const std::function<void(const Outcome&)>& outcome) {
        own_now = 0;
        std::deque<Performed> back;
        std::unique_ptr<LogChore> chore_back;
        {
            const std::scoped_lock lock{mutex};
            back.swap(performed);
            chore_back = std::move(chore_done);
        }
        std::vector<Outcome> outcomes;
        for (const auto& done : back) {
            --carried;
            outcomes.push_back(settle(done));
        }
        if (chore_back) outcomes.push_back(log.finished(std::move(chore_back)));
        hand_over_groups(outcomes);  // before the outcomes are told: the disk is at work while answers are made
        while (!outcomes.empty()) {
            for (const Outcome& settled : std::exchange(outcomes, {})) {
                if (settled.through > 0) outcome(settled);
            }
            hand_over_groups(outcomes);  // what the answers led to
        }
        if (auto work = log.take_chore()) {
            {
                const std::scoped_lock lock{mutex};
                HUFU_ASSERT(!chore);
                chore = std::move(work);
            }
            chore_ready.notify_one();
        }
    }

    Log& log;
    Clock& clock;
    const LogWriterOptions options;
    const std::function<void()> notify;
    // Of the owner's thread.
    std::size_t carried = 0;  // groups that the writer has
    std::uint64_t own_groups = 0;
    int own_now = 0;  // within this call of `pump`
    int small_in_a_row = 0;
    std::chrono::nanoseconds usual_sync{};

    std::mutex mutex;
    std::condition_variable group_ready;
    std::condition_variable chore_ready;
    std::condition_variable changed;       // performed or chore_done got something
    std::deque<LogGroup*> groups;          // guarded by mutex
    std::deque<Performed> performed;       // guarded by mutex
    std::unique_ptr<LogChore> chore;       // guarded by mutex
    std::unique_ptr<LogChore> chore_done;  // guarded by mutex
    bool stopping = false;                 // guarded by mutex
    std::atomic<std::size_t> waiting{0};   // groups.size(), readable without the mutex
    std::thread group_thread;
    std::thread chore_thread;
};

LogWriter::LogWriter(Log& log, Clock& clock, const LogWriterOptions& options, std::function<void()> notify)
    : impl_{std::make_unique<Impl>(log, clock, options, std::move(notify))} {}

LogWriter::~LogWriter() = default;

void LogWriter::pump(const std::function<void(const Outcome&)>& outcome) { impl_->pump(outcome); }

std::uint64_t LogWriter::own_groups() const noexcept { return impl_->own_groups; }

void LogWriter::drain(const std::function<void(const Outcome&)>& outcome) {
    for (;;) {
        impl_->pump(outcome);
        if (!impl_->log.busy()) return;
        std::unique_lock lock{impl_->mutex};
        impl_->changed.wait(lock, [this] { return !impl_->performed.empty() || impl_->chore_done; });
    }
}

}  // namespace hufu::broker
