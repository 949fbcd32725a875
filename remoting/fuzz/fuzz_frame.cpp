// The first byte says in which pieces the rest arrives. Whole frames go on into the command reader and typed headers.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/command.hpp>
#include <hufu/remoting/headers.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace hufu::remoting;
    if (size == 0) {
        return 0;
    }
    const std::size_t piece = std::size_t{*data} + 1;
    FrameDecoder decoder;
    CommandView command;
    for (std::size_t at = 1; at < size; at += piece) {
        const std::size_t count = std::min(piece, size - at);
        const auto room = decoder.prepare(count);
        HUFU_ASSERT(room.size() <= 4 * size + 1024);
        std::memcpy(room.data(), data + at, count);
        decoder.commit(count);
        for (;;) {
            const auto frame = decoder.next();
            if (!frame) {
                return 0;
            }
            if (!*frame) {
                break;
            }
            if (decode_command(**frame, command)) {
                static_cast<void>(SendRequest::decode(command));
                static_cast<void>(PullRequest::decode(command));
                static_cast<void>(SendResponse::decode(command));
            }
        }
    }
    return 0;
}
