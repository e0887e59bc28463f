// SPDX-License-Identifier: GPL-2.0
//
// Attributes, promises to append, extended attributes, users: what concerns one inode.
#include "tests/names/disk.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace krg::test {
namespace {

constexpr u64 root = KRG_NAMES_ROOT, gone = 7ull << 32 | 1024;

struct NamesInode : testing::Test {
    NamesInode() { EXPECT_EQ(node.init_root(), 0); }
    Disk disk;
    Node node{disk};

    int set(u64 ino, u32 mask, void (*change)(krg_names_attr&)) {
        krg_names_attr attr{};
        change(attr);
        return node.setattr(ino, mask, attr);
    }
    u64 peek_size(u64 ino) {
        u64 size;
        std::memcpy(&size, &disk.page(KRG_NAMES_INODES, ino & 0xffffffff).bytes[KRG_NAMES_SIZE_OFFSET], 8);
        return size;
    }
};

TEST_F(NamesInode, the_root_is_made_once) {
    const krg_names_attr made = node.attr(root);
    EXPECT_EQ(made.mode, S_IFDIR | 0755u);
    EXPECT_EQ(made.parent, root);
    EXPECT_EQ(made.nlink, 2u);
    EXPECT_EQ(made.size, u64{KRG_NAMES_PAGE});
    EXPECT_EQ(node.init_root(0700), 0);
    EXPECT_EQ(node.attr(root).mode, S_IFDIR | 0755u) << "as it was";
}

TEST_F(NamesInode, the_root_needs_one_to_four_replicas) {
    Disk other;
    EXPECT_EQ(Node(other).init_root(0755, 0), -EINVAL);
    EXPECT_EQ(Node(other).init_root(0755, 5), -EINVAL);
    EXPECT_EQ(Node(other).init_root(0755, 4), 0);
}

TEST_F(NamesInode, what_is_not_there_is_stale) {
    krg_names_attr attr{};
    u64 offset;
    std::string text;
    for (const u64 ino : std::initializer_list<u64>{gone, 0, 5, root + (1ull << 32), ~0ull, 1ull << 63 | 1}) {
        EXPECT_EQ(node.getattr(ino, attr), -ESTALE) << ino;
        EXPECT_EQ(node.setattr(ino, KRG_NAMES_SET_UID, attr), -ESTALE);
        EXPECT_EQ(node.append(ino, 1, offset), -ESTALE);
        EXPECT_EQ(node.readlink(ino, text), -ESTALE);
        EXPECT_EQ(node.getxattr(ino, "user.a", text), -ESTALE);
        EXPECT_EQ(node.setxattr(ino, "user.a", "b", 0), -ESTALE);
        EXPECT_EQ(node.listxattr(ino, text), -ESTALE);
        EXPECT_EQ(node.use(ino, true), -ESTALE);
    }
}

TEST_F(NamesInode, setattr_sets_what_it_is_told) {
    const u64 ino = node.file(root, "f");
    krg_names_attr attr = node.attr(ino);
    const krg_names_attr before = attr;
    attr.mode = S_IFDIR | 04711;
    attr.uid = 1;
    attr.gid = 2;
    attr.atime.sec = -5;
    attr.mtime.sec = 6;
    attr.ctime.sec = 7;
    ASSERT_EQ(node.setattr(ino, KRG_NAMES_SET_UID, attr), 0);
    EXPECT_EQ(attr.uid, 1u);
    EXPECT_EQ(attr.gid, before.gid);
    EXPECT_EQ(attr.mode, before.mode);
    EXPECT_EQ(attr.mtime.sec, before.mtime.sec) << "times change when they are asked for only";
    EXPECT_EQ(attr.change, before.change + 1);
    attr.mode = 04711;
    attr.atime.sec = -5;
    attr.ctime = {7, 8, 99};
    ASSERT_EQ(node.setattr(ino, KRG_NAMES_SET_MODE | KRG_NAMES_SET_ATIME | KRG_NAMES_SET_CTIME, attr), 0);
    EXPECT_EQ(attr.mode, S_IFREG | 04711u) << "the type stays";
    EXPECT_EQ(attr.atime.sec, -5);
    EXPECT_EQ(attr.ctime.nsec, 8u);
}

TEST_F(NamesInode, setattr_refuses_before_it_changes) {
    const u64 ino = node.file(root, "f"), dir = node.mkdir(root, "d");
    EXPECT_EQ(set(ino, KRG_NAMES_SET_SIZE | KRG_NAMES_SET_GROW, [](auto&) {}), -EINVAL);
    EXPECT_EQ(set(ino, 512, [](auto&) {}), -EINVAL);
    EXPECT_EQ(set(dir, KRG_NAMES_SET_SIZE, [](auto&) {}), -EISDIR);
    EXPECT_EQ(set(ino, KRG_NAMES_SET_SIZE | KRG_NAMES_SET_UID, [](auto& a) { a.size = (1ull << 62) + 1; }), -EFBIG);
    EXPECT_EQ(set(ino, KRG_NAMES_SET_MTIME, [](auto& a) { a.mtime.nsec = 1000000000; }), -EINVAL);
    EXPECT_EQ(set(ino, KRG_NAMES_SET_REPLICAS, [](auto& a) { a.replicas = 5; }), -EINVAL);
    krg_names_attr fifo = wanted(S_IFIFO | 0600);
    ASSERT_EQ(node.create(root, "p", fifo), 0);
    EXPECT_EQ(set(fifo.ino, KRG_NAMES_SET_GROW, [](auto& a) { a.size = 1; }), -EINVAL);
}

TEST_F(NamesInode, grow_never_shrinks_and_size_does) {
    const u64 ino = node.file(root, "f");
    EXPECT_EQ(set(ino, KRG_NAMES_SET_GROW, [](auto& a) { a.size = 100; }), 0);
    EXPECT_EQ(set(ino, KRG_NAMES_SET_GROW, [](auto& a) { a.size = 50; }), 0);
    EXPECT_EQ(node.attr(ino).size, 100u);
    EXPECT_EQ(peek_size(ino), 100u);
    EXPECT_EQ(set(ino, KRG_NAMES_SET_SIZE, [](auto& a) { a.size = 50; }), 0);
    EXPECT_EQ(peek_size(ino), 50u);
}

TEST_F(NamesInode, replicas_change_while_a_file_never_had_data) {
    const auto four = [](auto& a) { a.replicas = 4; };
    const u64 fresh = node.file(root, "f"), grown = node.file(root, "g"), promised = node.file(root, "h");
    EXPECT_EQ(set(fresh, KRG_NAMES_SET_REPLICAS, four), 0);
    EXPECT_EQ(node.attr(fresh).replicas, 4u);
    EXPECT_EQ(set(grown, KRG_NAMES_SET_GROW, [](auto& a) { a.size = 1; }), 0);
    EXPECT_EQ(set(grown, KRG_NAMES_SET_REPLICAS, four), -EBUSY);
    EXPECT_EQ(set(grown, KRG_NAMES_SET_SIZE, [](auto& a) { a.size = 0; }), 0);
    EXPECT_EQ(set(grown, KRG_NAMES_SET_REPLICAS, four), -EBUSY) << "it had data once";
    u64 offset;
    EXPECT_EQ(node.append(promised, 1, offset), 0);
    EXPECT_EQ(set(promised, KRG_NAMES_SET_REPLICAS, four), -EBUSY);
    EXPECT_EQ(set(root, KRG_NAMES_SET_REPLICAS, four), 0) << "directories may, names in them or not";
}

TEST_F(NamesInode, promises_do_not_overlap) {
    const u64 ino = node.file(root, "f");
    Node other(disk, 2);
    u64 offset = 9;
    EXPECT_EQ(node.append(ino, 100, offset), 0);
    EXPECT_EQ(offset, 0u);
    EXPECT_EQ(other.append(ino, 50, offset), 0);
    EXPECT_EQ(offset, 100u);
    EXPECT_EQ(node.attr(ino).size, 0u) << "the size stays";
    EXPECT_EQ(set(ino, KRG_NAMES_SET_GROW, [](auto& a) { a.size = 1000; }), 0);
    EXPECT_EQ(node.append(ino, 0, offset), 0);
    EXPECT_EQ(offset, 1000u);
    EXPECT_EQ(set(ino, KRG_NAMES_SET_SIZE, [](auto& a) { a.size = 10; }), 0);
    EXPECT_EQ(node.append(ino, 1, offset), 0);
    EXPECT_EQ(offset, 10u) << "what was promised is forgotten";
    EXPECT_EQ(node.append(ino, (1ull << 62) - 10, offset), -EFBIG);
    EXPECT_EQ(node.append(root, 1, offset), -EISDIR);
}

TEST_F(NamesInode, promises_that_fail_are_taken_back) {
    const u64 ino = node.file(root, "f");
    Node other(disk, 2);
    u64 offset = 9;
    EXPECT_EQ(node.append(ino, 100, offset), 0);
    EXPECT_EQ(node.unpromise(ino, 30, 100), 0) << "30 bytes were written";
    EXPECT_EQ(other.append(ino, 50, offset), 0);
    EXPECT_EQ(offset, 30u);
    EXPECT_EQ(node.append(ino, 20, offset), 0);
    EXPECT_EQ(offset, 80u);
    EXPECT_EQ(other.unpromise(ino, 30, 80), 1) << "somebody has the place behind it";
    EXPECT_EQ(node.unpromise(ino, 80, 100), 0);
    EXPECT_EQ(other.unpromise(ino, 30, 80), 0);
    EXPECT_EQ(set(ino, KRG_NAMES_SET_GROW, [](auto& a) { a.size = 30; }), 0);
    EXPECT_EQ(node.append(ino, 10, offset), 0);
    EXPECT_EQ(offset, 30u);
    EXPECT_EQ(node.unpromise(ino, 30, 40), 0);
    EXPECT_EQ(node.unpromise(ino, 30, 40), 0) << "nothing of it is left";
    EXPECT_EQ(node.append(ino, 0, offset), 0);
    EXPECT_EQ(offset, 30u);
    EXPECT_EQ(node.unpromise(root, 0, 1), -EINVAL);
    EXPECT_EQ(node.unpromise(ino + 1, 0, 1), -ESTALE);
}

TEST_F(NamesInode, extended_attributes_come_and_go) {
    const u64 ino = node.file(root, "f");
    std::string value;
    EXPECT_EQ(node.getxattr(ino, "user.a", value), -ENODATA);
    EXPECT_EQ(node.setxattr(ino, "user.a", "1", KRG_NAMES_XATTR_REPLACE), -ENODATA);
    const u64 then = disk.clock;
    EXPECT_EQ(node.setxattr(ino, "user.a", "1", KRG_NAMES_XATTR_CREATE), 0);
    EXPECT_EQ(node.attr(ino).ctime.sec, static_cast<s64>(then));
    EXPECT_EQ(node.setxattr(ino, "user.a", "2", KRG_NAMES_XATTR_CREATE), -EEXIST);
    EXPECT_EQ(node.setxattr(ino, "user.b", "", 0), 0);
    EXPECT_EQ(node.setxattr(ino, "user.a", "longer", KRG_NAMES_XATTR_REPLACE), 0);
    EXPECT_EQ(node.getxattr(ino, "user.a", value), 6);
    EXPECT_EQ(value, "longer");
    EXPECT_EQ(node.getxattr(ino, "user.b", value), 0);
    EXPECT_EQ(node.listxattr(ino, value), 14);
    EXPECT_EQ(value, std::string("user.b\0user.a\0", 14));
    EXPECT_EQ(node.removexattr(ino, "user.a"), 0);
    EXPECT_EQ(node.removexattr(ino, "user.a"), -ENODATA);
    EXPECT_EQ(node.listxattr(ino, value), 7);
}

TEST_F(NamesInode, extended_attributes_have_limits) {
    const u64 ino = node.file(root, "f");
    std::string value;
    EXPECT_EQ(node.setxattr(ino, "", "1", 0), -EINVAL);
    EXPECT_EQ(node.setxattr(ino, std::string(256, 'a'), "1", 0), -ENAMETOOLONG);
    EXPECT_EQ(node.setxattr(ino, std::string("a\0b", 3), "1", 0), -EINVAL);
    EXPECT_EQ(node.setxattr(ino, "a", "1", 4), -EINVAL);
    EXPECT_EQ(node.setxattr(ino, "a", std::string(3836, 'x'), 0), -ENOSPC);
    EXPECT_EQ(node.setxattr(ino, "a", std::string(3835, 'x'), 0), 0) << "all there is";
    EXPECT_EQ(node.setxattr(ino, "b", "", 0), -ENOSPC);
    EXPECT_EQ(node.setxattr(ino, "a", std::string(3835, 'y'), 0), 0) << "in the place of the old value";
    char few[8];
    EXPECT_EQ(disk.run(1, [&](const auto& io) { return krg_names_getxattr(&io, ino, "a", 1, few, sizeof(few)); }), -ERANGE);
    EXPECT_EQ(disk.run(1, [&](const auto& io) { return krg_names_getxattr(&io, ino, "a", 1, nullptr, 0); }), 3835);
    EXPECT_EQ(disk.run(1, [&](const auto& io) { return krg_names_listxattr(&io, ino, few, 1); }), -ERANGE);
    EXPECT_EQ(disk.run(1, [&](const auto& io) { return krg_names_listxattr(&io, ino, nullptr, 0); }), 2);
}

TEST_F(NamesInode, nothing_is_left_of_an_attribute_that_was_removed) {
    const u64 ino = node.file(root, "f");
    ASSERT_EQ(node.setxattr(ino, "a", "secret", 0), 0);
    ASSERT_EQ(node.setxattr(ino, "b", "b", 0), 0);
    ASSERT_EQ(node.removexattr(ino, "a"), 0);
    ASSERT_EQ(node.removexattr(ino, "b"), 0);
    const auto& bytes = disk.page(KRG_NAMES_INODES, ino & 0xffffffff).bytes;
    EXPECT_EQ(std::count(bytes.begin() + 256, bytes.end(), 0), 3840);
}

TEST_F(NamesInode, a_target_and_attributes_share_the_page) {
    krg_names_attr attr = wanted(S_IFLNK | 0777);
    const std::string target(3800, 't');
    ASSERT_EQ(node.create(root, "l", attr, target), 0);
    EXPECT_EQ(attr.size, 3800u);
    EXPECT_EQ(node.setxattr(attr.ino, "a", std::string(36, 'x'), 0), -ENOSPC);
    EXPECT_EQ(node.setxattr(attr.ino, "a", std::string(35, 'x'), 0), 0);
    std::string text;
    EXPECT_EQ(node.readlink(attr.ino, text), 3800);
    EXPECT_EQ(text, target);
    EXPECT_EQ(disk.run(1, [&](const auto& io) { return krg_names_readlink(&io, attr.ino, text.data(), 5); }), 3800)
        << "the length, however much is stored";
    EXPECT_EQ(node.readlink(root, text), -EINVAL);
}

TEST_F(NamesInode, users_are_counted_by_node) {
    const u64 ino = node.file(root, "f");
    Node second(disk, 2), last(disk, 127), nobody(disk, 0), beyond(disk, 128);
    u64 users[2] = {};
    EXPECT_EQ(second.use(ino, true), 0);
    EXPECT_EQ(last.use(ino, true), 0);
    EXPECT_EQ(last.use(ino, true), 0);
    EXPECT_EQ(disk.run(1, [&](const auto& io) { return krg_names_users(&io, ino, users); }), 0);
    EXPECT_EQ(users[0], 4u);
    EXPECT_EQ(users[1], 1ull << 63);
    EXPECT_EQ(nobody.use(ino, true), -EINVAL);
    EXPECT_EQ(beyond.use(ino, true), -EINVAL);
    EXPECT_EQ(disk.run(1, [&](const auto& io) { return krg_names_users(&io, gone, users); }), -ESTALE);
}

TEST_F(NamesInode, an_inode_without_a_name_gets_no_new_user) {
    const u64 ino = node.file(root, "f");
    Node second(disk, 2);
    EXPECT_EQ(node.use(ino, true), 0);
    u64 taken;
    EXPECT_EQ(node.unlink(root, "f", taken), 0);
    EXPECT_EQ(second.use(ino, true), -ESTALE);
    EXPECT_EQ(second.use(ino, false), 0);
    EXPECT_EQ(node.use(ino, true), 0) << "it does already";
    EXPECT_EQ(node.use(ino, false), 0);
    EXPECT_EQ(node.use(ino, true), -ESTALE);
}

}  // namespace
}  // namespace krg::test
