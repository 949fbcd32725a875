// fastjson's maps whose keys are objects, {{"brokerName":"b","queueId":0,"topic":"t"}:value,...}: no legal JSON, and the
// only form that Java's admin tools read for maps keyed by a message queue.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/remoting/bodies.hpp>

namespace hufu::remoting {

/// Appends `text` as a JSON string, with its quotes.
void append_json_text(std::string& out, std::string_view text);

/// Appends one map from queues to values to `out`: construct, add, finish once. `out` must not be touched in between.
class QueueMapWriter {
public:
    explicit QueueMapWriter(std::string& out) : out_{out} { out_.push_back('{'); }
    QueueMapWriter(const QueueMapWriter&) = delete;
    QueueMapWriter& operator=(const QueueMapWriter&) = delete;

    /// `json` is the value, already written as JSON.
    void add(const MessageQueue& queue, std::string_view json);
    void add(const MessageQueue& queue, std::int64_t value);
    void finish() { out_.push_back('}'); }

private:
    std::string& out_;
    bool any_ = false;
};

/// Turns object keys into strings that hold their JSON, which makes the text legal JSON. Text without object keys comes
/// back unchanged, malformed text comes back malformed.
[[nodiscard]] std::string quote_object_keys(std::string_view text);

/// One entry of a map keyed by queues.
struct QueueMapEntry {
    MessageQueue queue;
    std::string json;  ///< the value
    /// The value as a number; 0 when it is none.
    [[nodiscard]] std::int64_t number() const noexcept;
};

/// Reads the member `name` of the object `text`, a map keyed by queues (object keys, or strings that hold their JSON).
/// Absent or null: no entries. `protocol` when the text is no object or the member is no such map.
[[nodiscard]] Result<std::vector<QueueMapEntry>> read_queue_map(std::string_view text, std::string_view name);

}  // namespace hufu::remoting
