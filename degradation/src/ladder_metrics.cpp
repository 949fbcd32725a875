#include "ladder_metrics.hpp"

#include <chrono>

namespace hufu::degradation {
namespace {

std::int64_t number_of(BreakerState state) {
    switch (state) {
        case BreakerState::closed: return 0;
        case BreakerState::half_open: return 1;
        case BreakerState::open: return 2;
    }
    return 0;
}

}  // namespace

LadderMetrics::LadderMetrics(MetricsRegistry& registry, std::size_t brokers, const std::vector<std::string>& rungs)
    : degraded_{registry.gauge("hufu_degradation_degraded", "1 while the broker is not well or messages are buffered.")},
      accepted_{registry.counter("hufu_degradation_accepted_total", "Messages that callers handed over.")},
      confirmed_{registry.counter("hufu_degradation_confirmed_total", "Messages that a broker confirmed at once.")},
      refused_{
          registry.counter("hufu_degradation_refused_total", "Messages given back: no broker and no buffer took them.")},
      shed_{registry.counter("hufu_degradation_shed_total", "Messages given back to make room for newer ones.")},
      rejected_{registry.counter("hufu_degradation_rejected_total", "Messages that a broker will never take.")},
      replayed_{registry.counter("hufu_degradation_replayed_total", "Buffered messages that a broker confirmed.")},
      held_{registry.gauge("hufu_degradation_held", "Messages in memory.")},
      held_bytes_{registry.gauge("hufu_degradation_held_bytes", "Bytes of the messages in memory.")} {
    for (std::size_t broker = 0; broker < brokers; ++broker) {
        const MetricsRegistry::Labels labels{{"broker", std::to_string(broker)}};
        brokers_.push_back(
            {registry.gauge("hufu_degradation_breaker_state", "0 closed, 1 half open, 2 open.", labels),
             registry.counter("hufu_degradation_breaker_openings_total", "How often the breaker opened.", labels)});
    }
    for (const std::string& rung : rungs) {
        const MetricsRegistry::Labels labels{{"buffer", rung}};
        rungs_.push_back(
            {registry.gauge("hufu_degradation_buffer_up", "1 while the buffer answers.", labels),
             registry.counter("hufu_degradation_spilled_total", "Messages put into the buffer.", labels),
             registry.gauge("hufu_degradation_buffered_entries", "Messages in the buffer.", labels),
             registry.gauge("hufu_degradation_buffered_bytes", "Bytes in the buffer.", labels),
             registry.gauge("hufu_degradation_buffered_oldest_seconds", "Age of the buffer's oldest message.", labels),
             registry.gauge("hufu_degradation_parked", "Messages set aside because the broker rejected them.", labels)});
    }
}

void LadderMetrics::show(const LadderMachine& machine) {
    const LadderFigures& now = machine.figures();
    degraded_.set(machine.degraded() ? 1 : 0);
    accepted_.add(now.accepted - shown_.accepted);
    confirmed_.add(now.confirmed - shown_.confirmed);
    refused_.add(now.refused - shown_.refused);
    shed_.add(now.shed - shown_.shed);
    rejected_.add(now.rejected - shown_.rejected);
    held_.set(static_cast<std::int64_t>(now.held));
    held_bytes_.set(static_cast<std::int64_t>(now.held_bytes));
    for (std::size_t broker = 0; broker < brokers_.size(); ++broker) {
        const CircuitBreaker& breaker = machine.breakers()[broker];
        Broker& shown = brokers_[broker];
        shown.state.set(number_of(breaker.state()));
        shown.openings.add(breaker.openings() - shown.shown);
        shown.shown = breaker.openings();
    }
    for (std::size_t number = 0; number < rungs_.size(); ++number) {
        const LadderRung& rung = machine.rungs()[number];
        const BufferSize& size = rung.size();
        Rung& shown = rungs_[number];
        shown.up.set(rung.state() == LadderRung::State::up ? 1 : 0);
        shown.spilled.add(now.spilled[number] - (shown_.spilled.empty() ? 0 : shown_.spilled[number]));
        shown.entries.set(static_cast<std::int64_t>(size.entries));
        shown.bytes.set(static_cast<std::int64_t>(size.bytes));
        shown.parked.set(static_cast<std::int64_t>(size.parked));
        shown.oldest.set(
            std::chrono::duration_cast<std::chrono::seconds>(size.oldest_age.value_or(std::chrono::milliseconds{0}))
                .count());
    }
    shown_ = now;
}

}  // namespace hufu::degradation
