#include "metrics.hpp"

#include <algorithm>
#include <vector>

#include "metrics_text.hpp"
#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::string_view other = "(other)";  // no topic or group can be called so
/// Records read for their age by one scrape; those of further groups are read by the next.
constexpr int ages_at_once = 256;

/// What a group has not consumed of a topic.
struct Backlog {
    std::uint64_t messages = 0;
    std::uint64_t oldest_ms = 0;  ///< when the oldest of them was stored; 0: none waits, or not read yet

    void add(const Backlog& more) {
        messages += more.messages;
        if (more.oldest_ms != 0 && (oldest_ms == 0 || more.oldest_ms < oldest_ms)) oldest_ms = more.oldest_ms;
    }
};

/// The first offset that the group has still to consume.
std::uint64_t waiting_from(const DispatchState& state, QueueHandle queue, const Position& position) {
    return std::max(position.offset, state.log.min_offset(queue));
}

/// Reads when the groups' oldest waiting messages were stored, where that changed, up to a number of them.
void refresh_ages(DispatchState& state) {
    auto& groups = state.positions;
    int budget = ages_at_once;
    auto group = groups.upper_bound(state.ages_read_to);
    for (std::size_t count = 0; count < groups.size(); ++count, ++group) {
        if (group == groups.end()) group = groups.begin();
        for (auto& [queue, position] : group->second) {
            const std::uint64_t from = waiting_from(state, queue, position);
            if (from >= state.log.max_offset(queue) || position.age_of == from + 1) continue;
            if (budget-- == 0) return;
            const auto stored = state.log.stored_at_ms(queue, from);
            position.age_of = from + 1;
            position.stored_ms = stored ? *stored : 0;
        }
        state.ages_read_to = group->first;
    }
}

std::map<std::string_view, Backlog> backlog_of(const DispatchState& state,
                                               const std::map<QueueHandle, Position>& positions) {
    std::map<std::string_view, Backlog> topics;
    for (const auto& [queue, position] : positions) {
        const std::uint64_t end = state.log.max_offset(queue);
        const std::uint64_t from = std::min(waiting_from(state, queue, position), end);
        topics[state.log.queue_name(queue).topic].add({end - from, from < end ? position.stored_ms : 0});
    }
    return topics;
}

double seconds_since(std::uint64_t stored_ms, std::int64_t now_ms) {
    if (stored_ms == 0) return 0;
    return static_cast<double>(std::max<std::int64_t>(0, now_ms - static_cast<std::int64_t>(stored_ms))) / 1000.0;
}

void write_backlogs(DispatchState& state, MetricsText& text) {
    struct Row {
        std::string_view group;
        std::string_view topic;
        Backlog backlog;
    };
    refresh_ages(state);
    std::vector<Row> rows;
    Backlog rest;
    for (const auto& [group, positions] : state.positions) {
        for (const auto& [topic, backlog] : backlog_of(state, positions)) {
            if (state.find_topic(topic) == nullptr) continue;
            if (rows.size() < state.options.metric_series_max) {
                rows.push_back({group, topic, backlog});
            } else {
                rest.add(backlog);
                state.series_left_out = true;
            }
        }
    }
    text.family("hufu_broker_group_lag_messages", "gauge", "Messages of the topic that the group has not consumed");
    for (const Row& row : rows) text.sample(row.backlog.messages, {{"group", row.group}, {"topic", row.topic}});
    if (rows.size() == state.options.metric_series_max) text.sample(rest.messages, {{"group", other}, {"topic", other}});
    const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(state.clock.system_now().time_since_epoch());
    text.family("hufu_broker_group_oldest_unconsumed_seconds", "gauge",
                "Age of the oldest message of the topic that the group has not consumed; 0 when it has all");
    for (const Row& row : rows)
        text.sample(seconds_since(row.backlog.oldest_ms, now_ms.count()), {{"group", row.group}, {"topic", row.topic}});
    if (rows.size() == state.options.metric_series_max)
        text.sample(seconds_since(rest.oldest_ms, now_ms.count()), {{"group", other}, {"topic", other}});
}

/// Messages ever stored in the topic: its offsets never go back.
std::uint64_t stored_in(const DispatchState& state, const Topic& topic) {
    std::uint64_t sum = 0;
    for (const QueueHandle queue : topic.queues) sum += state.log.max_offset(queue);
    return sum;
}

void write_topics(DispatchState& state, MetricsText& text) {
    std::vector<const Topic*> shown;
    std::vector<const Topic*> derived;  // of retries and dead letters
    for (const auto& [name, topic] : state.topics)
        (is_retry_topic(name) || is_dead_letter_topic(name) ? derived : shown).push_back(&topic);
    const auto by_name = [](const Topic* left, const Topic* right) { return left->name < right->name; };
    for (auto* list : {&shown, &derived}) std::sort(list->begin(), list->end(), by_name);

    const auto write = [&](const std::vector<const Topic*>& topics, std::string_view label, std::size_t prefix,
                           const auto& figure) {
        std::uint64_t rest = 0;
        std::size_t count = 0;
        for (const Topic* topic : topics) {
            if (++count > state.options.metric_series_max) {
                rest += figure(*topic);
                continue;
            }
            text.sample(figure(*topic), {{label, std::string_view{topic->name}.substr(prefix)}});
        }
        if (count <= state.options.metric_series_max) return;
        state.series_left_out = true;
        text.sample(rest, {{label, other}});
    };
    const auto stored = [&state](const Topic& topic) { return stored_in(state, topic); };
    text.family("hufu_broker_topic_messages_total", "counter", "Messages stored in the topic since it was made");
    write(shown, "topic", 0, stored);
    text.family("hufu_broker_topic_sent_bytes_total", "counter",
                "Bytes of records that producers stored in the topic since the start");
    write(shown, "topic", 0, [&state](const Topic& topic) {
        std::uint64_t sum = 0;
        for (const QueueHandle queue : topic.queues) sum += state.queue(queue).bytes_in;
        return sum;
    });
    const auto dead =
        std::partition(derived.begin(), derived.end(), [](const Topic* topic) { return is_retry_topic(topic->name); });
    text.family("hufu_broker_group_retries_total", "counter", "Messages that the group gave back to be retried");
    write({derived.begin(), dead}, "group", retry_prefix.size(), stored);
    text.family("hufu_broker_group_dead_letters_total", "counter", "Messages that became dead letters of the group");
    write({dead, derived.end()}, "group", dead_letter_prefix.size(), stored);
}

void write_traffic(const DispatchState& state, MetricsText& text) {
    const auto write = [&](const auto& figure) {
        for (const auto& [group, topics] : state.traffic.groups())
            for (const auto& [topic, traffic] : topics) text.sample(figure(traffic), {{"group", group}, {"topic", topic}});
        if (state.traffic.rest().messages > 0)
            text.sample(figure(state.traffic.rest()), {{"group", other}, {"topic", other}});
    };
    text.family("hufu_broker_group_pulled_messages_total", "counter", "Messages handed to the group since the start");
    write([](const Traffic& traffic) { return traffic.messages; });
    text.family("hufu_broker_group_pulled_bytes_total", "counter", "Bytes of records handed to the group since the start");
    write([](const Traffic& traffic) { return traffic.bytes; });
}

void write_broker(const DispatchState& state, MetricsText& text) {
    text.family("hufu_broker_build_info", "gauge", "Always 1");
    text.sample(1, {{"version", HUFU_VERSION}});
    text.family("hufu_broker_refusals_total", "counter", "Requests answered with an error, by its code");
    for (const auto& [code, count] : state.refused_by_code) text.sample(count, {{"code", std::to_string(code)}});
    text.single("hufu_broker_topics", "gauge", "Topics, retry and dead letter topics among them", state.topics.size());
    text.single("hufu_broker_groups", "gauge", "Consumer groups with a position", state.positions.size());
    text.single("hufu_broker_filters", "gauge", "Compiled subscription expressions in use", state.filters.count());
    text.single("hufu_broker_filter_bytes", "gauge", "Memory of compiled subscription expressions", state.filters.bytes());
    text.single("hufu_broker_unsettled_bytes", "gauge", "Accepted and not yet durable", state.unsettled_bytes);
    text.single("hufu_broker_unsent_bytes", "gauge", "Answers that clients have not taken yet", state.unsent);
}

void write_log(const Log& log, MetricsText& text) {
    const LogRecovery& recovery = log.recovery();
    text.single("hufu_broker_log_disk_bytes", "gauge", "Bytes of the log's files", log.bytes_on_disk());
    text.single("hufu_broker_log_durable_bytes_total", "counter", "Log offset below which all is durable",
                log.durable_offset());
    text.single("hufu_broker_log_queues", "gauge", "Queues in the log, hidden ones among them", log.queue_count());
    text.single("hufu_broker_log_refusing", "gauge", "1 while the log takes nothing (failed sync, full disk)",
                log.refusing() ? 1 : 0);
    text.single("hufu_broker_log_damages", "gauge", "Parts of the log that do not match their checksum",
                log.damages().size());
    text.single("hufu_broker_recovery_epoch", "gauge", "How often the log was opened", recovery.epoch);
    text.single("hufu_broker_recovery_segments", "gauge", "Segments found when the log was opened", recovery.segments);
    text.single("hufu_broker_recovery_replayed_bytes", "gauge", "Bytes of the last segment that opening read",
                recovery.replayed_bytes);
    text.single("hufu_broker_recovery_replayed_records", "gauge", "Records among those", recovery.replayed_records);
    text.single("hufu_broker_recovery_rebuilt_indexes", "gauge", "Indexes that were made anew from the log",
                recovery.rebuilt_indexes);
    text.single("hufu_broker_recovery_tail_cut", "gauge", "1 when opening dropped an unfinished end",
                recovery.tail_cut ? 1 : 0);
}

}  // namespace

Traffic& TrafficTable::of(std::string_view group, std::string_view topic, std::size_t series_max) {
    auto topics = groups_.find(group);
    if (topics != groups_.end()) {
        if (const auto known = topics->second.find(topic); known != topics->second.end()) return known->second;
    }
    if (count_ >= series_max) return rest_;
    ++count_;
    if (topics == groups_.end()) topics = groups_.emplace(group, Topics{}).first;
    return topics->second.emplace(topic, Traffic{}).first->second;
}

void write_metrics(DispatchState& state, std::string& into) {
    const bool told = std::exchange(state.series_left_out, false);
    MetricsText text{into};
    write_broker(state, text);
    write_log(state.log, text);
    write_topics(state, text);
    write_backlogs(state, text);
    write_traffic(state, text);
    text.single("hufu_broker_transactions_oldest_pending_seconds", "gauge",
                "Age of the oldest half message that is asked about", state.transactions.oldest_pending_s(state));
    if (state.series_left_out && !told)
        state.alarm("there are more than " + std::to_string(state.options.metric_series_max) +
                    " topics or groups; /metrics shows the rest as \"(other)\" (--metrics-series shows more)");
}

}  // namespace hufu::broker
