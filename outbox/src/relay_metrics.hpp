// The relay's figures as metrics.
#pragma once

#include <hufu/core/metrics.hpp>
#include <hufu/outbox/relay_machine.hpp>

namespace hufu::outbox {

/// Carries `RelayFigures` into a registry.
class RelayMetrics {
public:
    explicit RelayMetrics(MetricsRegistry& registry);
    void update(const RelayFigures& figures, SystemTime now);

private:
    struct Total {
        Counter& counter;
        std::uint64_t RelayFigures::*figure;
    };
    struct Level {
        Gauge& gauge;
        std::uint64_t RelayFigures::*figure;
    };
    std::vector<Total> totals_;
    std::vector<Level> levels_;
    Gauge& lag_;
    RelayFigures told_;
};

}  // namespace hufu::outbox
