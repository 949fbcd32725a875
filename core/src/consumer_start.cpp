// Which of the messages that are ready start now: threads, rates, batches, one that must run alone, the probe of an outage.
#include <hufu/core/assert.hpp>
#include <hufu/core/consumer_machine.hpp>

#include <algorithm>

#include "consumer_jobs.hpp"

namespace hufu {

void ConsumerMachine::start_ready(SteadyTime now, ConsumerActions& actions) {
    last_now_ = now;
    if (stopping_ || alone_) return;
    if (outage_.on()) {
        start_probe(now, actions);
    } else {
        start_normally(now, actions);
    }
}

void ConsumerMachine::start_normally(SteadyTime now, ConsumerActions& actions) {
    while (running_ < options_.running_max) {
        Job* job = first_ready();
        if (job == nullptr) return;
        if (job->alone) {
            // What ended the process before shall not make others look guilty, so they must be gone when it starts.
            if (running_ > 0) return;
            ready_.pop_front();
            job->state = Job::State::asking;
            alone_ = job->id;
            actions.attempts.push_back({job->id, job->delivery.message.id, true});
            return;
        }
        if (!take_token(now)) return;
        ready_.pop_front();
        start_batch(*job, options_.batch_max, now, actions);
    }
}

void ConsumerMachine::start_probe(SteadyTime now, ConsumerActions& actions) {
    const auto at = outage_.probe_at();
    if (!at || now < *at || running_ >= options_.running_max) return;
    Job* job = best_probe();
    if (job == nullptr) return;
    std::erase(ready_, job->id);
    outage_.probe_started();
    probe_ = job->id;
    start_batch(*job, 1, now, actions);
}

/// The first message that is ready, still in the queue; nothing when there is none.
ConsumerMachine::Job* ConsumerMachine::first_ready() {
    while (!ready_.empty()) {
        const auto found = jobs_.find(ready_.front());
        if (found != jobs_.end()) {
            HUFU_ASSERT(found->second->state == Job::State::ready);
            return found->second.get();
        }
        ready_.pop_front();
    }
    return nullptr;
}

/// One that was never tried, if there is one: those that failed may be poison beside the outage. Else the one that waited
/// longest, so that every probe is another message.
ConsumerMachine::Job* ConsumerMachine::best_probe() const {
    Job* best = nullptr;
    for (const auto id : ready_) {
        const auto found = jobs_.find(id);
        if (found == jobs_.end() || found->second->alone) continue;
        if (!found->second->tried) return found->second.get();
        if (best == nullptr) best = found->second.get();
    }
    return best;
}

void ConsumerMachine::start_batch(Job& first, std::size_t most, SteadyTime now, ConsumerActions& actions) {
    const ConsumerJob batch = first.id;
    std::size_t size = 1;
    start(first, batch, actions);
    first.started_at = now;
    if (options_.handler_timeout.count() > 0) wake(first, now + options_.handler_timeout);
    const auto add_run = [&](Job& job) {
        if (options_.batch_of != ConsumerOptions::BatchOf::key_runs || job.lane == nullptr) return;
        for (std::size_t next = 1; next < job.lane->jobs.size() && size < most; ++next) {
            Job& successor = *job.lane->jobs[next];
            if (successor.state != Job::State::waiting || successor.doubtful || !take_token(now)) return;
            start(successor, batch, actions);
            ++size;
        }
    };
    add_run(first);
    while (size < most) {
        Job* job = first_ready();
        if (job == nullptr || job->alone || !take_token(now)) break;
        ready_.pop_front();
        start(*job, batch, actions);
        ++size;
        add_run(*job);
    }
    batches_.emplace(batch, size);
    ++running_;
}

void ConsumerMachine::start(Job& job, ConsumerJob batch, ConsumerActions& actions) {
    job.state = Job::State::running;
    job.tried = true;
    ++job.attempts;
    actions.start.push_back({.job = job.id, .delivery = &job.delivery, .attempt = job.attempts_in_all(), .batch = batch});
}

bool ConsumerMachine::take_token(SteadyTime now) {
    if (token_at(now) > now) return false;
    return rate_.take(now) && adaptive_bucket_.take(now);
}

SteadyTime ConsumerMachine::token_at(SteadyTime now) const noexcept {
    return std::max(rate_.ready_at(now), adaptive_bucket_.ready_at(now));
}

}  // namespace hufu
