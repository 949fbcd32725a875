// A ladder's numbers for the registry.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <hufu/core/metrics.hpp>
#include <hufu/degradation/ladder_machine.hpp>

namespace hufu::degradation {

/// Shows what changed since it was shown last. Not thread-safe.
class LadderMetrics {
public:
    LadderMetrics(MetricsRegistry& registry, std::size_t brokers, const std::vector<std::string>& rungs);
    void show(const LadderMachine& machine);
    void replayed(std::uint64_t messages) { replayed_.add(messages); }

private:
    struct Broker {
        Gauge& state;
        Counter& openings;
        std::uint64_t shown = 0;
    };
    struct Rung {
        Gauge& up;
        Counter& spilled;
        Gauge& entries;
        Gauge& bytes;
        Gauge& oldest;
        Gauge& parked;
    };

    Gauge& degraded_;
    Counter& accepted_;
    Counter& confirmed_;
    Counter& refused_;
    Counter& shed_;
    Counter& rejected_;
    Counter& replayed_;
    Gauge& held_;
    Gauge& held_bytes_;
    std::vector<Broker> brokers_;
    std::vector<Rung> rungs_;
    LadderFigures shown_;
};

}  // namespace hufu::degradation
