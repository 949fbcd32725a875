// What is known of a set-up, and what that means. No I/O: `doctor_look` gathers, `judge` decides.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/degradation/buffer.hpp>
#include <hufu/outbox/store.hpp>
#include <hufu/postgres/health.hpp>
#include <hufu/rocketmq/broker_probe.hpp>

#include "doctor_finding.hpp"

namespace hufu::cli {

struct Limits {
    std::chrono::milliseconds lag_max{60'000};           ///< age of the oldest row that no relay took
    std::chrono::milliseconds transaction_max{300'000};  ///< an open transaction of the database
    std::chrono::milliseconds pending_max{600'000};      ///< a transaction message without a verdict
    double disk_used_max = 0.85;
};

/// The relay and its table, from any store.
[[nodiscard]] Findings judge(const outbox::Status& status, const Limits& limits);

[[nodiscard]] Findings judge(const postgres::Health& health, const Limits& limits);

[[nodiscard]] Findings judge(const std::vector<rocketmq::BrokerHealth>& brokers, const Limits& limits);

/// Open dead letters of a topic.
struct DeadLetterDepth {
    std::string topic = {};
    std::uint64_t open = 0;
};
[[nodiscard]] Findings judge(const std::vector<DeadLetterDepth>& depths);

/// Transactions that nobody decided.
struct OpenTransactions {
    std::uint64_t parked = 0;
    std::uint64_t conflicts = 0;
    std::uint64_t overdue = 0;  ///< pending for longer than `Limits::pending_max`
    bool more = false;          ///< there are more than were looked at
    /// Stores that the pending ones name, with how many do; and the uuid of the store that is here to answer (empty: none
    /// was given).
    std::map<std::string, std::uint64_t> stores = {};
    std::string own_store = {};
};
[[nodiscard]] Findings judge(const OpenTransactions& transactions, const Limits& limits);

/// Prometheus text, as the bundled broker serves it: name with labels -> value.
[[nodiscard]] std::map<std::string, double> parse_metrics(const std::string& text);
[[nodiscard]] Findings judge_metrics(const std::map<std::string, double>& metrics);

/// What a Redis says of itself: INFO's fields and CONFIG's settings.
struct RedisFacts {
    std::map<std::string, std::string> info = {};
    std::map<std::string, std::string> settings = {};  ///< empty: CONFIG is not allowed
};
[[nodiscard]] Findings judge(const RedisFacts& facts);

/// A buffer of the ladder, by its own words.
struct BufferFacts {
    std::string url = {};
    degradation::BufferSize size = {};
    degradation::LossStatement statement = {};
};
/// `Limits::lag_max` is also how long a message may wait in a buffer.
[[nodiscard]] Findings judge(const BufferFacts& facts, const Limits& limits);

/// INFO's text: "name:value" lines.
[[nodiscard]] std::map<std::string, std::string> parse_info(const std::string& text);

}  // namespace hufu::cli
