#include <hufu/forward/forward_machine.hpp>

#include <algorithm>
#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/core/subscription.hpp>

namespace hufu::forward {
namespace {

std::size_t bytes_of(const Message& message) {
    std::size_t bytes = sizeof(Delivery) + message.body.size() + message.topic.size() + message.ordering_key.size();
    for (const auto& [name, value] : message.headers) {
        bytes += name.size() + value.size();
    }
    return bytes;
}

}  // namespace

ForwardMachine::ForwardMachine(ForwardOptions options, Random& random) : options_{std::move(options)}, random_{random} {}

ForwardMachine::~ForwardMachine() = default;

std::size_t ForwardMachine::room() const noexcept {
    if (stopping_ || figures_.held >= options_.held_messages_max || figures_.held_bytes >= options_.held_bytes_max) {
        return 0;
    }
    return options_.held_messages_max - figures_.held;
}

void ForwardMachine::deliver(std::vector<Delivery> deliveries) {
    for (Delivery& delivery : deliveries) {
        if (stopping_ || is_stale(delivery)) {
            ++figures_.dropped;
        } else {
            accept(std::move(delivery));
        }
    }
}

/// Of a session that was lost. A newer session than was seen ends the one before it.
bool ForwardMachine::is_stale(const Delivery& delivery) {
    const auto [queue, position, session] = delivery.tag;
    if (const auto gone = gone_.find(queue); gone != gone_.end() && session <= gone->second) {
        return true;
    }
    const auto [latest, is_new] = latest_.try_emplace(queue, session);
    if (session < latest->second) {
        return true;
    }
    if (session > latest->second) {
        take_away(queue);
        latest->second = session;
    }
    return false;
}

void ForwardMachine::accept(Delivery delivery) {
    ++figures_.received;
    delivery.message.deliver_at.reset();  // the source delivered it, so it is due
    Job job{.delivery = std::move(delivery)};
    const Message& message = job.delivery.message;
    job.bytes = bytes_of(message);
    ++figures_.held;
    figures_.held_bytes += job.bytes;
    const ConsumerKey key{message.topic, message.ordering_key};
    LaneId id = 0;
    if (message.ordering_key.empty()) {
        id = ++last_lane_;
    } else {
        const auto [known, is_new] = by_key_.try_emplace(key, last_lane_ + 1);
        id = known->second;
        last_lane_ += is_new ? 1 : 0;
        if (parked_keys_.contains(key)) {
            job.dead_reason = "behind a dead letter of its key";
        }
    }
    Lane& lane = lanes_.try_emplace(id, Lane{.key = key}).first->second;
    lane.jobs.push_back(std::move(job));
    make_ready(id, lane);
}

void ForwardMachine::make_ready(LaneId id, Lane& lane) {
    if (!lane.ready && !lane.waiting && lane.out == 0 && !lane.jobs.empty()) {
        lane.ready = true;
        ready_.push_back(id);
    }
}

void ForwardMachine::erase(LaneId id) {
    const auto found = lanes_.find(id);
    if (found != lanes_.end()) {
        if (!found->second.key.ordering_key.empty()) {
            by_key_.erase(found->second.key);
        }
        figures_.keys_waiting -= found->second.waiting ? 1 : 0;
        lanes_.erase(found);
    }
}

void ForwardMachine::lose(std::span<const std::uint64_t> queues) {
    for (const std::uint64_t queue : queues) {
        if (const auto latest = latest_.find(queue); latest != latest_.end()) {
            gone_[queue] = latest->second;
            take_away(queue);
        }
    }
}

void ForwardMachine::take_away(std::uint64_t queue) {
    std::vector<LaneId> touched;
    for (auto& [id, lane] : lanes_) {
        bool any = false;
        for (Job& job : lane.jobs) {
            if (job.delivery.tag.queue == queue && !job.lost) {
                job.lost = any = true;
            }
        }
        if (any) {
            touched.push_back(id);
        }
    }
    for (const LaneId id : touched) {
        remove_lost(id, lanes_.at(id));
    }
}

/// Those under way stay until they are answered.
void ForwardMachine::remove_lost(LaneId id, Lane& lane) {
    const auto first = lane.jobs.begin() + static_cast<std::ptrdiff_t>(lane.out);
    const auto kept = std::stable_partition(first, lane.jobs.end(), [](const Job& job) { return !job.lost; });
    for (auto job = kept; job != lane.jobs.end(); ++job) {
        --figures_.held;
        figures_.held_bytes -= job->bytes;
        ++figures_.dropped;
    }
    lane.jobs.erase(kept, lane.jobs.end());
    if (lane.jobs.empty()) {
        erase(id);
    }
}

void ForwardMachine::stop() {
    stopping_ = true;
    std::vector<LaneId> all;
    for (auto& [id, lane] : lanes_) {
        for (auto job = lane.jobs.begin() + static_cast<std::ptrdiff_t>(lane.out); job != lane.jobs.end(); ++job) {
            job->lost = true;  // it comes again, to whoever is there
        }
        all.push_back(id);
    }
    for (const LaneId id : all) {
        remove_lost(id, lanes_.at(id));
    }
}

ForwardActions ForwardMachine::step(SteadyTime now) {
    while (!waits_.empty() && waits_.begin()->first <= now) {
        const LaneId id = waits_.begin()->second;
        waits_.erase(waits_.begin());
        if (const auto lane = lanes_.find(id); lane != lanes_.end() && lane->second.waiting) {
            lane->second.waiting = false;
            --figures_.keys_waiting;
            make_ready(id, lane->second);
        }
    }
    if (!stopping_) {
        fill_batches();
    }
    ForwardActions actions = std::exchange(actions_, {});
    actions.finished = stopping_ && out_ == 0;
    if (!waits_.empty() && !stopping_) {
        actions.tick_at = waits_.begin()->first;
    }
    return actions;
}

void ForwardMachine::fill_batches() {
    std::unique_ptr<ForwardBatch> batch;
    const auto launch = [&](std::unique_ptr<ForwardBatch> full) {
        full->outcomes.resize(full->messages.size());
        ++out_;
        actions_.publish.push_back(std::move(full));
    };
    while (!ready_.empty() && out_ < options_.batches_max) {
        const LaneId id = ready_.front();
        const auto found = lanes_.find(id);
        ready_.pop_front();
        if (found == lanes_.end() || !found->second.ready) {
            continue;
        }
        Lane& lane = found->second;
        lane.ready = false;
        if (lane.jobs.empty() || lane.waiting || lane.out > 0) {
            continue;
        }
        if (!lane.jobs.front().dead_reason.empty()) {
            auto letter = std::make_unique<ForwardBatch>();
            letter->dead_letters = true;
            lane.out = 1;
            letter->messages.push_back(dead_letter_of(lane.jobs.front()));
            letter->parts.push_back({id, 1});
            launch(std::move(letter));
            continue;
        }
        if (batch == nullptr) {
            batch = std::make_unique<ForwardBatch>();
        }
        take_part(id, lane, *batch);
        if (batch->messages.size() >= options_.batch_messages) {
            launch(std::move(batch));
        }
    }
    if (batch != nullptr) {
        launch(std::move(batch));
    }
}

void ForwardMachine::take_part(LaneId id, Lane& lane, ForwardBatch& batch) {
    const std::size_t room = options_.batch_messages - batch.messages.size();
    while (lane.out < std::min(room, lane.jobs.size()) && lane.jobs[lane.out].dead_reason.empty()) {
        const Delivery& delivery = lane.jobs[lane.out].delivery;
        batch.messages.push_back(delivery.message);
        keep_first_stored_at(batch.messages.back(), delivery.stored_at);
        if (mutant_active("forward_acknowledges_first")) {
            actions_.acknowledge.push_back(lane.jobs[lane.out].delivery.tag);
        }
        ++lane.out;
    }
    figures_.retried += lane.failures > 0 ? lane.out : 0;
    batch.parts.push_back({id, lane.out});
}

void ForwardMachine::published(std::unique_ptr<ForwardBatch> batch, SteadyTime now) {
    HUFU_ASSERT(out_ > 0);
    --out_;
    std::size_t first = 0;
    for (const auto part : batch->parts) {
        settle(*batch, part, first, now);
        first += part.count;
    }
}

void ForwardMachine::settle(const ForwardBatch& batch, ForwardBatch::Part part, std::size_t first, SteadyTime now) {
    Lane& lane = lanes_.at(part.lane);
    HUFU_ASSERT(lane.out == part.count && lane.jobs.size() >= part.count);
    std::size_t confirmed = 0;
    while (confirmed < part.count && batch.outcomes[first + confirmed].status == PublishStatus::confirmed) {
        ++confirmed;
        const Job& job = lane.jobs.front();
        if (!job.lost) {
            actions_.acknowledge.push_back(job.delivery.tag);
        }
        if (batch.dead_letters) {
            ++figures_.dead;
            actions_.notices.push_back(
                {Notice::Kind::dead, job.delivery.message.id, lane.key, 1, std::string{job.dead_reason}});
        } else {
            ++figures_.forwarded;
            figures_.last_stored_at = job.delivery.stored_at;
        }
        pop_front(lane);
    }
    lane.out = 0;
    if (confirmed > 0) {
        lane.failures = 0;
    }
    if (stopping_) {
        for (Job& job : lane.jobs) {
            job.lost = true;
        }
    } else if (confirmed < part.count && !lane.jobs.front().lost) {
        failed(lane, batch.outcomes[first + confirmed], batch.dead_letters, now, part.lane);
    }
    remove_lost(part.lane, lane);
    if (lanes_.contains(part.lane)) {
        make_ready(part.lane, lane);
    }
}

void ForwardMachine::pop_front(Lane& lane) {
    --figures_.held;
    figures_.held_bytes -= lane.jobs.front().bytes;
    lane.jobs.pop_front();
}

/// The first message of `lane` was not confirmed.
void ForwardMachine::failed(Lane& lane, const PublishOutcome& outcome, bool dead_letter, SteadyTime now, LaneId id) {
    figures_.last_error = outcome.error;
    const Job& job = lane.jobs.front();
    const bool rejected = outcome.status == PublishStatus::rejected;
    const bool has_memory = lane.key.ordering_key.empty() || options_.rejected != ForwardOptions::Rejected::park_key ||
                            parked_keys_.contains(lane.key) || parked_keys_.size() < options_.parked_keys_max;
    if (rejected && !dead_letter && options_.rejected != ForwardOptions::Rejected::hold && has_memory) {
        if (mutant_active("forward_drops_rejected")) {
            actions_.acknowledge.push_back(job.delivery.tag);
            pop_front(lane);
            return;
        }
        park(lane, outcome);
        return;
    }
    if (rejected || dead_letter) {
        actions_.notices.push_back({Notice::Kind::stuck, job.delivery.message.id, lane.key, 1, outcome.error.text()});
    } else if (!actions_.notices.empty() && actions_.notices.back().kind == Notice::Kind::retry) {
        ++actions_.notices.back().messages;
    } else {
        actions_.notices.push_back({Notice::Kind::retry, job.delivery.message.id, lane.key, 1, outcome.error.text()});
    }
    if (mutant_active("forward_overtakes")) {
        lane.jobs.push_back(std::move(lane.jobs.front()));
        lane.jobs.pop_front();
    }
    back_off(id, lane, now);
}

void ForwardMachine::park(Lane& lane, const PublishOutcome& outcome) {
    lane.jobs.front().dead_reason = "rejected by the target: " + outcome.error.text();
    if (lane.key.ordering_key.empty() || options_.rejected != ForwardOptions::Rejected::park_key) {
        return;
    }
    parked_keys_.insert(lane.key);
    for (auto job = lane.jobs.begin() + 1; job != lane.jobs.end(); ++job) {
        job->dead_reason = "behind a dead letter of its key";
    }
}

void ForwardMachine::back_off(LaneId id, Lane& lane, SteadyTime now) {
    ++lane.failures;
    const auto wait = options_.retry.wait_after(lane.failures, random_);
    HUFU_ASSERT(wait.has_value());
    lane.waiting = true;
    ++figures_.keys_waiting;
    waits_.emplace(now + *wait, id);
}

Message ForwardMachine::dead_letter_of(const Job& job) const {
    Message letter = job.delivery.message;
    letter.headers.set(header::dead_reason, std::string_view{job.dead_reason}.substr(0, 1'000));
    letter.headers.set(header::dead_topic, letter.topic);
    letter.headers.set(header::attempts, "1");
    letter.topic = dead_letter_topic(options_.group);
    return letter;
}

bool ForwardMachine::reopen(const ConsumerKey& key) { return parked_keys_.erase(key) > 0; }

}  // namespace hufu::forward
