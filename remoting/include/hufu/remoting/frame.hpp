// Cutting a byte stream into frames.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/remoting/codes.hpp>

namespace hufu::remoting {

/// Largest frame that is accepted, its length field not counted (NettyDecoder's own limit).
inline constexpr std::size_t frame_bytes_max = 16 * 1024 * 1024;
/// Largest header that is accepted; headers carry at most a 32 KiB property string in earnest.
inline constexpr std::size_t header_bytes_max = 1024 * 1024;

/// One frame inside a decoder's buffer: valid until the decoder's next `prepare`. The header may be written to
/// (decode_command unescapes in place).
struct Frame {
    SerializeType serialize_type = SerializeType::json;
    std::span<char> header;
    std::string_view body;
};

/// Collects bytes as they arrive and hands out whole frames. Holds no buffer until the first `prepare`, grows with what
/// was received and never because of what a length field claims. For one thread.
class FrameDecoder {
public:
    explicit FrameDecoder(std::size_t bytes_max = frame_bytes_max) : bytes_max_{bytes_max} {}

    /// Room for the next read, at least `room` bytes (more where the buffer has more). Ends the life of earlier frames.
    [[nodiscard]] std::span<char> prepare(std::size_t room = 16 * 1024);
    /// `count` bytes of the last `prepare` were filled.
    void commit(std::size_t count) noexcept;
    /// The next whole frame, or nothing until more bytes are committed. An error (`protocol`) is final: close the connection.
    [[nodiscard]] Result<std::optional<Frame>> next();
    /// Bytes received and not yet handed out.
    [[nodiscard]] std::size_t buffered() const noexcept { return end_ - begin_; }
    /// Gives the buffer back if nothing is buffered (idle connections).
    void release() noexcept;

private:
    std::size_t bytes_max_;
    std::unique_ptr<char[]> buffer_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace hufu::remoting
