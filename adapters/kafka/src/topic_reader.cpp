#include <hufu/kafka/topic_reader.hpp>

#include <algorithm>
#include <charconv>

#include "configuration.hpp"
#include "errors.hpp"
#include "record_codec.hpp"
#include "record_view.hpp"

namespace hufu::kafka {

namespace {

using deadletter::Page;
using deadletter::QueueRange;

constexpr int answer_wait_ms = 10'000;
constexpr std::chrono::milliseconds read_wait{10'000};

struct MetadataDestroyer {
    void operator()(const rd_kafka_metadata_t* metadata) const noexcept { rd_kafka_metadata_destroy(metadata); }
};
using Metadata = std::unique_ptr<const rd_kafka_metadata_t, MetadataDestroyer>;
using Partitions = Handle<rd_kafka_topic_partition_list_t>;

class KafkaTopicReader final : public deadletter::TopicReader, private Opaque {
public:
    KafkaTopicReader(Clock& clock, Log& log) : Opaque{log}, clock_{clock} {}

    Result<void> open(const Properties& properties) {
        auto configured = configuration(properties, *this);
        if (!configured) return configured.error();
        auto started = start(RD_KAFKA_CONSUMER, std::move(*configured));
        if (!started) return started.error();
        consumer_ = std::move(*started);
        rd_kafka_poll_set_consumer(consumer_.get());
        return {};
    }

    Result<std::vector<std::string>> topics() override {
        auto all = metadata("list of topics");
        if (!all) return all.error();
        std::vector<std::string> names;
        for (int i = 0; i < (*all)->topic_cnt; ++i) names.push_back(hufu_topic((*all)->topics[i].topic));
        std::sort(names.begin(), names.end());
        return names;
    }

    Result<std::vector<QueueRange>> ranges(const std::string& topic) override {
        const auto name = kafka_topic(topic);
        if (!name) return name.error();
        // All topics are asked for: asking for one by name would make it on a broker that makes topics by itself.
        auto all = metadata("queues of topic \"" + topic + "\"");
        if (!all) return all.error();
        const auto* const first = (*all)->topics;
        const auto* const last = first + (*all)->topic_cnt;
        const auto* const found = std::find_if(first, last, [&](const auto& each) { return *name == each.topic; });
        if (found == last) {
            return Error{ErrorCode::not_found, Disposition::retry, "Kafka has no topic \"" + *name + "\""};
        }
        std::vector<QueueRange> ranges;
        for (int i = 0; i < found->partition_cnt; ++i) {
            QueueRange range{std::to_string(found->partitions[i].id), 0, 0};
            const auto error = rd_kafka_query_watermark_offsets(consumer_.get(), name->c_str(), found->partitions[i].id,
                                                                &range.first, &range.end, answer_wait_ms);
            if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return to_error(error, "ends of topic \"" + topic + "\"");
            ranges.push_back(std::move(range));
        }
        std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) {
            return a.queue.size() != b.queue.size() ? a.queue.size() < b.queue.size() : a.queue < b.queue;
        });
        return ranges;
    }

    Result<Page> read(const std::string& topic, const std::string& queue, std::int64_t offset, std::size_t max) override {
        if (const auto placed = go_to(topic, queue, offset); !placed) return placed.error();
        Page page{{}, offset};
        const SteadyTime until = clock_.steady_now() + read_wait;
        while (page.messages.size() < max) {
            const Handle<rd_kafka_message_t> record{rd_kafka_consumer_poll(consumer_.get(), 100)};
            if (record == nullptr) {
                if (!page.messages.empty()) break;
                if (clock_.steady_now() < until) continue;
                return Error{ErrorCode::timeout, Disposition::retry,
                             "topic \"" + topic + "\" partition " + queue + ": Kafka sent nothing for 10 s"};
            }
            if (record->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                page.next = std::max(page.next, record->offset);
                break;
            }
            if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                at_ = {};
                return to_error(record->err, "read of topic \"" + topic + "\"");
            }
            const RecordView view = view_of(*record);
            page.messages.push_back(
                {.place = {queue, record->offset},
                 .message = to_message(view),
                 .stored_at = SystemTime{std::chrono::milliseconds{std::max<std::int64_t>(view.timestamp_ms, 0)}}});
            page.next = record->offset + 1;
        }
        at_.next = page.next;
        return page;
    }

private:
    struct At {
        std::string topic;
        std::string queue;
        std::int64_t next = -1;
    };

    /// Going on where the last page ended costs nothing.
    Result<void> go_to(const std::string& topic, const std::string& queue, std::int64_t offset) {
        if (at_.topic == topic && at_.queue == queue && at_.next == offset) return {};
        const auto name = kafka_topic(topic);
        if (!name) return name.error();
        std::int32_t partition = -1;
        std::from_chars(queue.data(), queue.data() + queue.size(), partition);
        const Partitions list{rd_kafka_topic_partition_list_new(1)};
        rd_kafka_topic_partition_list_add(list.get(), name->c_str(), partition)->offset = offset;
        at_ = {};
        if (const auto error = rd_kafka_assign(consumer_.get(), list.get()); error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return to_error(error, "read of topic \"" + topic + "\"");
        }
        at_ = {topic, queue, offset};
        return {};
    }

    Result<Metadata> metadata(const std::string& doing) {
        const rd_kafka_metadata_t* raw = nullptr;
        const auto error = rd_kafka_metadata(consumer_.get(), 1, nullptr, &raw, answer_wait_ms);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return to_error(error, doing);
        return Metadata{raw};
    }

    Clock& clock_;
    At at_;
    Handle<rd_kafka_t> consumer_;
};

}  // namespace

Result<std::unique_ptr<deadletter::TopicReader>> open_topic_reader(ClientOptions client, Clock& clock, Log& log) {
    if (const auto fine = check(client); !fine) return fine.error();
    auto properties = consumer_properties(client, {.group = "hufu-topic-reader"}, {});
    properties.emplace_back("enable.partition.eof", "true");
    auto opened = std::make_unique<KafkaTopicReader>(clock, log);
    if (const auto started = opened->open(properties); !started) return started.error();
    return std::unique_ptr<deadletter::TopicReader>{std::move(opened)};
}

}  // namespace hufu::kafka
