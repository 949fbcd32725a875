#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

#include <hufu/core/random.hpp>
#include <hufu/remoting/checksum.hpp>

namespace hufu::remoting {
namespace {

TEST(Checksum, IsTheStandardOne) {
    EXPECT_EQ(remoting::crc32(""), 0U);
    EXPECT_EQ(remoting::crc32("123456789"), 0xCBF4'3926U);
    EXPECT_EQ(body_checksum("123456789"), 0x4BF4'3926);
}

TEST(Checksum, AgreesWithZlibAtEveryLengthAndAlignment) {
    SeededRandom random{1};
    std::string bytes(5'000, '\0');
    for (char& byte : bytes) {
        byte = static_cast<char>(random.next());
    }
    for (std::size_t size = 0; size < 700; ++size) {
        for (const std::size_t at : {0UL, 1UL, 7UL, 15UL}) {
            const auto* data = reinterpret_cast<const Bytef*>(bytes.data() + at);
            ASSERT_EQ(remoting::crc32({bytes.data() + at, size}), ::crc32(0, data, static_cast<uInt>(size)))
                << size << " at " << at;
        }
    }
    EXPECT_EQ(remoting::crc32(bytes), ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), 5'000));
}

}  // namespace
}  // namespace hufu::remoting
