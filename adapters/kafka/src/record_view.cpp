#include "record_view.hpp"

namespace hufu::kafka {

RecordView view_of(const rd_kafka_message_t& record) {
    RecordView view{.topic = rd_kafka_topic_name(record.rkt), .partition = record.partition, .offset = record.offset};
    rd_kafka_timestamp_type_t kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    view.timestamp_ms = rd_kafka_message_timestamp(&record, &kind);
    if (record.key != nullptr) {
        view.key = std::string_view{static_cast<const char*>(record.key), record.key_len};
    }
    if (record.payload != nullptr) {
        view.value = std::string_view{static_cast<const char*>(record.payload), record.len};
    }
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&record, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char* name = nullptr;
        const void* value = nullptr;
        std::size_t size = 0;
        for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
             ++i) {
            view.headers.emplace_back(
                name, value == nullptr ? std::string_view{} : std::string_view{static_cast<const char*>(value), size});
        }
    }
    return view;
}

}  // namespace hufu::kafka
