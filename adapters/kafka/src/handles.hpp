// Owners of what librdkafka hands out.
#pragma once

#include <librdkafka/rdkafka.h>

#include <memory>

namespace hufu::kafka {

struct Destroy {
    void operator()(rd_kafka_conf_t* handle) const noexcept { rd_kafka_conf_destroy(handle); }
    void operator()(rd_kafka_headers_t* handle) const noexcept { rd_kafka_headers_destroy(handle); }
    void operator()(rd_kafka_message_t* handle) const noexcept { rd_kafka_message_destroy(handle); }
    void operator()(rd_kafka_queue_t* handle) const noexcept { rd_kafka_queue_destroy(handle); }
    void operator()(rd_kafka_error_t* handle) const noexcept { rd_kafka_error_destroy(handle); }
    void operator()(rd_kafka_topic_partition_list_t* handle) const noexcept {
        rd_kafka_topic_partition_list_destroy(handle);
    }
    /// Without leaving a group by itself: that is done before, in bounded time.
    void operator()(rd_kafka_t* handle) const noexcept {
        rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
};

template <class T>
using Handle = std::unique_ptr<T, Destroy>;

}  // namespace hufu::kafka
