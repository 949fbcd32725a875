// librdkafka's errors in our words: the one table of this adapter.
#pragma once

#include <librdkafka/rdkafka.h>

#include <string>

#include <hufu/core/error.hpp>
#include <hufu/core/publisher.hpp>

namespace hufu::kafka {

/// Whether librdkafka knows that the broker has the record (rd_kafka_message_status).
enum class Persisted : std::uint8_t { no, possibly, yes };

/// What became of a record that was handed over. `alone`: it was larger than a batch, so that no other can be to blame for
/// a refusal of the batch.
[[nodiscard]] PublishOutcome outcome_of(rd_kafka_resp_err_t error, Persisted persisted, bool alone,
                                        const std::string& topic);

/// The same words for errors that are no record's.
[[nodiscard]] Error to_error(rd_kafka_resp_err_t error, const std::string& doing);

}  // namespace hufu::kafka
