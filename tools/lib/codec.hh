// SPDX-License-Identifier: GPL-2.0
// Page data, packed: one LZ4 block or one zstd frame of a whole run. Sizes are known before; nothing else is unpacked.
#pragma once

#include <optional>
#include <vector>

#include "proc/core/ghost.h"

namespace krg::image {

/** @data packed by @codec (KRG_GHOST_CODEC_*), or nothing: that would not be smaller. */
std::optional<std::vector<u8>> pack(const std::vector<u8>& data, u64 codec);
/** What @data unpacks to if that is exactly @size bytes and uses all of @data, or nothing. @size: at most KRG_GHOST_DATA_MAX. */
std::optional<std::vector<u8>> unpack(const std::vector<u8>& data, u64 codec, size_t size);

}  // namespace krg::image
