#include "compression.hpp"

#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <memory>

namespace hufu::rocketmq {
namespace {

constexpr std::size_t piece_bytes = 16 * 1024;

}  // namespace

std::optional<std::string> inflate_zlib(std::string_view compressed) {
    z_stream stream{};
    if (inflateInit(&stream) != Z_OK) {
        return {};
    }
    const std::unique_ptr<z_stream, decltype(&inflateEnd)> end{&stream, &inflateEnd};
    std::string out;
    std::array<char, piece_bytes> piece;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));  // zlib does not write there
    stream.avail_in = static_cast<uInt>(compressed.size());
    int status = Z_OK;
    while (status == Z_OK && out.size() <= inflated_bytes_max) {
        stream.next_out = reinterpret_cast<Bytef*>(piece.data());
        stream.avail_out = static_cast<uInt>(piece.size());
        status = inflate(&stream, Z_NO_FLUSH);
        out.append(piece.data(), piece.size() - stream.avail_out);
    }
    return status == Z_STREAM_END && out.size() <= inflated_bytes_max ? std::optional{std::move(out)} : std::nullopt;
}

std::optional<std::string> inflate_lz4(std::string_view compressed) {
    LZ4F_dctx* made = nullptr;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION)) != 0) {
        return {};
    }
    const std::unique_ptr<LZ4F_dctx, decltype(&LZ4F_freeDecompressionContext)> context{made, &LZ4F_freeDecompressionContext};
    std::string out;
    std::array<char, piece_bytes> piece;
    while (out.size() <= inflated_bytes_max) {
        std::size_t read = compressed.size();
        std::size_t written = piece.size();
        const std::size_t more = LZ4F_decompress(context.get(), piece.data(), &written, compressed.data(), &read, nullptr);
        if (LZ4F_isError(more) != 0) {
            return {};
        }
        out.append(piece.data(), written);
        compressed.remove_prefix(read);
        if (more == 0) {
            return compressed.empty() && out.size() <= inflated_bytes_max ? std::optional{std::move(out)} : std::nullopt;
        }
        if (read == 0 && written == 0) {
            return {};  // cut short
        }
    }
    return {};
}

std::optional<std::string> inflate_zstd(std::string_view compressed) {
    const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context{ZSTD_createDCtx(), &ZSTD_freeDCtx};
    if (!context) {
        return {};
    }
    std::string out;
    std::array<char, piece_bytes> piece;
    ZSTD_inBuffer input{compressed.data(), compressed.size(), 0};
    while (out.size() <= inflated_bytes_max) {
        ZSTD_outBuffer output{piece.data(), piece.size(), 0};
        const std::size_t read_before = input.pos;
        const std::size_t more = ZSTD_decompressStream(context.get(), &output, &input);
        if (ZSTD_isError(more) != 0) {
            return {};
        }
        out.append(piece.data(), output.pos);
        if (more == 0) {
            return input.pos == input.size && out.size() <= inflated_bytes_max ? std::optional{std::move(out)}
                                                                               : std::nullopt;
        }
        if (input.pos == read_before && output.pos == 0) {
            return {};  // cut short
        }
    }
    return {};
}

}  // namespace hufu::rocketmq
