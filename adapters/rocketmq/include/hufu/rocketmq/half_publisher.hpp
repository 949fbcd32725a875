// Hufu's HalfPublisher over RocketMQ's remoting protocol: the bundled broker, and RocketMQ 4.9 and 5.x.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include <hufu/rocketmq/client.hpp>
#include <hufu/txmsg/half_publisher.hpp>

namespace hufu::rocketmq {

struct HalfPublisherOptions {
    std::size_t body_bytes_max = 4 * 1'024 * 1'024;
    /// Without an answer for so long a half is in doubt; one that could not even be sent ends `not_sent`.
    std::chrono::milliseconds prepare_timeout{10'000};
    /// END is repeated for so long (bundled broker only); one repetition waits `end_answer_timeout` for its answer.
    std::chrono::milliseconds end_timeout{10'000};
    std::chrono::milliseconds end_answer_timeout{3'000};
    /// How often brokers are told which groups this process answers for, and looked for anew.
    std::chrono::milliseconds heartbeat_every{15'000};
    /// Questions handed out and not answered yet. Further ones are passed over; the broker asks again.
    std::size_t checks_open_max = 1'024;
};

/// Starts a half publisher with one thread of its own; it connects with the first call. Borrows `clock`, `random` (must
/// be safe from any thread) and `log` for its life. `invalid_argument` names an option that cannot be.
///
/// Thread-safe. Order and delivery: txmsg::HalfPublisher's contract, with these details.
/// A half with an ordering key goes to queue abs(java_hash(key) % queues), others go round robin. The producer group on
/// the wire is `group`, or `group%handler`, so that a real RocketMQ routes its questions by handler too; [%a-zA-Z0-9_-].
/// FLUSH_DISK_TIMEOUT, FLUSH_SLAVE_TIMEOUT and SLAVE_NOT_AVAILABLE mean: stored, in doubt; `half.token` is set then too.
///
/// END. The bundled broker decides all halves by one END, answers it and takes repetitions. It is known by its answers.
/// A real RocketMQ applies every END it gets, so each half is ended exactly once; when no answer comes the outcome is
/// `unknown`, and check-back settles it.
///
/// `serve_checks` must not be called from inside an `OnCheck`.
[[nodiscard]] Result<std::unique_ptr<txmsg::HalfPublisher>> open_half_publisher(ClientOptions client,
                                                                                HalfPublisherOptions options = {},
                                                                                Clock& clock = system_clock(),
                                                                                Random& random = system_random(),
                                                                                Log& log = no_log());

}  // namespace hufu::rocketmq
