#include "publish_machine.hpp"

#include <algorithm>

#include <hufu/core/assert.hpp>

#include "errors.hpp"

namespace hufu::rocketmq {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds route_every{30'000};
constexpr milliseconds route_again{200};
constexpr milliseconds heartbeat_every{30'000};

Error successor_error(const Message& message) {
    return Error{ErrorCode::cancelled, Disposition::retry,
                 "not sent: an earlier message of ordering key \"" + message.ordering_key + "\" of topic \"" +
                     message.topic + "\" was not confirmed; publish again from that one"};
}

Error closing_error() { return Error{ErrorCode::cancelled, Disposition::retry, "not sent: the publisher is closing"}; }

}  // namespace

PublishMachine::PublishMachine(Cluster& cluster, PublisherOptions options, Clock& clock, MessageIdGenerator& ids)
    : cluster_{cluster}, options_{std::move(options)}, clock_{clock}, ids_{ids} {}

bool PublishMachine::refused_by_block(const Message& message) {
    const auto found = blocked_.find(key_of(message));
    if (found == blocked_.end() || found->second.resumed) {
        return false;
    }
    Blocked& blocked = found->second;
    if (blocked.unreported == 0 && !message.id.is_nil() && message.id == blocked.first) {
        blocked.resumed = true;  // from inside `done`, or before it returned
        return false;
    }
    return true;
}

void PublishMachine::accept(SteadyTime now, std::shared_ptr<Job> job) {
    job->open = job->batch.size();
    if (job->batch.empty()) {
        finished_.push_back(std::move(job));
        return;
    }
    std::vector<Topic*> touched;
    for (std::size_t i = 0; i < job->batch.size(); ++i) {
        const Message& message = job->batch[i];
        Item item{.job = job, .index = i, .deadline = now + options_.queue_timeout};
        if (closed_) {
            finish(item, PublishStatus::not_sent, closing_error());
            continue;
        }
        if (!message.ordering_key.empty() && !blocked_.empty() && refused_by_block(message)) {
            finish(item, PublishStatus::not_sent, successor_error(message));
            continue;
        }
        if (auto checked = check(message); !checked) {
            finish(item, PublishStatus::rejected, checked.error());
            continue;
        }
        Topic* topic = touched.empty() || touched.back()->name != message.topic ? nullptr : touched.back();
        if (topic == nullptr) {
            topic = &topics_.try_emplace(message.topic, Topic{.name = message.topic}).first->second;
            touched.push_back(topic);
        }
        assign(*topic, std::move(item));
    }
    for (Topic* topic : touched) {
        if (topic->lanes.empty()) {
            look_up(now, *topic);
        }
        pump(now, *topic);
    }
}

void PublishMachine::reporting(const Job& job) {
    for (const std::string& key : job.failed_keys) {
        Blocked& blocked = blocked_.at(key);
        --blocked.unreported;
        ++blocked.reporting;
    }
}

void PublishMachine::reported(const Job& job) {
    for (const std::string& key : job.failed_keys) {
        const auto found = blocked_.find(key);
        HUFU_ASSERT(found != blocked_.end());
        if (--found->second.reporting == 0 && found->second.unreported == 0) {
            blocked_.erase(found);
        }
    }
}

void PublishMachine::assign(Topic& topic, Item item) {
    if (topic.lanes.empty()) {
        topic.unrouted.push_back(std::move(item));
        return;
    }
    const std::string& key = item.message().ordering_key;
    std::size_t lane = 0;
    if (!key.empty()) {
        lane = queue_of_key(key, topic.lanes.size());
    } else {
        // Message by message, but not behind a queue whose broker is away while another one is there.
        const std::size_t turn = topic.round_robin++;
        lane = turn % topic.lanes.size();
        for (std::size_t further = 0; further < topic.lanes.size(); ++further) {
            const std::size_t candidate = (turn + further) % topic.lanes.size();
            if (cluster_.ready(topic.lanes[candidate].at.address)) {
                lane = candidate;
                break;
            }
        }
    }
    topic.lanes[lane].pending.push_back(std::move(item));
}

void PublishMachine::look_up(SteadyTime now, Topic& topic) {
    if (topic.looking_up || topic.lookup_at > now) {
        return;
    }
    topic.looking_up = true;
    cluster_.lookup(now, topic.name, [this, &topic](SteadyTime at, Result<remoting::TopicRoute> route) {
        if (!route && route.error().code() == ErrorCode::not_found) {
            // The broker makes the topic from the template when the first message comes.
            cluster_.lookup(at, std::string{template_topic},
                            [this, &topic](SteadyTime then, Result<remoting::TopicRoute> made) {
                                looked_up(then, topic, std::move(made), true);
                            });
            return;
        }
        looked_up(at, topic, std::move(route), false);
    });
}

void PublishMachine::looked_up(SteadyTime now, Topic& topic, Result<remoting::TopicRoute> route, bool from_template) {
    topic.looking_up = false;
    if (closed_) {
        return;
    }
    if (!route) {
        topic.lookup_at = now + route_again;
        const bool no_topic = route.error().code() == ErrorCode::not_found;
        if (no_topic || route.error().code() == ErrorCode::permission) {
            std::vector<Item> refused{std::make_move_iterator(topic.unrouted.begin()),
                                      std::make_move_iterator(topic.unrouted.end())};
            topic.unrouted.clear();
            fail(refused, topic.unrouted, PublishStatus::not_sent,
                 no_topic ? Error{ErrorCode::not_found, Disposition::retry,
                                  "topic \"" + topic.name +
                                      "\" does not exist and the broker makes no topics by itself: create it there"}
                          : route.error());
        }
        return;
    }
    auto queues = from_template ? template_writable_queues(cluster_, topic.name, std::move(*route))
                                : writable_queues(cluster_, topic.name, *route);
    // A template route is a guess until the first message made the topic: look again soon.
    topic.lookup_at = now + (from_template || queues.empty() ? route_again : route_every);
    if (!queues.empty()) {
        take_queues(now, topic, std::move(queues));
    }
}

void PublishMachine::take_queues(SteadyTime now, Topic& topic, std::vector<QueueAt> queues) {
    for (const QueueAt& queue : queues) {
        cluster_.want(now, queue.address);
    }
    const bool same = std::equal(queues.begin(), queues.end(), topic.lanes.begin(), topic.lanes.end(),
                                 [](const QueueAt& queue, const Lane& lane) { return queue == lane.at; });
    topic.next_queues.reset();
    if (!same) {
        topic.next_queues = std::move(queues);
        apply_next_queues(now, topic);
    }
    pump(now, topic);
}

void PublishMachine::apply_next_queues(SteadyTime now, Topic& topic) {
    // A key may move to another queue, so what is in flight lands first.
    if (!topic.next_queues ||
        std::any_of(topic.lanes.begin(), topic.lanes.end(), [](const Lane& lane) { return lane.in_flight > 0; })) {
        return;
    }
    std::vector<Lane> before = std::exchange(topic.lanes, {});
    for (QueueAt& queue : *topic.next_queues) {
        topic.lanes.push_back({.at = std::move(queue)});
    }
    topic.next_queues.reset();
    // Order matters within a key only, and a key was in one line.
    for (Lane& lane : before) {
        for (Item& item : lane.pending) {
            assign(topic, std::move(item));
        }
    }
    for (Item& item : std::exchange(topic.unrouted, {})) {
        assign(topic, std::move(item));
    }
    pump(now, topic);
}

void PublishMachine::pump(SteadyTime now, Topic& topic) {
    for (std::size_t lane = 0; lane < topic.lanes.size(); ++lane) {
        pump(now, topic, lane);
    }
}

void PublishMachine::pump(SteadyTime now, Topic& topic, std::size_t index) {
    Lane& lane = topic.lanes[index];
    while (!topic.next_queues && !lane.pending.empty() && lane.in_flight < options_.in_flight_per_queue &&
           cluster_.ready(lane.at.address)) {
        std::vector<Item> items;
        std::size_t bytes = 0;
        while (!lane.pending.empty() && items.size() < options_.batch_messages_max) {
            const Item& next = lane.pending.front();
            const Message& message = next.message();
            const bool keyed = !message.ordering_key.empty();
            if ((keyed && lane.in_flight > 0) || lane.keyed_in_flight ||
                (!items.empty() && (next.alone || items.back().alone)) ||
                (!items.empty() && bytes + message.body.size() > options_.batch_bytes_max)) {
                break;
            }
            bytes += message.body.size() + 256;  // properties and framing, about
            items.push_back(std::move(lane.pending.front()));
            lane.pending.pop_front();
        }
        if (items.empty()) {
            break;
        }
        launch(now, topic, index, std::move(items));
    }
}

void PublishMachine::launch(SteadyTime now, Topic& topic, std::size_t index, std::vector<Item> items) {
    Lane& lane = topic.lanes[index];
    const std::int32_t opaque = cluster_.next_opaque();
    std::string frame = encode(topic, lane, items, opaque);
    ++lane.in_flight;
    lane.keyed_in_flight =
        std::any_of(items.begin(), items.end(), [](const Item& item) { return !item.message().ordering_key.empty(); });
    auto flight = std::make_shared<Flight>(Flight{.topic = &topic, .lane = index, .items = std::move(items)});
    std::erase_if(flights_, [](const std::weak_ptr<Flight>& old) { return old.expired(); });
    flights_.push_back(flight);
    cluster_.submit(now, lane.at.address, opaque, std::move(frame), now + options_.send_timeout,
                    [this, flight](SteadyTime at, const Answer& answer) { landed(at, flight, answer); });
}

void PublishMachine::landed(SteadyTime now, const std::shared_ptr<Flight>& flight, const Answer& answer) {
    if (flight->ended) {
        return;
    }
    flight->ended = true;
    Topic& topic = *flight->topic;
    Lane& lane = topic.lanes[flight->lane];
    --lane.in_flight;
    lane.keyed_in_flight = false;  // a flight with keys is alone in its lane
    if (answer.command == nullptr) {
        const bool in_doubt = answer.error.disposition() == Disposition::in_doubt;
        fail(flight->items, lane.pending, in_doubt ? PublishStatus::in_doubt : PublishStatus::not_sent, answer.error);
    } else if (answer.command->response_code() == remoting::ResponseCode::success) {
        confirm(*flight, *answer.command);
    } else {
        const Refusal refusal = response_error(*answer.command, "send to topic \"" + topic.name + "\"");
        if (refusal.publish_status == PublishStatus::rejected && flight->items.size() > 1) {
            // Nothing of a refused batch is stored. One message is to blame: send them one by one to find it.
            for (auto item = flight->items.rbegin(); item != flight->items.rend(); ++item) {
                item->alone = true;
                lane.pending.push_front(std::move(*item));
            }
        } else {
            fail(flight->items, lane.pending, refusal.publish_status, refusal.error);
        }
        if (refusal.error.code() == ErrorCode::not_found || refusal.error.code() == ErrorCode::permission) {
            topic.lookup_at = now;
            look_up(now, topic);
        }
    }
    flight->items.clear();
    apply_next_queues(now, topic);
    if (flight->lane < topic.lanes.size()) {
        pump(now, topic, flight->lane);
    }
}

void PublishMachine::confirm(const Flight& flight, const remoting::CommandView& response) {
    const auto answer = remoting::SendResponse::decode(response);
    std::string_view ids = answer ? answer->message_id : std::string_view{};
    const bool one_each = static_cast<std::size_t>(std::count(ids.begin(), ids.end(), ',')) + 1 == flight.items.size();
    for (std::size_t i = 0; i < flight.items.size(); ++i) {
        PublishOutcome& outcome = flight.items[i].job->outcomes[flight.items[i].index];
        if (answer && one_each) {
            const std::size_t end = ids.find(',');
            outcome.broker_id = ids.substr(0, end);
            ids = end == std::string_view::npos ? std::string_view{} : ids.substr(end + 1);
        } else if (answer) {
            outcome.broker_id =
                std::to_string(answer->queue_id) + '@' + std::to_string(answer->queue_offset + static_cast<std::int64_t>(i));
        }
        finish(flight.items[i], PublishStatus::confirmed, {});
    }
}

void PublishMachine::finish(const Item& item, PublishStatus status, Error error) {
    PublishOutcome& outcome = item.job->outcomes[item.index];
    outcome.status = status;
    if (status != PublishStatus::confirmed) {
        outcome.error = std::move(error);
        const Message& message = item.message();
        if (!message.ordering_key.empty()) {
            std::string key = key_of(message);
            if (item.job->failed_keys.insert(key).second) {
                Blocked& blocked = blocked_[std::move(key)];
                if (blocked.unreported == 0) {
                    blocked.first = message.id;
                    blocked.resumed = false;
                }
                ++blocked.unreported;
            }
        }
    }
    if (--item.job->open == 0) {
        finished_.push_back(item.job);
    }
}

void PublishMachine::fail(const std::vector<Item>& items, std::deque<Item>& line, PublishStatus status, const Error& error) {
    std::unordered_set<std::string> keys;
    for (const Item& item : items) {
        const Message& message = item.message();
        if (!message.ordering_key.empty()) {
            keys.insert(message.ordering_key);
        }
        finish(item, status, error);
    }
    if (keys.empty()) {
        return;
    }
    std::vector<Item> successors;
    std::erase_if(line, [&](Item& item) {
        if (!keys.contains(item.message().ordering_key)) {
            return false;
        }
        successors.push_back(std::move(item));
        return true;
    });
    for (const Item& item : successors) {
        finish(item, PublishStatus::not_sent, successor_error(item.message()));
    }
}

void PublishMachine::link(SteadyTime now, const std::string& address, bool up) {
    if (closed_) {
        return;
    }
    heartbeat_at_ = std::min(heartbeat_at_, now);
    for (auto& [name, topic] : topics_) {
        bool concerned = false;
        for (std::size_t lane = 0; lane < topic.lanes.size(); ++lane) {
            if (topic.lanes[lane].at.address == address) {
                concerned = true;
                if (up) {
                    pump(now, topic, lane);
                }
            }
        }
        if (concerned && !up) {
            topic.lookup_at = std::min(topic.lookup_at, now + route_again);  // the queues may have moved to another address
        }
    }
}

void PublishMachine::expire(SteadyTime now, std::deque<Item>& line, const std::string& why) {
    std::vector<Item> late;
    // Items that wait again after a refused batch keep their deadline, so the front is the oldest.
    while (!line.empty() && line.front().deadline <= now) {
        late.push_back(std::move(line.front()));
        line.pop_front();
    }
    if (!late.empty()) {
        fail(late, line, PublishStatus::not_sent,
             Error{ErrorCode::unavailable, Disposition::retry,
                   "not sent within " + std::to_string(options_.queue_timeout.count()) + " ms: " + why});
    }
}

void PublishMachine::tick(SteadyTime now) {
    if (closed_) {
        return;
    }
    std::unordered_set<std::string> brokers;
    for (auto& [name, topic] : topics_) {
        expire(now, topic.unrouted, "no name server told the queues of topic \"" + name + "\"; is one of them up?");
        bool waiting = !topic.unrouted.empty();
        for (Lane& lane : topic.lanes) {
            expire(now, lane.pending, "broker " + lane.at.address + " took nothing");
            waiting = waiting || !lane.pending.empty() || lane.in_flight > 0;
            brokers.insert(lane.at.address);
        }
        if (topic.lookup_at <= now && (waiting || !topic.lanes.empty())) {
            look_up(now, topic);
        }
    }
    if (heartbeat_at_ <= now) {
        heartbeat_at_ = now + heartbeat_every;
        const std::string body = remoting::Heartbeat{cluster_.options().client_id, {options_.group}, {}}.to_json();
        for (const std::string& address : brokers) {
            if (cluster_.ready(address)) {
                cluster_.call(now, address, remoting::RequestCode::heartbeat, remoting::NoFields{}, body,
                              cluster_.options().request_timeout, [](SteadyTime, const Answer&) {});
            }
        }
    }
}

std::optional<SteadyTime> PublishMachine::next_tick() const noexcept {
    SteadyTime next = SteadyTime::max();
    for (const auto& [name, topic] : topics_) {
        if (!topic.unrouted.empty()) {
            next = std::min(next, topic.unrouted.front().deadline);
        }
        for (const Lane& lane : topic.lanes) {
            if (!lane.pending.empty()) {
                next = std::min(next, lane.pending.front().deadline);
            }
        }
        if (!topic.looking_up && (!topic.lanes.empty() || !topic.unrouted.empty())) {
            next = std::min(next, topic.lookup_at);
        }
        if (!topic.lanes.empty()) {
            next = std::min(next, heartbeat_at_);
        }
    }
    return next == SteadyTime::max() || closed_ ? std::nullopt : std::optional{next};
}

void PublishMachine::close() {
    closed_ = true;
    for (const auto& weak : flights_) {
        const auto flight = weak.lock();
        if (flight && !flight->ended) {
            flight->ended = true;
            for (const Item& item : flight->items) {
                finish(item, PublishStatus::in_doubt,
                       Error{ErrorCode::cancelled, Disposition::in_doubt,
                             "sent and not answered when the publisher was closed"});
            }
            flight->items.clear();
        }
    }
    for (auto& [name, topic] : topics_) {
        for (Item& item : std::exchange(topic.unrouted, {})) {
            finish(item, PublishStatus::not_sent, closing_error());
        }
        for (Lane& lane : topic.lanes) {
            for (Item& item : std::exchange(lane.pending, {})) {
                finish(item, PublishStatus::not_sent, closing_error());
            }
        }
    }
}

}  // namespace hufu::rocketmq
