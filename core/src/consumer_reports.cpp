#include "consumer_reports.hpp"

#include <chrono>
#include <vector>

namespace hufu {
namespace {

using Notice = ConsumerActions::Notice;

const std::vector<double> seconds_bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                         0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30,    60};

}  // namespace

ConsumerReports::ConsumerReports(MetricsRegistry& registry, Log& log, const std::string& group)
    : log_{log},
      group_{group},
      handled_{registry.counter("hufu_consumer_handled_total", "Messages whose handler answered done.", {{"group", group}})},
      absorbed_{registry.counter("hufu_consumer_absorbed_total", "Duplicates that a guard absorbed.", {{"group", group}})},
      retried_{
          registry.counter("hufu_consumer_retried_total", "Handler runs that failed and are repeated.", {{"group", group}})},
      excused_{registry.counter("hufu_consumer_excused_total",
                                "Failures that do not count as attempts, because everything failed.", {{"group", group}})},
      dead_{registry.counter("hufu_consumer_dead_total", "Messages that became dead letters.", {{"group", group}})},
      dead_letter_failures_{registry.counter("hufu_consumer_dead_letter_failures_total",
                                             "Attempts to publish a dead letter that were not confirmed.",
                                             {{"group", group}})},
      overdue_{registry.counter("hufu_consumer_overdue_total", "Handlers that ran longer than their time-out.",
                                {{"group", group}})},
      dropped_{registry.counter("hufu_consumer_dropped_total",
                                "Messages let go unhandled because their queue was lost or the consumer stopped.",
                                {{"group", group}})},
      outages_{registry.counter("hufu_consumer_outages_total", "Times that nearly everything failed.", {{"group", group}})},
      killed_before_{registry.counter("hufu_consumer_killed_before_total",
                                      "Messages run alone because an earlier run of theirs never answered.",
                                      {{"group", group}})},
      port_failures_{registry.counter("hufu_consumer_port_failures_total",
                                      "Failed calls for parked keys or attempt rows, each made again.", {{"group", group}})},
      outage_{registry.gauge("hufu_consumer_outage", "1 while nearly everything fails and only probes run.",
                             {{"group", group}})},
      in_flight_{registry.gauge("hufu_consumer_in_flight", "Handlers running now.", {{"group", group}})},
      held_{registry.gauge("hufu_consumer_held", "Messages in memory.", {{"group", group}})},
      parked_keys_{registry.gauge("hufu_consumer_parked_keys", "Keys whose messages become dead letters until reopened.",
                                  {{"group", group}})},
      rate_{registry.gauge("hufu_consumer_adaptive_rate", "Messages per second that the adaptive rate allows; 0: none.",
                           {{"group", group}})},
      handler_seconds_{
          registry.histogram("hufu_consumer_handler_seconds", "Time in the handler.", seconds_bounds, {{"group", group}})} {}

void ConsumerReports::count(const ConsumerActions& actions, const ConsumerMachine& machine) {
    handled_.add(actions.done);
    absorbed_.add(actions.absorbed);
    excused_.add(actions.excused);
    outage_.set(machine.in_outage() ? 1 : 0);
    in_flight_.set(static_cast<std::int64_t>(machine.running()));
    held_.set(static_cast<std::int64_t>(machine.held()));
    parked_keys_.set(static_cast<std::int64_t>(machine.dead_key_count()));
    rate_.set(static_cast<std::int64_t>(machine.adaptive_rate()));
}

void ConsumerReports::tell(std::span<const Notice> notices) {
    for (const auto& notice : notices) tell(notice);
}

void ConsumerReports::tell(const Notice& notice) {
    const auto line = [&](LogLevel level, std::string_view event) {
        log_.write(level, event,
                   {{"group", group_},
                    {"topic", notice.key.topic},
                    {"key", notice.key.ordering_key},
                    {"id", notice.id.to_string()},
                    {"attempts", notice.attempts},
                    {"wait_ms", notice.wait.count()},
                    {"reason", notice.reason}});
    };
    switch (notice.kind) {
        case Notice::Kind::retry:
            retried_.add();
            return line(LogLevel::warning, "handler failed, the message will be retried");
        case Notice::Kind::dead: dead_.add(); return line(LogLevel::error, "message became a dead letter");
        case Notice::Kind::dead_letter_failed:
            dead_letter_failures_.add();
            return line(LogLevel::error, "dead letter was not confirmed; the message stays unacknowledged");
        case Notice::Kind::overdue: overdue_.add(); return line(LogLevel::warning, "handler is overdue");
        case Notice::Kind::dropped:
            dropped_.add();
            return line(LogLevel::debug, "message let go unhandled; it will come again");
        case Notice::Kind::outage_began:
            outages_.add();
            return line(LogLevel::error, "outage: paused, probing with one message at a time");
        case Notice::Kind::outage_goes_on: return line(LogLevel::warning, "outage goes on, the probe failed");
        case Notice::Kind::outage_ended: return line(LogLevel::info, "outage is over, handling goes on");
        case Notice::Kind::alone:
            killed_before_.add();
            return line(LogLevel::warning, "an earlier run of this message never answered; it will run alone");
    }
}

void ConsumerReports::handler_took(std::chrono::nanoseconds time) {
    handler_seconds_.observe(std::chrono::duration<double>(time).count());
}

void ConsumerReports::port_failed(std::string_view what, const Error& error) {
    port_failures_.add();
    log_.warning("the consumer's database did not answer, it is asked again",
                 {{"group", group_}, {"what", what}, {"error", error.text()}});
}

}  // namespace hufu
