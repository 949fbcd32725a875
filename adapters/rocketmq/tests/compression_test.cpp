#include "src/compression.hpp"

#include <gtest/gtest.h>
#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

namespace hufu::rocketmq {
namespace {

std::string text(std::size_t size) {
    std::string result;
    for (std::size_t number = 0; result.size() < size; ++number) result += std::to_string(number * number) + " ";
    result.resize(size);
    return result;
}

std::string zlib_of(const std::string& body) {
    uLongf size = compressBound(static_cast<uLong>(body.size()));
    std::string out(size, '\0');
    compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(body.data()),
             static_cast<uLong>(body.size()));
    out.resize(size);
    return out;
}

std::string lz4_of(const std::string& body) {
    std::string out(LZ4F_compressFrameBound(body.size(), nullptr), '\0');
    out.resize(LZ4F_compressFrame(out.data(), out.size(), body.data(), body.size(), nullptr));
    return out;
}

std::string zstd_of(const std::string& body) {
    std::string out(ZSTD_compressBound(body.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), body.data(), body.size(), 1));
    return out;
}

using Pack = std::string (*)(const std::string&);
using Unpack = std::optional<std::string> (*)(std::string_view);

class Compression : public ::testing::TestWithParam<std::pair<Pack, Unpack>> {};

TEST_P(Compression, GivesBackWhatWasPacked) {
    const auto [pack, unpack] = GetParam();
    for (const std::size_t size : {0U, 1U, 100U, 16'384U, 200'000U, 4U << 20U})
        EXPECT_EQ(unpack(pack(text(size))), text(size));
}

TEST_P(Compression, RefusesWhatIsCutChangedOrLonger) {
    const auto [pack, unpack] = GetParam();
    const std::string packed = pack(text(50'000));
    for (const std::size_t size : {std::size_t{0}, std::size_t{3}, packed.size() / 2, packed.size() - 1})
        EXPECT_EQ(unpack(std::string_view{packed}.substr(0, size)), std::nullopt) << size;
    EXPECT_EQ(unpack(text(1'000)), std::nullopt);
}

TEST_P(Compression, RefusesWhatGrowsBeyondTheLimit) {
    const auto [pack, unpack] = GetParam();
    EXPECT_EQ(unpack(pack(std::string(inflated_bytes_max + 1, 'x'))), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Compression,
                         ::testing::Values(std::pair<Pack, Unpack>{zlib_of, inflate_zlib},
                                           std::pair<Pack, Unpack>{lz4_of, inflate_lz4},
                                           std::pair<Pack, Unpack>{zstd_of, inflate_zstd}));

}  // namespace
}  // namespace hufu::rocketmq
