// What the handlers' answers mean: done, another attempt, a dead letter, an outage.
#include <hufu/core/assert.hpp>
#include <hufu/core/consumer_machine.hpp>
#include <hufu/core/mutant.hpp>

#include <algorithm>
#include <utility>

#include "consumer_jobs.hpp"

namespace hufu {
namespace {

constexpr std::size_t reason_max = 1024;
/// More failures of one message than this are not taken back by an outage.
constexpr std::size_t failures_remembered = 8;

/// A reason travels as a header: no control characters, not long, never empty.
std::string as_header(std::string_view reason) {
    std::string text{reason.substr(0, reason_max)};
    // A character of several bytes must not be cut in two.
    if (reason.size() > reason_max) {
        while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) text.pop_back();
        if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xc0) text.pop_back();
    }
    for (char& character : text) {
        if (static_cast<unsigned char>(character) < 0x20) character = ' ';
    }
    return text.empty() ? std::string{"no reason given"} : text;
}

bool is_done(Handled handled) { return handled == Handled::done || handled == Handled::already_done; }
/// A rejection is an answer of a handler that works.
bool is_failure(Handled handled) { return !is_done(handled) && handled != Handled::reject; }

}  // namespace

/// What a handler call says about the world behind the handlers.
void ConsumerMachine::learn(const std::vector<Answer>& answers, SteadyTime now, ConsumerActions& actions) {
    const Job& first = find(answers.front().job);
    const bool failed =
        std::all_of(answers.begin(), answers.end(), [](const Answer& one) { return is_failure(one.result.handled); });
    if (options_.adaptive_rate.enabled() && adaptive_.answered(answers.size(), now - first.started_at, failed, now)) {
        // Tokens for 10 ms at once: a thousandth of a second is no time to wake up for.
        adaptive_bucket_.change(adaptive_.per_second(),
                                std::max<std::uint64_t>(1, static_cast<std::uint64_t>(adaptive_.per_second() / 100)));
    }
    if (probe_ == first.id) {
        probe_.reset();
        const bool over = outage_.probe_answered(failed, now);
        auto notice =
            first.notice(over ? Notice::Kind::outage_ended : Notice::Kind::outage_goes_on, answers.front().result.reason);
        notice.wait = over ? std::chrono::milliseconds{0} : outage_.wait();
        actions.notices.push_back(std::move(notice));
        return;
    }
    if (outage_.on()) return;
    const std::size_t key = first.delivery.message.ordering_key.empty() ? std::hash<MessageId>{}(first.delivery.message.id)
                                                                        : KeyHash{}(first.key());
    if (outage_.answered(key, failed, now)) begin_outage(first, actions);
}

/// The failures that told of the outage belong to it, and do not count.
void ConsumerMachine::begin_outage(const Job& last, ConsumerActions& actions) {
    auto notice = last.notice(Notice::Kind::outage_began,
                              "nearly every handler fails: nothing more is tried but one "
                              "message now and then, and failures do not count");
    notice.wait = outage_.wait();
    actions.notices.push_back(std::move(notice));
    std::vector<Job*> again;
    for (const auto& [id, job] : jobs_) {
        if (job->state != Job::State::backing_off && job->state != Job::State::running) continue;
        const auto since = std::find_if(job->failed_at.begin(), job->failed_at.end(),
                                        [this](SteadyTime at) { return at >= outage_.evidence_from(); });
        if (since == job->failed_at.end()) continue;
        const auto excused = static_cast<std::uint32_t>(job->failed_at.end() - since);
        if (!mutant_active("outage_counts_attempts")) {
            job->attempts -= excused;
            actions.excused += excused;
        }
        job->failed_at.erase(since, job->failed_at.end());
        if (job->state == Job::State::backing_off) again.push_back(job.get());
    }
    std::sort(again.begin(), again.end(), [](const Job* left, const Job* right) { return left->id < right->id; });
    for (Job* job : again) {
        cancel_wake(*job);
        make_ready(*job);
    }
}

void ConsumerMachine::settle(Job& job, HandlerResult result, SteadyTime now, ConsumerActions& actions) {
    HUFU_ASSERT(job.state == Job::State::running);
    cancel_wake(job);
    end_attempt(job, actions);
    if (is_done(result.handled)) {
        ++(result.handled == Handled::done ? actions.done : actions.absorbed);
        if (result.handled == Handled::already_done && job.doubtful && !job.lost) {
            sessions_.at(job.delivery.tag.queue).doubtful = options_.held_max;  // still among what an earlier process had
        }
        if (!job.lost) actions.acknowledge.push_back(job.delivery.tag);
        finish(job, actions);
        return;
    }
    if (job.lane != nullptr && job.lane->jobs.front() != &job) {
        put_back(job, actions);  // behind a failure of its own key, in the same batch
        return;
    }
    const bool for_good = result.handled == Handled::reject;
    if (result.reason.empty()) result.reason = for_good ? "the handler rejected it" : "the handler asked for a retry";
    fail(job, std::move(result.reason), for_good, now, actions);
}

void ConsumerMachine::end_attempt(Job& job, ConsumerActions& actions) {
    if (!job.has_row) return;
    job.has_row = false;
    job.alone = false;
    actions.attempts_over.push_back(job.delivery.message.id);
}

/// It was not tried: its turn comes after what failed before it.
void ConsumerMachine::put_back(Job& job, ConsumerActions& actions) {
    --job.attempts;
    job.state = Job::State::waiting;
    if (job.lost || stopping_) drop_all({&job}, job.lost ? queue_lost : stopped, actions);
}

void ConsumerMachine::fail(Job& job, std::string reason, bool for_good, SteadyTime now, ConsumerActions& actions) {
    job.state = Job::State::backing_off;
    if (job.lost) {
        drop_all({&job}, queue_lost, actions);
        return;
    }
    if (outage_.on() && !for_good && !mutant_active("outage_counts_attempts")) {
        --job.attempts;
        ++actions.excused;
        if (stopping_) {
            drop_all({&job}, std::string{stopped} + " in an outage; its handler failed: " + reason, actions);
            return;
        }
        make_ready(job);
        return;
    }
    const auto wait = for_good ? std::nullopt : options_.retry.wait_after(job.attempts_in_all(), random_);
    if (!wait) {
        kill(job, std::move(reason), actions);
        return;
    }
    if (stopping_) {
        drop_all({&job}, std::string{stopped} + "; its handler failed: " + reason, actions);
        return;
    }
    job.failed_at.push_back(now);
    if (job.failed_at.size() > failures_remembered) job.failed_at.erase(job.failed_at.begin());
    wake(job, now + *wait);
    auto notice = job.notice(Notice::Kind::retry, std::move(reason));
    notice.wait = *wait;
    actions.notices.push_back(std::move(notice));
}

void ConsumerMachine::kill(Job& job, std::string reason, ConsumerActions& actions) {
    job.reason = as_header(reason);
    if (job.lane != nullptr && options_.successors == ConsumerOptions::Successors::dead_letter) {
        const auto [parked, first] =
            dead_keys_.try_emplace(job.lane->key, ParkedKey{job.lane->key, job.delivery.message.id, job.reason});
        job.parks = first && facilities_.parked_keys;
    }
    const Message& original = job.delivery.message;
    job.dead_letter = original;
    job.dead_letter.topic = dead_letter_topic_;
    job.dead_letter.deliver_at.reset();
    job.dead_letter.headers.set(header::dead_reason, job.reason);
    job.dead_letter.headers.set(header::dead_topic, original.topic);
    job.dead_letter.headers.set(header::attempts, std::to_string(job.attempts_in_all()));
    keep_first_stored_at(job.dead_letter, job.delivery.stored_at);
    publish(job, actions);
}

void ConsumerMachine::publish(Job& job, ConsumerActions& actions) {
    job.state = Job::State::publishing;
    ++publishing_;
    const auto parked = job.parks ? dead_keys_.find(job.lane->key) : dead_keys_.end();
    actions.dead_letters.push_back({.job = job.id,
                                    .message = &job.dead_letter,
                                    .park = parked == dead_keys_.end() ? std::nullopt : std::optional{parked->second}});
}

}  // namespace hufu
