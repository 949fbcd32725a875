#include "subscription_machine.hpp"

#include <algorithm>

#include <hufu/remoting/record.hpp>

#include "errors.hpp"
#include "message_codec.hpp"

namespace hufu::rocketmq {
namespace {

using remoting::RequestCode;
using remoting::ResponseCode;
using std::chrono::milliseconds;

constexpr milliseconds soon{200};
constexpr milliseconds missing_topic_every{500};
constexpr milliseconds after_refusal{1'000};
constexpr milliseconds pull_answer_slack{15'000};  // beyond the time the broker may hold a pull
constexpr milliseconds quick_answer{10};
constexpr milliseconds after_quick_answer{50};

}  // namespace

Share average_share(std::size_t queues, std::size_t members, std::size_t index) noexcept {
    const std::size_t more = queues % members;
    const std::size_t count = queues / members + (index < more ? 1 : 0);
    const std::size_t first = index * (queues / members) + std::min(index, more);
    return {first, count};
}

SubscriptionMachine::SubscriptionMachine(Cluster& cluster, SubscriptionOptions subscription, SubscriberOptions options,
                                         std::int64_t version, Log& log)
    : cluster_{cluster}, subscription_{std::move(subscription)}, options_{options}, version_{version}, log_{log} {
    for (const std::string& topic : subscription_.topics) {
        topics_.push_back(std::make_unique<Topic>(Topic{.name = topic}));
    }
}

std::string SubscriptionMachine::heartbeat() const {
    remoting::ConsumerData consumer{.group = subscription_.group,
                                    .from = subscription_.from == SubscriptionOptions::From::first
                                                ? remoting::ConsumeFromWhere::first_offset
                                                : remoting::ConsumeFromWhere::last_offset};
    for (const auto& topic : topics_) {
        consumer.subscriptions.push_back({.topic = topic->name, .version = version_});
    }
    return remoting::Heartbeat{cluster_.options().client_id, {}, {std::move(consumer)}}.to_json();
}

void SubscriptionMachine::step(SteadyTime now) {
    next_.reset();
    if (closed_) {
        return;
    }
    for (const auto& topic : topics_) {
        step_topic(now, *topic);
    }
    for (auto& [address, broker] : brokers_) {
        step_broker(now, address, broker);
    }
    if (offsets_at_ <= now) {
        offsets_at_ = now + options_.offsets_every;
        for (const auto& queue : queues_) {
            store_position(*queue);
        }
    }
    due(offsets_at_);
    for (const auto& queue : queues_) {
        step_queue(now, *queue);
    }
}

void SubscriptionMachine::step_topic(SteadyTime now, Topic& topic) {
    if (!topic.looking_up) {
        if (topic.lookup_at <= now) {
            topic.looking_up = true;
            cluster_.lookup(now, topic.name, [this, &topic](SteadyTime at, Result<remoting::TopicRoute> route) {
                looked_up(at, topic, std::move(route));
            });
        } else {
            due(topic.lookup_at);
        }
    }
    if (topic.balancing || topic.queues.empty()) {
        return;
    }
    if (topic.balance_at > now) {
        return due(topic.balance_at);
    }
    for (const QueueAt& queue : topic.queues) {
        if (brokers_[queue.address].registered) {
            topic.balancing = true;
            cluster_.call(now, queue.address, RequestCode::get_consumer_list_by_group,
                          remoting::GroupRequest{.consumer_group = subscription_.group}, {},
                          cluster_.options().request_timeout,
                          [this, &topic](SteadyTime at, const Answer& answer) { members(at, topic, answer); });
            return;
        }
    }
}

void SubscriptionMachine::looked_up(SteadyTime now, Topic& topic, Result<remoting::TopicRoute> route) {
    topic.looking_up = false;
    if (!route) {
        topic.lookup_at = now + (route.error().code() == ErrorCode::not_found ? missing_topic_every : soon);
        return;
    }
    auto queues = readable_queues(cluster_, topic.name, *route);
    topic.lookup_at = now + (queues.empty() ? missing_topic_every : options_.route_every);
    if (queues == topic.queues) {
        return;
    }
    topic.queues = std::move(queues);
    topic.balance_at = now;
    for (const QueueAt& queue : topic.queues) {
        brokers_.try_emplace(queue.address);
        cluster_.want(now, queue.address);
    }
}

void SubscriptionMachine::step_broker(SteadyTime now, const std::string& address, Broker& broker) {
    if (broker.beating || !cluster_.ready(address)) {
        return;
    }
    if (broker.beat_at > now) {
        return due(broker.beat_at);
    }
    broker.beating = true;
    cluster_.call(now, address, RequestCode::heartbeat, remoting::NoFields{}, heartbeat(),
                  cluster_.options().request_timeout, [this, &broker](SteadyTime at, const Answer& answer) {
                      broker.beating = false;
                      if (answer.command == nullptr || answer.command->response_code() != ResponseCode::success) {
                          broker.beat_at = at + after_refusal;
                          return;
                      }
                      broker.beat_at = at + options_.heartbeat_every;
                      if (!std::exchange(broker.registered, true)) {
                          for (const auto& topic : topics_) {
                              topic->balance_at = at;
                          }
                      }
                  });
}

void SubscriptionMachine::members(SteadyTime now, Topic& topic, const Answer& answer) {
    topic.balancing = false;
    topic.balance_at = now + soon;
    if (answer.command == nullptr || answer.command->response_code() != ResponseCode::success) {
        return;  // nobody, or no answer: keep what we have and ask again
    }
    auto list = remoting::ConsumerList::parse(answer.command->body);
    if (!list) {
        return;
    }
    std::sort(list->client_ids.begin(), list->client_ids.end());
    const auto self = std::find(list->client_ids.begin(), list->client_ids.end(), cluster_.options().client_id);
    if (self == list->client_ids.end()) {
        for (auto& [address, broker] : brokers_) {
            broker.beat_at = now;  // the broker has forgotten us
        }
        return;
    }
    topic.balance_at = now + options_.rebalance_every;
    share(now, topic, list->client_ids.size(), static_cast<std::size_t>(self - list->client_ids.begin()));
}

void SubscriptionMachine::share(SteadyTime now, const Topic& topic, std::size_t members, std::size_t index) {
    const Share share = average_share(topic.queues.size(), members, index);
    const auto mine_begin = topic.queues.begin() + static_cast<std::ptrdiff_t>(share.first);
    const std::span mine{mine_begin, mine_begin + static_cast<std::ptrdiff_t>(share.count)};
    for (const auto& queue : queues_) {
        if (queue->assigned && queue->at.queue.topic == topic.name &&
            std::find(mine.begin(), mine.end(), queue->at) == mine.end()) {
            store_position(*queue);
            lose(*queue);
        }
    }
    for (const QueueAt& at : mine) {
        const auto [number, added] = numbers_.try_emplace(at.queue, queues_.size());
        if (added) {
            queues_.push_back(std::make_unique<Queue>(Queue{.number = number->second, .at = at}));
        }
        Queue& queue = *queues_[number->second];
        if (!queue.assigned) {
            queue.at = at;
            queue.assigned = true;
            queue.at_time = now;
            begin_session(queue);
        }
        queue.balanced = true;
    }
}

void SubscriptionMachine::begin_session(Queue& queue) {
    queue.session = ++last_session_;
    queue.positioned = false;
    queue.verify = false;
    queue.asking = false;
    queue.pulling = false;
    queue.stored = -1;
    queue.cached.clear();
    queue.cached_bytes = 0;
}

void SubscriptionMachine::lose(Queue& queue) {
    lost_.emplace_back(queue.number, queue.session);
    std::erase_if(deliveries_, [&queue](const Delivery& delivery) { return delivery.tag.queue == queue.number; });
    queue.assigned = false;
    queue.balanced = false;
    begin_session(queue);
}

SubscriptionMachine::Queue* SubscriptionMachine::current(std::uint64_t number, std::uint64_t session) noexcept {
    Queue* const queue = queues_[number].get();
    return queue->assigned && queue->session == session ? queue : nullptr;
}

void SubscriptionMachine::step_queue(SteadyTime now, Queue& queue) {
    if (!queue.assigned || !queue.balanced || queue.asking || queue.pulling || !cluster_.ready(queue.at.address)) {
        return;
    }
    if (queue.cached.size() >= options_.cached_messages_max || queue.cached_bytes >= options_.cached_bytes_max) {
        return;
    }
    if (queue.at_time > now) {
        return due(queue.at_time);
    }
    if (!queue.positioned || queue.verify) {
        ask_position(now, queue);
    } else {
        pull(now, queue);
    }
}

void SubscriptionMachine::ask_position(SteadyTime now, Queue& queue) {
    queue.asking = true;
    cluster_.call(now, queue.at.address, RequestCode::query_consumer_offset,
                  remoting::QueryOffsetRequest{.consumer_group = subscription_.group,
                                               .topic = queue.at.queue.topic,
                                               .queue_id = queue.at.queue.queue_id,
                                               .set_zero_if_not_found = false},
                  {}, cluster_.options().request_timeout,
                  [this, number = queue.number, session = queue.session](SteadyTime at, const Answer& answer) {
                      if (Queue* const still = current(number, session)) {
                          still->asking = false;
                          positioned(at, *still, answer);
                      }
                  });
}

void SubscriptionMachine::positioned(SteadyTime now, Queue& queue, const Answer& answer) {
    queue.at_time = now + soon;
    if (answer.command == nullptr) {
        return;
    }
    const bool unknown = answer.command->response_code() == ResponseCode::query_not_found;
    const auto response = remoting::OffsetResponse::decode(*answer.command);
    if (!unknown && (answer.command->response_code() != ResponseCode::success || !response)) {
        queue.at_time = now + after_refusal;
        return;
    }
    queue.at_time = now;
    if (queue.verify) {
        if (unknown || response->offset <= queue.position()) {
            queue.verify = false;
            queue.stored = unknown ? -1 : response->offset;
            return;
        }
        // Another member had the queue meanwhile and went further.
        lose(queue);
        queue.assigned = true;
        queue.balanced = true;
    }
    if (unknown) {
        return ask_start(now, queue);
    }
    queue.positioned = true;
    queue.next = queue.stored = response->offset;
}

void SubscriptionMachine::ask_start(SteadyTime now, Queue& queue) {
    const bool first = subscription_.from == SubscriptionOptions::From::first;
    queue.asking = true;
    cluster_.call(now, queue.at.address, first ? RequestCode::get_min_offset : RequestCode::get_max_offset,
                  remoting::QueueRequest{.topic = queue.at.queue.topic, .queue_id = queue.at.queue.queue_id}, {},
                  cluster_.options().request_timeout,
                  [this, number = queue.number, session = queue.session](SteadyTime at, const Answer& reply) {
                      Queue* const still = current(number, session);
                      if (still == nullptr) {
                          return;
                      }
                      still->asking = false;
                      still->at_time = at + soon;
                      if (reply.command == nullptr || reply.command->response_code() != ResponseCode::success) {
                          return;
                      }
                      if (const auto start = remoting::OffsetResponse::decode(*reply.command)) {
                          still->positioned = true;
                          still->next = std::max<std::int64_t>(start->offset, 0);
                          still->at_time = at;
                      }
                  });
}

void SubscriptionMachine::pull(SteadyTime now, Queue& queue) {
    queue.pulling = true;
    const std::int64_t position = queue.position();
    const bool commit = position != queue.stored;
    queue.stored = position;
    const std::int32_t flags =
        remoting::pull_flag::suspend | remoting::pull_flag::subscription | (commit ? remoting::pull_flag::commit_offset : 0);
    cluster_.call(now, queue.at.address, RequestCode::pull_message,
                  remoting::PullRequest{.consumer_group = subscription_.group,
                                        .topic = queue.at.queue.topic,
                                        .queue_id = queue.at.queue.queue_id,
                                        .queue_offset = queue.next,
                                        .messages_max = options_.pull_messages_max,
                                        .sys_flag = flags,
                                        .commit_offset = commit ? position : 0,
                                        .suspend_timeout_ms = options_.pull_wait.count(),
                                        .subscription = "*",
                                        .sub_version = version_},
                  {}, options_.pull_wait + pull_answer_slack,
                  [this, now, number = queue.number, session = queue.session](SteadyTime at, const Answer& answer) {
                      if (Queue* const still = current(number, session)) {
                          still->pulling = false;
                          pulled(at, *still, now, answer);
                      }
                  });
}

void SubscriptionMachine::pulled(SteadyTime now, Queue& queue, SteadyTime sent, const Answer& answer) {
    queue.at_time = now + after_refusal;
    if (answer.command == nullptr) {
        return;
    }
    const auto header = remoting::PullResponse::decode(*answer.command);
    switch (const ResponseCode code = answer.command->response_code()) {
        case ResponseCode::success:
            if (header) {
                queue.at_time = now;
                take_records(queue, answer.command->body);
                queue.next = std::max(queue.next, header->next_begin_offset);
            }
            return;
        case ResponseCode::pull_not_found:
        case ResponseCode::pull_retry_immediately:
            if (header) {
                queue.next = std::max(queue.next, header->next_begin_offset);
                // A broker that does not hold pulls back must not be asked in a circle.
                queue.at_time =
                    code == ResponseCode::pull_not_found && now - sent < quick_answer ? now + after_quick_answer : now;
            }
            return;
        case ResponseCode::pull_offset_moved:
            if (header) {
                log_.warning("position outside of the queue, going on elsewhere",
                             {{"topic", queue.at.queue.topic},
                              {"queue", queue.at.queue.queue_id},
                              {"position", queue.next},
                              {"continue_at", header->next_begin_offset}});
                lose(queue);
                queue.assigned = queue.balanced = queue.positioned = true;
                queue.next = header->next_begin_offset;
                queue.at_time = now + soon;
            }
            return;
        case ResponseCode::subscription_not_exist:
        case ResponseCode::subscription_not_latest:
        case ResponseCode::subscription_group_not_exist:
            brokers_[queue.at.address].beat_at = now;
            queue.at_time = now + soon;
            return;
        case ResponseCode::topic_not_exist:
        case ResponseCode::invalid_parameter:
            for (const auto& topic : topics_) {
                topic->lookup_at = std::min(topic->lookup_at, now + soon);
            }
            return;
        default:
            log_.warning("pull refused", {{"topic", queue.at.queue.topic},
                                          {"queue", queue.at.queue.queue_id},
                                          {"reason", response_error(*answer.command, "pull").error.text()}});
    }
}

void SubscriptionMachine::take_records(Queue& queue, std::string_view body) {
    auto bytes = std::as_bytes(std::span{body.data(), body.size()});
    while (!bytes.empty()) {
        const auto record = remoting::decode_record(bytes);
        if (!record) {
            failure_ =
                Error{ErrorCode::corrupt, Disposition::fatal,
                      "topic \"" + queue.at.queue.topic + "\" queue " + std::to_string(queue.at.queue.queue_id) +
                          ": the broker answered a pull with bytes that are no message (" + record.error().text() + ")"};
            return;
        }
        const std::size_t size = remoting::peek_record_size(bytes);
        bytes = bytes.subspan(size);
        if (record->queue_offset < queue.next) {
            continue;  // asked for later ones; a broker may begin a little before
        }
        Delivery delivery = to_delivery(*record);
        delivery.tag = {
            .queue = queue.number, .position = static_cast<std::uint64_t>(record->queue_offset), .session = queue.session};
        deliveries_.push_back(std::move(delivery));
        queue.cached.push_back({.offset = record->queue_offset, .bytes = size});
        queue.cached_bytes += size;
        queue.next = record->queue_offset + 1;
    }
}

void SubscriptionMachine::acknowledge(SteadyTime, std::span<const DeliveryTag> tags) {
    for (const DeliveryTag& tag : tags) {
        Queue* const queue = tag.queue < queues_.size() ? current(tag.queue, tag.session) : nullptr;
        if (queue == nullptr) {
            continue;
        }
        const auto offset = static_cast<std::int64_t>(tag.position);
        const auto found = std::lower_bound(queue->cached.begin(), queue->cached.end(), offset,
                                            [](const Cached& cached, std::int64_t value) { return cached.offset < value; });
        if (found == queue->cached.end() || found->offset != offset) {
            continue;
        }
        found->acknowledged = true;
        while (!queue->cached.empty() && queue->cached.front().acknowledged) {
            queue->cached_bytes -= queue->cached.front().bytes;
            queue->cached.pop_front();
        }
    }
}

void SubscriptionMachine::store_position(Queue& queue) {
    if (!queue.assigned || !queue.positioned || queue.position() == queue.stored || !cluster_.ready(queue.at.address)) {
        return;
    }
    queue.stored = queue.position();
    cluster_.post(queue.at.address, RequestCode::update_consumer_offset,
                  remoting::UpdateOffsetRequest{.consumer_group = subscription_.group,
                                                .topic = queue.at.queue.topic,
                                                .queue_id = queue.at.queue.queue_id,
                                                .commit_offset = queue.stored});
}

void SubscriptionMachine::link(SteadyTime now, const std::string& address, bool up) {
    const auto broker = brokers_.find(address);
    if (broker == brokers_.end()) {
        return;  // a name server of its own
    }
    broker->second.registered = false;
    broker->second.beat_at = now;
    for (const auto& topic : topics_) {
        topic->lookup_at = std::min(topic->lookup_at, now);
    }
    if (up) {
        return;
    }
    for (const auto& queue : queues_) {
        if (queue->assigned && queue->at.address == address) {
            queue->balanced = false;
            queue->verify = queue->positioned;
            queue->stored = -1;  // one-way reports may have been lost
            queue->at_time = now;
        }
    }
}

void SubscriptionMachine::request(SteadyTime now, const std::string&, const remoting::CommandView& command) {
    if (command.request_code() != RequestCode::notify_consumer_ids_changed) {
        return;
    }
    const auto header = remoting::GroupRequest::decode(command);
    if (header && header->consumer_group == subscription_.group) {
        for (const auto& topic : topics_) {
            topic->balance_at = now;
        }
    }
}

void SubscriptionMachine::close(SteadyTime now, std::function<void()> closed) {
    closed_ = true;
    // Lives in the callbacks: the last one to go says that all is done.
    const std::shared_ptr<void> last{nullptr, [closed = std::move(closed)](void*) { closed(); }};
    for (const auto& queue : queues_) {
        if (queue->assigned && queue->positioned && cluster_.ready(queue->at.address)) {
            cluster_.call(now, queue->at.address, RequestCode::update_consumer_offset,
                          remoting::UpdateOffsetRequest{.consumer_group = subscription_.group,
                                                        .topic = queue->at.queue.topic,
                                                        .queue_id = queue->at.queue.queue_id,
                                                        .commit_offset = queue->position()},
                          {}, cluster_.options().request_timeout, [last](SteadyTime, const Answer&) {});
        }
    }
    for (const auto& [address, broker] : brokers_) {
        if (cluster_.ready(address)) {
            cluster_.call(now, address, RequestCode::unregister_client,
                          remoting::UnregisterRequest{.client_id = cluster_.options().client_id,
                                                      .consumer_group = subscription_.group},
                          {}, cluster_.options().request_timeout, [last](SteadyTime, const Answer&) {});
        }
    }
}

}  // namespace hufu::rocketmq
