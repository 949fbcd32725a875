#include <hufu/forward/forward_machine.hpp>

namespace hufu::forward {

Result<void> validate(const ForwardOptions& options) {
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
    };
    if (options.group.empty()) {
        return refuse("forward option group is empty: name the consumer group");
    }
    if (options.batch_messages == 0 || options.batches_max == 0) {
        return refuse("forward options batch_messages and batches_max must be at least 1");
    }
    if (options.held_messages_max < options.batch_messages || options.held_bytes_max == 0) {
        return refuse("forward option held_messages_max must be at least batch_messages (" +
                      std::to_string(options.batch_messages) + "), held_bytes_max at least 1");
    }
    if (options.retry.attempts_max() != 0) {
        return refuse("forward option retry ends after " + std::to_string(options.retry.attempts_max()) +
                      " attempts: it must not end, since nothing may be dropped");
    }
    return {};
}

}  // namespace hufu::forward
