// SPDX-License-Identifier: GPL-2.0
// What records must be to each other: references, order, once and at least once,
// pages inside of their mapping; and the written specification against the schema.
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ghost/document.hh"
#include "tests/ghost/image.hh"

namespace krg::ghost::testing {
namespace {

using ::testing::HasSubstr;

struct Tried {
    Maker maker;
    World world;
    explicit Tried(u64 features = 0) : maker(features) {
        add_image(maker);
        world = add_world(maker);
    }
    u64 operator[](u32 cls) const { return world.of[cls]; }
    std::string add(u16 type, const std::vector<Put>& puts, const std::string& data = "") {
        maker.add(type, puts, data);
        return maker.error().code ? maker.error().reason : "";
    }
};

TEST(GhostOrder, the_first_record_is_the_image_record_and_there_is_one) {
    Maker maker;
    maker.add(KRG_GHOST_SIGHAND, {});
    EXPECT_THAT(maker.error().reason, HasSubstr("first record"));
    Maker twice;
    add_image(twice);
    add_image(twice);
    EXPECT_THAT(twice.error().reason, HasSubstr("second image record"));
}

TEST(GhostOrder, nothing_comes_behind_the_end) {
    Tried t;
    t.maker.close();
    EXPECT_THAT(t.add(KRG_GHOST_SIGHAND, {}), HasSubstr("behind the end"));
}

TEST(GhostOrder, a_reference_goes_back_to_an_object_of_the_right_class) {
    EXPECT_THAT(Tried().add(KRG_GHOST_FD, {{1, 500}, {2, 0}, {3, 1}}), HasSubstr("not there yet"));
    Tried t;
    EXPECT_THAT(t.add(KRG_GHOST_FD, {{1, t[KRG_GHOST_MM_CLASS]}, {3, 1}}), HasSubstr("another class"));
    Tried u;
    EXPECT_THAT(u.add(KRG_GHOST_EPOLL_WATCH, {{1, u.world.directory}, {2, u.world.directory}, {3, 0}}), HasSubstr("epoll"));
    Tried v;
    EXPECT_THAT(v.add(KRG_GHOST_FS, {{1, v.world.epoll}}), HasSubstr("not a directory"));
}

TEST(GhostOrder, descriptors_ascend_and_stay_together) {
    Tried t;
    const u64 files = t[KRG_GHOST_FILES_CLASS], file = t[KRG_GHOST_FILE_CLASS];
    EXPECT_EQ(t.add(KRG_GHOST_FD, {{1, files}, {2, 3}, {3, file}}), "");
    EXPECT_THAT(t.add(KRG_GHOST_FD, {{1, files}, {2, 3}, {3, file}}), HasSubstr("ascend"));
    Tried u;
    const u64 task = u[KRG_GHOST_TASK_CLASS];
    u.add(KRG_GHOST_RLIMIT, {{1, task}, {2, 1}});
    u.add(KRG_GHOST_ITIMER, {{1, task}, {2, 0}});
    EXPECT_THAT(u.add(KRG_GHOST_RLIMIT, {{1, task}, {2, 2}}), HasSubstr("together"));
}

TEST(GhostOrder, mappings_do_not_overlap) {
    Tried t;
    EXPECT_THAT(t.add(KRG_GHOST_VMA, {{1, t[KRG_GHOST_MM_CLASS]}, {2, 0x7ff000}, {3, 0x900000}}), HasSubstr("overlaps"));
    EXPECT_THAT(Tried().add(KRG_GHOST_VMA, {{1, 21}, {2, 0x900001}, {3, 0xa00000}}), HasSubstr("aligned"));
    EXPECT_THAT(Tried().add(KRG_GHOST_VMA, {{1, 21}, {2, 0x900000}, {3, 0x900000}}), HasSubstr("behind"));
}

TEST(GhostOrder, pages_lie_in_their_mapping) {
    const std::string page(4096, 'p');
    const auto refused = [&](std::vector<Put> puts, const std::string& data) {
        Tried t;
        puts.insert(puts.begin(), Put{1, t[KRG_GHOST_VMA_CLASS]});
        return t.add(KRG_GHOST_PAGES, puts, data);
    };
    EXPECT_EQ(refused({{2, 0x7ff000}, {3, 1}}, page), "");
    EXPECT_THAT(refused({{2, 0x800000}, {3, 1}}, page), HasSubstr("reaches behind"));
    EXPECT_THAT(refused({{2, 0x801000}, {3, 1}}, page), HasSubstr("not in what"));
    EXPECT_THAT(refused({{2, 0x7ff001}, {3, 1}}, page), HasSubstr("not in what"));
    EXPECT_THAT(refused({{2, 0}, {3, 0x7ffffffffffff}, {4, 1}}, ""), HasSubstr("reaches behind"));
    EXPECT_THAT(refused({{2, 0}, {3, 2}}, page), HasSubstr("not as many data"));
    EXPECT_THAT(refused({{2, 0}, {3, 1}, {5, 1}}, page), HasSubstr("not as many data"));
    EXPECT_THAT(refused({{2, 0}, {3, 1}, {4, 1}}, page), HasSubstr("elsewhere"));
    EXPECT_THAT(refused({{2, 0}, {3, 1}, {4, 2}}, ""), HasSubstr("no parent"));
    EXPECT_THAT(refused({{2, 0}, {3, 1}, {4, 3}}, ""), HasSubstr("another address space"));
}

TEST(GhostOrder, pages_come_again_only_in_rounds) {
    const std::string page(4096, 'p');
    for (const u64 features : {u64{0}, u64{KRG_GHOST_ROUNDS}}) {
        Tried t(features);
        const u64 vma = t[KRG_GHOST_VMA_CLASS];
        EXPECT_EQ(t.add(KRG_GHOST_PAGES, {{1, vma}, {2, 0x1000}, {3, 1}}, page), "");
        EXPECT_EQ(t.add(KRG_GHOST_PAGES, {{1, vma}, {2, 0x1000}, {3, 1}}, page).empty(), features != 0);
    }
}

TEST(GhostOrder, what_an_object_must_have_is_there_at_the_end) {
    Tried t;
    const u64 task =
        t.maker.add(KRG_GHOST_TASK,
                    {{1, 200}, {5, t[KRG_GHOST_GROUP_CLASS]}, {6, t[KRG_GHOST_MM_CLASS]}, {7, t[KRG_GHOST_SIGHAND_CLASS]}});
    ASSERT_NE(task, 0u);
    t.maker.close();
    EXPECT_EQ(t.maker.error().type, KRG_GHOST_THREAD);
    EXPECT_THAT(t.maker.error().reason, HasSubstr("has none of these"));
}

TEST(GhostOrder, the_leader_is_the_first_thread) {
    Tried t;
    EXPECT_THAT(t.add(KRG_GHOST_THREAD, {{1, t[KRG_GHOST_TASK_CLASS]},
                                         {2, 100},
                                         {4, t[KRG_GHOST_CREDS_CLASS]},
                                         {5, t[KRG_GHOST_FILES_CLASS]},
                                         {6, t[KRG_GHOST_FS_CLASS]}}),
                HasSubstr("first thread"));
}

TEST(GhostOrder, capabilities_that_were_not_permitted_are_refused) {
    EXPECT_THAT(Tried().add(KRG_GHOST_CREDS, {{11, 1}}), HasSubstr("not permitted"));
    EXPECT_THAT(Tried().add(KRG_GHOST_CREDS, {{10, 1}, {13, 1}}), HasSubstr("ambient"));
}

TEST(GhostOrder, a_manifest_has_members_only) {
    Maker maker;
    add_image(maker, {{KRG_GHOST_IMAGE_PURPOSE, 1}});
    maker.add(KRG_GHOST_MEMBER, {{1, 1}, {2, "../escape"}, {3, 5}, {4, 100}, {5, 9}});
    EXPECT_THAT(maker.error().reason, HasSubstr("slash"));
    Maker other;
    add_image(other, {{KRG_GHOST_IMAGE_PURPOSE, 1}});
    other.add(KRG_GHOST_SIGHAND, {});
    EXPECT_THAT(other.error().reason, HasSubstr("members only"));
}

TEST(GhostOrder, the_specification_says_what_the_schema_says) {
    std::ifstream file(std::string(KRG_SOURCE_DIR) + "/Documentation/ghost-format.md");
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_TRUE(text.str().find(record_tables()) != std::string::npos)
        << "put the output of krg-ghost-doc behind the heading Records of Documentation/ghost-format.md";
}

}  // namespace
}  // namespace krg::ghost::testing
