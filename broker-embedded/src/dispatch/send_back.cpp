// A consumer could not handle a message: 36. It is stored again, for later or among the group's dead letters.
#include <algorithm>
#include <iterator>
#include <limits>

#include <hufu/core/mutant.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>

#include "message_source.hpp"
#include "group_handlers.hpp"
#include "names.hpp"
#include "request_fields.hpp"
#include "state.hpp"
#include "timer_records.hpp"

namespace hufu::broker {
namespace {

namespace property = remoting::property;

constexpr std::int32_t first_retry_level = 3;            // 10 s: the ladder of 16 steps begins there
constexpr std::int32_t version_with_attempts_max = 121;  // V3_4_9: older clients send the field without meaning it

/// What a message carries of its last delay or retry; it is said anew.
constexpr std::string_view stale_properties[] = {
    property::delay_level,  property::timer_delay_s,    property::timer_delay_ms,   property::timer_deliver_ms,
    property::timer_out_ms, property::timer_enqueue_ms, property::timer_dequeue_ms, "TIMER_ROLL_TIMES",
    "TIMER_DELAY_LEVEL",    "TIMER_DEL_UNIQKEY",        property::real_topic,       property::real_queue_id,
    property::wait};

struct SendBack {
    std::int64_t offset = 0;
    std::string_view group;
    std::int32_t delay_level = 0;
    std::optional<std::int32_t> attempts_max = {};
};

Refusal decode(const remoting::CommandView& command, SendBack& into) {
    RequestFields fields{command};
    into.offset = fields.number("offset");
    into.group = fields.text("group");
    into.delay_level = fields.number32("delayLevel");
    if (const auto given = command.fields.get("maxReconsumeTimes"); given && command.version >= version_with_attempts_max)
        into.attempts_max = fields.number32("maxReconsumeTimes");
    if (!fields.fault().empty()) return {ResponseCode::invalid_parameter, fields.fault()};
    return {};
}

/// The message's properties for its next life. `level` 0: among the dead letters.
std::string next_properties(const DispatchState& state, const remoting::Record& message, std::int64_t level) {
    std::string next;
    remoting::PropertiesView properties{message.properties};
    std::string_view retry_topic;
    std::string_view origin;
    std::string_view unique_key;
    while (const auto entry = properties.next()) {
        if (std::find(std::begin(stale_properties), std::end(stale_properties), entry->name) != std::end(stale_properties))
            continue;
        if (entry->name == property::retry_topic) retry_topic = entry->value;
        if (entry->name == property::origin_message_id) origin = entry->value;
        if (entry->name == property::unique_key) unique_key = entry->value;
        remoting::append_property(next, entry->name, entry->value);
    }
    const std::string own_id = remoting::OffsetMessageId{state.options.advertised, message.physical_offset}.to_string();
    if (retry_topic.empty()) {
        retry_topic = message.topic;
        remoting::append_property(next, property::retry_topic, retry_topic);
    }
    if (origin.empty()) remoting::append_property(next, property::origin_message_id, own_id);
    if (level > 0) {
        remoting::append_property(next, property::delay_level, std::to_string(level));
    } else {
        remoting::append_property(next, property::dlq_origin_topic, retry_topic);
        remoting::append_property(next, property::dlq_origin_message_id,
                                  unique_key.empty() ? std::string_view{own_id} : unique_key);
    }
    remoting::append_property(next, property::wait, "false");
    return next;
}

/// The level at which the message comes again; 0: it is dead.
std::int64_t next_level(const SendBack& wanted, const remoting::GroupConfig& config, const remoting::Record& message) {
    const std::int32_t attempts_max = wanted.attempts_max.value_or(config.retry_times_max);
    if (wanted.delay_level < 0) return 0;
    if (message.reconsume_times >= attempts_max) return 0;
    return wanted.delay_level > 0 ? wanted.delay_level : first_retry_level + std::int64_t{message.reconsume_times};
}

Refusal store_again(DispatchState& state, const Request& request) {
    SendBack wanted;
    Refusal refusal = decode(request.command, wanted);
    if (refusal.refused()) return refusal;
    const remoting::GroupConfig* config = require_group(state, wanted.group, refusal);
    if (config == nullptr) return refusal;
    if (config->retry_queues <= 0) {  // the group wants no retries: the message is given up, by its configuration
        state.succeed(request);
        return {};
    }
    remoting::Record message;
    Topic* topic = retry_topic(state, *config, refusal);
    if (topic == nullptr || !read_message(state, wanted.offset, message, refusal)) return refusal;
    if (!admit_topic(state, request, Right::subscribe, message.topic)) return {};
    const std::int64_t level = next_level(wanted, *config, message);
    if (level == 0) topic = dead_letter_topic(state, config->name, refusal);
    if (topic == nullptr) return refusal;
    if ((topic->perm & remoting::permission::write) == 0)
        return {ResponseCode::no_permission, "the topic \"" + topic->name + "\": sending message is forbidden"};

    const std::string properties = next_properties(state, message, level);
    Traits traits;
    if (refusal = read_properties(properties, traits); refusal.refused()) return refusal;
    message.topic = topic->name;
    message.queue_id = static_cast<std::int32_t>(topic->next_queue++ % static_cast<std::uint32_t>(topic->write_queues));
    message.properties = properties;
    message.store_host = state.options.advertised;
    message.prepared_transaction_offset = 0;
    if (message.reconsume_times < std::numeric_limits<std::int32_t>::max()) ++message.reconsume_times;
    const QueueHandle queue = level > 0 ? state.timers.wheel() : topic->queues[static_cast<std::size_t>(message.queue_id)];
    const auto appended = level > 0
                              ? store_delayed(state, message, traits, delay_of_level(state.options, level, wall_ms(state)))
                              : store(state, queue, message, traits, StoreOptions{.has_body_crc = true});
    if (!appended) return refusal_of(appended.error());
    if (mutant_active("send_back_answered_before_durable")) {
        state.succeed(request);
        return {};
    }
    // Answered when it is durable: the consumer then commits an offset beyond the message.
    state.awaited.add(state, appended->ticket, remoting::record_size(message), queue,
                      [to = ReplyTo{request}](DispatchState& later, const Refusal& refused) {
                          if (refused.refused()) return later.refuse(to, ResponseCode::system_error, refused.remark);
                          later.answer(to, ResponseCode::success, remoting::NoFields{});
                      });
    return {};
}

}  // namespace

static void handle_send_back(DispatchState& state, const Request& request) {
    if (const Refusal refusal = store_again(state, request); refusal.refused())
        state.refuse(request, refusal.code, refusal.remark);
}

void add_send_back_handlers(HandlerTable& table) {
    table.add(remoting::RequestCode::consumer_send_message_back, handle_send_back);
}

}  // namespace hufu::broker
