// What the publish machine sends: which messages may go at all, and how some of them become one request.
#include "publish_machine.hpp"

#include <hufu/remoting/batch.hpp>

#include "message_codec.hpp"

namespace hufu::rocketmq {
namespace {

using std::chrono::milliseconds;

constexpr auto deliver_early_max = std::chrono::minutes{1};

}  // namespace

Result<void> PublishMachine::check(const Message& message) const {
    if (auto valid = validate(message); !valid) {
        return valid;
    }
    if (message.deliver_at && *message.deliver_at > clock_.system_now() + deliver_early_max) {
        return Error{ErrorCode::unsupported, Disposition::reject,
                     "message for topic \"" + message.topic +
                         "\" is to be delivered later: this publisher delivers at once; append it to an outbox, which keeps "
                         "it until it is due"};
    }
    return check_limits(message, options_.body_bytes_max);
}

std::string PublishMachine::encode(const Topic& topic, const Lane& lane, const std::vector<Item>& items,
                                   std::int32_t opaque) {
    const auto id_of = [this](const Message& message) { return message.id.is_nil() ? ids_.next() : message.id; };
    remoting::SendRequest request{
        .producer_group = options_.group,
        .topic = topic.name,
        .default_topic = template_topic,
        .default_topic_queues = queues_to_make(topic.name),
        .queue_id = lane.at.queue.queue_id,
        .born_timestamp = std::chrono::duration_cast<milliseconds>(clock_.system_now().time_since_epoch()).count(),
        .batch = items.size() > 1,
        .broker_name = lane.at.queue.broker_name};
    std::string frame;
    const auto code = request.batch ? remoting::RequestCode::send_batch_message : remoting::RequestCode::send_message_v2;
    if (!request.batch) {
        const Message& message = items.front().message();
        properties_.clear();
        append_properties(properties_, message, id_of(message));
        request.properties = properties_;
        frame.reserve(message.body.size() + properties_.size() + 512);
        remoting::append_request(frame, cluster_.serialize_type(), code, opaque, request, message.body);
        return frame;
    }
    std::string body;
    std::size_t size = 0;
    for (const Item& item : items) {
        size += item.message().body.size() + 320;
    }
    body.reserve(size);
    for (const Item& item : items) {
        const Message& message = item.message();
        properties_.clear();
        append_properties(properties_, message, id_of(message));
        remoting::append_batch_entry(body, {.flag = 0, .body = message.body, .properties = properties_});
    }
    frame.reserve(body.size() + 512);
    remoting::append_request(frame, cluster_.serialize_type(), code, opaque, request, body);
    return frame;
}

}  // namespace hufu::rocketmq
