#include <hufu/kafka/client.hpp>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "configuration.hpp"
#include "errors.hpp"
#include "position_book.hpp"
#include "record_codec.hpp"
#include "record_view.hpp"

namespace hufu::kafka {
namespace {

constexpr std::chrono::milliseconds poll_wait{50};
constexpr int round_max = 500;  // records between two looks at acknowledgements

using Partitions = Handle<rd_kafka_topic_partition_list_t>;

Partitions to_list(const std::vector<Place>& places) {
    Partitions list{rd_kafka_topic_partition_list_new(static_cast<int>(places.size()))};
    for (const Place& place : places) {
        rd_kafka_topic_partition_list_add(list.get(), place.topic.c_str(), place.partition)->offset = place.offset;
    }
    return list;
}

int int_of(std::chrono::milliseconds duration) { return static_cast<int>(duration.count()); }

/// One thread polls, so that the group never takes this member for stuck, whatever its user does; `receive` takes from
/// what it gathered.
class KafkaSubscription final : public hufu::Subscription, private Opaque {
public:
    KafkaSubscription(SubscriptionOptions subscription, SubscriberOptions options, Clock& clock, Log& log)
        : Opaque{log},
          subscription_{std::move(subscription)},
          options_{options},
          clock_{clock},
          book_{options.cached_messages_max, options.cached_bytes_max} {}

    Result<void> open(const Properties& properties) {
        auto configured = configuration(properties, *this);
        if (!configured) {
            return configured.error();
        }
        rd_kafka_conf_set_rebalance_cb(configured->get(), rebalanced);
        rd_kafka_conf_set_offset_commit_cb(configured->get(), committed);
        auto started = start(RD_KAFKA_CONSUMER, std::move(*configured));
        if (!started) {
            return started.error();
        }
        consumer_ = std::move(*started);
        rd_kafka_poll_set_consumer(consumer_.get());
        std::vector<Place> topics;
        for (const auto& topic : subscription_.topics) {
            topics.push_back({kafka_topic(topic).value(), RD_KAFKA_PARTITION_UA, 0});
        }
        if (const auto error = rd_kafka_subscribe(consumer_.get(), to_list(topics).get());
            error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return to_error(error, "subscribing for group \"" + subscription_.group + "\" failed");
        }
        thread_ = std::jthread{[this](const std::stop_token& stop) { gather_until(stop); }};
        return {};
    }

    ~KafkaSubscription() override {
        if (thread_.joinable()) {
            thread_.request_stop();
            thread_.join();
        }
    }

    Result<std::vector<Delivery>> receive(std::size_t max, std::chrono::milliseconds timeout,
                                          std::stop_token stop) override {
        std::vector<Delivery> taken;
        std::unique_lock lock{mutex_};
        arrived_.wait_for(lock, stop, timeout, [this] { return !ready_.empty() || failure_; });
        if (failure_) {
            return *failure_;
        }
        if (stop.stop_requested()) {
            return taken;
        }
        const auto count = static_cast<std::ptrdiff_t>(std::min(max, ready_.size()));
        taken.assign(std::make_move_iterator(ready_.begin()), std::make_move_iterator(ready_.begin() + count));
        ready_.erase(ready_.begin(), ready_.begin() + count);
        return taken;
    }

    void acknowledge(std::span<const DeliveryTag> tags) override {
        const std::lock_guard lock{mutex_};
        acknowledged_.insert(acknowledged_.end(), tags.begin(), tags.end());
    }

    std::vector<std::uint64_t> lost_queues() override {
        const std::lock_guard lock{mutex_};
        return std::exchange(lost_, {});
    }

private:
    static KafkaSubscription& self_of(void* opaque) {
        return static_cast<KafkaSubscription&>(*static_cast<Opaque*>(opaque));
    }

    // On the polling thread, from here on.

    static void rebalanced(rd_kafka_t*, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t* list, void* opaque) {
        self_of(opaque).rebalance(what, list);
    }

    static void committed(rd_kafka_t*, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t* list, void* opaque) {
        KafkaSubscription& self = self_of(opaque);
        if (error == RD_KAFKA_RESP_ERR__NO_OFFSET || list == nullptr) {
            return;
        }
        for (int i = 0; i < list->cnt; ++i) {
            const auto& one = list->elems[i];
            if (error != RD_KAFKA_RESP_ERR_NO_ERROR || one.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                self.book_.not_committed(one.topic, one.partition);
            }
        }
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            self.client_log.warning("positions were not committed, and will be again",
                                    {{"group", self.subscription_.group}, {"error", rd_kafka_err2str(error)}});
        }
    }

    void gather_until(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            take_records();
            take_acknowledgements();
            regulate();
            if (const SteadyTime now = clock_.steady_now(); now >= commit_at_) {
                commit_at_ = now + options_.offsets_every;
                commit(book_.take_due());
            }
        }
        close();
    }

    void take_records() {
        std::vector<Delivery> deliveries;
        int wait = int_of(poll_wait);
        for (int i = 0; i < round_max; ++i) {
            const Handle<rd_kafka_message_t> record{rd_kafka_consumer_poll(consumer_.get(), wait)};
            if (record == nullptr) {
                break;
            }
            wait = 0;
            if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                note_error(*record);
                continue;
            }
            take_record(*record, deliveries);
        }
        if (!deliveries.empty()) {
            const std::lock_guard lock{mutex_};
            ready_.insert(ready_.end(), std::make_move_iterator(deliveries.begin()),
                          std::make_move_iterator(deliveries.end()));
            arrived_.notify_one();
        }
    }

    void take_record(const rd_kafka_message_t& record, std::vector<Delivery>& deliveries) {
        const RecordView view = view_of(record);
        for (const auto& tag : book_.received(std::string{view.topic}, view.partition, view.offset, record.len)) {
            deliveries.push_back(
                {.message = to_message(view),
                 .tag = tag,
                 .stored_at = SystemTime{std::chrono::milliseconds{std::max<std::int64_t>(view.timestamp_ms, 0)}}});
        }
    }

    /// Whatever comes and goes by itself is waited for; librdkafka repeats.
    void note_error(const rd_kafka_message_t& record) {
        char why[512];
        const std::string text = rd_kafka_message_errstr(&record);
        if (rd_kafka_fatal_error(consumer_.get(), why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            const std::lock_guard lock{mutex_};
            failure_ = Error{ErrorCode::fenced, Disposition::fatal,
                             "the subscription of group \"" + subscription_.group + "\" cannot go on: " + why};
            arrived_.notify_all();
            return;
        }
        client_log.warning("waiting for Kafka", {{"group", subscription_.group}, {"error", text}});
    }

    void take_acknowledgements() {
        std::vector<DeliveryTag> tags;
        {
            const std::lock_guard lock{mutex_};
            tags.swap(acknowledged_);
        }
        book_.acknowledge(tags);
    }

    void regulate() {
        if (const auto full = book_.take_full(); !full.empty()) {
            rd_kafka_pause_partitions(consumer_.get(), to_list(full).get());
        }
        if (const auto relaxed = book_.take_relaxed(); !relaxed.empty()) {
            rd_kafka_resume_partitions(consumer_.get(), to_list(relaxed).get());
        }
    }

    void commit(const std::vector<Place>& due) {
        if (due.empty()) {
            return;
        }
        const auto list = to_list(due);
        if (const auto error = rd_kafka_commit(consumer_.get(), list.get(), 1); error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            committed(consumer_.get(), error, list.get(), static_cast<Opaque*>(this));
        }
    }

    /// Waits for the answer, but not for ever. What is not stored comes again.
    void commit_now(const std::vector<Place>& due) {
        if (due.empty()) {
            return;
        }
        const Handle<rd_kafka_queue_t> answers{rd_kafka_queue_new(consumer_.get())};
        commit_answer_ = RD_KAFKA_RESP_ERR__TIMED_OUT;
        const auto answered = [](rd_kafka_t*, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t*, void* opaque) {
            self_of(opaque).commit_answer_ = error;
        };
        auto error =
            rd_kafka_commit_queue(consumer_.get(), to_list(due).get(), answers.get(), answered, static_cast<Opaque*>(this));
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_queue_poll_callback(answers.get(), int_of(options_.close_timeout));
            error = commit_answer_;
        }
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            client_log.warning("positions were not committed; what they cover comes again",
                               {{"group", subscription_.group}, {"error", rd_kafka_err2str(error)}});
        }
    }

    void rebalance(rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t* list) {
        const bool incremental = std::string_view{rd_kafka_rebalance_protocol(consumer_.get())} == "COOPERATIVE";
        Handle<rd_kafka_error_t> problem;
        auto plain = RD_KAFKA_RESP_ERR_NO_ERROR;
        if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
            begin(list);
            if (incremental) {
                problem.reset(rd_kafka_incremental_assign(consumer_.get(), list));
            } else {
                plain = rd_kafka_assign(consumer_.get(), list);
            }
        } else {
            end(list);
            if (incremental) {
                problem.reset(rd_kafka_incremental_unassign(consumer_.get(), list));
            } else {
                plain = rd_kafka_assign(consumer_.get(), nullptr);
            }
        }
        if (problem != nullptr || plain != RD_KAFKA_RESP_ERR_NO_ERROR) {
            client_log.warning(
                "Kafka's assignment was not taken",
                {{"group", subscription_.group},
                 {"error", problem != nullptr ? rd_kafka_error_string(problem.get()) : rd_kafka_err2str(plain)}});
        }
    }

    void begin(rd_kafka_topic_partition_list_t* list) {
        for (int i = 0; i < list->cnt; ++i) {
            book_.assigned(list->elems[i].topic, list->elems[i].partition);
        }
        if (subscription_.from == SubscriptionOptions::From::last) {
            begin_at_end(list);
        }
    }

    /// Kafka's own rule for a group without a position is asked again after every crash, and then skips what came meanwhile.
    /// So the end is looked up once, and committed. When it cannot be, the partition is read from its first record: more
    /// than was wanted, but nothing is missed.
    void begin_at_end(rd_kafka_topic_partition_list_t* list) {
        const Partitions stored{rd_kafka_topic_partition_list_copy(list)};
        const int wait = int_of(options_.close_timeout);
        if (rd_kafka_committed(consumer_.get(), stored.get(), wait) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            client_log.warning("the group's positions are not known: reading from the first record",
                               {{"group", subscription_.group}});
            return;
        }
        for (int i = 0; i < stored->cnt; ++i) {
            const auto& known = stored->elems[i];
            if (known.err != RD_KAFKA_RESP_ERR_NO_ERROR || known.offset != RD_KAFKA_OFFSET_INVALID) {
                continue;
            }
            std::int64_t first = 0;
            std::int64_t end = 0;
            if (rd_kafka_query_watermark_offsets(consumer_.get(), known.topic, known.partition, &first, &end, wait) ==
                RD_KAFKA_RESP_ERR_NO_ERROR) {
                list->elems[i].offset = end;
                book_.begins_at(known.topic, known.partition, end);
            }
        }
        commit_at_ = {};
    }

    void end(const rd_kafka_topic_partition_list_t* list) {
        take_acknowledgements();
        std::vector<Place> due;
        if (rd_kafka_assignment_lost(consumer_.get()) == 0) {
            for (int i = 0; i < list->cnt; ++i) {
                for (Place& place : book_.take_due(list->elems[i].topic, list->elems[i].partition)) {
                    due.push_back(std::move(place));
                }
            }
        }
        commit_now(due);
        const std::lock_guard lock{mutex_};
        for (int i = 0; i < list->cnt; ++i) {
            for (const auto& tag : book_.revoked(list->elems[i].topic, list->elems[i].partition)) {
                std::erase_if(ready_, [&](const Delivery& delivery) {
                    return delivery.tag.queue == tag.queue && delivery.tag.session == tag.session;
                });
                lost_.push_back(tag.queue);
            }
        }
    }

    /// Commits (in `end`, by the last rebalance) and leaves the group, in bounded time.
    void close() {
        leave_group();
        consumer_.reset();
    }

    /// The queue must be gone before the consumer is: records in it would keep their partitions, and these the consumer.
    void leave_group() {
        const Handle<rd_kafka_queue_t> events{rd_kafka_queue_new(consumer_.get())};
        const Handle<rd_kafka_error_t> refused{rd_kafka_consumer_close_queue(consumer_.get(), events.get())};
        const SteadyTime until = clock_.steady_now() + 2 * options_.close_timeout;
        while (refused == nullptr && rd_kafka_consumer_closed(consumer_.get()) == 0 && clock_.steady_now() < until) {
            // Serves the last rebalance. Records that still come are nobody's: they were not acknowledged.
            const Handle<rd_kafka_message_t> ignored{rd_kafka_consume_queue(events.get(), 100)};
        }
    }

    const SubscriptionOptions subscription_;
    const SubscriberOptions options_;
    Clock& clock_;
    Handle<rd_kafka_t> consumer_;  // of the polling thread
    PositionBook book_;            // of the polling thread
    SteadyTime commit_at_{};       // of the polling thread
    rd_kafka_resp_err_t commit_answer_ = RD_KAFKA_RESP_ERR_NO_ERROR;
    std::mutex mutex_;
    std::condition_variable_any arrived_;
    std::deque<Delivery> ready_;             // guarded by mutex_
    std::vector<DeliveryTag> acknowledged_;  // guarded by mutex_
    std::vector<std::uint64_t> lost_;        // guarded by mutex_
    std::optional<Error> failure_;           // guarded by mutex_
    std::jthread thread_;
};

}  // namespace

Result<std::unique_ptr<hufu::Subscription>> open_subscription(ClientOptions client, SubscriptionOptions subscription,
                                                              SubscriberOptions options, Clock& clock, Log& log) {
    if (const auto fine = check(client); !fine) {
        return fine.error();
    }
    if (const auto fine = check(subscription, options); !fine) {
        return fine.error();
    }
    const auto properties = consumer_properties(client, subscription, options);
    auto opened = std::make_unique<KafkaSubscription>(std::move(subscription), options, clock, log);
    if (const auto started = opened->open(properties); !started) {
        return started.error();
    }
    return std::unique_ptr<hufu::Subscription>{std::move(opened)};
}

}  // namespace hufu::kafka
