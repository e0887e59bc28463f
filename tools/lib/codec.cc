// SPDX-License-Identifier: GPL-2.0
// See codec.hh. What comes out is bounded by the size that the caller knows, whatever the packed bytes claim.
#include "tools/lib/codec.hh"

#include <lz4.h>
#include <zstd.h>

namespace krg::image {

namespace {

constexpr int zstd_level = 1;  // of three times the speed of the usual one

}  // namespace

std::optional<std::vector<u8>> pack(const std::vector<u8>& data, u64 codec) {
    if (data.size() < 2 || data.size() > KRG_GHOST_DATA_MAX) return std::nullopt;
    std::vector<u8> out(data.size() - 1);
    size_t length = 0;
    if (codec == KRG_GHOST_CODEC_LZ4) {
        const int got = LZ4_compress_default(reinterpret_cast<const char*>(data.data()), reinterpret_cast<char*>(out.data()),
                                             static_cast<int>(data.size()), static_cast<int>(out.size()));
        length = got > 0 ? static_cast<size_t>(got) : 0;
    } else if (codec == KRG_GHOST_CODEC_ZSTD) {
        length = ZSTD_compress(out.data(), out.size(), data.data(), data.size(), zstd_level);
        if (ZSTD_isError(length)) length = 0;
    }
    if (!length) return std::nullopt;
    out.resize(length);
    return out;
}

std::optional<std::vector<u8>> unpack(const std::vector<u8>& data, u64 codec, size_t size) {
    if (!size || size > KRG_GHOST_DATA_MAX || data.empty() || data.size() > size) return std::nullopt;
    std::vector<u8> out(size);
    if (codec == KRG_GHOST_CODEC_LZ4) {
        const int got = LZ4_decompress_safe(reinterpret_cast<const char*>(data.data()), reinterpret_cast<char*>(out.data()),
                                            static_cast<int>(data.size()), static_cast<int>(size));
        if (got < 0 || static_cast<size_t>(got) != size) return std::nullopt;
    } else if (codec == KRG_GHOST_CODEC_ZSTD) {
        // One frame, and nothing behind it.
        if (ZSTD_findFrameCompressedSize(data.data(), data.size()) != data.size()) return std::nullopt;
        if (ZSTD_decompress(out.data(), size, data.data(), data.size()) != size) return std::nullopt;
    } else {
        return std::nullopt;
    }
    return out;
}

}  // namespace krg::image
