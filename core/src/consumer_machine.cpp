#include <hufu/core/assert.hpp>
#include <hufu/core/consumer_machine.hpp>

#include <algorithm>
#include <utility>

namespace hufu {
namespace {

constexpr std::string_view behind_dead_letter = "behind a dead letter of its key";
constexpr std::string_view queue_lost = "its queue belongs to another member";
constexpr std::string_view stopped = "the consumer stops";
constexpr std::size_t reason_max = 1024;

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

}  // namespace

struct ConsumerMachine::Job {
    enum class State : std::uint8_t {
        waiting,  // behind another message of its key
        ready,    // will start when a thread and a token are free
        running,
        backing_off,  // failed, waits for its next attempt
        publishing,   // its dead letter is on its way
        dying,        // its dead letter failed and waits for its next attempt
    };

    ConsumerJob id = 0;
    Delivery delivery = {};
    Lane* lane = nullptr;
    State state = State::waiting;
    bool lost = false;
    std::uint32_t attempts = 0;
    std::uint32_t publish_failures = 0;
    std::optional<Wakes::iterator> wake = {};
    std::string reason = {};
    Message dead_letter = {};

    [[nodiscard]] bool busy() const noexcept { return state == State::running || state == State::publishing; }
    [[nodiscard]] std::uint32_t attempts_in_all() const noexcept { return delivery.broker_attempts + attempts; }
    [[nodiscard]] ConsumerActions::Notice notice(ConsumerActions::Notice::Kind kind, std::string why) const {
        return {.kind = kind,
                .id = delivery.message.id,
                .key = {delivery.message.topic, delivery.message.ordering_key},
                .attempts = attempts_in_all(),
                .reason = std::move(why)};
    }
};

/// The held messages of one key, in delivery order. Only the first is ever ready, running, backing off or dying.
struct ConsumerMachine::Lane {
    ConsumerKey key;
    std::deque<Job*> jobs = {};
};

using Notice = ConsumerActions::Notice;

std::size_t ConsumerMachine::KeyHash::operator()(const ConsumerKey& key) const noexcept {
    const std::hash<std::string> hash;
    return hash(key.topic) * 31 + hash(key.ordering_key);
}

std::string dead_letter_topic(std::string_view group) { return "%DLQ%" + std::string{group}; }

Result<void> validate(const ConsumerOptions& options) {
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
    };
    if (options.group.empty()) return refuse("ConsumerOptions::group is empty: name the consumer group");
    if (const auto valid = validate(Message{.topic = dead_letter_topic(options.group)}); !valid) {
        return refuse("ConsumerOptions::group \"" + options.group +
                      "\" makes no dead-letter topic: " + valid.error().text());
    }
    if (options.running_max == 0) return refuse("ConsumerOptions::running_max is 0: at least one handler must run");
    if (options.held_max < options.running_max) {
        return refuse("ConsumerOptions::held_max is " + std::to_string(options.held_max) + ", below running_max (" +
                      std::to_string(options.running_max) + "): threads would stay idle");
    }
    if (!(options.rate_per_second >= 0.0)) {
        return refuse("ConsumerOptions::rate_per_second is " + std::to_string(options.rate_per_second) +
                      ": 0 (no limit) or more");
    }
    if (options.rate_burst == 0) return refuse("ConsumerOptions::rate_burst is 0: at least 1");
    if (options.handler_timeout.count() < 0) return refuse("ConsumerOptions::handler_timeout is negative: 0 (none) or more");
    return {};
}

ConsumerMachine::ConsumerMachine(ConsumerOptions options, Random& random)
    : options_{std::move(options)},
      dead_letter_topic_{hufu::dead_letter_topic(options_.group)},
      random_{random},
      rate_{options_.rate_per_second, options_.rate_burst},
      dead_keys_{options_.dead_keys.begin(), options_.dead_keys.end()} {
    HUFU_ASSERT(validate(options_).has_value());
}

ConsumerMachine::~ConsumerMachine() = default;

ConsumerMachine::Job& ConsumerMachine::find(ConsumerJob job) {
    const auto found = jobs_.find(job);
    HUFU_ASSERT(found != jobs_.end());
    return *found->second;
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

ConsumerActions ConsumerMachine::handled(ConsumerJob id, HandlerResult result, SteadyTime now) {
    ConsumerActions actions;
    Job& job = find(id);
    HUFU_ASSERT(job.state == Job::State::running);
    --running_;
    cancel_wake(job);
    if (result.handled == Handled::done || result.handled == Handled::already_done) {
        ++(result.handled == Handled::done ? actions.done : actions.absorbed);
        if (!job.lost) actions.acknowledge.push_back(job.delivery.tag);
        finish(job, actions);
    } else {
        const bool for_good = result.handled == Handled::reject;
        if (result.reason.empty()) result.reason = for_good ? "the handler rejected it" : "the handler asked for a retry";
        fail(job, std::move(result.reason), for_good, now, actions);
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
        if (const auto known = sessions_.find(queue); known != sessions_.end()) lost_sessions_[queue] = known->second;
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
            case Job::State::backing_off:
                job.state = Job::State::ready;
                ready_.push_back(job.id);
                break;
            case Job::State::dying: publish(job, actions); break;
            case Job::State::running:
                actions.notices.push_back(
                    job.notice(Notice::Kind::overdue,
                               "its handler runs longer than " + std::to_string(options_.handler_timeout.count()) + " ms"));
                break;
            case Job::State::waiting:
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

std::size_t ConsumerMachine::room() const noexcept {
    return stopping_ || jobs_.size() >= options_.held_max ? 0 : options_.held_max - jobs_.size();
}

std::optional<SteadyTime> ConsumerMachine::wake_at() const noexcept {
    std::optional<SteadyTime> at;
    if (!wakes_.empty()) at = wakes_.begin()->first;
    if (!ready_.empty() && running_ < options_.running_max) {
        const auto token_at = rate_.ready_at(last_now_);
        at = at ? std::min(*at, token_at) : token_at;
    }
    return at;
}

bool ConsumerMachine::finished() const noexcept { return stopping_ && running_ == 0 && publishing_ == 0; }

// ---- queues that come and go

bool ConsumerMachine::belongs_to_another(const Delivery& delivery) const {
    const auto lost = lost_sessions_.find(delivery.tag.queue);
    return lost != lost_sessions_.end() && lost->second == delivery.tag.session;
}

void ConsumerMachine::note_session(const Delivery& delivery, ConsumerActions& actions) {
    const auto [known, first] = sessions_.try_emplace(delivery.tag.queue, delivery.tag.session);
    if (first || known->second == delivery.tag.session) return;
    // Lost and assigned again before `lose` was told: what is held of the old session comes again in the new one.
    known->second = delivery.tag.session;
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

void ConsumerMachine::activate(Job& job, ConsumerActions& actions) {
    if (job.lane != nullptr && options_.successors == ConsumerOptions::Successors::dead_letter &&
        dead_keys_.contains(job.lane->key)) {
        kill(job, std::string{behind_dead_letter}, actions);
        return;
    }
    job.state = Job::State::ready;
    ready_.push_back(job.id);
}

void ConsumerMachine::start_ready(SteadyTime now, ConsumerActions& actions) {
    last_now_ = now;
    while (!stopping_ && !ready_.empty() && running_ < options_.running_max) {
        const auto found = jobs_.find(ready_.front());
        if (found == jobs_.end()) {
            ready_.pop_front();
            continue;
        }
        if (!rate_.take(now)) return;
        ready_.pop_front();
        Job& job = *found->second;
        HUFU_ASSERT(job.state == Job::State::ready);
        job.state = Job::State::running;
        ++job.attempts;
        ++running_;
        if (options_.handler_timeout.count() > 0) wake(job, now + options_.handler_timeout);
        actions.start.push_back({.job = job.id, .delivery = &job.delivery, .attempt = job.attempts_in_all()});
    }
}

void ConsumerMachine::fail(Job& job, std::string reason, bool for_good, SteadyTime now, ConsumerActions& actions) {
    job.state = Job::State::backing_off;
    if (job.lost) {
        drop_all({&job}, queue_lost, actions);
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
    wake(job, now + *wait);
    auto notice = job.notice(Notice::Kind::retry, std::move(reason));
    notice.wait = *wait;
    actions.notices.push_back(std::move(notice));
}

void ConsumerMachine::kill(Job& job, std::string reason, ConsumerActions& actions) {
    if (job.lane != nullptr && options_.successors == ConsumerOptions::Successors::dead_letter)
        dead_keys_.insert(job.lane->key);
    const Message& original = job.delivery.message;
    job.reason = as_header(reason);
    job.dead_letter = original;
    job.dead_letter.topic = dead_letter_topic_;
    job.dead_letter.deliver_at.reset();
    job.dead_letter.headers.set(header::dead_reason, job.reason);
    job.dead_letter.headers.set(header::dead_topic, original.topic);
    job.dead_letter.headers.set(header::attempts, std::to_string(job.attempts_in_all()));
    publish(job, actions);
}

void ConsumerMachine::publish(Job& job, ConsumerActions& actions) {
    job.state = Job::State::publishing;
    ++publishing_;
    actions.dead_letters.push_back({.job = job.id, .message = &job.dead_letter});
}

void ConsumerMachine::finish(Job& job, ConsumerActions& actions) {
    Lane* lane = job.lane;
    if (lane != nullptr) {
        HUFU_ASSERT(lane->jobs.front() == &job);
        lane->jobs.pop_front();
    }
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
