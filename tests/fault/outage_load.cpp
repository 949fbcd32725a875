#include "outage_load.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>

namespace hufu::fault {
namespace {

constexpr std::size_t samples_reserved = 1'000'000;  // so that memory is flat when the callers' own is

CallSample::Where where_of(const PublishOutcome& outcome) {
    if (outcome.status != PublishStatus::confirmed) return CallSample::Where::refused;
    if (outcome.broker_id == "buffer:redis") return CallSample::Where::redis;
    if (outcome.broker_id == "buffer:journal") return CallSample::Where::journal;
    return CallSample::Where::broker;
}

}  // namespace

OutageLoad::OutageLoad(Publisher& publisher, LoadOptions options)
    : publisher_{publisher}, options_{std::move(options)}, samples_(options_.callers) {
    for (unsigned caller = 0; caller < options_.callers; ++caller) {
        samples_[caller].resize(samples_reserved / options_.callers);  // touched, not only reserved
        samples_[caller].clear();
        threads_.emplace_back([this, caller](const std::stop_token& stop) { call(caller, stop); });
    }
}

OutageLoad::~OutageLoad() { stop(); }

void OutageLoad::stop() {
    for (auto& thread : threads_) thread.request_stop();
    threads_.clear();
}

std::vector<CallSample> OutageLoad::samples() const {
    std::vector<CallSample> all;
    for (const auto& each : samples_) all.insert(all.end(), each.begin(), each.end());
    return all;
}

void OutageLoad::call(unsigned caller, const std::stop_token& stop) {
    Clock& clock = system_clock();
    const auto interval = std::chrono::nanoseconds{static_cast<std::int64_t>(1e9 * options_.callers / options_.per_second)};
    std::vector<std::uint64_t> last(options_.keys_per_caller, 0);
    SteadyTime due = clock.steady_now();
    for (unsigned turn = 0; !stop.stop_requested(); ++turn) {
        clock.sleep_until(due, stop);
        const unsigned key = turn % options_.keys_per_caller;
        const std::vector<Message> message{{.id = ids_.next(),
                                            .topic = options_.topic,
                                            .ordering_key = std::to_string(caller) + "-" + std::to_string(key),
                                            .body = std::to_string(++last[key])}};
        // Also after the stop: what was begun is either accepted, or nobody knows what to expect of it.
        while (true) {
            std::vector<PublishOutcome> outcome(1);
            std::promise<void> done;
            const SteadyTime began = clock.steady_now();
            publisher_.publish(message, outcome, [&done] { done.set_value(); });
            done.get_future().wait();
            const auto where = where_of(outcome[0]);
            samples_[caller].push_back({began, clock.steady_now() - began, where});
            if (where != CallSample::Where::refused) break;
            ++refused_;
            clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{20}, {});
        }
        ++accepted_;
        due = std::max(due + interval, clock.steady_now() - interval);
    }
}

std::chrono::nanoseconds percentile(std::vector<std::chrono::nanoseconds> values, double part) {
    if (values.empty()) return {};
    const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + at, values.end());
    return values[static_cast<std::size_t>(at)];
}

void ProcessFigures::take_larger(const ProcessFigures& other) noexcept {
    threads = std::max(threads, other.threads);
    descriptors = std::max(descriptors, other.descriptors);
    memory_kib = std::max(memory_kib, other.memory_kib);
}

ProcessFigures process_figures() {
    ProcessFigures figures;
    std::ifstream status{"/proc/self/status"};
    for (std::string word; status >> word;) {
        if (word == "VmRSS:") status >> figures.memory_kib;
        if (word == "Threads:") status >> figures.threads;
    }
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) ++figures.descriptors;
    return figures;
}

FigureWatch::FigureWatch()
    : thread_{[this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
              const auto now = process_figures();
              {
                  const std::lock_guard lock{mutex_};
                  largest_.take_larger(now);
              }
              system_clock().sleep_until(system_clock().steady_now() + std::chrono::milliseconds{100}, stop);
          }
      }} {}

ProcessFigures FigureWatch::take() {
    const auto now = process_figures();
    const std::lock_guard lock{mutex_};
    largest_.take_larger(now);
    return std::exchange(largest_, {});
}

}  // namespace hufu::fault
