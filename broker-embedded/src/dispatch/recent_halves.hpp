// The halves that came last, in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace hufu::broker {

/// Records of the halves that were stored last, as they stand in the log, so that a verdict that follows soon need not read it.
/// A ring of `bytes_max`, allocated with the first half; the oldest records make room. Not thread-safe.
class RecentHalves {
public:
    static constexpr std::size_t bytes_max = 1U << 20U;

    /// Copies `record` and returns the copy, valid until the next call. `home` must follow the one before; otherwise all others
    /// are forgotten. Empty, and nothing is kept, when the record is larger than the ring.
    std::span<std::byte> add(std::uint64_t home, std::span<const std::byte> record) {
        if (!kept_.empty() && home != first_home_ + kept_.size()) clear();
        if (record.size() > bytes_max) {
            clear();
            return {};
        }
        if (ring_.empty()) ring_.resize(bytes_max);
        if (end_ + record.size() > bytes_max) {
            forget_from(end_, bytes_max);  // what stands behind it is the oldest
            end_ = 0;
        }
        forget_from(end_, end_ + record.size());
        if (kept_.empty()) first_home_ = home;
        kept_.push_back({end_, record.size()});
        const auto copy = std::span{ring_}.subspan(end_, record.size());
        std::copy(record.begin(), record.end(), copy.begin());
        end_ += record.size();
        return copy;
    }
    /// Empty when it is not kept. Valid until the next `add` or `clear`.
    [[nodiscard]] std::span<const std::byte> find(std::uint64_t home) const {
        if (home < first_home_ || home - first_home_ >= kept_.size()) return {};
        const Place& place = kept_[static_cast<std::size_t>(home - first_home_)];
        return std::span{ring_}.subspan(place.at, place.size);
    }
    void clear() {
        kept_.clear();
        end_ = 0;
    }

private:
    struct Place {
        std::size_t at;
        std::size_t size;
    };
    /// Forgets the oldest records while they begin within [begin, end).
    void forget_from(std::size_t begin, std::size_t end) {
        while (!kept_.empty() && kept_.front().at < end && kept_.front().at + kept_.front().size > begin) {
            kept_.pop_front();
            ++first_home_;
        }
    }

    std::vector<std::byte> ring_;
    std::deque<Place> kept_;
    std::uint64_t first_home_ = 0;
    std::size_t end_ = 0;
};

}  // namespace hufu::broker
