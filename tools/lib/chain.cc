// SPDX-License-Identifier: GPL-2.0
// Which images an increment needs, each checked to be the one that is meant.
#include "tools/lib/chain.hh"

#include <filesystem>

#include <fmt/format.h>

#include "tools/lib/error.hh"

namespace krg::image {

namespace {

namespace fs = std::filesystem;

constexpr const char* keep_together = "keep the images of a chain in one folder, under their names";

/** Leaves a reading that has seen what it wanted. */
struct Enough {};

[[noreturn]] void not_meant(const Link& of, const std::string& path, const std::string& why) {
    throw Error(Exit::failed, fmt::format("{}: not the image that {} adds to: {}", path, of.path, why), keep_together);
}

Link parent_of(const Link& link) {
    const std::string path = (fs::path(link.path).parent_path() / link.base).string();
    if (link.base.empty())
        throw Error(Exit::failed, fmt::format("{}: an increment that does not name the image it adds to", link.path));
    try {
        return link_of(path);
    } catch (const Error& error) {
        if (error.code() != Exit::no_object) throw;
        throw Error(Exit::no_object, fmt::format("{}: the image that {} adds to is not there", path, link.path), keep_together);
    }
}

}  // namespace

Link link_of(const std::string& path) {
    // The name may be a link to a version: what it needs is beside that one.
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    Link link;
    link.path = error || !fs::is_regular_file(real, error) ? path : real.string();
    try {
        peek(link.path, [&](u64 number, const Item& item) {
            if (item.type == KRG_GHOST_IMAGE) {
                link.number = number;
                link.chain = item.number(KRG_GHOST_IMAGE_CHAIN);
                link.version = item.number(KRG_GHOST_IMAGE_VERSION);
                link.parent = item.number(KRG_GHOST_IMAGE_PARENT);
                link.base = item.text(KRG_GHOST_IMAGE_BASE);
            }
            throw Enough();
        });
    } catch (const Enough&) {}
    return link;
}

std::vector<Link> chain_of(const std::string& path) {
    std::vector<Link> chain{link_of(path)};
    // Versions go down by one, so this ends.
    while (chain.back().parent) {
        const Link& link = chain.back();
        Link parent = parent_of(link);
        if (parent.chain != link.chain) not_meant(link, parent.path, "it belongs to another chain");
        if (parent.number != link.parent)
            not_meant(link, parent.path, fmt::format("its number is {:016x}, not {:016x}", parent.number, link.parent));
        if (parent.version + 1 != link.version)
            not_meant(link, parent.path,
                      fmt::format("it is version {} of the chain, not {}", parent.version, link.version - 1));
        chain.push_back(std::move(parent));
    }
    return chain;
}

bool is_whole(const std::string& path) {
    bool whole = true;
    read(path, {[&](const Item& item) {
                    if (item.type == KRG_GHOST_IMAGE && item.number(KRG_GHOST_IMAGE_PARENT)) whole = false;
                    if (item.type == KRG_GHOST_PAGES && item.number(KRG_GHOST_PAGES_CODEC)) whole = false;
                },
                {},
                [](const Item&) { return true; }});
    return whole;
}

}  // namespace krg::image
