// Messages and calls for the tests of the stream buffer.
#pragma once

#include <future>
#include <string>
#include <vector>

#include <hufu/core/ids.hpp>
#include <hufu/redis/stream_buffer.hpp>
#include <hufu/test_support/redis_server.hpp>

namespace hufu::redis {

inline MessageIdGenerator& ids() {
    static MessageIdGenerator generator{system_clock(), system_random()};
    return generator;
}

inline Message message_of(std::string key, std::string body) {
    return {.id = ids().next(), .topic = "orders", .ordering_key = std::move(key), .body = std::move(body)};
}

inline std::vector<degradation::SpillOutcome> spill(degradation::Buffer& buffer, std::span<const Message> messages,
                                                    degradation::SpillWhen when = degradation::SpillWhen::always) {
    std::vector<degradation::SpillOutcome> outcomes(messages.size());
    std::promise<void> done;
    buffer.spill(messages, when, outcomes, [&done] { done.set_value(); });
    done.get_future().wait();
    return outcomes;
}

inline degradation::SpillOutcome spill_one(degradation::Buffer& buffer, const Message& message,
                                           degradation::SpillWhen when = degradation::SpillWhen::always) {
    return spill(buffer, std::span{&message, 1}, when).front();
}

inline Result<std::uint64_t> epoch_of(degradation::Buffer& buffer) {
    std::promise<Result<std::uint64_t>> told;
    buffer.epoch([&told](Result<std::uint64_t> epoch) { told.set_value(std::move(epoch)); });
    return told.get_future().get();
}

inline std::vector<std::string> bodies(const std::vector<degradation::Entry>& entries, const std::string& key) {
    std::vector<std::string> found;
    for (const auto& entry : entries) {
        if (entry.message.ordering_key == key) found.push_back(entry.message.body);
    }
    return found;
}

inline std::vector<degradation::EntryId> ids_of(const std::vector<degradation::Entry>& entries) {
    std::vector<degradation::EntryId> found;
    for (const auto& entry : entries) found.push_back(entry.id);
    return found;
}

/// Everything that can be read until half a second of silence.
inline std::vector<degradation::Entry> drain(degradation::BufferReader& reader) {
    std::vector<degradation::Entry> all;
    for (;;) {
        auto page = reader.read(100, std::chrono::milliseconds{all.empty() ? 500 : 50}).value();
        if (page.empty()) return all;
        all.insert(all.end(), std::make_move_iterator(page.begin()), std::make_move_iterator(page.end()));
    }
}

}  // namespace hufu::redis
