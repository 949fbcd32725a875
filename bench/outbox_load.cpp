#include "outbox_load.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "outbox_stage.hpp"

namespace hufu::bench {

std::string stamped_body(const Stamp& stamp) {
    std::string body(body_bytes, 'x');
    std::memcpy(body.data(), &stamp, sizeof stamp);
    return body;
}

Stamp stamp_of(const Message& message) {
    Stamp stamp;
    if (message.body.size() >= sizeof stamp) std::memcpy(&stamp, message.body.data(), sizeof stamp);
    return stamp;
}

std::int64_t to_ns(SteadyTime time) noexcept { return time.time_since_epoch().count(); }

double quantile(std::vector<double>& values, double part) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[std::min(values.size() - 1, static_cast<std::size_t>(part * static_cast<double>(values.size())))];
}

Zipf::Zipf(std::size_t count, double theta) {
    double sum = 0;
    for (std::size_t rank = 0; rank < count; ++rank) {
        sum += 1 / std::pow(static_cast<double>(rank + 1), theta);
        sums_.push_back(sum);
    }
}

std::size_t Zipf::draw(Random& random) const {
    const double unit = static_cast<double>(random.next() >> 11) * 0x1p-53;
    const auto found = std::upper_bound(sums_.begin(), sums_.end(), unit * sums_.back());
    return std::min(static_cast<std::size_t>(found - sums_.begin()), sums_.size() - 1);
}

void CountingPublisher::publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) {
    inner_.publish(batch, outcomes, [this, batch, outcomes, done = std::move(done)] {
        count(batch, outcomes);
        done();
    });
}

void CountingPublisher::count(std::span<const Message> batch, std::span<const PublishOutcome> outcomes) {
    const auto confirmed = static_cast<std::uint64_t>(std::count_if(
        outcomes.begin(), outcomes.end(), [](const auto& outcome) { return outcome.status == PublishStatus::confirmed; }));
    if (measuring_) {
        const auto at = to_ns(now());
        const std::lock_guard lock{mutex_};
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (outcomes[i].status != PublishStatus::confirmed) continue;
            latencies_ms_.push_back(static_cast<double>(at - stamp_of(batch[i]).sent_ns) / 1e6);
        }
    }
    {
        const std::lock_guard lock{mutex_};
        confirmed_ += confirmed;
    }
    grew_.notify_all();
}

bool CountingPublisher::wait_for(std::uint64_t count, double seconds) {
    std::unique_lock lock{mutex_};
    while (confirmed_ < count) {
        const std::uint64_t before = confirmed_;
        if (!grew_.wait_for(lock, std::chrono::duration<double>{seconds}, [&] { return confirmed_ > before; })) return false;
    }
    return true;
}

std::vector<double> CountingPublisher::latencies_ms() {
    const std::lock_guard lock{mutex_};
    return std::exchange(latencies_ms_, {});
}

}  // namespace hufu::bench
