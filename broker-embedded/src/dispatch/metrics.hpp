// Figures of topics and groups: what is counted while messages pass, and what is worked out when somebody asks.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace hufu::broker {

class DispatchState;

/// What a group was handed of a topic since the start.
struct Traffic {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
};

/// Counters of (group, topic), bounded in number.
class TrafficTable {
public:
    /// Good for the table's life. Past `series_max` pairs: the common rest.
    Traffic& of(std::string_view group, std::string_view topic, std::size_t series_max);

    using Topics = std::map<std::string, Traffic, std::less<>>;
    [[nodiscard]] const std::map<std::string, Topics, std::less<>>& groups() const noexcept { return groups_; }
    [[nodiscard]] const Traffic& rest() const noexcept { return rest_; }

private:
    std::map<std::string, Topics, std::less<>> groups_;
    std::size_t count_ = 0;
    Traffic rest_;
};

/// Appends Prometheus text. Looks at every topic and position, and at a bounded number of records.
void write_metrics(DispatchState& state, std::string& into);

}  // namespace hufu::broker
