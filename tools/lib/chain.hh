// SPDX-License-Identifier: GPL-2.0
// Increments: which images a file needs, and one whole image out of all of them. Also packs and unpacks page data, which
// goes the same way. What an increment is: Documentation/ghost-format.md.
#pragma once

#include <string>
#include <vector>

#include "tools/lib/image.hh"

namespace krg::image {

enum class Codec : u64 { plain = KRG_GHOST_CODEC_PLAIN, lz4 = KRG_GHOST_CODEC_LZ4, zstd = KRG_GHOST_CODEC_ZSTD };

/** What an image says of its place in a chain. */
struct Link {
    std::string path;
    u64 number = 0, chain = 0, version = 0, parent = 0;  // parent 0: a full image
    std::string base;                                    // file name of the parent, beside this one
};

/** The image record of @path; the rest is not read. Throws krg::Error. */
Link link_of(const std::string& path);

/**
 * The images that @path needs, itself first, each checked to be the one that the one before names: chain, version, number.
 * Throws krg::Error: which one is missing, or is another one.
 */
std::vector<Link> chain_of(const std::string& path);

/** Whether the kernel can read it as it is: no increment, nothing packed. */
bool is_whole(const std::string& path);

/**
 * Writes to @fd, from its position on, what @path is with all that it needs, each run of pages packed by @codec if that makes
 * it smaller. @keep: it stays the image that it is, an increment perhaps; else the result needs no other file, and has a number
 * of its own. All of it is checked. Throws krg::Error. The number and size of what was written.
 */
Summary rewrite(const std::string& path, int fd, Codec codec, bool keep);

}  // namespace krg::image
