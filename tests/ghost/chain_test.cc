// SPDX-License-Identifier: GPL-2.0
// Chains of images that were made here: what is taken from where, what is refused, and page data that are packed.
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ghost/image.hh"
#include "tools/lib/chain.hh"
#include "tools/lib/codec.hh"
#include "tools/lib/error.hh"

namespace krg::ghost::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;
using image::Codec;

constexpr u64 page = 4096, first = 0x10000;

std::string pages_of(char fill, size_t count) { return std::string(count * page, fill); }

struct RunOf {
    u64 at, count, source;
    char fill = 0;
};

/** An image of one address space with one mapping of 16 pages at @first, and, if @twin, a second one. */
Bytes make(u64 number, u64 version, u64 parent, const std::string& base, const std::vector<RunOf>& runs, u64 chain = 99,
           bool twin = false, u64 key = 5) {
    Maker maker(parent ? KRG_GHOST_INCREMENT : 0, number);
    std::vector<Put> place;
    if (chain) place.emplace_back(KRG_GHOST_IMAGE_CHAIN, chain);
    if (parent) {
        place.emplace_back(KRG_GHOST_IMAGE_VERSION, version);
        place.emplace_back(KRG_GHOST_IMAGE_PARENT, parent);
        if (!base.empty()) place.emplace_back(KRG_GHOST_IMAGE_BASE, base);
    }
    add_image(maker, place);
    const u64 mm = maker.add(KRG_GHOST_MM, {{KRG_GHOST_MM_KEY, key}});
    const u64 vma = maker.add(KRG_GHOST_VMA,
                              {{KRG_GHOST_VMA_MM, mm}, {KRG_GHOST_VMA_START, first}, {KRG_GHOST_VMA_END, first + 16 * page}});
    for (const RunOf& run : runs) {
        std::vector<Put> fields = {{KRG_GHOST_PAGES_OWNER, vma},
                                   {KRG_GHOST_PAGES_AT, first + run.at * page},
                                   {KRG_GHOST_PAGES_COUNT, run.count}};
        if (run.source) fields.emplace_back(KRG_GHOST_PAGES_SOURCE, run.source);
        maker.add(KRG_GHOST_PAGES, fields, run.source ? "" : pages_of(run.fill, run.count));
    }
    if (twin) {
        const u64 other = maker.add(KRG_GHOST_MM, {{KRG_GHOST_MM_KEY, key + 1}});
        const u64 same = maker.add(KRG_GHOST_VMA, {{KRG_GHOST_VMA_MM, other},
                                                   {KRG_GHOST_VMA_START, first},
                                                   {KRG_GHOST_VMA_END, first + 16 * page}});
        const bool full = !parent;
        std::vector<Put> fields = {{KRG_GHOST_PAGES_OWNER, same},
                                   {KRG_GHOST_PAGES_AT, first},
                                   {KRG_GHOST_PAGES_COUNT, 2},
                                   {KRG_GHOST_PAGES_SOURCE, full ? KRG_GHOST_SOURCE_TWIN : KRG_GHOST_SOURCE_PARENT}};
        if (full) {
            fields.emplace_back(KRG_GHOST_PAGES_TWIN, vma);
            fields.emplace_back(KRG_GHOST_PAGES_TWIN_AT, first);
        }
        maker.add(KRG_GHOST_PAGES, fields);
    }
    EXPECT_EQ(maker.error().code, 0) << maker.error().reason;
    return maker.close();
}

class Chain : public ::testing::Test {
protected:
    Chain() {
        std::string name = (fs::temp_directory_path() / "krg-chain.XXXXXX").string();
        folder_ = mkdtemp(name.data());
    }
    ~Chain() override { fs::remove_all(folder_); }
    std::string file(const std::string& name, const Bytes& bytes) {
        const fs::path path = folder_ / name;
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
        return path.string();
    }
    /** @path written again, as @name. */
    std::string again(const std::string& path, const std::string& name, Codec codec, bool keep) {
        std::string to = (folder_ / name).string();
        const int fd = open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        try {
            summary = image::rewrite(path, fd, codec, keep);
        } catch (...) {
            close(fd);
            throw;
        }
        close(fd);
        return to;
    }
    /** What is in each page of both address spaces: '.' nothing. */
    static std::string picture(const std::string& path) {
        std::string out(32, '.');
        u64 mms = 0;
        image::read(path, {[&](const image::Item& item) { mms += item.type == KRG_GHOST_MM; },
                           [&](const image::Item& item, const std::vector<u8>& data) {
                               const u64 at = (item.number(KRG_GHOST_PAGES_AT) - first) / page + 16 * (mms - 1);
                               for (u64 n = 0; n < item.number(KRG_GHOST_PAGES_COUNT); n++)
                                   out[at + n] = static_cast<char>(data[n * page + 77]);
                           }});
        return out;
    }
    void refused(const std::string& path, const std::string& why, Exit code = Exit::failed) {
        try {
            again(path, "refused", Codec::plain, false);
            FAIL() << "was not refused";
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), code);
            EXPECT_THAT(error.what(), HasSubstr(why));
        }
    }
    image::Summary summary;
    fs::path folder_;
};

constexpr u64 here = KRG_GHOST_SOURCE_HERE, parent = KRG_GHOST_SOURCE_PARENT, zero = KRG_GHOST_SOURCE_ZERO;

TEST_F(Chain, each_page_comes_from_the_newest_image_that_has_it) {
    file("a", make(1, 0, 0, "", {{0, 8, here, 'a'}, {8, 2, zero}}));
    file("b", make(2, 1, 1, "a", {{0, 2, parent}, {2, 1, here, 'b'}, {3, 7, parent}}));
    const std::string c = file("c", make(3, 2, 2, "b", {{0, 1, here, 'c'}, {1, 8, parent}, {12, 1, here, 'c'}}));
    EXPECT_FALSE(image::is_whole(c));
    EXPECT_EQ(image::chain_of(c).size(), 3U);
    const std::string whole = again(c, "whole", Codec::plain, false);
    EXPECT_TRUE(image::is_whole(whole));
    EXPECT_EQ(picture(whole).substr(0, 16), std::string("cabaaaaa\0...c...", 16));
    EXPECT_EQ(image::link_of(whole).chain, 0U);
    EXPECT_NE(summary.number, 3U);
}

TEST_F(Chain, a_twin_in_the_parent_is_followed_there) {
    file("a", make(1, 0, 0, "", {{0, 2, here, 'a'}}, 99, true));
    const std::string b = file("b", make(2, 1, 1, "a", {{0, 2, here, 'b'}}, 99, true));
    EXPECT_EQ(picture(again(b, "whole", Codec::plain, false)), "bb.............."
                                                               "aa..............");
}

TEST_F(Chain, a_full_image_stays_what_it_is) {
    const std::string a = file("a", make(1, 0, 0, "", {{0, 8, here, 'a'}}));
    EXPECT_TRUE(image::is_whole(a));
    again(a, "b", Codec::plain, true);
    EXPECT_EQ(summary.number, 1U);
    EXPECT_EQ(fs::file_size(a), fs::file_size(folder_ / "b"));
}

TEST_F(Chain, what_is_missing_or_another_image_is_named) {
    const std::string b = file("b", make(2, 1, 1, "a", {{0, 2, parent}}));
    refused(b, "/a: the image that", Exit::no_object);
    file("a", make(7, 0, 0, "", {{0, 8, here, 'a'}}));
    refused(b, "its number is 0000000000000007, not 0000000000000001");
    file("a", make(1, 0, 0, "", {{0, 8, here, 'a'}}, 98));
    refused(b, "it belongs to another chain");
    file("a", make(1, 2, 8, "z", {{0, 8, here, 'a'}}));
    refused(b, "it is version 2 of the chain, not 0");
    refused(file("c", make(2, 1, 1, "", {{0, 2, parent}})), "does not name the image it adds to");
    Bytes damaged = make(1, 0, 0, "", {{0, 8, here, 'a'}});
    damaged[damaged.size() / 2] ^= 1;
    file("a", damaged);
    refused(b, "/a: byte ");
}

TEST_F(Chain, a_page_that_no_image_has_is_refused) {
    file("a", make(1, 0, 0, "", {{0, 2, here, 'a'}}));
    refused(file("b", make(2, 1, 1, "a", {{1, 2, parent}})), "the page at 0x12000 is in none of the images");
    refused(file("c", make(2, 1, 1, "a", {{0, 1, parent}}, 99, false, 6)), "the page at 0x10000 is in none of the images");
}

TEST_F(Chain, an_image_that_names_itself_ends) {
    refused(file("a", make(1, 1, 1, "a", {{0, 2, parent}})), "it is version 1 of the chain, not 0");
}

TEST_F(Chain, packed_images_are_the_same_in_less_room) {
    file("a", make(1, 0, 0, "", {{0, 8, here, 'a'}}));
    const std::string b = file("b", make(2, 1, 1, "a", {{0, 2, here, 'b'}, {2, 6, parent}}));
    for (const Codec codec : {Codec::lz4, Codec::zstd}) {
        const std::string packed = again(b, "packed", codec, true);
        EXPECT_EQ(summary.number, 2U);
        EXPECT_LT(fs::file_size(packed), fs::file_size(b));
        EXPECT_EQ(image::link_of(packed).parent, 1U);
        again(folder_ / "a", "a.packed", codec, true);
        fs::rename(folder_ / "a.packed", folder_ / "a");
        EXPECT_FALSE(image::is_whole(folder_ / "a"));
        EXPECT_EQ(picture(again(packed, "whole", Codec::plain, false)).substr(0, 16), "bbaaaaaa........");
    }
}

TEST_F(Chain, packed_pages_of_a_wrong_size_are_refused) {
    for (const u64 codec : {u64{KRG_GHOST_CODEC_LZ4}, u64{KRG_GHOST_CODEC_ZSTD}}) {
        const auto with = [&](const std::vector<u8>& data) {
            Maker maker(0, 3);
            add_image(maker);
            const u64 mm = maker.add(KRG_GHOST_MM, {{KRG_GHOST_MM_KEY, 5}});
            const u64 vma = maker.add(KRG_GHOST_VMA, {{KRG_GHOST_VMA_MM, mm},
                                                      {KRG_GHOST_VMA_START, first},
                                                      {KRG_GHOST_VMA_END, first + 16 * page}});
            maker.add(KRG_GHOST_PAGES,
                      {{KRG_GHOST_PAGES_OWNER, vma},
                       {KRG_GHOST_PAGES_AT, first},
                       {KRG_GHOST_PAGES_COUNT, 4},
                       {KRG_GHOST_PAGES_CODEC, codec}},
                      std::string(data.begin(), data.end()));
            return file("a", maker.close());
        };
        for (const size_t count : {1U, 3U, 5U, 256U}) {
            const std::vector<u8> other(count * page, 'x');
            refused(with(*image::pack(other, codec)), "are not 4 pages");
        }
        std::vector<u8> packed = *image::pack(std::vector<u8>(4 * page, 'x'), codec);
        EXPECT_EQ(picture(again(with(packed), "whole", Codec::plain, false)).substr(0, 5), "xxxx.");
        packed.push_back(0);
        refused(with(packed), "are not 4 pages");
        packed.erase(packed.end() - 4, packed.end());
        refused(with(packed), "are not 4 pages");
    }
}

TEST(Codec, packs_what_gets_smaller_only) {
    std::vector<u8> noise(2 * page);
    u32 x = 1;
    for (u8& byte : noise) byte = static_cast<u8>((x = x * 1664525 + 1013904223) >> 24);
    for (const u64 codec : {u64{KRG_GHOST_CODEC_LZ4}, u64{KRG_GHOST_CODEC_ZSTD}}) {
        EXPECT_FALSE(image::pack(noise, codec));
        EXPECT_FALSE(image::unpack({}, codec, page));
        EXPECT_FALSE(image::unpack(noise, codec, 4 * page));
    }
    EXPECT_FALSE(image::pack(std::vector<u8>(page), KRG_GHOST_CODEC_PLAIN));
    EXPECT_FALSE(image::unpack(noise, 3, 4 * page));
}

}  // namespace
}  // namespace krg::ghost::testing
