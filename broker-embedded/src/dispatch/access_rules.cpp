#include "access_rules.hpp"

#include <algorithm>

namespace hufu::broker {
namespace {

using Code = remoting::RequestCode;

constexpr AccessRule any(Code code) { return {code, Need::any_account}; }
constexpr AccessRule admin(Code code) { return {code, Need::admin}; }
constexpr AccessRule publish(Code code, std::string_view topic) { return {code, Need::fields, topic, Right::publish}; }
constexpr AccessRule read(Code code, std::string_view topic) { return {code, Need::fields, topic}; }
constexpr AccessRule consume(Code code, std::string_view group, std::string_view topic = {}) {
    return {code, Need::fields, topic, Right::subscribe, group};
}

// What changes the broker, or shows more than one topic or group, is an admin's. A new code belongs here too: a test
// compares this list with what the broker answers.
constexpr AccessRule rules[] = {
    publish(Code::send_message, "topic"),
    consume(Code::pull_message, "consumerGroup", "topic"),
    read(Code::query_message, "topic"),
    consume(Code::query_consumer_offset, "consumerGroup", "topic"),
    consume(Code::update_consumer_offset, "consumerGroup", "topic"),
    admin(Code::update_and_create_topic),
    admin(Code::update_and_create_topic_list),
    admin(Code::get_all_topic_config),
    admin(Code::update_broker_config),
    admin(Code::get_broker_config),
    admin(Code::get_broker_runtime_info),
    read(Code::search_offset_by_timestamp, "topic"),
    read(Code::get_max_offset, "topic"),
    read(Code::get_min_offset, "topic"),
    read(Code::get_earliest_store_time, "topic"),
    any(Code::view_message_by_id),  // its handler knows the topic once it found the message
    {Code::heartbeat, Need::heartbeat},
    {Code::unregister_client, Need::fields, {}, Right::subscribe, "consumerGroup", true},
    consume(Code::consumer_send_message_back, "group"),  // and its handler checks the message's topic
    any(Code::end_transaction),                          // its handler checks the half message's topic
    consume(Code::get_consumer_list_by_group, "consumerGroup"),
    {Code::lock_batch_queues, Need::locks},
    {Code::unlock_batch_queues, Need::locks},
    admin(Code::get_all_consumer_offset),
    admin(Code::get_all_delay_offset),
    any(Code::check_client_config),  // judges an expression; reads and changes nothing
    admin(Code::get_timer_check_point),
    admin(Code::get_timer_metrics),
    admin(Code::put_kv_config),
    any(Code::get_kv_config),
    admin(Code::delete_kv_config),
    any(Code::get_route_by_topic),
    any(Code::get_broker_cluster_info),
    admin(Code::update_and_create_subscription_group),
    admin(Code::get_all_subscription_group_config),
    read(Code::get_topic_stats_info, "topic"),
    consume(Code::get_consumer_connection_list, "consumerGroup"),
    admin(Code::get_producer_connection_list),
    admin(Code::wipe_write_perm_of_broker),
    admin(Code::get_all_topic_list),
    admin(Code::delete_subscription_group),
    consume(Code::get_consume_stats, "consumerGroup"),
    admin(Code::delete_topic_in_broker),
    admin(Code::delete_topic_in_name_server),
    admin(Code::register_topic_in_name_server),
    admin(Code::get_kv_list_by_namespace),
    admin(Code::invoke_broker_to_reset_offset),
    admin(Code::invoke_broker_to_get_consumer_status),
    admin(Code::get_topics_by_cluster),
    admin(Code::update_and_create_subscription_group_list),
    admin(Code::query_topic_consume_by_who),
    consume(Code::query_consume_time_span, "group", "topic"),
    admin(Code::get_system_topic_list_from_name_server),
    admin(Code::get_system_topic_list_from_broker),
    admin(Code::clean_expired_consume_queue),
    admin(Code::get_consumer_running_info),
    admin(Code::query_correction_offset),
    admin(Code::consume_message_directly),
    publish(Code::send_message_v2, "b"),
    admin(Code::clone_group_offset),
    admin(Code::view_broker_stats_data),
    admin(Code::clean_unused_topic),
    admin(Code::get_broker_consume_stats),
    admin(Code::update_name_server_config),
    admin(Code::get_name_server_config),
    publish(Code::send_batch_message, "b"),
    {Code::query_consume_queue, Need::fields, "topic", Right::subscribe, "consumerGroup", true},
    admin(Code::resume_check_half_message),
    publish(Code::send_reply_message, "topic"),
    publish(Code::send_reply_message_v2, "b"),
    admin(Code::add_write_perm_of_broker),
    admin(Code::get_all_producer_info),
    admin(Code::delete_expired_commit_log),
    consume(Code::query_topics_by_consumer, "group"),
    consume(Code::query_subscription_by_consumer, "group", "topic"),
    read(Code::get_topic_config, "topic"),
    consume(Code::get_subscription_group_config, "group"),
    consume(Code::lite_pull_message, "consumerGroup", "topic"),
    publish(Code::recall_message, "topic"),
    admin(Code::list_transactions),
    admin(Code::show_transaction),
    admin(Code::decide_transaction),
    admin(Code::resume_transaction),
};

static_assert(std::is_sorted(std::begin(rules), std::end(rules),
                             [](const AccessRule& left, const AccessRule& right) { return left.code < right.code; }));

}  // namespace

std::span<const AccessRule> access_rules() noexcept { return rules; }

const AccessRule* access_rule_of(std::int32_t code) noexcept {
    const auto* found = std::lower_bound(
        std::begin(rules), std::end(rules), code,
        [](const AccessRule& rule, std::int32_t wanted) { return static_cast<std::int32_t>(rule.code) < wanted; });
    return found != std::end(rules) && static_cast<std::int32_t>(found->code) == code ? found : nullptr;
}

}  // namespace hufu::broker
