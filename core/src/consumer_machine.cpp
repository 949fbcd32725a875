// The events of the consumer machine, and how messages come and go. What starts: consumer_start.cpp; what failed:
// consumer_failures.cpp.
#include <hufu/core/assert.hpp>
#include <hufu/core/consumer_machine.hpp>
#include <hufu/core/mutant.hpp>

#include <algorithm>
#include <utility>

#include "consumer_jobs.hpp"

namespace hufu {

std::size_t ConsumerMachine::KeyHash::operator()(const ConsumerKey& key) const noexcept {
    const std::hash<std::string> hash;
    return hash(key.topic) * 31 + hash(key.ordering_key);
}

ConsumerMachine::ConsumerMachine(ConsumerOptions options, Random& random, ConsumerFacilities facilities)
    : options_{std::move(options)},
      facilities_{facilities},
      dead_letter_topic_{hufu::dead_letter_topic(options_.group)},
      random_{random},
      rate_{options_.rate_per_second, options_.rate_burst},
      adaptive_{options_.adaptive_rate},
      adaptive_bucket_{adaptive_rate(), 1},
      outage_{options_.outage, random} {
    HUFU_ASSERT(validate(options_).has_value());
    for (const auto& key : options_.dead_keys) dead_keys_.emplace(key, ParkedKey{key, {}, {}});
}

ConsumerMachine::~ConsumerMachine() = default;

ConsumerMachine::Job& ConsumerMachine::find(ConsumerJob job) {
    const auto found = jobs_.find(job);
    HUFU_ASSERT(found != jobs_.end());
    return *found->second;
}

double ConsumerMachine::adaptive_rate() const noexcept {
    return options_.adaptive_rate.enabled() ? adaptive_.per_second() : 0;
}

// ---- events

ConsumerActions ConsumerMachine::deliver(std::vector<Delivery> deliveries, SteadyTime now) {
    ConsumerActions actions;
    for (auto& delivery : deliveries) {
        if (stopping_ || belongs_to_another(delivery)) {
            actions.notices.push_back(Job{.delivery = std::move(delivery)}.notice(
                Notice::Kind::dropped, std::string{stopping_ ? stopped : queue_lost}));
            continue;
        }
        note_session(delivery, actions);
        accept(std::move(delivery), actions);
    }
    start_ready(now, actions);
    return actions;
}

bool ConsumerMachine::wants_parked_keys(std::span<const Delivery> deliveries) const {
    if (!facilities_.parked_keys || mutant_active("poison_forgotten_on_rebalance")) return false;
    return std::any_of(deliveries.begin(), deliveries.end(), [this](const Delivery& delivery) {
        const auto known = sessions_.find(delivery.tag.queue);
        return known == sessions_.end() || known->second.number != delivery.tag.session;
    });
}

void ConsumerMachine::parked_loaded(std::vector<ParkedKey> keys) {
    std::map<ConsumerKey, ParkedKey> loaded;
    for (auto& key : keys) {
        auto name = key.key;
        loaded.emplace(std::move(name), std::move(key));
    }
    // A key of ours whose first dead letter is on its way is being parked: what was read may be from before that.
    for (auto& [name, parked] : dead_keys_) {
        const auto lane = lanes_.find(name);
        const bool on_its_way = lane != lanes_.end() && !lane->second->jobs.empty() && lane->second->jobs.front()->parks;
        if (on_its_way) loaded.emplace(name, std::move(parked));
    }
    dead_keys_ = std::move(loaded);
}

ConsumerActions ConsumerMachine::handled(ConsumerJob job, HandlerResult result, SteadyTime now) {
    std::vector<Answer> answers;
    answers.push_back({job, std::move(result)});
    return handled(std::move(answers), now);
}

ConsumerActions ConsumerMachine::handled(std::vector<Answer> answers, SteadyTime now) {
    ConsumerActions actions;
    HUFU_ASSERT(!answers.empty());
    const auto batch = batches_.find(answers.front().job);
    HUFU_ASSERT(batch != batches_.end() && batch->second == answers.size());
    batches_.erase(batch);
    --running_;
    learn(answers, now, actions);
    if (alone_ == answers.front().job) alone_.reset();
    for (auto& answer : answers) settle(find(answer.job), std::move(answer.result), now, actions);
    start_ready(now, actions);
    return actions;
}

ConsumerActions ConsumerMachine::attempts_seen(std::span<const AttemptsSeen> seen, SteadyTime now) {
    ConsumerActions actions;
    for (const auto& one : seen) {
        const auto found = jobs_.find(one.job);
        if (found == jobs_.end()) continue;  // its queue was lost meanwhile
        Job& job = *found->second;
        HUFU_ASSERT(job.state == Job::State::asking);
        job.has_row = true;
        if (alone_ == job.id) {
            job.state = Job::State::ready;
            batches_.emplace(job.id, 1);
            ++running_;
            start(job, job.id, actions);
            job.started_at = now;
            if (options_.handler_timeout.count() > 0) wake(job, now + options_.handler_timeout);
            continue;
        }
        if (one.unanswered >= options_.kills_max) {
            kill(job,
                 "its handler was started " + std::to_string(one.unanswered) +
                     " times and never answered: the process ended each time",
                 actions);
            continue;
        }
        job.alone = one.unanswered > 0;
        if (job.alone) {
            actions.notices.push_back(
                job.notice(Notice::Kind::alone,
                           "its handler was started " + std::to_string(one.unanswered) + " times without an answer"));
        }
        make_ready(job);
    }
    start_ready(now, actions);
    return actions;
}

ConsumerActions ConsumerMachine::dead_letter_settled(ConsumerJob id, bool confirmed, std::string_view why, SteadyTime now) {
    ConsumerActions actions;
    Job& job = find(id);
    HUFU_ASSERT(job.state == Job::State::publishing);
    --publishing_;
    if (confirmed) {
        actions.notices.push_back(job.notice(Notice::Kind::dead, job.reason));
        if (!job.lost) actions.acknowledge.push_back(job.delivery.tag);
        end_attempt(job, actions);
        finish(job, actions);
    } else {
        ++job.publish_failures;
        auto notice = job.notice(Notice::Kind::dead_letter_failed, std::string{why});
        job.state = Job::State::dying;
        if (job.lost || stopping_) {
            actions.notices.push_back(std::move(notice));
            drop_all({&job}, job.lost ? queue_lost : stopped, actions);
        } else {
            // Nothing is given up here: an exhausted schedule goes on with its last wait.
            auto failures = job.publish_failures;
            auto wait = options_.dead_letter_retry.wait_after(failures, random_);
            while (!wait && failures > 1) wait = options_.dead_letter_retry.wait_after(--failures, random_);
            notice.wait = wait.value_or(std::chrono::seconds{30});
            wake(job, now + notice.wait);
            actions.notices.push_back(std::move(notice));
        }
    }
    start_ready(now, actions);
    return actions;
}

ConsumerActions ConsumerMachine::lose(std::span<const std::uint64_t> queues, SteadyTime now) {
    ConsumerActions actions;
    for (const auto queue : queues) {
        if (const auto known = sessions_.find(queue); known != sessions_.end()) lost_sessions_[queue] = known->second.number;
        take_away(queue, actions);
    }
    start_ready(now, actions);
    return actions;
}

ConsumerActions ConsumerMachine::tick(SteadyTime now) {
    ConsumerActions actions;
    while (!wakes_.empty() && wakes_.begin()->first <= now) {
        Job& job = find(wakes_.begin()->second);
        cancel_wake(job);
        switch (job.state) {
            case Job::State::backing_off: make_ready(job); break;
            case Job::State::dying: publish(job, actions); break;
            case Job::State::running:
                actions.notices.push_back(
                    job.notice(Notice::Kind::overdue,
                               "its handler runs longer than " + std::to_string(options_.handler_timeout.count()) + " ms"));
                break;
            case Job::State::waiting:
            case Job::State::asking:
            case Job::State::ready:
            case Job::State::publishing: HUFU_ASSERT(false && "only jobs that wait for a time have a wake-up");
        }
    }
    start_ready(now, actions);
    return actions;
}

ConsumerActions ConsumerMachine::stop(SteadyTime now) {
    last_now_ = now;
    ConsumerActions actions;
    stopping_ = true;
    std::vector<Job*> doomed;
    for (const auto& [id, job] : jobs_) {
        if (!job->busy()) doomed.push_back(job.get());
    }
    drop_all(std::move(doomed), stopped, actions);
    ready_.clear();
    return actions;
}

bool ConsumerMachine::reopen(const ConsumerKey& key) { return dead_keys_.erase(key) != 0; }

std::set<ConsumerKey> ConsumerMachine::dead_keys() const {
    std::set<ConsumerKey> keys;
    for (const auto& [key, parked] : dead_keys_) keys.insert(key);
    return keys;
}

std::size_t ConsumerMachine::room() const noexcept {
    if (stopping_ || jobs_.size() >= options_.held_max) return 0;
    const std::size_t room = options_.held_max - jobs_.size();
    if (!outage_.on()) return room;
    // A few that nobody has tried yet, so that a probe does not depend on the messages that happen to be here.
    const auto fresh = static_cast<std::size_t>(std::count_if(jobs_.begin(), jobs_.end(), [](const auto& held) {
        const Job& job = *held.second;
        return !job.tried && !job.alone && (job.state == Job::State::ready || job.state == Job::State::asking);
    }));
    return fresh >= options_.running_max ? 0 : std::min(room, options_.running_max - fresh);
}

std::optional<SteadyTime> ConsumerMachine::wake_at() const noexcept {
    std::optional<SteadyTime> at;
    const auto earliest = [&at](std::optional<SteadyTime> other) {
        if (other) at = at ? std::min(*at, *other) : *other;
    };
    if (!wakes_.empty()) earliest(wakes_.begin()->first);
    if (ready_.empty() || running_ >= options_.running_max || alone_) return at;
    if (outage_.on()) {
        if (best_probe() != nullptr) earliest(outage_.probe_at());
        return at;
    }
    const auto next = jobs_.find(ready_.front());
    const bool must_wait = next != jobs_.end() && next->second->alone && running_ > 0;
    if (!must_wait) earliest(token_at(last_now_));
    return at;
}

bool ConsumerMachine::finished() const noexcept { return stopping_ && running_ == 0 && publishing_ == 0; }

// ---- queues that come and go

bool ConsumerMachine::belongs_to_another(const Delivery& delivery) const {
    const auto lost = lost_sessions_.find(delivery.tag.queue);
    return lost != lost_sessions_.end() && lost->second == delivery.tag.session;
}

void ConsumerMachine::note_session(const Delivery& delivery, ConsumerActions& actions) {
    const Session fresh{delivery.tag.session, options_.held_max};
    const auto [known, first] = sessions_.try_emplace(delivery.tag.queue, fresh);
    if (first || known->second.number == delivery.tag.session) return;
    // Lost and assigned again before `lose` was told: what is held of the old session comes again in the new one.
    known->second = fresh;
    take_away(delivery.tag.queue, actions);
}

void ConsumerMachine::take_away(std::uint64_t queue, ConsumerActions& actions) {
    std::vector<Job*> doomed;
    for (const auto& [id, job] : jobs_) {
        if (job->delivery.tag.queue != queue || job->lost) continue;
        job->lost = true;
        if (!job->busy()) doomed.push_back(job.get());
    }
    drop_all(std::move(doomed), queue_lost, actions);
}

void ConsumerMachine::drop_all(std::vector<Job*> doomed, std::string_view reason, ConsumerActions& actions) {
    std::sort(doomed.begin(), doomed.end(), [](const Job* left, const Job* right) { return left->id < right->id; });
    // First all leave, then the lanes go on: else a lane would start a message that is about to leave.
    std::set<ConsumerKey> lanes;
    for (Job* job : doomed) {
        actions.notices.push_back(job->notice(Notice::Kind::dropped, std::string{reason}));
        cancel_wake(*job);
        end_attempt(*job, actions);
        if (alone_ == job->id) alone_.reset();
        if (job->lane != nullptr) {
            std::erase(job->lane->jobs, job);
            lanes.insert(job->lane->key);
        }
        jobs_.erase(job->id);
    }
    for (const auto& key : lanes) advance(*lanes_.at(key), actions);
}

// ---- one message's way

void ConsumerMachine::accept(Delivery delivery, ConsumerActions& actions) {
    auto made = std::make_unique<Job>();
    Job& job = *made;
    job.id = ++last_job_;
    job.delivery = std::move(delivery);
    jobs_.emplace(job.id, std::move(made));
    // May it have been started by a process that is gone? The first ones of a session: a process holds no more than
    // `held_max`, and those it had acknowledged come again as duplicates, which begin the count anew.
    if (auto& session = sessions_.at(job.delivery.tag.queue); facilities_.attempt_rows && session.doubtful > 0) {
        --session.doubtful;
        job.doubtful = true;
    }

    const Message& message = job.delivery.message;
    if (options_.order == ConsumerOptions::Order::per_key && !message.ordering_key.empty()) {
        ConsumerKey key{message.topic, message.ordering_key};
        auto& lane = lanes_[key];
        if (!lane) lane = std::make_unique<Lane>(Lane{.key = std::move(key)});
        job.lane = lane.get();
        lane->jobs.push_back(&job);
        if (lane->jobs.front() != &job) return;
    }
    activate(job, actions);
}

bool ConsumerMachine::is_dead(const Job& job) const {
    return job.lane != nullptr && options_.successors == ConsumerOptions::Successors::dead_letter &&
           dead_keys_.contains(job.lane->key);
}

void ConsumerMachine::activate(Job& job, ConsumerActions& actions) {
    if (is_dead(job)) {
        // The process that parked the key may have died before the letter was out: then it comes again, as itself.
        const auto& parked = dead_keys_.at(job.lane->key);
        const bool itself = parked.first == job.delivery.message.id && !parked.first.is_nil();
        kill(job, itself ? parked.reason : std::string{behind_dead_letter}, actions);
        return;
    }
    if (job.doubtful && !job.asked) {
        job.state = Job::State::asking;
        job.asked = true;
        actions.attempts.push_back({job.id, job.delivery.message.id, false});
        return;
    }
    make_ready(job);
}

void ConsumerMachine::make_ready(Job& job) {
    job.state = Job::State::ready;
    ready_.push_back(job.id);
}

void ConsumerMachine::finish(Job& job, ConsumerActions& actions) {
    Lane* lane = job.lane;
    // Not always the first: in a batch of runs the handler may have done what is behind a failure.
    if (lane != nullptr) std::erase(lane->jobs, &job);
    jobs_.erase(job.id);
    if (lane != nullptr) advance(*lane, actions);
}

void ConsumerMachine::advance(Lane& lane, ConsumerActions& actions) {
    if (lane.jobs.empty()) {
        lanes_.erase(ConsumerKey{lane.key});
        return;
    }
    Job& next = *lane.jobs.front();
    if (next.state == Job::State::waiting && !stopping_) activate(next, actions);
}

void ConsumerMachine::wake(Job& job, SteadyTime at) {
    HUFU_ASSERT(!job.wake);
    job.wake = wakes_.emplace(at, job.id);
}

void ConsumerMachine::cancel_wake(Job& job) {
    if (job.wake) wakes_.erase(*job.wake);
    job.wake.reset();
}

}  // namespace hufu
