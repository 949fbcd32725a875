#include <hufu/rocketmq/topic_reader.hpp>

#include <algorithm>
#include <map>

#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>
#include <hufu/remoting/topic_bodies.hpp>

#include "blocking_client.hpp"
#include "message_codec.hpp"
#include "topic_queues.hpp"

namespace hufu::rocketmq {
namespace {

using deadletter::Page;
using deadletter::QueueRange;
using deadletter::ReadMessage;
using remoting::RequestCode;
using remoting::ResponseCode;

constexpr std::string_view tools_group = "TOOLS_CONSUMER";  // every broker has it
constexpr std::string_view dead_letter_prefix = "%DLQ%";

std::string name_of(const QueueAt& queue) { return queue.queue.broker_name + "/" + std::to_string(queue.queue.queue_id); }

class ClusterTopicReader final : public deadletter::TopicReader {
public:
    ClusterTopicReader(ClientOptions client, Clock& clock, Random& random, Log& log)
        : client_{std::move(client), clock, random, log} {}

    Result<std::vector<std::string>> topics() override {
        const auto& servers = client_.cluster().options().name_servers;
        Result<std::string> answer{Error{}};
        for (const auto& server : servers) {
            answer = client_.ask(server, RequestCode::get_all_topic_list, remoting::NoFields{}, "list of topics");
            if (answer || answer.error().code() != ErrorCode::unavailable) break;
        }
        if (!answer) return answer.error();
        auto names = remoting::TopicNames::parse(*answer);
        if (!names) return names.error();
        std::sort(names->names.begin(), names->names.end());
        return std::move(names->names);
    }

    Result<std::vector<QueueRange>> ranges(const std::string& topic) override {
        const auto queues = find_queues(topic);
        if (!queues) return queues.error();
        std::vector<QueueRange> ranges;
        for (const auto& [name, at] : *queues) {
            const auto first = offset(at, RequestCode::get_min_offset);
            if (!first) return first.error();
            const auto end = offset(at, RequestCode::get_max_offset);
            if (!end) return end.error();
            ranges.push_back({name, std::max<std::int64_t>(*first, 0), *end});
        }
        return ranges;
    }

    Result<Page> read(const std::string& topic, const std::string& queue, std::int64_t offset, std::size_t max) override {
        if (queues_of_.topic != topic) {
            if (const auto found = find_queues(topic); !found) return found.error();
        }
        const auto at = queues_of_.queues.find(queue);
        if (at == queues_of_.queues.end()) {
            return Error{ErrorCode::not_found, Disposition::retry, "topic \"" + topic + "\" has no queue " + queue};
        }
        return pull(at->second, offset, max);
    }

private:
    using Queues = std::map<std::string, QueueAt>;

    Result<Queues> find_queues(const std::string& topic) {
        auto found = client_.wait<Queues>([this, &topic](SteadyTime now, auto answered) {
            client_.cluster().lookup(now, topic, [this, topic, answered](SteadyTime, Result<remoting::TopicRoute> route) {
                if (!route) return answered(route.error());
                Queues queues;
                for (auto& queue : readable_queues(client_.cluster(), topic, *route)) queues.emplace(name_of(queue), queue);
                answered(std::move(queues));
            });
        });
        if (found) queues_of_ = {topic, *found};
        return found;
    }

    Result<std::int64_t> offset(const QueueAt& at, RequestCode code) {
        return client_.wait<std::int64_t>([&](SteadyTime now, auto answered) {
            client_.cluster().call(
                now, at.address, code, remoting::QueueRequest{.topic = at.queue.topic, .queue_id = at.queue.queue_id}, {},
                client_.cluster().options().request_timeout, [answered, at](SteadyTime, const Answer& answer) {
                    if (answer.command == nullptr) return answered(answer.error);
                    if (answer.command->response_code() != ResponseCode::success) {
                        return answered(response_error(*answer.command, "ends of topic \"" + at.queue.topic + "\"").error);
                    }
                    const auto header = remoting::OffsetResponse::decode(*answer.command);
                    if (!header) return answered(header.error());
                    answered(header->offset);
                });
        });
    }

    [[nodiscard]] std::string group_for(const std::string& topic) {
        const bool own = !client_.cluster().options().access_key.empty() && topic.starts_with(dead_letter_prefix);
        return own ? topic.substr(dead_letter_prefix.size()) : std::string{tools_group};
    }

    Result<Page> pull(const QueueAt& at, std::int64_t offset, std::size_t max) {
        const std::string group = group_for(at.queue.topic);
        return client_.wait<Page>([&](SteadyTime now, auto answered) {
            client_.cluster().call(
                now, at.address, RequestCode::pull_message,
                remoting::PullRequest{.consumer_group = group,
                                      .topic = at.queue.topic,
                                      .queue_id = at.queue.queue_id,
                                      .queue_offset = offset,
                                      .messages_max = static_cast<std::int32_t>(std::min<std::size_t>(max, 1'000)),
                                      .sys_flag = remoting::pull_flag::subscription,
                                      .suspend_timeout_ms = 0,
                                      .subscription = "*"},
                {}, client_.cluster().options().request_timeout, [answered, at, offset](SteadyTime, const Answer& answer) {
                    if (answer.command == nullptr) return answered(answer.error);
                    answered(page_of(*answer.command, at, offset));
                });
        });
    }

    static Result<Page> page_of(const remoting::CommandView& command, const QueueAt& at, std::int64_t offset) {
        const auto header = remoting::PullResponse::decode(command);
        switch (command.response_code()) {
            case ResponseCode::success: break;
            case ResponseCode::pull_not_found:
            case ResponseCode::pull_retry_immediately:
            case ResponseCode::pull_offset_moved:
                if (!header) return header.error();
                return Page{{}, std::max(offset, header->next_begin_offset)};
            default: return response_error(command, "read of topic \"" + at.queue.topic + "\"").error;
        }
        Page page{{}, offset};
        const std::string queue = name_of(at);
        auto bytes = std::as_bytes(std::span{command.body.data(), command.body.size()});
        while (!bytes.empty()) {
            const auto record = remoting::decode_record(bytes);
            if (!record) {
                return Error{ErrorCode::corrupt, Disposition::fatal,
                             "topic \"" + at.queue.topic + "\" queue " + queue +
                                 ": the broker answered a pull with bytes that are no message (" + record.error().text() +
                                 ")"};
            }
            bytes = bytes.subspan(remoting::peek_record_size(bytes));
            if (record->queue_offset < offset) continue;
            page.messages.push_back(message_of(*record, queue));
            page.next = record->queue_offset + 1;
        }
        if (header) page.next = std::max(page.next, header->next_begin_offset);
        return page;
    }

    static ReadMessage message_of(const remoting::Record& record, const std::string& queue) {
        Delivery delivery = to_delivery(record);
        const remoting::PropertiesView properties{record.properties};
        auto origin = properties.get(remoting::property::dlq_origin_topic);
        if (!origin) origin = properties.get("RETRY_TOPIC");
        return {.place = {queue, record.queue_offset},
                .message = std::move(delivery.message),
                .stored_at = delivery.stored_at,
                .broker_attempts = delivery.broker_attempts,
                .origin_topic = std::string{origin.value_or("")}};
    }

    struct {
        std::string topic;
        Queues queues;
    } queues_of_;  // of the topic that was asked for last
    BlockingClient client_;
};

}  // namespace

Result<std::unique_ptr<deadletter::TopicReader>> open_topic_reader(ClientOptions client, Clock& clock, Random& random,
                                                                   Log& log) {
    auto completed = complete(std::move(client), random);
    if (!completed) return completed.error();
    return std::unique_ptr<deadletter::TopicReader>{
        std::make_unique<ClusterTopicReader>(std::move(*completed), clock, random, log)};
}

}  // namespace hufu::rocketmq
