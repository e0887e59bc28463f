// SPDX-License-Identifier: GPL-2.0
// libkerrighed where there is no module: what it refuses, and the table it keeps for the kernel.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <kerrighed.h>
#include <linux/krg_self.h>

namespace {

/// As the kernel looks for it: a private mapping of a memfd with that name.
const krg_self* table() {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
        if (line.find("/memfd:" KRG_SELF_NAME " (deleted)") != std::string::npos &&
            line.find(" rw-p 00000000 ") != std::string::npos)
            return reinterpret_cast<const krg_self*>(std::stoull(line, nullptr, 16));
    return nullptr;
}

void refused(int result, int error) {
    EXPECT_EQ(result, -1);
    EXPECT_EQ(errno, error);
    EXPECT_STRNE(krg_why(), "");
}

int in_child(int (*body)()) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Library, CountsWhoDisables) {
    refused(krg_cr_enable(), EINVAL);
    EXPECT_EQ(krg_cr_disable(), 0);
    EXPECT_EQ(krg_cr_disable(), 0);
    ASSERT_NE(table(), nullptr);
    EXPECT_EQ(table()->magic, KRG_SELF_MAGIC);
    EXPECT_EQ(table()->disabled, 2U);
    EXPECT_EQ(krg_cr_enable(), 0);
    EXPECT_EQ(krg_cr_enable(), 0);
    EXPECT_EQ(table()->disabled, 0U);
    refused(krg_cr_enable(), EINVAL);
}

TEST(Library, KeepsRegions) {
    static char memory[KRG_SELF_REGIONS + 1][8];
    refused(krg_cr_exclude(nullptr, 1), EINVAL);
    refused(krg_cr_exclude(memory, 0), EINVAL);
    refused(krg_cr_exclude(memory, ~std::size_t{0}), EINVAL);
    for (int i = 0; i < KRG_SELF_REGIONS; i++) ASSERT_EQ(krg_cr_exclude(memory[i], 8), 0) << krg_why();
    refused(krg_cr_exclude(memory[KRG_SELF_REGIONS], 8), ENOSPC);
    refused(krg_cr_include(memory[KRG_SELF_REGIONS]), ENOENT);
    EXPECT_EQ(krg_cr_include(memory[3]), 0);
    refused(krg_cr_exclude(memory[4], 8), EEXIST);
    EXPECT_EQ(table()->count, KRG_SELF_REGIONS - 1U);
    EXPECT_EQ(table()->region[3].at, reinterpret_cast<std::uintptr_t>(memory[KRG_SELF_REGIONS - 1]));
    EXPECT_EQ(table()->region[3].length, 8U);
    for (int i = 0; i < KRG_SELF_REGIONS; i++) {
        if (i == 3) continue;
        EXPECT_EQ(krg_cr_include(memory[i]), 0);
    }
    EXPECT_EQ(table()->count, 0U);
}

TEST(Library, CallsBackAsTheKernelSays) {
    static int before = 0, after = 0;
    const int first = krg_cr_register(
        KRG_CR_BEFORE, [](void*) { __atomic_add_fetch(&before, 1, __ATOMIC_SEQ_CST); }, nullptr);
    const int second = krg_cr_register(
        KRG_CR_CONTINUE, [](void*) { __atomic_add_fetch(&after, 1, __ATOMIC_SEQ_CST); }, nullptr);
    ASSERT_GT(first, 0);
    ASSERT_GT(second, first);
    auto* self = const_cast<krg_self*>(table());
    ASSERT_NE(self, nullptr);
    EXPECT_GT(self->caller, 0);
    EXPECT_NE(self->caller, getpid());
    refused(krg_cr_register(KRG_CR_BEFORE, nullptr, nullptr), EINVAL);
    EXPECT_EQ(krg_cr_unregister(first), 0);
    refused(krg_cr_unregister(first), ENOENT);
    EXPECT_EQ(krg_cr_unregister(second), 0);
    EXPECT_EQ(before + after, 0);
}

TEST(Library, ChildHasTheTableAndNotTheThread) {
    ASSERT_GT(krg_cr_register(
                  KRG_CR_BEFORE, [](void*) {}, nullptr),
              0);
    ASSERT_EQ(krg_cr_disable(), 0);
    EXPECT_EQ(in_child([] { return table()->caller == 0 && table()->disabled == 1 ? 0 : 1; }), 0);
    EXPECT_EQ(krg_cr_enable(), 0);
    EXPECT_GT(table()->caller, 0);
}

TEST(Library, RefusesWhatItDoesNotKnow) {
    refused(krg_migrate(getpid(), 1, KRG_KILL), EINVAL);
    refused(krg_migrate(getpid(), 0, 0), EINVAL);
    refused(krg_migrate_self(-1, 0), EINVAL);
    refused(krg_checkpoint(getpid(), nullptr, 0, nullptr), EFAULT);
    refused(krg_checkpoint(getpid(), "x", KRG_POST_COPY, nullptr), EINVAL);
    refused(krg_checkpoint_self("", 0), EINVAL);
    refused(krg_restart("x", KRG_TREE), EINVAL);
    refused(krg_node_list(nullptr, 1), EINVAL);
}

}  // namespace
