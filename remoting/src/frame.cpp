#include <hufu/remoting/frame.hpp>

#include <algorithm>
#include <cstring>
#include <string>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/bytes.hpp>

namespace hufu::remoting {
namespace {

constexpr std::size_t length_size = 4;
constexpr std::size_t header_length_size = 4;

Error broken(std::string text) { return Error{ErrorCode::protocol, Disposition::reject, std::move(text)}; }

}  // namespace

std::span<char> FrameDecoder::prepare(std::size_t room) {
    if (begin_ == end_) {
        begin_ = end_ = 0;
    }
    if (capacity_ - end_ < room && begin_ > 0) {
        std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    if (capacity_ - end_ < room) {
        // Doubling what has really arrived keeps copying linear, and a hostile length field costs us nothing.
        const std::size_t capacity = std::max(end_ + room, 2 * end_);
        auto buffer = std::make_unique_for_overwrite<char[]>(capacity);
        if (end_ > 0) {
            std::memcpy(buffer.get(), buffer_.get(), end_);
        }
        buffer_ = std::move(buffer);
        capacity_ = capacity;
    }
    return {buffer_.get() + end_, capacity_ - end_};
}

void FrameDecoder::commit(std::size_t count) noexcept {
    HUFU_ASSERT(count <= capacity_ - end_);
    end_ += count;
}

Result<std::optional<Frame>> FrameDecoder::next() {
    if (end_ - begin_ < length_size) {
        return std::optional<Frame>{};
    }
    char* const at = buffer_.get() + begin_;
    const auto length = load<std::uint32_t>(at);
    if (length < header_length_size || length > bytes_max_) {
        return broken("frame of " + std::to_string(length) + " bytes: a frame has " + std::to_string(header_length_size) +
                      " to " + std::to_string(bytes_max_) +
                      "; the peer does not speak the RocketMQ remoting protocol or sends too much at once");
    }
    // The header's length is judged before the frame is whole, so that rubbish is refused early.
    if (end_ - begin_ < length_size + header_length_size) {
        return std::optional<Frame>{};
    }
    const auto type_and_length = load<std::uint32_t>(at + length_size);
    const auto type = type_and_length >> 24;
    const std::size_t header_length = type_and_length & 0x00FF'FFFFU;
    if (type > static_cast<std::uint32_t>(SerializeType::binary)) {
        return broken("frame header of serialize type " + std::to_string(type) + ": known are 0 (JSON) and 1 (ROCKETMQ)");
    }
    if (header_length > length - header_length_size || header_length > header_bytes_max) {
        return broken("frame header of " + std::to_string(header_length) + " bytes in a frame of " + std::to_string(length) +
                      ": a header fits its frame and has at most " + std::to_string(header_bytes_max));
    }
    if (end_ - begin_ < length_size + length) {
        return std::optional<Frame>{};
    }
    char* const header = at + length_size + header_length_size;
    begin_ += length_size + length;
    return std::optional<Frame>{Frame{.serialize_type = static_cast<SerializeType>(type),
                                      .header = {header, header_length},
                                      .body = {header + header_length, length - header_length_size - header_length}}};
}

void FrameDecoder::release() noexcept {
    if (begin_ == end_) {
        buffer_.reset();
        capacity_ = begin_ = end_ = 0;
    }
}

}  // namespace hufu::remoting
