#include <hufu/kafka/client.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

#include "configuration.hpp"
#include "errors.hpp"
#include "publish_machine.hpp"
#include "record_codec.hpp"

namespace hufu::kafka {
namespace {

using Item = PublishMachine::Item;

struct Landing {
    Item* item;
    PublishOutcome outcome;
};

/// The shell around a PublishMachine: hands records over from whatever thread asks, and gathers librdkafka's answers on
/// one of its own.
class KafkaPublisher final : public hufu::Publisher, private Opaque {
public:
    KafkaPublisher(Properties properties, PublisherOptions options, Clock& clock, Random& random, Log& log)
        : Opaque{log},
          properties_{std::move(properties)},
          options_{options},
          clock_{clock},
          ids_{clock, random},
          machine_{options, clock, ids_} {}

    Result<void> open() {
        auto started = start_producer();
        if (!started) {
            return started.error();
        }
        producer_ = std::move(*started);
        thread_ = std::jthread{[this](const std::stop_token& stop) { gather_until(stop); }};
        return {};
    }

    ~KafkaPublisher() override {
        if (producer_ == nullptr) {
            return;
        }
        thread_.request_stop();
        thread_.join();
        {
            std::unique_lock lock{mutex_};
            machine_.close();
            settle(lock);
        }
        purge();
        std::unique_lock lock{mutex_};
        settle(lock);  // what a last `done` published from inside
    }

    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        HUFU_ASSERT(batch.size() == outcomes.size());
        std::unique_lock lock{mutex_};
        machine_.accept(std::make_shared<Job>(Job{.batch = batch, .outcomes = outcomes, .done = std::move(done)}));
        settle(lock);
    }

private:
    static void delivered(rd_kafka_t*, const rd_kafka_message_t* record, void* opaque) {
        auto& self = static_cast<KafkaPublisher&>(*static_cast<Opaque*>(opaque));
        auto* item = static_cast<Item*>(record->_private);
        const auto status = rd_kafka_message_status(record);
        const auto persisted = status == RD_KAFKA_MSG_STATUS_PERSISTED            ? Persisted::yes
                               : status == RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED ? Persisted::possibly
                                                                                  : Persisted::no;
        PublishOutcome outcome = outcome_of(record->err, persisted, self.travels_alone(*item), item->message().topic);
        if (outcome.status == PublishStatus::confirmed) {
            outcome.broker_id = std::to_string(record->partition) + "@" + std::to_string(record->offset);
        }
        self.landings_.push_back({item, std::move(outcome)});
    }

    [[nodiscard]] bool travels_alone(const Item& item) const noexcept { return item.bytes > options_.batch_bytes_max; }

    Result<Handle<rd_kafka_t>> start_producer() {
        auto configured = configuration(properties_, *this);
        if (!configured) {
            return configured.error();
        }
        rd_kafka_conf_set_dr_msg_cb(configured->get(), delivered);
        return start(RD_KAFKA_PRODUCER, std::move(*configured));
    }

    void gather_until(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            rd_kafka_poll(producer_.get(), 100);
            const bool landed = !landings_.empty();
            land();
            if (mutant_active("kafka_producer_fails_once") && landed && !std::exchange(failed_once_, true)) {
                rd_kafka_test_fatal_error(producer_.get(), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                                          "as a test wants");
            }
            char why[512];
            if (rd_kafka_fatal_error(producer_.get(), why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR) {
                start_anew(why);
            }
        }
    }

    /// What `delivered` gathered since. Only on the thread that polls.
    void land() {
        if (landings_.empty()) {
            return;
        }
        std::unique_lock lock{mutex_};
        for (Landing& landing : landings_) {
            machine_.landed(landing.item, std::move(landing.outcome));
        }
        landings_.clear();
        settle(lock);
    }

    /// Hands over what is ready and calls the `done` of what is finished, without the lock.
    void settle(std::unique_lock<std::mutex>& lock) {
        for (;;) {
            hand_over();
            const auto finished = machine_.take_finished();
            if (finished.empty()) {
                return;
            }
            for (const auto& job : finished) {
                const bool failed = !job->failed_keys.empty();
                if (failed) {
                    machine_.reporting(*job);
                }
                lock.unlock();
                // The caller's storage may be gone as soon as `done` has been called.
                const Done done = std::move(job->done);
                done();
                lock.lock();
                if (failed) {
                    machine_.reported(*job);
                }
            }
        }
    }

    void hand_over() {
        if (starting_anew_) {
            return;  // what is ready waits for the new producer
        }
        for (;;) {
            const auto ready = machine_.take_ready();
            if (ready.empty()) {
                return;
            }
            for (Item* item : ready) {
                if (const auto error = produce(*item); error != RD_KAFKA_RESP_ERR_NO_ERROR) {
                    auto outcome = outcome_of(error, Persisted::no, true, item->message().topic);
                    machine_.landed(item, std::move(outcome));
                }
            }
        }
    }

    rd_kafka_resp_err_t produce(Item& item) {
        const Message& message = item.message();
        Handle<rd_kafka_headers_t> headers{rd_kafka_headers_new(message.headers.size() + 3)};
        for (const auto& [name, value] : headers_of(message, item.id)) {
            rd_kafka_header_add(headers.get(), name.data(), static_cast<ssize_t>(name.size()), value.data(),
                                static_cast<ssize_t>(value.size()));
        }
        const std::string topic = kafka_topic(message.topic).value();
        const auto now = std::chrono::floor<std::chrono::milliseconds>(clock_.system_now()).time_since_epoch().count();
        const void* key = message.ordering_key.empty() ? nullptr : message.ordering_key.data();
        // The body stays where it is: the caller keeps it until `done`.
        const auto error = rd_kafka_producev(
            producer_.get(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
            RD_KAFKA_V_KEY(key, message.ordering_key.size()),
            RD_KAFKA_V_VALUE(const_cast<char*>(message.body.data()), message.body.size()), RD_KAFKA_V_HEADERS(headers.get()),
            RD_KAFKA_V_TIMESTAMP(now), RD_KAFKA_V_OPAQUE(&item), RD_KAFKA_V_END);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            static_cast<void>(headers.release());  // librdkafka's now
        }
        return error;
    }

    /// Ends everything that was handed over: `in_doubt` what was sent, `not_sent` what was not.
    void purge() {
        rd_kafka_purge(producer_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        for (;;) {
            {
                const std::lock_guard lock{mutex_};
                if (machine_.out() == machine_.ready()) {
                    return;
                }
            }
            rd_kafka_poll(producer_.get(), 100);
            land();
        }
    }

    /// An idempotent producer that lost its way (its state at the broker expired, it was fenced …) refuses everything from
    /// then on. A new one begins with an identity of its own; what was out is its publishers' to repeat.
    void start_anew(const std::string& why) {
        client_log.warning("Kafka producer starts anew", {{"reason", why}});
        {
            const std::lock_guard lock{mutex_};
            starting_anew_ = true;
        }
        purge();
        auto started = start_producer();
        Handle<rd_kafka_t> old;  // ends without the lock
        std::unique_lock lock{mutex_};
        if (started) {
            old = std::exchange(producer_, std::move(*started));
        } else {
            client_log.error("no new Kafka producer could be made", {{"error", started.error().text()}});
        }
        starting_anew_ = false;
        settle(lock);
        lock.unlock();
    }

    const Properties properties_;
    const PublisherOptions options_;
    Clock& clock_;
    MessageIdGenerator ids_;
    std::mutex mutex_;
    PublishMachine machine_;       // guarded by mutex_
    bool starting_anew_ = false;   // guarded by mutex_
    Handle<rd_kafka_t> producer_;  // replaced under mutex_ by the thread that polls
    std::vector<Landing> landings_;
    bool failed_once_ = false;  // for tests
    std::jthread thread_;
};

}  // namespace

Result<std::unique_ptr<hufu::Publisher>> open_publisher(ClientOptions client, PublisherOptions options, Clock& clock,
                                                        Random& random, Log& log) {
    if (const auto fine = check(client); !fine) {
        return fine.error();
    }
    if (const auto fine = check(options); !fine) {
        return fine.error();
    }
    auto publisher = std::make_unique<KafkaPublisher>(producer_properties(client, options), options, clock, random, log);
    if (const auto opened = publisher->open(); !opened) {
        return opened.error();
    }
    return std::unique_ptr<hufu::Publisher>{std::move(publisher)};
}

}  // namespace hufu::kafka
