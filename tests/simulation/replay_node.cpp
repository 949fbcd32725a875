#include "replay_node.hpp"

#include <algorithm>
#include <utility>

namespace hufu::simulation {

using namespace std::chrono_literals;
using degradation::Entry;
using degradation::ReplayActions;
using degradation::ReplayBatch;

namespace {

constexpr auto look_again = 5ms;
constexpr auto source_pause = 50ms;
constexpr std::size_t held_max = 24;
constexpr int nothing_found_max = 12;

}  // namespace

void ReplayNode::start(bool retry_parked) {
    process_.begin();
    streams_.push_back(std::make_unique<StreamLink>(events_, process_, server_,
                                                    name_ + "-" + std::to_string(process_.life()), good_network_));
    link_ = streams_.back().get();
    auto& random = events_.random();
    machine_ = std::make_unique<degradation::ReplayMachine>(
        degradation::ReplayOptions{.batch_messages = 1 + random.below(6),
                                   .batches_max = 1 + random.below(3),
                                   .held_max = held_max,
                                   .retry = RetrySchedule::capped(10ms, 200ms).jitter(0.2)},
        random);
    found_nothing_ = 0;
    if (!retry_parked) return bar_what_is_parked();
    link_->unpark([this](const auto& unparked) {
        if (!unparked) return kill();  // it says so and ends; a person calls it again
        bar_what_is_parked();
    });
}

void ReplayNode::kill() {
    process_.end();
    machine_.reset();
}

/// Nothing may overtake what an earlier replay set aside: before that is known, nothing is read.
void ReplayNode::bar_what_is_parked() {
    link_->parked([this](const Result<std::vector<Message>>& parked) {
        if (!parked) return process_.after(source_pause, [this] { bar_what_is_parked(); });
        for (const Message& message : *parked) machine_->bar(message);
        turn();
    });
}

void ReplayNode::turn() {
    auto actions = std::make_shared<ReplayActions>(machine_->step(events_.now()));
    for (auto& batch : actions->publish) publish(std::move(batch));
    park(std::move(actions), 0);
}

void ReplayNode::publish(std::unique_ptr<ReplayBatch> batch) {
    const auto on_its_way = std::make_shared<std::unique_ptr<ReplayBatch>>(std::move(batch));
    broker_.publish(process_, (*on_its_way)->messages, [this, on_its_way](std::vector<PublishOutcome> outcomes) {
        (*on_its_way)->outcomes = std::move(outcomes);
        machine_->published(std::move(*on_its_way), events_.now());
    });
}

void ReplayNode::park(std::shared_ptr<ReplayActions> actions, std::size_t next) {
    if (next == actions->park.size()) return trim(actions);
    link_->park(actions->park[next].entries, actions->park[next].reason, [this, actions, next](const auto& parked) {
        if (parked) return park(actions, next + 1);
        machine_->not_parked({actions->park.begin() + static_cast<std::ptrdiff_t>(next), actions->park.end()},
                             events_.now());
        trim(actions);
    });
}

void ReplayNode::trim(const std::shared_ptr<ReplayActions>& actions) {
    if (actions->trim.empty()) return read();
    link_->trim(actions->trim, [this, actions](const auto& removed) {
        if (removed) {
            machine_->trimmed(actions->trim.size(), *removed);
        } else {
            machine_->not_trimmed(actions->trim, events_.now());
        }
        read();
    });
}

void ReplayNode::read() {
    if (machine_->room() < held_max / 4) {
        process_.after(look_again, [this] { turn(); });
        return;
    }
    link_->read(machine_->room(), [this](const Result<std::vector<Entry>>& entries) {
        if (!entries) {
            process_.after(source_pause, [this] { turn(); });
            return;
        }
        if (!entries->empty()) machine_->deliver(*entries);
        end_if_empty(!entries->empty());
    });
}

void ReplayNode::end_if_empty(bool found) {
    found_nothing_ = found || !machine_->idle() ? 0 : found_nothing_ + 1;
    if (found_nothing_ < nothing_found_max) {
        process_.after(found ? EventQueue::Duration{100us} : look_again, [this] { turn(); });
        return;
    }
    link_->release([this] { kill(); });
}

}  // namespace hufu::simulation
