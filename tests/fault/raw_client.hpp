// A blocking connection that speaks frames: the least that can stand between a checker and the broker.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/remoting/command.hpp>

namespace hufu::fault {

/// One stored message as a pull returned it.
struct Stored {
    std::int64_t queue_offset = 0;
    std::string body;
};

/// For one thread. A connection that failed stays failed.
class RawClient {
public:
    /// Connects to 127.0.0.1:`port`; `connected()` says whether it worked.
    explicit RawClient(std::uint16_t port);
    ~RawClient();
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;

    [[nodiscard]] bool connected() const { return socket_ >= 0 && !failed_; }

    /// Queues a send of `body` to one queue; `flush` hands it to the kernel. The opaque number comes back in the answer.
    void send(std::int32_t opaque, std::string_view topic, std::int32_t queue_id, std::string_view body,
              std::string_view properties = {});
    /// The same for a batch.
    void send_batch(std::int32_t opaque, std::string_view topic, std::int32_t queue_id,
                    const std::vector<std::string>& bodies);
    bool flush();

    /// Waits for the next answer; nothing when the connection is gone. The view is valid until the next call.
    const remoting::CommandView* receive();

    /// Every readable message of the queue from `offset` on. Nothing when the connection is lost or an answer is wrong.
    std::optional<std::vector<Stored>> read_all(std::string_view topic, std::int32_t queue_id, std::int64_t offset = 0);

private:
    int socket_ = -1;
    bool failed_ = false;
    std::string out_;
    remoting::FrameDecoder decoder_;
    remoting::CommandView command_;
};

}  // namespace hufu::fault
