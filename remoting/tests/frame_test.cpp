#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/frame.hpp>

namespace hufu::remoting {
namespace {

std::string frame_bytes(std::string_view header, std::string_view body, std::uint32_t type = 0) {
    std::string out;
    append(out, static_cast<std::uint32_t>(4 + header.size() + body.size()));
    append(out, static_cast<std::uint32_t>(type << 24 | header.size()));
    out.append(header).append(body);
    return out;
}

void feed(FrameDecoder& decoder, std::string_view bytes) {
    const auto room = decoder.prepare(bytes.size());
    std::memcpy(room.data(), bytes.data(), bytes.size());
    decoder.commit(bytes.size());
}

std::string text(std::span<char> bytes) { return {bytes.data(), bytes.size()}; }

TEST(FrameDecoder, ReadsTheLayoutOfTheProtocol) {
    // length 11 | type 1, header of 3 | "abc" | "body"
    constexpr std::string_view bytes{
        "\x00\x00\x00\x0B\x01\x00\x00\x03"
        "abcbody",
        15};
    FrameDecoder decoder;
    feed(decoder, bytes);
    const auto frame = decoder.next();
    ASSERT_TRUE(frame);
    ASSERT_TRUE(frame->has_value());
    EXPECT_EQ((*frame)->serialize_type, SerializeType::binary);
    EXPECT_EQ(text((*frame)->header), "abc");
    EXPECT_EQ((*frame)->body, "body");
    EXPECT_EQ(decoder.buffered(), 0U);
}

TEST(FrameDecoder, HandsOutFramesWhateverTheCuts) {
    std::string stream;
    for (int i = 0; i < 50; ++i) {
        stream += frame_bytes("header" + std::to_string(i), std::string(static_cast<std::size_t>(i * 37), 'b'));
    }
    for (const std::size_t cut : {1UL, 2UL, 3UL, 7UL, 1000UL, 100'000UL}) {
        FrameDecoder decoder;
        int seen = 0;
        for (std::size_t at = 0; at < stream.size(); at += cut) {
            feed(decoder, std::string_view{stream}.substr(at, cut));
            for (;;) {
                auto frame = decoder.next();
                ASSERT_TRUE(frame);
                if (!*frame) {
                    break;
                }
                EXPECT_EQ(text((*frame)->header), "header" + std::to_string(seen));
                EXPECT_EQ((*frame)->body.size(), static_cast<std::size_t>(seen * 37));
                ++seen;
            }
        }
        EXPECT_EQ(seen, 50) << "cut " << cut;
    }
}

TEST(FrameDecoder, RefusesWhatIsNoFrame) {
    const auto refused = [](std::string bytes) {
        FrameDecoder decoder;
        feed(decoder, bytes);
        const auto frame = decoder.next();
        return !frame && frame.error().code() == ErrorCode::protocol;
    };
    std::string zero;
    append(zero, std::uint32_t{0});
    EXPECT_TRUE(refused(zero));
    EXPECT_TRUE(refused("GET / HTTP/1.1\r\n"));
    EXPECT_TRUE(refused(std::string("\xFF\xFF\xFF\xFF\x00\x00\x00\x00", 8)));   // length -1
    EXPECT_TRUE(refused(std::string("\x01\x00\x00\x01\x00\x00\x00\x00", 8)));   // one over 16 MiB
    EXPECT_FALSE(refused(std::string("\x01\x00\x00\x00\x00\x00\x00\x00", 8)));  // 16 MiB
    EXPECT_TRUE(
        refused(std::string("\x00\x00\x00\x08\x00\x00\x00\x05"
                            "abcd",
                            12)));  // header past the frame
    EXPECT_TRUE(
        refused(std::string("\x00\x00\x00\x08\x02\x00\x00\x01"
                            "abcd",
                            12)));                                             // unknown serialize type
    EXPECT_TRUE(refused(std::string("\x00\xFF\x00\x00\x00\x10\x00\x01", 8)));  // header over 1 MiB
}

TEST(FrameDecoder, DoesNotAllocateWhatALengthFieldClaims) {
    FrameDecoder decoder;
    EXPECT_EQ(decoder.buffered(), 0U);
    feed(decoder, std::string("\x00\xFF\xFF\xFF\x00\x00\x00\x10", 8));
    ASSERT_TRUE(decoder.next());
    EXPECT_LE(decoder.prepare(1024).size(), 64U * 1024U);
}

TEST(FrameDecoder, GivesItsBufferBackOnlyWhenEmpty) {
    FrameDecoder decoder;
    feed(decoder, "x");
    decoder.release();
    EXPECT_EQ(decoder.buffered(), 1U);
}

}  // namespace
}  // namespace hufu::remoting
