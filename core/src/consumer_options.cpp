#include <hufu/core/consumer_options.hpp>

#include <utility>

#include <hufu/core/message.hpp>

namespace hufu {

std::string dead_letter_topic(std::string_view group) { return "%DLQ%" + std::string{group}; }

Result<void> validate(const ConsumerOptions& options) {
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
    };
    if (options.group.empty()) return refuse("ConsumerOptions::group is empty: name the consumer group");
    if (const auto valid = validate(Message{.topic = dead_letter_topic(options.group)}); !valid) {
        return refuse("ConsumerOptions::group \"" + options.group +
                      "\" makes no dead-letter topic: " + valid.error().text());
    }
    if (options.running_max == 0) return refuse("ConsumerOptions::running_max is 0: at least one handler must run");
    if (options.held_max < options.running_max) {
        return refuse("ConsumerOptions::held_max is " + std::to_string(options.held_max) + ", below running_max (" +
                      std::to_string(options.running_max) + "): threads would stay idle");
    }
    if (!(options.rate_per_second >= 0.0)) {
        return refuse("ConsumerOptions::rate_per_second is " + std::to_string(options.rate_per_second) +
                      ": 0 (no limit) or more");
    }
    if (options.rate_burst == 0) return refuse("ConsumerOptions::rate_burst is 0: at least 1");
    if (options.handler_timeout.count() < 0) return refuse("ConsumerOptions::handler_timeout is negative: 0 (none) or more");
    if (options.batch_max == 0 || options.batch_max > options.held_max) {
        return refuse("ConsumerOptions::batch_max is " + std::to_string(options.batch_max) + ": from 1 to held_max (" +
                      std::to_string(options.held_max) + ")");
    }
    if (options.batch_of == ConsumerOptions::BatchOf::key_runs && options.order != ConsumerOptions::Order::per_key) {
        return refuse("ConsumerOptions::batch_of is key_runs while order is concurrent: runs need the order per_key");
    }
    if (options.kills_max == 0) return refuse("ConsumerOptions::kills_max is 0: at least 1");
    if (options.drain_max.count() < 0) return refuse("ConsumerOptions::drain_max is negative: 0 (no limit) or more");
    if (options.parked_keys_every.count() <= 0) return refuse("ConsumerOptions::parked_keys_every must be above 0 ms");
    if (auto valid = validate(options.adaptive_rate); !valid) return valid;
    return validate(options.outage);
}

}  // namespace hufu
