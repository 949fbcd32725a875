// What happens when the log has settled something that was appended.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include <hufu/broker/log.hpp>

#include "store.hpp"

namespace hufu::broker {

class DispatchState;

/// Appends that no send waits for but something else does. Each continuation runs exactly once, in the log's order.
class Awaited {
public:
    /// Refused: the log did not keep it.
    using Then = std::function<void(DispatchState&, const Refusal&)>;

    /// `ticket` is not below any that was added before. `queue`: where the record will be readable.
    void add(DispatchState& state, std::uint64_t ticket, std::uint64_t bytes, std::optional<QueueHandle> queue, Then then);
    void settled(DispatchState& state, const Outcome& outcome);
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

private:
    struct Entry {
        std::uint64_t ticket;
        std::uint64_t bytes;
        std::optional<QueueHandle> queue;
        Then then;
    };
    std::deque<Entry> entries_;
};

}  // namespace hufu::broker
