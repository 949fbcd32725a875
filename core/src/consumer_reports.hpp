// What a consumer tells people and machines that watch it; for its own sources.
#pragma once

#include <span>
#include <string>

#include <hufu/core/consumer_machine.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/metrics.hpp>

namespace hufu {

/// Metrics of one consumer, labelled by its group, and the log lines of its machine's notices. Safe from any thread.
class ConsumerReports {
public:
    ConsumerReports(MetricsRegistry& registry, Log& log, const std::string& group);

    /// What an event came to, and how the machine stands after it.
    void count(const ConsumerActions& actions, const ConsumerMachine& machine);
    void tell(std::span<const ConsumerActions::Notice> notices);
    void handler_took(std::chrono::nanoseconds time);
    /// A port of the group's database failed; it is asked again.
    void port_failed(std::string_view what, const Error& error);

private:
    void tell(const ConsumerActions::Notice& notice);

    Log& log_;
    const std::string group_;
    Counter& handled_;
    Counter& absorbed_;
    Counter& retried_;
    Counter& excused_;
    Counter& dead_;
    Counter& dead_letter_failures_;
    Counter& overdue_;
    Counter& dropped_;
    Counter& outages_;
    Counter& killed_before_;
    Counter& port_failures_;
    Gauge& outage_;
    Gauge& in_flight_;
    Gauge& held_;
    Gauge& parked_keys_;
    Gauge& rate_;
    Histogram& handler_seconds_;
};

}  // namespace hufu
