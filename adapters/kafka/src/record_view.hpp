// From librdkafka's message to ours.
#pragma once

#include <librdkafka/rdkafka.h>

#include "record_codec.hpp"

namespace hufu::kafka {

/// Views into `record`, which must outlive them.
[[nodiscard]] RecordView view_of(const rd_kafka_message_t& record);

}  // namespace hufu::kafka
