#include "awaited.hpp"

#include <utility>

#include "state.hpp"

namespace hufu::broker {

void Awaited::add(DispatchState& state, std::uint64_t ticket, std::uint64_t bytes, std::optional<QueueHandle> queue,
                  Then then) {
    state.unsettled_bytes += bytes;
    entries_.push_back(Entry{ticket, bytes, queue, std::move(then)});
}

void Awaited::settled(DispatchState& state, const Outcome& outcome) {
    while (!entries_.empty() && entries_.front().ticket <= outcome.through) {
        // Out of the list first: the continuation may append more.
        const Entry entry = std::move(entries_.front());
        entries_.pop_front();
        state.unsettled_bytes -= entry.bytes;
        if (outcome.durable && entry.queue) {
            state.messages_stored.add();
            state.bytes_stored.add(entry.bytes);
            if (QueueWaits& queue = state.queue(*entry.queue); !queue.grew) {
                queue.grew = true;
                state.grown.push_back(*entry.queue);
            }
        }
        entry.then(state, outcome.durable ? Refusal{} : refusal_of(outcome.error));
    }
}

}  // namespace hufu::broker
