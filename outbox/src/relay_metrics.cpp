#include "relay_metrics.hpp"

#include <algorithm>

namespace hufu::outbox {

RelayMetrics::RelayMetrics(MetricsRegistry& registry)
    : totals_{{registry.counter("hufu_relay_read_total", "Rows read from the outbox."), &RelayFigures::read},
              {registry.counter("hufu_relay_published_total", "Messages confirmed by the broker."),
               &RelayFigures::published},
              {registry.counter("hufu_relay_resent_total", "Messages published once more."), &RelayFigures::resent},
              {registry.counter("hufu_relay_settled_total", "Rows deleted after confirmation."), &RelayFigures::settled},
              {registry.counter("hufu_relay_parked_total", "Rows moved to the parking lot."), &RelayFigures::parked},
              {registry.counter("hufu_relay_delayed_moved_total", "Delayed rows that came due."),
               &RelayFigures::delayed_moved},
              {registry.counter("hufu_relay_late_rows_total", "Rows the safety net found; anything but 0 is an alarm."),
               &RelayFigures::late_rows},
              {registry.counter("hufu_relay_takeovers_total", "Times this relay took the lane."), &RelayFigures::takeovers},
              {registry.counter("hufu_relay_claims_lost_total", "Times this relay lost the lane."), &RelayFigures::lost},
              {registry.counter("hufu_relay_store_errors_total", "Failed calls to the store."),
               &RelayFigures::store_errors}},
      levels_{{registry.gauge("hufu_relay_epoch", "Epoch of the claim; 0 while another relay owns the lane."),
               &RelayFigures::epoch},
              {registry.gauge("hufu_relay_parked_keys", "Keys closed because rows of them are parked."),
               &RelayFigures::keys_parked},
              {registry.gauge("hufu_relay_blocked_keys", "Keys waiting to be tried again."), &RelayFigures::keys_blocked},
              {registry.gauge("hufu_relay_held_rows", "Rows read and not settled."), &RelayFigures::rows_held},
              {registry.gauge("hufu_relay_held_bytes", "Bytes of messages in memory."), &RelayFigures::bytes_held},
              {registry.gauge("hufu_relay_holes", "Sequence numbers that may still appear."), &RelayFigures::holes}},
      lag_{registry.gauge("hufu_relay_lag_milliseconds", "From append to confirmation, of the message confirmed last.")} {}

void RelayMetrics::update(const RelayFigures& figures, SystemTime now) {
    for (const Total& total : totals_) {
        if (figures.*total.figure != told_.*total.figure) total.counter.add(figures.*total.figure - told_.*total.figure);
    }
    for (const Level& level : levels_) level.gauge.set(static_cast<std::int64_t>(figures.*level.figure));
    if (figures.published != told_.published && figures.last_confirmed_created_at != SystemTime{}) {
        const auto lag = std::chrono::duration_cast<std::chrono::milliseconds>(now - figures.last_confirmed_created_at);
        lag_.set(std::max<std::int64_t>(lag.count(), 0));
    }
    told_ = figures;
}

}  // namespace hufu::outbox
