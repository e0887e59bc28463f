// SPDX-License-Identifier: GPL-2.0
//
// Large directories: the trie of pages grows along the hashes and shrinks again, names that collide, readers that go on
// while names come and go.
#include "tests/names/collide.hh"
#include "tests/names/fsck.hh"

#include "hadsm/names/dirpage.hh"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <sys/stat.h>
#include <vector>

namespace krg::test {
namespace {

constexpr u64 root = KRG_NAMES_ROOT;

struct NamesDirectory : testing::Test {
    NamesDirectory() {
        EXPECT_EQ(node.init_root(), 0);
        disk.thorough = false;
        file = node.file(root, "file");
        dir = node.mkdir(root, "dir");
    }
    ~NamesDirectory() override { EXPECT_THAT(fsck(disk), testing::IsEmpty()); }
    Disk disk;
    Node node{disk};
    u64 file = 0, dir = 0, ino = 0;

    /// Links are names as good as any, and need no inode of their own.
    void add(const std::string& name) { ASSERT_EQ(node.link(file, dir, name), 0) << name; }
    void drop(const std::string& name) { ASSERT_EQ(node.unlink(dir, name, ino), 0) << name; }
    u32 pages() {
        u32 n = 0;
        for (const auto& [where, page] : disk.pages()) n += where.first == dir && page.bytes != Page{}.bytes;
        return n;
    }
    /// Up to @room names a call until the end, or so many calls.
    std::vector<std::string> read(u64& cookie, u32 room, u32 calls = ~0u) {
        std::vector<std::string> names;
        std::vector<krg_names_entry> entry(room);
        while (calls--) {
            const int n = node.readdir(dir, cookie, entry.data(), room);
            EXPECT_GE(n, 0);
            EXPECT_LE(disk.last_lent, 20u) << "pages for one call";
            if (n <= 0) break;
            for (int i = 0; i < n; i++) names.emplace_back(entry[i].name, entry[i].len);
        }
        return names;
    }
    std::vector<std::string> read_all(u32 room = 100) {
        u64 cookie = 0;
        auto names = read(cookie, room);
        std::sort(names.begin(), names.end());
        return names;
    }
};

TEST_F(NamesDirectory, six_thousand_names_come_and_go) {
    constexpr u32 many = 6000;
    std::vector<std::string> names;
    for (u32 i = 0; i < many; i++) names.push_back(fmt::format("a name of some length, number {}", i));
    for (const auto& name : names) add(name);
    EXPECT_EQ(node.attr(dir).entries, many);
    for (const auto& name : names) ASSERT_EQ(node.find(dir, name), file) << name;
    EXPECT_EQ(node.find(dir, "another"), 0u);
    EXPECT_LE(disk.last_lent, 6u) << "a lookup";
    const u32 most = pages();
    EXPECT_LE(most, 1u + 16 + 256) << "three levels";
    EXPECT_THAT(fsck(disk), testing::IsEmpty());

    std::sort(names.begin(), names.end());
    EXPECT_EQ(read_all(7), names);
    std::shuffle(names.begin(), names.end(), std::mt19937(1));
    for (u32 i = 0; i < many; i++) {
        drop(names[i]);
        if (i != many / 2) continue;
        EXPECT_THAT(fsck(disk), testing::IsEmpty());
    }
    EXPECT_EQ(pages(), 1u) << "pages without names are gone";
    EXPECT_TRUE(read_all().empty());
}

TEST_F(NamesDirectory, space_of_removed_names_is_used_again) {
    for (u32 i = 0; i < 2000; i++) add(fmt::format("{}", i));
    const u32 before = pages();
    for (u32 round = 0; round < 5; round++) {
        for (u32 i = 0; i < 2000; i += 2) drop(fmt::format("{}", i));
        for (u32 i = 0; i < 2000; i += 2) add(fmt::format("{}", i));
    }
    EXPECT_EQ(pages(), before);
}

TEST_F(NamesDirectory, neighbours_merge_when_they_become_free) {
    for (u32 i = 0; i < 15; i++) add(std::string(240, static_cast<char>('a' + i)));  // 256 bytes each: 15 fill the page but 240
    EXPECT_EQ(pages(), 1u);
    for (const u32 i : {3, 5, 4}) drop(std::string(240, static_cast<char>('a' + i)));
    const auto& page = *reinterpret_cast<const names::DirPage*>(disk.page(dir, 0).bytes.data());
    EXPECT_EQ(names::entry_at(page, 16 + 3 * 256).bytes, 3 * 256);
    drop(std::string(240, 'o'));
    EXPECT_EQ(names::entry_at(page, 16 + 14 * 256).bytes, 4080 - 14 * 256) << "with the rest of the page";
}

TEST_F(NamesDirectory, names_of_one_hash_go_seven_pages_deep) {
    constexpr u32 hash = 0x9a8b7c6d, room = 7 * 170;  // entries of 24 bytes
    std::vector<std::string> names;
    each_name_for_hash(dir, hash, room, [&](const std::string& name) {
        ASSERT_EQ(names::hash_name(dir, name.data(), 8), hash);
        names.push_back(name);
        add(name);
    });
    EXPECT_EQ(pages(), 7u);
    const std::string last = name_for_hash(dir, hash, 1u << 30);
    ASSERT_FALSE(last.empty());
    disk.thorough = true;
    EXPECT_EQ(node.link(file, dir, last), -ENOSPC) << "too many names with this hash";
    EXPECT_EQ(node.find(dir, names.back()), file);
    add("another one");
    drop("another one");
    EXPECT_EQ(node.rename(dir, names[5], dir, last, 0, ino), -ENOSPC) << "the old name still has its place";
    drop(names[5]);
    add(last);
    disk.thorough = false;
    names[5] = last;
    std::sort(names.begin(), names.end());
    EXPECT_EQ(read_all(), names);
    for (u32 i = 0; i < room; i += 2) drop(names[i]);
    for (u32 i = 1; i < room; i += 2) drop(names[i]);
    EXPECT_EQ(pages(), 1u);
}

TEST_F(NamesDirectory, names_that_share_some_nibbles) {
    std::vector<std::string> names;
    for (u32 nibbles = 0; nibbles <= 5; nibbles++)
        for (u32 n = 0; n < 16; n++) {
            const u32 hash = nibbles ? (0x12345678u & ~0u << (32 - 4 * nibbles)) | n << (28 - 4 * nibbles) : n << 28;
            each_name_for_hash(dir, hash, 40, [&](const std::string& name) {
                if (std::find(names.begin(), names.end(), name) != names.end()) return;
                names.push_back(name);
                add(name);
            });
        }
    EXPECT_THAT(fsck(disk), testing::IsEmpty());
    std::shuffle(names.begin(), names.end(), std::mt19937(2));
    for (u32 i = 0; i < names.size() / 2; i++) drop(names[i]);
    EXPECT_THAT(fsck(disk), testing::IsEmpty());
    names.erase(names.begin(), names.begin() + static_cast<long>(names.size() / 2));
    std::sort(names.begin(), names.end());
    EXPECT_EQ(read_all(3), names);
}

TEST_F(NamesDirectory, a_page_goes_and_a_name_of_it_moves_below_it) {
    // The only name of a page is renamed so that its new name would be a child of that page, or in it.
    constexpr u32 hash = 0x11111111;
    std::vector<std::string> names;
    each_name_for_hash(dir, hash, 2 * 170 + 1, [&](const std::string& name) { names.push_back(name), add(name); });
    EXPECT_EQ(pages(), 3u);
    disk.thorough = true;
    const std::string last = names.back(), next = name_for_hash(dir, hash, 1u << 29);
    ASSERT_EQ(node.rename(dir, last, dir, next, 0, ino), 0);
    EXPECT_EQ(pages(), 3u);
    EXPECT_EQ(node.find(dir, next), file);
    ASSERT_EQ(node.rename(dir, names[0], dir, "elsewhere", 0, ino), 0);
    ASSERT_EQ(node.rename(dir, next, dir, names[0], 0, ino), 0) << "up into the place that is free now";
    EXPECT_EQ(pages(), 2u + (names::nibble(names::hash_name(dir, "elsewhere", 9), 0) != 1));
}

TEST_F(NamesDirectory, a_reader_meets_what_stays_exactly_once) {
    std::mt19937 random(3);
    std::set<std::string> stay;
    for (u32 i = 0; i < 3000; i++) {
        const std::string name = fmt::format("stays {}", i);
        stay.insert(name);
        add(name);
        add(fmt::format("goes {}", i));
    }
    std::set<std::string> met, now;
    u64 cookie = 0;
    for (u32 i = 0;; i++) {
        const auto some = read(cookie, 1 + random() % 30, 1);
        if (some.empty()) break;
        for (const auto& name : some) EXPECT_TRUE(!stay.count(name) || met.insert(name).second) << name << " came twice";
        for (u32 k = 0; k < 10; k++) {
            const std::string goes = fmt::format("goes {}", random() % 3000), comes = fmt::format("comes {} {}", i, k);
            if (node.find(dir, goes)) drop(goes);
            add(comes);
        }
    }
    EXPECT_EQ(met, stay);
}

TEST_F(NamesDirectory, a_directory_whose_old_names_are_gone_is_read_in_short_steps) {
    // The oldest names fill the top of the trie: without them whole levels would be empty.
    for (u32 i = 0; i < 9000; i++) add(fmt::format("{:040}", i));
    for (u32 i = 0; i < 8900; i++) drop(fmt::format("{:040}", i));
    EXPECT_EQ(read_all().size(), 100u);  // read() watches how many pages a step takes
    EXPECT_THAT(fsck(disk), testing::IsEmpty());
}

TEST_F(NamesDirectory, a_reader_whose_page_went_goes_on_at_the_next_one) {
    std::vector<std::string> child, next;
    each_name_for_hash(dir, 0x10000000, 200, [&](const std::string& name) { child.push_back(name), add(name); });
    each_name_for_hash(dir, 0x20000000, 200, [&](const std::string& name) { next.push_back(name), add(name); });
    EXPECT_EQ(pages(), 4u) << "the hashes part in the first page, which is full";
    u64 cookie = 0;
    EXPECT_EQ(read(cookie, 170, 1).size(), 170u);
    EXPECT_EQ(read(cookie, 20, 1).size(), 20u) << "in the middle of a child";
    for (u32 i = 170; i < 200; i++) drop(child[i]);
    auto rest = read(cookie, 7);
    std::sort(rest.begin(), rest.end());
    std::sort(next.begin(), next.end());
    EXPECT_EQ(rest, next);
}

TEST_F(NamesDirectory, any_cookie_is_an_answer) {
    for (u32 i = 0; i < 1000; i++) add(fmt::format("{}", i));
    std::mt19937_64 random(4);
    krg_names_entry entry[4];
    for (u32 i = 0; i < 3000; i++) {
        u64 cookie = random() >> random() % 64;
        const int n = node.readdir(dir, cookie, entry, 4);
        ASSERT_TRUE(n >= 0 && n <= 4);
    }
    u64 cookie = 0;
    EXPECT_EQ(node.readdir(dir, cookie, entry, 0), 0) << "no room";
    EXPECT_EQ(node.readdir(file, cookie, entry, 4), -ENOTDIR);
    EXPECT_EQ(node.readdir(77ull << 32, cookie, entry, 4), -ESTALE);
}

TEST_F(NamesDirectory, a_small_directory_needs_few_pages) {
    disk.thorough = true;
    disk.most_lent = 0;
    add("a");
    drop("a");
    EXPECT_LE(disk.most_lent, 3u) << "directory, its page, the inode";
    node.file(dir, "b");
    EXPECT_LE(disk.most_lent, 4u) << "and the group of slots";
}

TEST(NamesHash, is_part_of_the_format) {
    EXPECT_EQ(names::hash_name(root, "a", 1), 0x2f46870au);
    EXPECT_EQ(names::hash_name(root, "abcdefgh", 8), 0x5840023cu);
    EXPECT_EQ(names::hash_name(root + 1, "abcdefghi", 9), 0xb9569fa9u);
}

}  // namespace
}  // namespace krg::test
