// SPDX-License-Identifier: GPL-2.0
//
// Numbers of inodes and the end of inodes: slots and their generations, lists of orphans, and that any node can finish
// what another began, wherever it stopped.
#include "tests/names/fsck.hh"

#include "hadsm/names/format.hh"

#include <cerrno>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>
#include <sys/stat.h>
#include <vector>

namespace krg::test {
namespace {

constexpr u64 root = KRG_NAMES_ROOT;
constexpr u64 everybody[2] = {~0ull, ~0ull};

struct NamesEnd : testing::Test {
    NamesEnd() { EXPECT_EQ(node.init_root(), 0); }
    ~NamesEnd() override { EXPECT_THAT(fsck(disk), testing::IsEmpty()); }
    Disk disk;
    Node node{disk}, second{disk, 2};
    u64 ino = 0;

    u64 inodes(u32 of) {
        u64 n = 99;
        EXPECT_EQ(node.count(of, n), 0);
        return n;
    }
    u64 orphaned(const char* name = "f") {
        const u64 made = node.file(root, name);
        EXPECT_EQ(node.unlink(root, name, ino), 0);
        return made;
    }
    template<typename P>
    P& list(u64 container, u64 index) {
        return *reinterpret_cast<P*>(disk.page(container, index).bytes.data());
    }
};

TEST_F(NamesEnd, nodes_have_slots_of_their_own) {
    const u64 mine = node.file(root, "a"), other = second.file(root, "b");
    EXPECT_EQ(mine, 1ull << 32 | 1 * 1024);
    EXPECT_EQ(other, 1ull << 32 | 2 * 1024);
    EXPECT_EQ(inodes(1), 1u);
    EXPECT_EQ(inodes(2), 1u);
    EXPECT_EQ(inodes(3), 0u);
    u64 n;
    EXPECT_EQ(node.count(0, n), -EINVAL);
    EXPECT_EQ(node.count(128, n), -EINVAL);
}

TEST_F(NamesEnd, a_slot_is_used_again_and_a_number_is_not) {
    const u64 kept = node.file(root, "kept");
    std::set<u64> numbers{kept};
    for (int i = 0; i < 20; i++) {
        const u64 made = orphaned();
        EXPECT_TRUE(numbers.insert(made).second);
        EXPECT_EQ(made & 0xffffffff, 1025u) << "the lowest free slot";
        EXPECT_EQ(node.free(1, made), 0);
        krg_names_attr attr;
        EXPECT_EQ(node.getattr(made, attr), -ESTALE);
    }
    EXPECT_EQ(inodes(1), 1u);
}

TEST_F(NamesEnd, a_slot_whose_generations_are_spent_is_left_alone) {
    const u64 first = orphaned();
    EXPECT_EQ(node.free(1, first), 0);
    list<names::GroupPage>(KRG_NAMES_GROUPS, 1).place[0] = names::generation_max - 1;
    const u64 last = orphaned();
    EXPECT_EQ(last, names::generation_max << 32 | 1024);
    EXPECT_EQ(node.free(1, last), 0);
    EXPECT_EQ(node.file(root, "f"), 1ull << 32 | 1025);
}

TEST_F(NamesEnd, more_inodes_than_a_group_has) {
    disk.thorough = false;
    std::vector<u64> made;
    for (u32 i = 0; i < 3500; i++) made.push_back(node.file(root, fmt::format("{}", i)));
    EXPECT_EQ(inodes(1), 3500u);
    EXPECT_EQ(made.back() & 0xffffffff, (1 + 128 * 3) * 1024u + 499);
    EXPECT_LE(disk.most_lent, 12u);
    for (u32 i = 1000; i < 2000; i++) {
        EXPECT_EQ(node.unlink(root, fmt::format("{}", i), ino), 0);
        EXPECT_EQ(second.free(1, ino), 0);
    }
    disk.thorough = true;
    EXPECT_EQ(node.file(root, "new") & 0xffffffff, (1 + 128 * 1) * 1024u) << "the lowest group with room";
    EXPECT_EQ(inodes(1), 2501u);
}

TEST_F(NamesEnd, a_list_is_as_long_as_it_must_be) {
    disk.thorough = false;
    std::vector<u64> made;
    for (u32 i = 0; i < 1200; i++) made.push_back(orphaned());
    std::set<u64> found;
    u32 at = 0;
    for (; node.orphan(1, at, ino) == 1; at++)
        if (ino) found.insert(ino);
    EXPECT_EQ(at, 1500u);
    EXPECT_EQ(found, std::set<u64>(made.begin(), made.end()));
    EXPECT_THAT(fsck(disk), testing::IsEmpty());
    for (u32 i = 0; i < 1200; i++) EXPECT_EQ(node.free(1, made[1199 - i]), 0);
    EXPECT_EQ(node.orphan(1, 499, ino), 1);
    EXPECT_EQ(node.orphan(1, 500, ino), 0) << "empty pages at the end are no part of it";
    disk.thorough = true;
    orphaned();
    EXPECT_EQ(node.orphan(1, 0, ino), 1);
    EXPECT_NE(ino, 0u);
    EXPECT_EQ(node.orphan(0, 0, ino), -EINVAL);
    EXPECT_EQ(node.orphan(2, 0, ino), 0);
}

TEST_F(NamesEnd, nobody_frees_what_a_living_node_uses) {
    const u64 made = node.file(root, "f");
    EXPECT_EQ(second.use(made, true), 0);
    EXPECT_EQ(node.use(made, true), 0);
    EXPECT_EQ(node.unused(made, everybody), -EINVAL) << "it has a name";
    EXPECT_EQ(node.unlink(root, "f", ino), 0);
    const u64 only_second[2] = {4, 0}, only_third[2] = {8, 0};
    EXPECT_EQ(node.unused(made, everybody), 0);
    EXPECT_EQ(node.unused(made, only_second), 0);
    EXPECT_EQ(node.unused(made, only_third), 1) << "both users are dead";
    EXPECT_EQ(second.use(made, false), 0);
    EXPECT_EQ(node.use(made, false), 0);
    EXPECT_EQ(node.unused(made, everybody), 1);
    EXPECT_EQ(node.unused(77ull << 32, everybody), -ESTALE);
}

TEST_F(NamesEnd, free_can_be_done_twice) {
    const u64 made = orphaned();
    EXPECT_EQ(node.free(1, made), 0);
    EXPECT_EQ(second.free(1, made), 0);
    EXPECT_EQ(second.free(2, made), 0) << "of a list that never was";
    const u64 next = orphaned();
    EXPECT_EQ(second.free(1, made), 0) << "another inode has the slot";
    EXPECT_EQ(node.attr(next).ino, next);
    EXPECT_EQ(inodes(1), 1u);
}

TEST_F(NamesEnd, free_does_not_take_what_has_a_name_or_is_in_another_list) {
    const u64 named = node.file(root, "n"), made = orphaned();
    EXPECT_EQ(node.free(1, named), 0);
    EXPECT_EQ(node.attr(named).nlink, 1u);
    EXPECT_EQ(node.free(2, made), 0);
    EXPECT_EQ(node.attr(made).ino, made);
    EXPECT_EQ(node.free(1, root), -EINVAL);
    EXPECT_EQ(node.free(1, 0), -EINVAL);
    EXPECT_EQ(node.free(0, made), -EINVAL);
    EXPECT_EQ(node.free(128, made), -EINVAL);
}

TEST_F(NamesEnd, a_place_whose_inode_is_gone_is_emptied) {
    disk.thorough = false;
    for (int i = 0; i < 600; i++) orphaned();
    disk.thorough = true;
    auto& page = list<names::OrphanPage>(KRG_NAMES_ORPHANS, 1 + 128);
    page.place[300] = 5ull << 32 | 7;
    page.used++;
    list<names::OrphanPage>(KRG_NAMES_ORPHANS, 1).total++;
    EXPECT_EQ(second.free(1, 5ull << 32 | 7), 0);
    EXPECT_EQ(page.place[300], 0u);
}

/// The steps from the last name to the end, each one operation. Anybody may do any of them.
struct End {
    const char* says;
    int (*step)(Node& node, u64 made);
};
constexpr End steps[] = {
    {"unlink",
     [](Node& n, u64) {
         u64 taken;
         return n.unlink(root, "f", taken);
     }},
    {"last user leaves", [](Node& n, u64 made) { return Node(n.disk(), 1).use(made, false); }},
    {"contents emptied",
     [](Node& n, u64 made) {
         n.disk().punch(made);
         return 0;
     }},
    {"free", [](Node& n, u64 made) { return n.free(1, made); }},
};

TEST_F(NamesEnd, another_node_finishes_wherever_one_stopped) {
    for (u32 stop = 1; stop <= std::size(steps); stop++)
        for (const u32 finisher : {1, 2, 127}) {
            const u64 made = node.file(root, "f");
            EXPECT_EQ(node.use(made, true), 0);
            for (u32 i = 0; i < stop; i++) EXPECT_EQ(steps[i].step(node, made), 0) << steps[i].says;
            // Node 1 is dead, or has been started again; the finisher looks through its list.
            Node other(disk, finisher);
            const u64 live[2] = {finisher < 64 && finisher != 1 ? 1ull << finisher : 0,
                                 finisher < 64 ? 0 : 1ull << (finisher - 64)};
            bool listed = false;
            for (u32 at = 0; other.orphan(1, at, ino) == 1; at++) {
                if (!ino) continue;
                listed = true;
                EXPECT_EQ(ino, made);
                EXPECT_EQ(other.unused(ino, live), 1);
                disk.punch(ino);
                EXPECT_EQ(other.free(1, ino), 0);
            }
            EXPECT_EQ(listed, stop < std::size(steps));
            EXPECT_EQ(inodes(1), 0u) << "stopped after " << steps[stop - 1].says;
            EXPECT_THAT(fsck(disk), testing::IsEmpty());
        }
}

TEST_F(NamesEnd, a_replaced_and_a_removed_inode_are_orphans_of_who_did_it) {
    node.file(root, "a");
    const u64 b = node.file(root, "b"), d = node.mkdir(root, "d");
    EXPECT_EQ(second.rename(root, "a", root, "b", 0, ino), 0);
    EXPECT_EQ(second.rmdir(root, "d", ino), 0);
    EXPECT_EQ(node.orphan(1, 0, ino), 0);
    EXPECT_EQ(node.orphan(2, 0, ino), 1);
    EXPECT_EQ(ino, b);
    EXPECT_EQ(node.orphan(2, 1, ino), 1);
    EXPECT_EQ(ino, d);
    disk.punch(d);
    EXPECT_EQ(node.free(2, d), 0);
    EXPECT_EQ(inodes(1), 2u);
}

}  // namespace
}  // namespace krg::test
