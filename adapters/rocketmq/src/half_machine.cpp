// Halves on their way out.
#include "half_machine.hpp"

#include <algorithm>

#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/transaction_bodies.hpp>
#include <hufu/remoting/transaction_headers.hpp>

#include "errors.hpp"
#include "message_codec.hpp"

namespace hufu::rocketmq {
namespace {

using std::chrono::milliseconds;
namespace property = remoting::property;

constexpr milliseconds route_every{30'000};
constexpr milliseconds route_again{200};
constexpr std::size_t group_bytes_max = 255;

Error closing_error() { return {ErrorCode::cancelled, Disposition::retry, "not sent: the publisher is closing"}; }

std::int64_t ms_since_epoch(SystemTime time) {
    return std::chrono::duration_cast<milliseconds>(time.time_since_epoch()).count();
}

bool is_name(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    });
}

}  // namespace

std::string wire_group(const std::string& group, const std::string& handler) {
    return handler.empty() ? group : group + '%' + handler;
}

Result<void> check_group(const std::string& group, const std::string& handler) {
    if (group.empty() || !is_name(group) || !is_name(handler) || wire_group(group, handler).size() > group_bytes_max) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "producer group \"" + group + "\" with handler \"" + handler +
                         "\": both are of letters, digits, '_' and '-', the group is not empty, together at most " +
                         std::to_string(group_bytes_max) + " characters"};
    }
    return {};
}

HalfMachine::HalfMachine(Cluster& cluster, HalfPublisherOptions options, Clock& clock, Log& log)
    : cluster_{cluster}, options_{options}, clock_{clock}, log_{log} {}

void HalfMachine::prepare(SteadyTime now, std::shared_ptr<HalfJob> job) {
    job->open = job->messages.size();
    if (job->messages.empty()) {
        finished_.push_back(std::move(job->done));
        return;
    }
    for (std::size_t i = 0; i < job->messages.size(); ++i) {
        const Message& message = job->messages[i];
        job->outcomes[i] = {.half = {.id = message.id, .topic = message.topic, .token = {}}};
        auto item = std::make_shared<Item>(Item{.job = job, .index = i, .deadline = now + options_.prepare_timeout});
        items_.insert(item);
        if (closed_) {
            finish(item, PublishStatus::not_sent, closing_error());
        } else if (auto checked = check(*job, message); !checked) {
            finish(item, PublishStatus::rejected, checked.error());
        } else {
            Topic& topic = topics_.try_emplace(message.topic, Topic{.name = message.topic}).first->second;
            dispatch(now, topic, item);
        }
    }
}

Result<void> HalfMachine::check(const HalfJob& job, const Message& message) const {
    if (auto named = check_group(job.context.group, job.context.handler); !named) {
        return named;
    }
    if (job.context.transaction.is_nil() || message.id.is_nil()) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "a half needs the id of its transaction and one of its own: without them nobody can ask for it"};
    }
    if (auto valid = validate(message); !valid) {
        return valid;
    }
    return check_limits(message, options_.body_bytes_max);
}

void HalfMachine::look_up(SteadyTime now, Topic& topic) {
    if (topic.looking_up || topic.lookup_at > now) {
        return;
    }
    topic.looking_up = true;
    cluster_.lookup(now, topic.name, [this, &topic](SteadyTime at, Result<remoting::TopicRoute> route) {
        if (route || route.error().code() != ErrorCode::not_found) {
            looked_up(at, topic, std::move(route), false);
            return;
        }
        // The broker makes the topic from the template when the first message comes.
        cluster_.lookup(at, std::string{template_topic}, [this, &topic](SteadyTime then, Result<remoting::TopicRoute> made) {
            looked_up(then, topic, std::move(made), true);
        });
    });
}

void HalfMachine::looked_up(SteadyTime now, Topic& topic, Result<remoting::TopicRoute> route, bool from_template) {
    topic.looking_up = false;
    if (closed_) {
        return;
    }
    if (!route) {
        topic.lookup_at = now + route_again;
        const bool no_topic = route.error().code() == ErrorCode::not_found;
        if (no_topic || route.error().code() == ErrorCode::permission) {
            const Error error = no_topic ? Error{ErrorCode::not_found, Disposition::retry,
                                                 "topic \"" + topic.name +
                                                     "\" does not exist and the broker makes no topics by itself: create it"}
                                         : route.error();
            for (const ItemPtr& item : std::exchange(topic.unrouted, {})) finish(item, PublishStatus::not_sent, error);
        }
        return;
    }
    auto queues = from_template ? template_writable_queues(cluster_, topic.name, std::move(*route))
                                : writable_queues(cluster_, topic.name, *route);
    topic.lookup_at = now + (from_template || queues.empty() ? route_again : route_every);
    if (queues.empty()) {
        return;
    }
    topic.queues = std::move(queues);
    for (const QueueAt& queue : topic.queues) cluster_.want(now, queue.address);
    for (const ItemPtr& item : std::exchange(topic.unrouted, {})) dispatch(now, topic, item);
}

const QueueAt& HalfMachine::choose(Topic& topic, const Message& message) {
    const std::size_t count = topic.queues.size();
    if (!message.ordering_key.empty()) {
        return topic.queues[queue_of_key(message.ordering_key, count)];
    }
    // Not behind a queue whose broker is away while another one is there.
    const std::size_t turn = topic.round_robin++;
    for (std::size_t further = 0; further < count; ++further) {
        const QueueAt& candidate = topic.queues[(turn + further) % count];
        if (cluster_.ready(candidate.address)) {
            return candidate;
        }
    }
    return topic.queues[turn % count];
}

void HalfMachine::dispatch(SteadyTime now, Topic& topic, const ItemPtr& item) {
    if (topic.lookup_at <= now) {
        look_up(now, topic);
    }
    if (topic.queues.empty()) {
        topic.unrouted.push_back(item);
        return;
    }
    const QueueAt& at = choose(topic, item->message());
    const bool later = item->message().deliver_at && *item->message().deliver_at > clock_.system_now();
    const Kind kind = kinds_[at.address];
    if (!later || kind == Kind::bundled) {
        send(now, at, item);
    } else if (kind == Kind::rocketmq || kind == Kind::secretive) {
        finish(item, PublishStatus::rejected,
               {ErrorCode::unsupported, Disposition::reject,
                "message for topic \"" + topic.name + "\" has a deliver_at: " +
                    (kind == Kind::rocketmq ? "this broker does not hold back transaction messages; leave it out"
                                            : "this broker does not say what it is; send one half without it first")});
    } else {
        until_kind_[at.address].emplace_back(at, item);
        ask_kind(now, at.address);
    }
}

/// Only the bundled broker knows the request, whatever it then says.
void HalfMachine::ask_kind(SteadyTime now, const std::string& address) {
    if (std::exchange(kinds_[address], Kind::asked) == Kind::asked) {
        return;
    }
    const std::string body = remoting::TransactionFilter{.limit = 1}.to_json();
    cluster_.call(now, address, remoting::RequestCode::list_transactions, remoting::NoFields{}, body,
                  cluster_.options().request_timeout, [this, address](SteadyTime at, const Answer& answer) {
                      Kind& kind = kinds_[address];
                      if (kind == Kind::asked) {
                          kind = answer.command == nullptr                                                  ? Kind::unknown
                                 : answer.command->response_code() == remoting::ResponseCode::success       ? Kind::bundled
                                 : answer.command->response_code() == remoting::ResponseCode::no_permission ? Kind::secretive
                                                                                                            : Kind::rocketmq;
                      }
                      const bool told = kind != Kind::unknown;
                      auto waiting = until_kind_.extract(address);
                      if (waiting.empty()) {
                          return;
                      }
                      for (auto& [queue, item] : waiting.mapped()) {
                          if (told) {
                              dispatch(at, topics_.at(item->message().topic), item);
                          } else {
                              finish(item, PublishStatus::not_sent, answer.error);
                          }
                      }
                  });
}

void HalfMachine::send(SteadyTime now, const QueueAt& at, const ItemPtr& item) {
    const std::int32_t opaque = cluster_.next_opaque();
    std::string frame = encode(at, *item, opaque);
    if (properties_.size() > remoting::properties_bytes_max) {
        finish(item, PublishStatus::rejected,
               {ErrorCode::too_large, Disposition::reject,
                "message for topic \"" + item->message().topic + "\" has " + std::to_string(properties_.size()) +
                    " bytes of properties with those of its transaction: at most " +
                    std::to_string(remoting::properties_bytes_max) + " travel; move some headers into the body"});
        return;
    }
    item->sent = true;
    cluster_.submit(now, at.address, opaque, std::move(frame), item->deadline,
                    [this, at, item](SteadyTime, const Answer& answer) { landed(at, item, answer); });
}

std::string HalfMachine::encode(const QueueAt& at, const Item& item, std::int32_t opaque) {
    const Message& message = item.message();
    const txmsg::HalfContext& context = item.job->context;
    const std::string group = wire_group(context.group, context.handler);
    properties_.clear();
    append_properties(properties_, message, message.id);
    remoting::append_property(properties_, property::transaction_prepared, "true");
    remoting::append_property(properties_, property::producer_group, group);
    remoting::append_property(properties_, property::hufu_transaction_id, context.transaction.to_string());
    if (!context.store.empty()) remoting::append_property(properties_, property::hufu_verdict_store, context.store);
    if (context.first_check_after) {
        remoting::append_property(properties_, property::check_immunity_s,
                                  std::to_string(context.first_check_after->count()));
    }
    if (message.deliver_at && *message.deliver_at > clock_.system_now()) {
        remoting::append_property(properties_, property::timer_deliver_ms,
                                  std::to_string(ms_since_epoch(*message.deliver_at)));
    }
    const remoting::SendRequest request{.producer_group = group,
                                        .topic = message.topic,
                                        .default_topic = template_topic,
                                        .default_topic_queues = queues_to_make(message.topic),
                                        .queue_id = at.queue.queue_id,
                                        .sys_flag = remoting::sys_flag::transaction_prepared,
                                        .born_timestamp = ms_since_epoch(clock_.system_now()),
                                        .properties = properties_,
                                        .broker_name = at.queue.broker_name};
    std::string frame;
    frame.reserve(message.body.size() + properties_.size() + 512);
    remoting::append_request(frame, cluster_.serialize_type(), remoting::RequestCode::send_message_v2, opaque, request,
                             message.body);
    return frame;
}

void HalfMachine::landed(const QueueAt& at, const ItemPtr& item, const Answer& answer) {
    if (!items_.contains(item)) {
        return;
    }
    if (answer.command == nullptr) {
        const bool in_doubt = answer.error.disposition() == Disposition::in_doubt;
        finish(item, in_doubt ? PublishStatus::in_doubt : PublishStatus::not_sent, answer.error);
        return;
    }
    using remoting::ResponseCode;
    const ResponseCode code = answer.command->response_code();
    const bool stored = code == ResponseCode::success || code == ResponseCode::flush_disk_timeout ||
                        code == ResponseCode::flush_slave_timeout || code == ResponseCode::slave_not_available;
    txmsg::HalfOutcome& outcome = item->job->outcomes[item->index];
    if (stored) {
        const auto response = remoting::SendResponse::decode(*answer.command);
        const auto id = response ? remoting::OffsetMessageId::parse(response->message_id) : std::nullopt;
        if (!id) {
            finish(item, PublishStatus::in_doubt,
                   {ErrorCode::protocol, Disposition::in_doubt,
                    "broker " + at.address + " stored a half and does not say where: " +
                        (response ? "message id \"" + std::string{response->message_id.substr(0, 64)} + "\""
                                  : response.error().text())});
            return;
        }
        // Other brokers do not say how durable it is.
        const bool bundled = !response->durability.empty();
        kinds_[at.address] = bundled ? Kind::bundled : Kind::rocketmq;
        outcome.half.token = HalfPlace{.answers_end = bundled,
                                       .queue_offset = response->queue_offset,
                                       .log_offset = id->offset,
                                       .unique_key = remoting::unique_key(outcome.half.id),
                                       .transaction_id = item->job->context.transaction.to_string(),
                                       .broker_name = at.queue.broker_name,
                                       .address = at.address}
                                 .to_token();
    }
    if (code == ResponseCode::success) {
        finish(item, PublishStatus::confirmed);
        return;
    }
    const Refusal refusal = response_error(*answer.command, "half for topic \"" + outcome.half.topic + "\"");
    if (code == ResponseCode::topic_not_exist || code == ResponseCode::no_permission) {
        topics_.at(outcome.half.topic).lookup_at = {};
    }
    finish(item, refusal.publish_status, refusal.error);
}

void HalfMachine::finish(const ItemPtr& item, PublishStatus status, Error error) {
    if (items_.erase(item) == 0) {
        return;
    }
    txmsg::HalfOutcome& outcome = item->job->outcomes[item->index];
    outcome.status = status;
    outcome.error = std::move(error);
    if (--item->job->open == 0) {
        finished_.push_back(std::move(item->job->done));
    }
}

void HalfMachine::expire(SteadyTime now) {
    for (auto& [name, topic] : topics_) {
        std::vector<ItemPtr> late;
        std::erase_if(topic.unrouted, [&](const ItemPtr& item) {
            if (item->deadline > now) return false;
            late.push_back(item);
            return true;
        });
        for (const ItemPtr& item : late) {
            finish(item, PublishStatus::not_sent,
                   {ErrorCode::unavailable, Disposition::retry,
                    "not sent within " + std::to_string(options_.prepare_timeout.count()) +
                        " ms: no name server told the queues of topic \"" + name + "\"; is one of them up?"});
        }
        if (!topic.unrouted.empty()) look_up(now, topic);
    }
}

void HalfMachine::link(SteadyTime now, const std::string& address, bool up) {
    if (closed_) {
        return;
    }
    if (!up) {
        kinds_.erase(address);  // another program may listen there next
        for (auto& [name, topic] : topics_) {
            const bool concerned = std::any_of(topic.queues.begin(), topic.queues.end(),
                                               [&](const QueueAt& queue) { return queue.address == address; });
            if (concerned) topic.lookup_at = std::min(topic.lookup_at, now + route_again);
        }
    } else if (brokers_.contains(address) && !served_.empty()) {
        beat(now, address, [] {});
    }
}

void HalfMachine::tick(SteadyTime now) {
    if (closed_) {
        return;
    }
    expire(now);
    std::vector<EndingPtr> due;
    for (const EndingPtr& ending : endings_) {
        if (ending->again_at <= now) due.push_back(ending);
    }
    for (const EndingPtr& ending : due) {
        ending->again_at = SteadyTime::max();
        say(now, ending);
    }
    if (!served_.empty() && heartbeat_at_ <= now) {
        find_brokers(now, [] {});
    }
}

std::optional<SteadyTime> HalfMachine::next_tick() const noexcept {
    SteadyTime next = SteadyTime::max();
    for (const auto& [name, topic] : topics_) {
        for (const ItemPtr& item : topic.unrouted) next = std::min(next, item->deadline);
        if (!topic.unrouted.empty() && !topic.looking_up) next = std::min(next, topic.lookup_at);
    }
    for (const EndingPtr& ending : endings_) next = std::min(next, ending->again_at);
    if (!served_.empty()) next = std::min(next, heartbeat_at_);
    return next == SteadyTime::max() || closed_ ? std::nullopt : std::optional{next};
}

void HalfMachine::close() {
    closed_ = true;
    for (const ItemPtr& item : std::set<ItemPtr>{items_}) {
        item->sent
            ? finish(item, PublishStatus::in_doubt,
                     {ErrorCode::cancelled, Disposition::in_doubt, "sent and not answered when the publisher was closed"})
            : finish(item, PublishStatus::not_sent, closing_error());
    }
    for (const EndingPtr& ending : std::set<EndingPtr>{endings_}) {
        conclude(ending, {.error = {ErrorCode::cancelled, Disposition::in_doubt,
                                    "END was not answered when the publisher was closed; check-back will settle it"}});
    }
}

}  // namespace hufu::rocketmq
