// Messages that an effect sends: they commit with it, and have the same ids however often it runs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/ids.hpp>
#include <hufu/core/message.hpp>

namespace hufu::idempotency {

/// The id of the `index`-th message that `group` sends because of `incoming`. A UUIDv7 with the incoming one's time, so that
/// indexes stay dense; the rest is a hash (SHA-1) of group, incoming id and index. Whoever runs the effect again, here, in
/// another process or after the guard has forgotten it, sends under the same id, and guards downstream absorb it.
[[nodiscard]] MessageId derived_id(const std::string& group, const MessageId& incoming, std::uint32_t index);

/// What an effect sends. Filled by the effect; appended to the outbox in its transaction where it answers `done`. Trace
/// context rides on. For one thread and one message.
class Outgoing {
public:
    Outgoing(std::string group, const Message& incoming) : group_{std::move(group)}, incoming_{incoming} {}

    /// Returns the id it is sent under: its own, or, where that is nil, the derived one of its place.
    MessageId add(Message message);
    [[nodiscard]] std::span<Message> messages() noexcept { return messages_; }
    [[nodiscard]] bool empty() const noexcept { return messages_.empty(); }

private:
    std::string group_;
    const Message& incoming_;
    std::vector<Message> messages_;
};

}  // namespace hufu::idempotency
