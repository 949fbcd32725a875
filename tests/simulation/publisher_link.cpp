#include "publisher_link.hpp"

#include <functional>

namespace hufu::simulation {

using namespace std::chrono_literals;

std::string PublisherLink::encode(const Message& message) {
    return message.id.to_string() + " " + message.ordering_key + " " + message.body;
}

void PublisherLink::publish(std::unique_ptr<outbox::PublishBatch> batch) {
    auto job = std::make_shared<Job>();
    job->batch = std::move(batch);
    job->batch->outcomes.assign(job->batch->messages.size(), {});
    job->open = job->batch->messages.size() + 1;  // one for this function, so that `done` comes at its end at the earliest
    for (std::size_t index = 0; index < job->batch->messages.size(); ++index) {
        const Item item{job, index};
        const Message& message = item.message();
        if (!message.ordering_key.empty() && failing_.contains(message.ordering_key)) {
            settle(item, PublishStatus::not_sent, "behind a failed message of its key");
        } else if (is_poison(message)) {
            settle(item, PublishStatus::rejected, "poison");
        } else {
            const std::size_t where = message.ordering_key.empty() ? index : std::hash<std::string>{}(message.ordering_key);
            queues_[where % BrokerNode::queues].accepted.push_back(item);
        }
    }
    for (std::size_t queue = 0; queue < BrokerNode::queues; ++queue) send_next(queue);
    if (--job->open == 0) report(job);
}

void PublisherLink::report(const std::shared_ptr<Job>& job) {
    events_.after(10us, [self = shared_from_this(), job] {
        // From here on the relay knows, and what it hands over is meant anew.
        for (const std::string& key : job->failed_keys) {
            if (--self->failing_[key] == 0) self->failing_.erase(key);
        }
        if (!self->closed_) self->done_(std::move(job->batch));
    });
}

void PublisherLink::settle(const Item& item, PublishStatus status, const char* why) {
    events_.note(name_, " publish of ", encode(item.message()), ": ", static_cast<int>(status), " ", why);
    PublishOutcome& outcome = item.job->batch->outcomes[item.index];
    outcome.status = status;
    if (status != PublishStatus::confirmed) {
        const bool rejected = status == PublishStatus::rejected;
        outcome.error = Error{rejected ? ErrorCode::invalid_argument : ErrorCode::unavailable,
                              rejected ? Disposition::reject : Disposition::in_doubt, why};
        const std::string& key = item.message().ordering_key;
        if (!key.empty() && item.job->failed_keys.insert(key).second) ++failing_[key];
    }
    if (--item.job->open == 0) report(item.job);
}

void PublisherLink::send_next(std::size_t number) {
    Queue& queue = queues_[number];
    // Keys that failed since these were accepted must not be sent.
    std::deque<Item> sendable;
    for (const Item& item : queue.accepted) {
        if (!item.message().ordering_key.empty() && failing_.contains(item.message().ordering_key)) {
            settle(item, PublishStatus::not_sent, "behind a failed message of its key");
        } else {
            sendable.push_back(item);
        }
    }
    queue.accepted = std::move(sendable);
    if (!queue.in_flight.empty() || queue.accepted.empty()) return;
    std::vector<std::string> bodies;
    while (!queue.accepted.empty() && bodies.size() < 16) {
        bodies.push_back(encode(queue.accepted.front().message()));
        queue.in_flight.push_back(queue.accepted.front());
        queue.accepted.pop_front();
    }
    queue.request = ++requests_;
    for (const std::string& body : bodies) events_.note(name_, " sends ", body, " to queue ", number);
    const auto self = shared_from_this();
    // The answer can be lost or late; then nobody knows.
    events_.after(400ms,
                  [self, number, request = queue.request] { self->answered(number, request, PublishStatus::in_doubt); });
    const auto slow = events_.chance(200) ? 300ms : 0ms;
    events_.between(50us, 500us, [self, number, request = queue.request, bodies = std::move(bodies), slow] {
        self->events_.after(slow, [self, number, request, bodies] {
            if (!self->broker_.is_up()) {
                self->events_.after(200us,
                                    [self, number, request] { self->answered(number, request, PublishStatus::in_doubt); });
                return;
            }
            const std::uint64_t life = self->broker_.life();
            self->broker_.publish(number, bodies, [self, number, request, life](bool durable) {
                self->events_.between(50us, 500us, [self, number, request, life, durable] {
                    if (life != self->broker_.life() && self->events_.chance(2))
                        return;  // the answer died with the connection
                    self->answered(number, request, durable ? PublishStatus::confirmed : PublishStatus::in_doubt);
                });
            });
        });
    });
}

void PublisherLink::answered(std::size_t number, std::uint64_t request, PublishStatus status) {
    Queue& queue = queues_[number];
    if (closed_ || queue.request != request || queue.in_flight.empty()) return;
    const std::vector<Item> answered = std::exchange(queue.in_flight, {});
    for (const Item& item : answered) settle(item, status, "the broker did not confirm");
    if (status != PublishStatus::confirmed) {
        for (const Item& item : std::exchange(queue.accepted, {}))
            settle(item, PublishStatus::not_sent, "behind a failed group");
    }
    send_next(number);
}

void PublisherLink::reset() {
    for (std::size_t number = 0; number < BrokerNode::queues; ++number) {
        answered(number, queues_[number].request, PublishStatus::in_doubt);
    }
}

}  // namespace hufu::simulation
