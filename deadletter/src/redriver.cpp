#include <hufu/deadletter/redriver.hpp>

#include <algorithm>
#include <future>

#include <hufu/core/mutant.hpp>

namespace hufu::deadletter {
namespace {

using Kind = AuditRecord::Kind;
using std::chrono::milliseconds;

constexpr milliseconds first_wait{100};
constexpr milliseconds longest_wait{5'000};
constexpr milliseconds rival_look{500};

Error stopped() { return {ErrorCode::cancelled, Disposition::retry, "stopped; the same command goes on where it ended"}; }

/// Small batches, so that a slow rate is a steady one.
Pace paced(Pace pace) {
    if (pace.per_second > 0) {
        const double quarter_second = std::max(1.0, pace.per_second / 4);
        if (quarter_second < static_cast<double>(pace.batch)) pace.batch = static_cast<std::size_t>(quarter_second);
    }
    return pace;
}

std::string ending_of(const RedriveFigures& figures) {
    return std::to_string(figures.settled) + " settled, " + std::to_string(figures.refused) + " refused, " +
           std::to_string(figures.held) + " held, " + std::to_string(figures.rejected) + " rejected, " +
           std::to_string(figures.failed) + " failed";
}

}  // namespace

Redriver::Redriver(std::string topic, RedriveOptions options, Mandate mandate, Pace pace, Environment environment)
    : topic_{std::move(topic)},
      options_{std::move(options)},
      mandate_{std::move(mandate)},
      pace_{paced(pace)},
      environment_{environment},
      ids_{environment.clock, environment.random},
      job_{ids_.next().to_string()},
      audit_{environment.reader},
      machine_{options_, topic_, ledger_} {}

Result<void> Redriver::run(const OnPage& on_page, const std::stop_token& stop) {
    if (options_.dry_run) {
        if (const auto read = audit_.read_into(ledger_); !read) return read.error();
        return work(on_page, stop);
    }
    if (const auto begun = begin(stop); !begun) return begun.error();
    const auto worked = work(on_page, stop);
    // Also of one that failed: an ended job is not waited for by the next.
    const auto said = record(Kind::ended, ending_of(figures()) + (worked ? "" : "; " + worked.error().text()), {});
    if (!worked) return worked.error();
    return said;
}

/// Writes down that it begins, then waits until no earlier job can be at work.
Result<void> Redriver::begin(const std::stop_token& stop) {
    if (const auto begun = record(Kind::begun, mandate_.asked, stop); !begun) return begun.error();
    const SteadyTime until = environment_.clock.steady_now() + 2 * pace_.silence;
    while (true) {
        if (const auto read = audit_.read_into(ledger_); !read) return read.error();
        const Ledger::Job* const rival = ledger_.rival_of(job_, pace_.silence);
        looked_at_ = environment_.clock.steady_now();
        if (rival == nullptr) break;
        if (environment_.clock.steady_now() >= until) {
            static_cast<void>(record(Kind::ended, "another job was at work", {}));
            return Error{ErrorCode::busy, Disposition::retry,
                         "job " + rival->id + " of " + rival->actor + " is at work on \"" + topic_ +
                             "\" and was heard of meanwhile: wait for its end, or stop it, then try again"};
        }
        environment_.clock.sleep_until(environment_.clock.steady_now() + rival_look, stop);
        if (stop.stop_requested()) return stopped();
        if (const auto alive = record(Kind::alive, {}, stop); !alive) return alive.error();
    }
    for (const auto& abandoned : ledger_.abandoned_before(job_)) {
        if (const auto taken = record(Kind::took_over, abandoned, stop); !taken) return taken.error();
    }
    return {};
}

Result<void> Redriver::work(const OnPage& on_page, const std::stop_token& stop) {
    const auto ranges = environment_.reader.ranges(topic_);
    if (!ranges) return ranges.error();
    for (const auto& range : *ranges) {
        if (const auto done = work_queue(range, on_page, stop); !done) return done.error();
    }
    return {};
}

Result<void> Redriver::work_queue(const QueueRange& range, const OnPage& on_page, const std::stop_token& stop) {
    for (auto next = range.first; next < range.end && !machine_.full();) {
        if (stop.stop_requested()) return stopped();
        const auto wanted = std::min<std::int64_t>(range.end - next, static_cast<std::int64_t>(pace_.batch));
        auto page = environment_.reader.read(topic_, range.queue, next, static_cast<std::size_t>(wanted));
        if (!page) return page.error();
        // What a broker gives beyond what was asked for may have died meanwhile.
        std::erase_if(page->messages, [&](const ReadMessage& read) { return read.place.offset >= next + wanted; });
        const auto settled = settle(machine_.plan(std::move(page->messages)), range.queue, stop);
        if (const auto outcomes = machine_.take_outcomes(); !outcomes.empty() || !settled) {
            if (const auto told = on_page(outcomes, figures()); !told) return told.error();
        }
        if (!settled) return settled.error();
        if (page->next <= next) break;
        next = std::min(page->next, next + wanted);
    }
    return {};
}

Result<void> Redriver::settle(RedriveMachine::Work work, const std::string& queue, const std::stop_token& stop) {
    if (options_.dry_run) return {};
    if (const auto ours = still_ours(stop); !ours) return ours.error();
    if (work.letters.empty()) return {};
    if (options_.act == Act::discard) {
        machine_.discarded(std::move(work));
        return record_settled(queue, stop);
    }
    if (const auto paused = pause(work.letters.size(), stop); !paused) return paused.error();
    if (mutant_active("redrive_audit_before_publish")) {
        AuditRecord early = record_of(Kind::settled, {});
        early.queue = queue;
        for (const auto& letter : work.letters) early.letters.push_back({letter.place.offset, letter.message.id});
        if (const auto written = write(early, stop); !written) return written.error();
    }
    const auto sent = publish(std::move(work), stop);
    const auto recorded = record_settled(queue, stop);
    return sent ? recorded : sent;
}

/// Until every message is confirmed or stays, or patience is over.
Result<void> Redriver::publish(RedriveMachine::Work work, const std::stop_token& stop) {
    Clock& clock = environment_.clock;
    auto wait = first_wait;
    SteadyTime until = clock.steady_now() + pace_.patience;
    while (!work.letters.empty()) {
        const auto outcomes = publish_and_wait(work.messages);
        const std::size_t before = work.letters.size();
        Error why;
        for (const auto& outcome : outcomes) {
            if (outcome.status != PublishStatus::confirmed) why = outcome.error;
        }
        work = machine_.published(std::move(work), outcomes);
        if (work.letters.size() < before) {
            until = clock.steady_now() + pace_.patience;
            wait = first_wait;
        }
        if (work.letters.empty()) break;
        if (stop.stop_requested() || clock.steady_now() >= until) {
            const std::string text = stop.stop_requested() ? stopped().text() : "not confirmed: " + why.text();
            machine_.give_up(std::move(work), text);
            if (stop.stop_requested()) return stopped();
            return Error{ErrorCode::unavailable, Disposition::in_doubt,
                         "the broker took nothing for " + std::to_string(pace_.patience.count() / 1'000) + " s (" +
                             why.text() + "); the same command goes on where this one ended"};
        }
        clock.sleep_until(clock.steady_now() + wait, stop);
        wait = std::min(wait * 2, longest_wait);
    }
    return {};
}

Result<void> Redriver::record_settled(const std::string& queue, const std::stop_token& stop) {
    AuditRecord settled = record_of(Kind::settled, {});
    settled.queue = queue;
    settled.letters = machine_.take_settled();
    if (settled.letters.empty()) return {};
    const auto written = write(settled, stop);
    if (!written) unrecorded_ += settled.letters.size();
    return written;
}

AuditRecord Redriver::record_of(Kind kind, std::string text) const {
    return {.kind = kind,
            .job = job_,
            .act = options_.act,
            .topic = topic_,
            .actor = mandate_.actor,
            .reason = mandate_.reason,
            .text = std::move(text)};
}

Result<void> Redriver::record(Kind kind, std::string text, const std::stop_token& stop) {
    return write(record_of(kind, std::move(text)), stop);
}

Result<void> Redriver::write(const AuditRecord& record, const std::stop_token& stop) {
    Clock& clock = environment_.clock;
    const SteadyTime until = clock.steady_now() + pace_.patience;
    const std::vector<Message> message{record.to_message(ids_.next())};
    for (auto wait = first_wait;; wait = std::min(wait * 2, longest_wait)) {
        const auto outcomes = publish_and_wait(message);
        if (outcomes[0].status == PublishStatus::confirmed) {
            return {};
        }
        const bool refused = outcomes[0].status == PublishStatus::rejected;
        if (refused || stop.stop_requested() || clock.steady_now() >= until) {
            return Error{
                refused ? outcomes[0].error.code() : ErrorCode::unavailable, Disposition::in_doubt,
                "the audit could not be written to topic \"" + std::string{audit_topic} + "\": " + outcomes[0].error.text()};
        }
        clock.sleep_until(clock.steady_now() + wait, stop);
    }
}

/// After a pause (a stopped process, a broker that was away) another job may have taken this one for dead.
Result<void> Redriver::still_ours(const std::stop_token& stop) {
    if (environment_.clock.steady_now() < looked_at_ + pace_.silence / 2) return {};
    if (const auto alive = record(Kind::alive, {}, stop); !alive) return alive.error();
    if (const auto read = audit_.read_into(ledger_); !read) return read.error();
    looked_at_ = environment_.clock.steady_now();
    const Ledger::Job* const own = ledger_.find(job_);
    if (own == nullptr || own->taken_over_by.empty()) return {};
    return Error{ErrorCode::fenced, Disposition::fatal,
                 "job " + own->taken_over_by + " took over: this one was not heard of for longer than " +
                     std::to_string(pace_.silence.count() / 1'000) + " s"};
}

/// Keeps the rate, and the job alive meanwhile.
Result<void> Redriver::pause(std::size_t letters, const std::stop_token& stop) {
    if (pace_.per_second <= 0) return {};
    Clock& clock = environment_.clock;
    free_at_ = std::max(free_at_, clock.steady_now());
    const SteadyTime due = free_at_;
    free_at_ += std::chrono::nanoseconds{static_cast<std::int64_t>(1e9 * static_cast<double>(letters) / pace_.per_second)};
    while (clock.steady_now() < due) {
        clock.sleep_until(std::min(due, clock.steady_now() + pace_.silence / 4), stop);
        if (stop.stop_requested()) return stopped();
        if (const auto ours = still_ours(stop); !ours) return ours.error();
    }
    return {};
}

std::vector<PublishOutcome> Redriver::publish_and_wait(std::span<const Message> messages) {
    std::vector<PublishOutcome> outcomes(messages.size());
    std::promise<void> done;
    environment_.publisher.publish(messages, outcomes, [&done] { done.set_value(); });
    done.get_future().wait();
    return outcomes;
}

}  // namespace hufu::deadletter
