// Messages of the outbox benchmark and who counts them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>

namespace hufu::bench {

inline constexpr std::size_t body_bytes = 256;

/// What a body begins with; the rest is filler.
struct Stamp {
    std::int64_t version = 0;  ///< of the key, from 1
    std::int64_t sent_ns = 0;  ///< steady clock, just before COMMIT was sent
};
[[nodiscard]] std::string stamped_body(const Stamp& stamp);
[[nodiscard]] Stamp stamp_of(const Message& message);
[[nodiscard]] std::int64_t to_ns(SteadyTime time) noexcept;

/// The value below which `part` of the values lie; sorts.
[[nodiscard]] double quantile(std::vector<double>& values, double part);

/// Ranks from 0, drawn by a Zipf law with exponent `theta` (inversion over the summed weights). Read-only after its
/// construction.
class Zipf {
public:
    Zipf(std::size_t count, double theta);
    [[nodiscard]] std::size_t draw(Random& random) const;

private:
    std::vector<double> sums_;
};

/// Passes everything on; counts what was confirmed and, if asked, how long after the stamp of its body. Thread-safe.
class CountingPublisher final : public Publisher {
public:
    explicit CountingPublisher(Publisher& inner) : inner_{inner} {}
    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override;

    [[nodiscard]] std::uint64_t confirmed() const noexcept { return confirmed_; }
    /// False after `seconds` without a confirmation.
    bool wait_for(std::uint64_t count, double seconds = 60);
    void measure(bool on) noexcept { measuring_ = on; }
    /// Milliseconds, in order of confirmation.
    [[nodiscard]] std::vector<double> latencies_ms();

private:
    void count(std::span<const Message> batch, std::span<const PublishOutcome> outcomes);

    Publisher& inner_;
    std::atomic<std::uint64_t> confirmed_{0};
    std::atomic<bool> measuring_{false};
    std::mutex mutex_;
    std::condition_variable grew_;
    std::vector<double> latencies_ms_;  // guarded by mutex_
};

}  // namespace hufu::bench
