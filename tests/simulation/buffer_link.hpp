// What one process sees of a buffer: `degradation::Buffer` and its reader, with answers that come as events.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <hufu/degradation/buffer.hpp>

namespace hufu::simulation {

/// Every call is answered once, unless the process dies before. One reader per link: its calls one after another.
class BufferLink {
public:
    template <class Answer>
    using Told = std::function<void(Result<Answer>)>;
    using Outcomes = std::vector<degradation::SpillOutcome>;

    virtual ~BufferLink() = default;

    virtual void inspect(Told<degradation::LossStatement> told) = 0;
    virtual void size(Told<degradation::BufferSize> told) = 0;
    virtual void epoch(Told<std::uint64_t> told) = 0;
    virtual void spill(std::vector<Message> messages, degradation::SpillWhen when, std::function<void(Outcomes)> told) = 0;
    virtual void holds(std::vector<ConsumerKey> keys, Told<std::vector<bool>> told) = 0;
    /// What was set aside, in order per key.
    virtual void parked(Told<std::vector<Message>> told) = 0;
    /// Puts back what was set aside.
    virtual void unpark(Told<std::uint64_t> told) = 0;

    // The reader.
    virtual void read(std::size_t max, Told<std::vector<degradation::Entry>> told) = 0;
    virtual void trim(std::vector<degradation::EntryId> entries, Told<std::size_t> told) = 0;
    virtual void park(std::vector<degradation::EntryId> entries, std::string reason, Told<std::size_t> told) = 0;
    virtual void release(std::function<void()> told) = 0;
};

}  // namespace hufu::simulation
