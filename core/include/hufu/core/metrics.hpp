// Counters, gauges and histograms, written as Prometheus text.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hufu {

/// Only grows. Lock-free.
class Counter {
public:
    void add(std::uint64_t amount = 1) noexcept { value_.fetch_add(amount, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// Goes up and down. Lock-free.
class Gauge {
public:
    void set(std::int64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
    void add(std::int64_t amount) noexcept { value_.fetch_add(amount, std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::int64_t> value_{0};
};

/// Counts observations in fixed buckets (upper bounds, ascending; +Inf is added). Lock-free.
class Histogram {
public:
    explicit Histogram(std::vector<double> upper_bounds);
    void observe(double value) noexcept;
    [[nodiscard]] std::uint64_t count() const noexcept;
    [[nodiscard]] double sum() const noexcept;
    [[nodiscard]] std::uint64_t cumulative(std::size_t bucket) const noexcept;
    [[nodiscard]] std::span<const double> upper_bounds() const noexcept { return upper_bounds_; }

private:
    std::vector<double> upper_bounds_;
    std::vector<std::atomic<std::uint64_t>> buckets_;
    std::atomic<double> sum_{0.0};
};

/// Owns metrics by name and labels. Thread-safe; what it returns lives as long as the registry. Names are Prometheus
/// names, the unit last: `hufu_relay_published_total`, `hufu_log_sync_seconds`.
class MetricsRegistry {
public:
    using Labels = std::vector<std::pair<std::string, std::string>>;

    MetricsRegistry();
    ~MetricsRegistry();
    MetricsRegistry(const MetricsRegistry&) = delete;
    MetricsRegistry& operator=(const MetricsRegistry&) = delete;

    /// The same name and labels give the same object. A name used with two kinds is a bug and asserts.
    Counter& counter(std::string_view name, std::string_view help, Labels labels = {});
    Gauge& gauge(std::string_view name, std::string_view help, Labels labels = {});
    Histogram& histogram(std::string_view name, std::string_view help, std::vector<double> upper_bounds, Labels labels = {});

    /// Prometheus text exposition format 0.0.4.
    [[nodiscard]] std::string text() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu
