// SPDX-License-Identifier: GPL-2.0
//
// Names come, go and move: every error that names.h promises, and what an operation leaves.
#include "tests/names/fsck.hh"

#include "hadsm/names/format.hh"

#include <cerrno>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace krg::test {
namespace {

constexpr u64 root = KRG_NAMES_ROOT;

struct NamesName : testing::Test {
    NamesName() { EXPECT_EQ(node.init_root(), 0); }
    ~NamesName() override { EXPECT_THAT(fsck(disk), testing::IsEmpty()); }
    Disk disk;
    Node node{disk};
    u64 ino = 0;

    int rename(u64 dir, std::string_view name, u64 to, std::string_view new_name, u32 flags = 0) {
        return node.rename(dir, name, to, new_name, flags, ino);
    }
    names::InodePage& record(u64 i) {
        return *reinterpret_cast<names::InodePage*>(disk.page(KRG_NAMES_INODES, i & 0xffffffff).bytes.data());
    }
};

TEST_F(NamesName, a_name_leads_to_its_inode) {
    const u64 file = node.file(root, "f"), dir = node.mkdir(root, "d"), below = node.file(dir, "f");
    u8 type = 0;
    EXPECT_EQ(node.lookup(root, "f", ino, type), 0);
    EXPECT_EQ(ino, file);
    EXPECT_EQ(type, S_IFREG >> 12);
    EXPECT_EQ(node.find(dir, "f"), below);
    EXPECT_EQ(node.lookup(root, "g", ino, type), -ENOENT);
    EXPECT_EQ(node.lookup(file, "g", ino, type), -ENOTDIR);
    EXPECT_EQ(node.attr(root).nlink, 3u);
    EXPECT_EQ(node.attr(root).entries, 2u);
    EXPECT_EQ(node.attr(dir).parent, root);
}

TEST_F(NamesName, some_names_are_none) {
    krg_names_attr attr = wanted(S_IFREG);
    u8 type = 0;
    const std::string longest(255, 'n');
    for (const std::string& name :
         {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("a\0", 2)}) {
        EXPECT_EQ(node.create(root, name, attr), -EINVAL);
        EXPECT_EQ(node.lookup(root, name, ino, type), -EINVAL);
        EXPECT_EQ(node.link(root, root, name), -EPERM);
        EXPECT_EQ(node.unlink(root, name, ino), -EINVAL);
        EXPECT_EQ(node.rmdir(root, name, ino), -EINVAL);
        EXPECT_EQ(rename(root, name, root, "x"), -EINVAL);
        EXPECT_EQ(rename(root, "x", root, name), -EINVAL);
    }
    EXPECT_EQ(node.create(root, longest + "n", attr), -ENAMETOOLONG);
    const u64 file = node.file(root, longest);
    EXPECT_EQ(node.link(file, root, longest + "n"), -ENAMETOOLONG);
    EXPECT_EQ(node.link(file, root, ".."), -EINVAL);
    EXPECT_EQ(node.find(root, longest), file);
    node.file(root, "...");
    node.file(root, ".a");
}

TEST_F(NamesName, create_makes_what_it_is_asked_for) {
    krg_names_attr attr = wanted(S_IFCHR | 0620);
    attr.rdev_major = 4;
    attr.rdev_minor = 5;
    attr.replicas = 3;
    const s64 now = static_cast<s64>(disk.clock);
    ASSERT_EQ(node.create(root, "tty", attr), 0);
    EXPECT_EQ(attr.mode, S_IFCHR | 0620u);
    EXPECT_EQ(attr.rdev_major, 4u);
    EXPECT_EQ(attr.rdev_minor, 5u);
    EXPECT_EQ(attr.replicas, 3u);
    EXPECT_EQ(attr.nlink, 1u);
    EXPECT_EQ(attr.uid, 1000u);
    for (const auto& t : {attr.atime, attr.mtime, attr.ctime, attr.btime}) EXPECT_EQ(t.sec, now);
    EXPECT_EQ(node.attr(root).mtime.sec, now);
    EXPECT_EQ(node.create(root, "tty", attr), -EEXIST);
}

TEST_F(NamesName, create_refuses_what_cannot_be) {
    const u64 file = node.file(root, "f");
    krg_names_attr attr = wanted(S_IFREG | 0644);
    EXPECT_EQ(node.create(file, "x", attr), -ENOTDIR);
    EXPECT_EQ(node.create(root, "x", attr, "target"), -EINVAL);
    attr.replicas = 0;
    EXPECT_EQ(node.create(root, "x", attr), -EINVAL);
    attr = wanted(0644);
    EXPECT_EQ(node.create(root, "x", attr), -EINVAL) << "no type";
    attr = wanted(S_IFLNK | 0777);
    EXPECT_EQ(node.create(root, "x", attr), -EINVAL) << "no target";
    EXPECT_EQ(node.create(root, "x", attr, std::string(3841, 't')), -ENAMETOOLONG);
    EXPECT_EQ(node.create(root, "x", attr, std::string("a\0b", 3)), -EINVAL);
    EXPECT_EQ(node.create(root, "x", attr, std::string(3840, 't')), 0);
    attr = wanted(S_IFREG);
    EXPECT_EQ(Node(disk, 0).create(root, "y", attr), -EINVAL);
    EXPECT_EQ(Node(disk, 128).create(root, "y", attr), -EINVAL);
}

TEST_F(NamesName, a_removed_directory_takes_no_names) {
    const u64 dir = node.mkdir(root, "d"), file = node.file(root, "f");
    ASSERT_EQ(node.rmdir(root, "d", ino), 0);
    EXPECT_EQ(ino, dir);
    krg_names_attr attr = wanted(S_IFREG);
    EXPECT_EQ(node.create(dir, "x", attr), -ENOENT);
    EXPECT_EQ(node.link(file, dir, "x"), -ENOENT);
    EXPECT_EQ(rename(root, "f", dir, "x"), -ENOENT);
    EXPECT_EQ(node.unlink(dir, "x", ino), -ENOENT);
    krg_names_entry entry;
    u64 cookie = 0;
    EXPECT_EQ(node.readdir(dir, cookie, &entry, 1), 0);
    EXPECT_EQ(node.attr(root).nlink, 2u);
}

TEST_F(NamesName, links_are_counted) {
    const u64 file = node.file(root, "f"), dir = node.mkdir(root, "d");
    EXPECT_EQ(node.link(file, dir, "g"), 0);
    EXPECT_EQ(node.attr(file).nlink, 2u);
    EXPECT_EQ(node.link(file, dir, "g"), -EEXIST);
    EXPECT_EQ(node.link(dir, root, "e"), -EPERM);
    EXPECT_EQ(node.unlink(root, "f", ino), 0);
    EXPECT_EQ(node.attr(file).nlink, 1u);
    u64 orphan = 0;
    EXPECT_EQ(node.orphan(1, 0, orphan), 0) << "no list yet: it has a name";
    EXPECT_EQ(node.unlink(dir, "g", ino), 0);
    EXPECT_EQ(node.attr(file).nlink, 0u);
    EXPECT_EQ(node.orphan(1, 0, orphan), 1);
    EXPECT_EQ(orphan, file);
    EXPECT_EQ(node.link(file, root, "f"), -ENOENT) << "nobody here uses it";
}

TEST_F(NamesName, there_are_only_so_many_links) {
    const u64 file = node.file(root, "f");
    record(file).nlink = names::nlink_max;
    EXPECT_EQ(node.link(file, root, "g"), -EMLINK);
    record(file).nlink = 1;
    krg_names_attr attr = wanted(S_IFDIR);
    const u64 dir = node.mkdir(root, "d");
    record(dir).nlink = names::nlink_max;
    EXPECT_EQ(node.create(dir, "e", attr), -EMLINK);
    node.mkdir(root, "e");
    EXPECT_EQ(rename(root, "e", dir, "e"), -EMLINK);
    record(dir).nlink = 2;
}

TEST_F(NamesName, unlink_and_rmdir_know_what_they_remove) {
    const u64 dir = node.mkdir(root, "d");
    const u64 file = node.file(dir, "f");
    EXPECT_EQ(node.unlink(root, "d", ino), -EISDIR);
    EXPECT_EQ(node.rmdir(dir, "f", ino), -ENOTDIR);
    EXPECT_EQ(node.rmdir(root, "d", ino), -ENOTEMPTY);
    EXPECT_EQ(node.unlink(root, "x", ino), -ENOENT);
    EXPECT_EQ(node.rmdir(root, "x", ino), -ENOENT);
    EXPECT_EQ(node.unlink(file, "x", ino), -ENOTDIR);
    EXPECT_EQ(node.unlink(dir, "f", ino), 0);
    EXPECT_EQ(ino, file);
    EXPECT_EQ(node.rmdir(root, "d", ino), 0);
}

TEST_F(NamesName, a_tmpfile_gets_a_name_from_its_node_only) {
    krg_names_attr attr = wanted(S_IFREG | 0600), dir = wanted(S_IFDIR);
    EXPECT_EQ(node.tmpfile(dir), -EISDIR);
    ASSERT_EQ(node.tmpfile(attr), 0);
    EXPECT_EQ(attr.nlink, 0u);
    const u64 live[2] = {2, 0};
    EXPECT_EQ(node.unused(attr.ino, live), 0) << "its node uses it";
    Node second(disk, 2);
    EXPECT_EQ(second.link(attr.ino, root, "t"), -ENOENT);
    EXPECT_EQ(node.link(attr.ino, root, "t"), 0);
    EXPECT_EQ(node.attr(attr.ino).nlink, 1u);
    u64 orphan = 1;
    EXPECT_EQ(node.orphan(1, 0, orphan), 1);
    EXPECT_EQ(orphan, 0u);
    EXPECT_EQ(node.unused(attr.ino, live), -EINVAL) << "it has a name";
}

// ---- rename ----

TEST_F(NamesName, a_file_moves) {
    const u64 file = node.file(root, "f"), dir = node.mkdir(root, "d");
    EXPECT_EQ(rename(root, "f", root, "g"), 0);
    EXPECT_EQ(ino, 0u) << "nothing was replaced";
    EXPECT_EQ(rename(root, "g", dir, "h"), 0);
    EXPECT_EQ(node.find(dir, "h"), file);
    EXPECT_EQ(node.find(root, "g"), 0u);
    EXPECT_EQ(rename(root, "g", dir, "h"), -ENOENT);
    EXPECT_EQ(rename(file, "g", dir, "h"), -ENOTDIR);
    EXPECT_EQ(rename(root, "d", file, "h"), -ENOTDIR);
}

TEST_F(NamesName, a_file_replaces_a_file) {
    const u64 file = node.file(root, "f"), other = node.file(root, "g"), dir = node.mkdir(root, "d");
    EXPECT_EQ(rename(root, "f", root, "g", KRG_NAMES_NOREPLACE), -EEXIST);
    EXPECT_EQ(rename(root, "f", root, "d"), -EISDIR);
    EXPECT_EQ(rename(root, "d", root, "f"), -ENOTDIR);
    EXPECT_EQ(rename(root, "f", root, "g"), 0);
    EXPECT_EQ(ino, other);
    EXPECT_EQ(node.attr(other).nlink, 0u);
    EXPECT_EQ(node.find(root, "g"), file);
    EXPECT_EQ(node.attr(root).entries, 2u);
    EXPECT_EQ(node.link(file, dir, "f"), 0);
    EXPECT_EQ(rename(root, "g", dir, "f"), 0) << "two names of one file";
    EXPECT_EQ(node.attr(file).nlink, 2u) << "stay";
    EXPECT_EQ(rename(root, "g", root, "g"), 0);
}

TEST_F(NamesName, a_directory_replaces_an_empty_one) {
    const u64 a = node.mkdir(root, "a"), b = node.mkdir(root, "b"), c = node.mkdir(a, "c");
    EXPECT_EQ(rename(a, "c", root, "a"), -ENOTEMPTY);
    EXPECT_EQ(rename(a, "c", root, "b"), 0);
    EXPECT_EQ(ino, b);
    EXPECT_EQ(node.attr(c).parent, root);
    EXPECT_EQ(node.attr(a).nlink, 2u);
    EXPECT_EQ(node.attr(root).nlink, 4u);
    EXPECT_EQ(node.attr(b).nlink, 0u);
    EXPECT_EQ(rename(root, "a", root, "b"), 0);
    EXPECT_EQ(ino, c);
    EXPECT_EQ(node.attr(root).nlink, 3u);
}

TEST_F(NamesName, a_directory_does_not_move_into_itself) {
    const u64 a = node.mkdir(root, "a"), b = node.mkdir(a, "b"), c = node.mkdir(b, "c"), d = node.mkdir(root, "d");
    EXPECT_EQ(rename(root, "a", a, "x"), -EINVAL);
    EXPECT_EQ(rename(root, "a", c, "x"), -EINVAL);
    EXPECT_EQ(rename(root, "d", root, "a", KRG_NAMES_EXCHANGE), 0);
    EXPECT_EQ(rename(root, "a", c, "x"), 0) << "d is called a now";
    EXPECT_EQ(node.attr(d).parent, c);
    EXPECT_EQ(rename(root, "d", c, "x", KRG_NAMES_EXCHANGE), -EINVAL) << "one would be in itself";
    EXPECT_EQ(rename(c, "x", root, "d", KRG_NAMES_EXCHANGE), -EINVAL);
}

TEST_F(NamesName, names_are_exchanged) {
    const u64 dir = node.mkdir(root, "d"), file = node.file(dir, "f"), other = node.mkdir(root, "e");
    EXPECT_EQ(rename(root, "e", dir, "x", KRG_NAMES_EXCHANGE), -ENOENT);
    EXPECT_EQ(rename(root, "e", dir, "f", KRG_NAMES_EXCHANGE | KRG_NAMES_NOREPLACE), -EINVAL);
    EXPECT_EQ(rename(root, "e", dir, "f", KRG_NAMES_EXCHANGE), 0);
    EXPECT_EQ(ino, 0u);
    EXPECT_EQ(node.find(root, "e"), file);
    EXPECT_EQ(node.find(dir, "f"), other);
    EXPECT_EQ(node.attr(other).parent, dir);
    EXPECT_EQ(node.attr(root).nlink, 3u);
    EXPECT_EQ(node.attr(dir).nlink, 3u);
    u8 type = 0;
    EXPECT_EQ(node.lookup(root, "e", ino, type), 0);
    EXPECT_EQ(type, S_IFREG >> 12);
}

TEST_F(NamesName, a_deep_tree_is_walked_to_the_root) {
    u64 dir = root, top = 0;
    for (int depth = 0; depth < 200; depth++) {
        dir = node.mkdir(dir, "d");
        if (!top) top = dir;
    }
    disk.thorough = false;
    const u64 other = node.mkdir(root, "other");
    EXPECT_EQ(rename(root, "d", dir, "x"), -EINVAL);
    EXPECT_EQ(rename(root, "other", dir, "x"), 0);
    EXPECT_EQ(node.attr(other).parent, dir);
}

}  // namespace
}  // namespace krg::test
