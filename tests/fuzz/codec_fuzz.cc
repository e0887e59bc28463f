// SPDX-License-Identifier: GPL-2.0
//
// Fuzz target: packed page data. The first byte of an input says which codec, and how many pages are promised; the rest is
// what was packed. Whatever the bytes, what comes out has exactly the promised size or there is nothing, and never more is
// written (the sanitizers watch). What was packed here comes back as it was, and under no other promise.
#include "tests/fuzz/input.hh"
#include "tools/lib/codec.hh"

#include <cstdint>

namespace {

using krg::fuzz::require;
using namespace krg::image;

constexpr size_t page = 4096;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    constexpr size_t promises[] = {1, 2, 3, 16, 64, 256, 257, 0};
    const u64 codec = data[0] & 3;
    const size_t promised = promises[data[0] >> 2 & 7] * page;
    const std::vector<u8> bytes(data + 1, data + size);
    if (const auto plain = unpack(bytes, codec, promised)) {
        require(plain->size() == promised && promised > 0 && promised <= KRG_GHOST_DATA_MAX);
        require(codec == KRG_GHOST_CODEC_LZ4 || codec == KRG_GHOST_CODEC_ZSTD);
        require(bytes.size() <= promised);
    }
    std::vector<u8> pages = bytes;
    pages.resize((bytes.size() / page + 1) * page);
    const auto packed = pack(pages, codec);
    if (!packed) return 0;
    require(packed->size() < pages.size());
    const auto again = unpack(*packed, codec, pages.size());
    require(again && *again == pages);
    require(!unpack(*packed, codec, pages.size() + page));
    if (pages.size() > page) require(!unpack(*packed, codec, pages.size() - page));
    return 0;
}
