// SPDX-License-Identifier: GPL-2.0
//
// Pages that are not what they must be: found before anything is changed, never followed out of the page. The sanitizers
// watch; the disk watches that an operation that fails changes nothing, and that well-formed pages stay so.
#include "tests/names/disk.hh"

#include "hadsm/names/dirpage.hh"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <random>
#include <sys/stat.h>
#include <vector>

namespace krg::test {
namespace {

using namespace krg::names;

constexpr u64 root = KRG_NAMES_ROOT;

/// A little of everything.
struct NamesDamage : testing::Test {
    NamesDamage() {
        disk.thorough = false;
        EXPECT_EQ(node.init_root(), 0);
        dir = node.mkdir(root, "dir");
        below = node.mkdir(dir, "below");
        file = node.file(root, "file");
        other = node.file(dir, "other");
        krg_names_attr attr = wanted(S_IFLNK | 0777);
        EXPECT_EQ(node.create(root, "link", attr, "target"), 0);
        symlink = attr.ino;
        attr = wanted(S_IFREG);
        EXPECT_EQ(node.tmpfile(attr), 0);
        orphan = attr.ino;
        for (int i = 0; i < 300; i++) EXPECT_EQ(node.link(file, dir, fmt::format("n{}", i)), 0);
        EXPECT_EQ(node.setxattr(file, "user.a", "1", 0), 0);
        EXPECT_EQ(node.setxattr(file, "user.b", "22", 0), 0);
    }
    Disk disk;
    Node node{disk};
    u64 dir = 0, below = 0, file = 0, other = 0, symlink = 0, orphan = 0, ino = 0;

    template<typename P>
    P& page(u64 container, u64 index) {
        return *reinterpret_cast<P*>(disk.page(container, index).bytes.data());
    }
    InodePage& record(u64 i) { return page<InodePage>(KRG_NAMES_INODES, slot_of(i)); }

    /// One of everything. What each returns is its own business.
    void everything() {
        krg_names_attr attr{};
        u8 type;
        std::string text;
        std::vector<krg_names_entry> entry(8);
        const u64 live[2] = {};
        u64 n = 0;
        for (const u64 i : {root, dir, file, symlink, orphan}) {
            node.getattr(i, attr);
            attr = wanted(0600);
            attr.size = 100;
            node.setattr(i, KRG_NAMES_SET_MODE | KRG_NAMES_SET_GROW, attr);
            node.append(i, 10, n);
            node.readlink(i, text);
            node.getxattr(i, "user.b", text);
            node.listxattr(i, text);
            node.setxattr(i, "user.a", "another value", 0);
            node.removexattr(i, "user.b");
            node.use(i, true);
            node.unused(i, live);
            for (u64 cookie = 0, steps = 0; steps < 8 && node.readdir(i, cookie, entry.data(), 8) > 0; steps++) {}
        }
        node.lookup(dir, "n17", n, type);
        node.lookup(root, "nobody", n, type);
        node.unlink(dir, "n17", n);
        node.unlink(dir, "n18", n);
        node.rename(dir, "below", root, "dir", KRG_NAMES_EXCHANGE, n);
        node.rename(dir, "below", root, "up", 0, n);
        node.rename(dir, "n19", dir, "n20", 0, n);
        node.rename(dir, "n21", root, "file", 0, n);
        node.rename(root, "link", dir, "m", 0, n);
        attr = wanted(S_IFREG);
        node.create(dir, "new", attr);
        attr = wanted(S_IFDIR);
        node.create(root, "more", attr);
        node.rmdir(root, "more", n);
        attr = wanted(S_IFREG);
        node.tmpfile(attr);
        node.link(orphan, root, "named");
        node.link(file, dir, "again");
        node.unlink(dir, "other", n);
        for (u32 at = 0; at < 5; at++)
            if (node.orphan(1, at, n) == 1 && n) node.free(1, n);
        node.count(1, n);
    }
};

TEST_F(NamesDamage, arbitrary_bytes_do_no_harm) {
    std::mt19937_64 random(5);
    const auto whole = disk.pages();
    std::vector<Disk::Where> places;
    for (const auto& [where, page] : whole)
        if (page.bytes != Page{}.bytes) places.push_back(where);
    for (int round = 0; round < 4000 && !HasFailure(); round++) {
        for (const auto& [where, page] : disk.pages()) {
            const auto before = whole.find(where);
            disk.page(where.first, where.second) = before == whole.end() ? Page{} : before->second;
        }
        for (u64 hits = 1 + random() % 3; hits; hits--) {
            const Disk::Where where = places[random() % places.size()];
            Page& victim = disk.page(where.first, where.second);
            // Heads and the beginning of chains more often than the rest.
            const u32 at = static_cast<u32>(random() % (random() % 2 ? 256 : KRG_NAMES_PAGE - 8));
            const u64 value = random() % 3 == 0 ? random() : random() % 3 == 0 ? ~0ull : random() % 70000;
            std::memcpy(&victim.bytes[at], &value, 1u << random() % 4);
        }
        everything();
    }
}

TEST_F(NamesDamage, a_page_of_noise_is_no_page) {
    std::mt19937_64 random(6);
    Page noise;
    for (const u64 kind : std::initializer_list<u64>{KRG_NAMES_INODES, KRG_NAMES_GROUPS, KRG_NAMES_ORPHANS, root})
        for (int i = 0; i < 1000; i++) {
            for (auto& byte : noise.bytes) byte = static_cast<u8>(random());
            EXPECT_FALSE(krg_names_valid(kind, random() % 200, noise.bytes.data()));
        }
    EXPECT_TRUE(krg_names_valid(root, 0, Page{}.bytes.data()));
}

TEST_F(NamesDamage, a_page_in_another_place_is_damage) {
    EXPECT_FALSE(krg_names_valid(KRG_NAMES_INODES, slot_of(file) + 1, disk.page(KRG_NAMES_INODES, slot_of(file)).bytes.data()));
    EXPECT_FALSE(krg_names_valid(KRG_NAMES_GROUPS, 128, disk.page(KRG_NAMES_GROUPS, 1).bytes.data())) << "nobody's";
    EXPECT_FALSE(krg_names_valid(KRG_NAMES_GROUPS, 129, disk.page(KRG_NAMES_GROUPS, 1).bytes.data())) << "not a first one";
    EXPECT_FALSE(krg_names_valid(below, 0, disk.page(dir, 0).bytes.data())) << "of another directory";
    EXPECT_FALSE(krg_names_valid(dir, 2, disk.page(dir, 1).bytes.data()));
    EXPECT_FALSE(krg_names_valid(dir, 1ull << 40, disk.page(dir, 0).bytes.data()));
    EXPECT_FALSE(krg_names_valid(17, 0, disk.page(dir, 0).bytes.data())) << "no directory's number";
}

TEST_F(NamesDamage, a_name_without_its_inode_is_damage) {
    record(other) = {};
    disk.page(KRG_NAMES_INODES, slot_of(other)) = {};
    EXPECT_EQ(node.unlink(dir, "other", ino), -EUCLEAN);
    EXPECT_EQ(node.rename(dir, "other", root, "x", 0, ino), -EUCLEAN);
    EXPECT_EQ(node.rename(dir, "below", dir, "other", 0, ino), -EUCLEAN);
}

TEST_F(NamesDamage, what_names_and_inodes_say_must_agree) {
    record(below).parent = root;
    EXPECT_EQ(node.rmdir(dir, "below", ino), -EUCLEAN) << "of another directory";
    record(below).parent = dir;
    record(dir).nlink = 2;
    EXPECT_EQ(node.rmdir(dir, "below", ino), -EUCLEAN) << "which has no subdirectory";
    EXPECT_EQ(node.rename(dir, "below", root, "b", 0, ino), -EUCLEAN);
    record(dir).nlink = 3;
    const u64 names = record(dir).entries;
    record(dir).entries = 0;
    u8 type;
    EXPECT_EQ(node.lookup(dir, "n1", ino, type), -EUCLEAN) << "and has no names";
    record(dir).entries = names;
    auto& dir_page = page<DirPage>(root, 0);
    entry_at(dir_page, chain_start).ino = root;
    EXPECT_EQ(node.rmdir(root, "dir", ino), -EUCLEAN) << "the root has no name";
    entry_at(dir_page, chain_start).ino = file;
    EXPECT_EQ(node.rmdir(root, "dir", ino), -EUCLEAN) << "a file that is called a directory";
}

TEST_F(NamesDamage, lengths_that_lead_out_of_a_page_are_damage) {
    u8 type;
    std::string value;
    auto& names_page = page<DirPage>(root, 0);
    Entry& entry = entry_at(names_page, chain_start);
    const u8 len = entry.len;
    entry.len = 200;
    EXPECT_EQ(node.lookup(root, "file", ino, type), -EUCLEAN) << "a name longer than its entry";
    entry.len = len;
    ASSERT_EQ(node.link(file, below, "abcdefgh"), 0);
    ASSERT_EQ(node.link(file, below, "x"), 0);
    entry_at(page<DirPage>(below, 0), chain_start).len = 9;
    EXPECT_EQ(node.lookup(below, "x", ino, type), -EUCLEAN) << "by a byte, which is the next entry's";
    const u16 bytes = entry.bytes;
    for (const u32 wrong : {0u, 8u, bytes + 4u, 4088u, 0xfff8u}) {
        entry.bytes = static_cast<u16>(wrong);
        EXPECT_EQ(node.lookup(root, "file", ino, type), -EUCLEAN) << "the next entry at " << wrong;
    }
    entry.bytes = bytes;
    const u16 xattrs = record(file).xattr_len;
    for (const u32 wrong : {xattrs + 1u, xattrs - 1u, 1u, 3841u, 0xffffu}) {
        record(file).xattr_len = static_cast<u16>(wrong);
        EXPECT_EQ(node.getxattr(file, "user.a", value), -EUCLEAN) << wrong << " bytes of attributes";
    }
    record(file).xattr_len = xattrs;
    record(symlink).target_len = 3841;
    record(symlink).size = 3841;
    EXPECT_EQ(node.readlink(symlink, value), -EUCLEAN);
}

TEST_F(NamesDamage, parents_in_a_circle_are_damage) {
    const u64 a = node.mkdir(root, "a"), b = node.mkdir(a, "b");
    record(a).parent = b;
    node.mkdir(root, "c");
    EXPECT_EQ(node.rename(root, "c", b, "c", 0, ino), -EUCLEAN);
    record(a).parent = a;
    EXPECT_EQ(node.rename(root, "c", b, "c", 0, ino), -EUCLEAN);
    record(a).parent = file;
    EXPECT_EQ(node.rename(root, "c", b, "c", 0, ino), -EUCLEAN) << "and so is a file that is a parent";
    record(a).parent = root;
    EXPECT_EQ(node.rename(root, "c", b, "c", 0, ino), 0);
}

TEST_F(NamesDamage, pages_that_were_lost_are_damage) {
    u8 type;
    krg_names_attr attr = wanted(S_IFREG);
    const Page first = disk.page(dir, 0);
    disk.page(dir, 0) = {};
    EXPECT_EQ(node.lookup(dir, "n1", ino, type), -EUCLEAN) << "names, but no page";
    disk.page(dir, 0) = first;
    for (u64 child = 1; child <= 16; child++) disk.page(dir, child) = {};
    EXPECT_EQ(node.lookup(dir, "nobody", ino, type), -EUCLEAN) << "a child that is not there";
    EXPECT_EQ(node.create(dir, "new", attr), -EUCLEAN);
}

TEST_F(NamesDamage, lists_that_disagree_with_inodes_are_damage) {
    auto& list = page<OrphanPage>(KRG_NAMES_ORPHANS, 1);
    ASSERT_EQ(list.place[0], orphan);
    list.place[0] = file;
    EXPECT_EQ(node.link(orphan, root, "named"), -EUCLEAN);
    EXPECT_EQ(node.free(1, orphan), -EUCLEAN);
    list.place[0] = orphan;
    auto& group = page<GroupPage>(KRG_NAMES_GROUPS, 1);
    const u32 at = slot_of(orphan) % slots_per_page, was = group.place[at];
    group.place[at] = was & ~slot_used;
    group.used--;
    EXPECT_EQ(node.free(1, orphan), -EUCLEAN) << "its slot is free";
    group.used++;
    group.place[at] = was;
    const u32 next = at + 1;
    page<InodePage>(KRG_NAMES_INODES, 1024 + next) = record(file);
    krg_names_attr attr = wanted(S_IFREG);
    EXPECT_EQ(node.create(root, "new", attr), -EUCLEAN) << "a free slot with an inode";
}

}  // namespace
}  // namespace krg::test
