// How the broker is doing: 28 and 315; and the clean-ups that administrators may ask for: 306, 316, 329.
#include <algorithm>
#include <cstdio>

#include <hufu/remoting/object_map.hpp>

#include "names.hpp"
#include "request_fields.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t queues_asked_max = 4096;  // for the oldest message

std::string decimal(double value, int digits = 2) {
    char text[40];
    const int length = std::snprintf(text, sizeof text, "%.*f", digits, value);
    return {text, static_cast<std::size_t>(std::max(length, 0))};
}

std::int64_t ms_of(SystemTime time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

/// "10 s, 1 min, 10 min", as three numbers.
std::string rates(Meter& meter, SteadyTime now) {
    return decimal(meter.ten_seconds(now).messages_per_second()) + " " + decimal(meter.minute(now).messages_per_second()) +
           " " + decimal(meter.ten_minutes(now).messages_per_second());
}

std::string duration_text(std::chrono::seconds time) {
    const auto seconds = time.count();
    return "[ " + std::to_string(seconds / 86'400) + " days, " + std::to_string(seconds / 3600 % 24) + " hours, " +
           std::to_string(seconds / 60 % 60) + " minutes, " + std::to_string(seconds % 60) + " seconds ]";
}

/// When the oldest message was stored that is still there; now when there is none.
std::int64_t oldest_message_ms(DispatchState& state) {
    std::int64_t oldest = ms_of(state.clock.system_now());
    std::size_t asked = 0;
    for (const auto& [name, topic] : state.topics)
        for (const QueueHandle queue : topic.queues) {
            const std::uint64_t begin = state.log.min_offset(queue);
            if (begin >= state.log.max_offset(queue)) continue;
            if (++asked > queues_asked_max) return oldest;
            if (const auto stored = state.log.stored_at_ms(queue, begin))
                oldest = std::min(oldest, static_cast<std::int64_t>(*stored));
        }
    return oldest;
}

/// The pairs of the answer to 28.
class Table {
public:
    void add(std::string_view name, std::string_view value) {
        json_ += json_.empty() ? "{\"table\":{" : ",";
        remoting::append_json_text(json_, name);
        json_ += ':';
        remoting::append_json_text(json_, value);
    }
    template <class Number>
    requires std::is_integral_v<Number>
    void add(std::string_view name, Number value) { add(name, std::to_string(value)); }
    [[nodiscard]] std::string finish() && { return std::move(json_) + "}}"; }

private:
    std::string json_;
};

void add_traffic(DispatchState& state, SteadyTime now, Table& table) {
    Meter& puts = state.stats.puts();
    Meter& gets = state.stats.gets();
    const auto& mornings = state.stats.mornings(state.clock.system_now());
    table.add("putTps", rates(puts, now));
    table.add("getTransferredTps", rates(gets, now));
    table.add("getTransferedTps", rates(gets, now));  // as 4.9 spells it
    table.add("getFoundTps", rates(gets, now));
    table.add("getTotalTps", rates(gets, now));
    table.add("putMessageTimesTotal", puts.total().messages);
    table.add("putMessageSizeTotal", puts.total().bytes);
    table.add("putMessageAverageSize", decimal(puts.total().messages == 0 ? 0
                                                                          : static_cast<double>(puts.total().bytes) /
                                                                                static_cast<double>(puts.total().messages)));
    table.add("msgPutTotalTodayNow", puts.total().messages);
    table.add("msgPutTotalTodayMorning", mornings.put_today);
    table.add("msgPutTotalYesterdayMorning", mornings.put_yesterday);
    table.add("msgGetTotalTodayNow", gets.total().messages);
    table.add("msgGetTotalTodayMorning", mornings.got_today);
    table.add("msgGetTotalYesterdayMorning", mornings.got_yesterday);
}

void add_log(DispatchState& state, Table& table) {
    const std::uint64_t behind = state.log.end_offset() - std::min(state.log.durable_offset(), state.log.end_offset());
    table.add("commitLogMinOffset", state.log.start_offset());
    table.add("commitLogMaxOffset", state.log.durable_offset());
    table.add("commitLogDirSize", state.log.bytes_on_disk());
    table.add("remainHowManyDataToFlush", std::to_string(behind) + " B");
    table.add("dispatchBehindBytes", behind);
    table.add("earliestMessageTimeStamp", oldest_message_ms(state));
    const DiskSpace space = state.options.disk_space ? state.options.disk_space() : DiskSpace{};
    const double used = space.bytes == 0 ? 0 : 1 - static_cast<double>(space.free_bytes) / static_cast<double>(space.bytes);
    table.add("commitLogDiskRatio", decimal(used, 4));
    table.add("commitLogDirCapacity",
              "Total : " + std::to_string(space.bytes) + " B, Free : " + std::to_string(space.free_bytes) + " B.");
    table.add("brokerActive", state.log.refusing() ? "false" : "true");
}

/// Threads and queues of the original that this broker does not have: what waits here, waits for the log.
void add_queues(DispatchState& state, Table& table) {
    table.add("sendThreadPoolQueueSize", state.pending.size() - state.pending_head);
    for (const std::string_view pool : {"pull", "ack", "query"}) table.add(std::string{pool} + "ThreadPoolQueueSize", 0);
    for (const std::string_view pool : {"send", "pull", "ack", "query"})
        table.add(std::string{pool} + "ThreadPoolQueueHeadWaitTimeMills", 0);
    table.add("pageCacheLockTimeMills", 0);
    table.add("timerReadBehind", 0);
    table.add("timerOffsetBehind", 0);
    table.add("timerCongestNum", state.timers.pending());
    table.add("timerEnqueueTps", "0.0");
    table.add("timerDequeueTps", "0.0");
}

std::string item(const WindowCount& window, bool sizes) {
    const std::uint64_t sum = sizes ? window.count.bytes : window.count.messages;
    const double rate = sizes ? window.bytes_per_second() : window.messages_per_second();
    const double each =
        window.count.requests == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(window.count.requests);
    return "{\"avgpt\":" + decimal(each) + ",\"sum\":" + std::to_string(sum) + ",\"tps\":" + decimal(rate) + "}";
}

/// The meter behind a statistic of RocketMQ; null when there is none or nothing was counted.
Meter* find_meter(DispatchState& state, std::string_view name, std::string_view key) {
    const auto at = key.find('@');
    const std::string_view topic = key.substr(0, at);
    const std::string_view group = at == std::string_view::npos ? std::string_view{} : key.substr(at + 1);
    if (name == "TOPIC_PUT_NUMS" || name == "TOPIC_PUT_SIZE") return state.stats.topic_puts(key);
    if (name == "GROUP_GET_NUMS" || name == "GROUP_GET_SIZE") return state.stats.group_gets(group, topic);
    if (name == "SNDBCK_PUT_NUMS") return state.stats.group_sent_back(group, topic);
    if (key != state.options.cluster) return nullptr;
    if (name == "BROKER_PUT_NUMS") return &state.stats.puts();
    if (name == "BROKER_GET_NUMS") return &state.stats.gets();
    return nullptr;
}

}  // namespace

static void handle_runtime_info(DispatchState& state, const Request& request) {
    Table table;
    table.add("brokerVersion", remoting::protocol_version);
    table.add("brokerVersionDesc", "V4_9_8");
    table.add("bootTimestamp", ms_of(state.booted));
    table.add("startAcceptSendRequestTimeStamp", ms_of(state.booted));
    table.add("runtime", duration_text(std::chrono::floor<std::chrono::seconds>(state.clock.system_now() - state.booted)));
    add_traffic(state, request.now, table);
    add_log(state, table);
    add_queues(state, table);
    state.succeed(request, std::move(table).finish());
}

static void handle_stats(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("statsName");
    const std::string_view key = fields.text("statsKey");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    Meter* meter = find_meter(state, name, key);
    if (meter == nullptr)
        return state.refuse(request, ResponseCode::system_error,
                            "The stats <" + std::string{name.substr(0, 100)} + "> <" + std::string{key.substr(0, 400)} +
                                "> not exist: nothing was counted under it");
    const bool sizes = name.ends_with("_SIZE");
    state.succeed(request, "{\"statsDay\":" + item(meter->day(request.now), sizes) +
                               ",\"statsHour\":" + item(meter->hour(request.now), sizes) +
                               ",\"statsMinute\":" + item(meter->minute(request.now), sizes) + "}");
}

static void handle_nothing_to_clean(DispatchState& state, const Request& request) {
    // Indexes go with their part of the log, and a deleted topic leaves none behind.
    state.succeed(request);
}

static void handle_delete_expired(DispatchState& state, const Request& request) {
    state.refuse(request, ResponseCode::system_error,
                 "nothing was deleted: this broker deletes by itself what its retention no longer keeps");
}

void add_runtime_info_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::get_broker_runtime_info, handle_runtime_info);
    table.add(RequestCode::view_broker_stats_data, handle_stats);
    table.add(RequestCode::clean_expired_consume_queue, handle_nothing_to_clean);
    table.add(RequestCode::clean_unused_topic, handle_nothing_to_clean);
    table.add(RequestCode::delete_expired_commit_log, handle_delete_expired);
}

}  // namespace hufu::broker
