// SPDX-License-Identifier: GPL-2.0
//
// The log checker must see every kind of splat, as the kernels we run print them, and must not see one in a quiet log.
#include "kernel_log.hh"

#include <gtest/gtest.h>

namespace krg::cluster_test {
namespace {

const char* const quiet_log =
    "[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org)\n"
    "[    0.100000] debug: ignoring loglevel setting.\n"
    "[    8.916380] tipc: Started in single node mode\n"
    "[    9.023655] kerrighed: loading out-of-tree module taints kernel.\n"
    "[    9.026371] kerrighed: module verification failed: signature and/or required key missing - tainting kernel\n"
    "[   12.000000] clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable because the skew is too "
    "large:\n"
    "[   13.000000] kerrighed: node 4 (node4) refused: its cluster key is another one\n"
    "[   14.000000] tipc: Disabling bearer <eth:eth1>\n";

TEST(KernelLog, AnAllowedWarningIsNoOtherWarning) {
    const std::string at = "[  149.3] WARNING: CPU: 0 PID: 128 at kernel/trace/trace_events.c:2556 ";
    const std::vector<std::string_view> allowed{"no memory for trace events"};
    EXPECT_TRUE(find_splats(at + "event_define_fields+0x2e9/0x4d0\n", allowed).empty());
    EXPECT_EQ(find_splats(at + "event_define_fields+0x2e9/0x4d0\n").size(), 1U);
    EXPECT_EQ(find_splats(at + "event_remove+0x2e9/0x4d0\n", allowed).size(), 1U);
}

TEST(KernelLog, QuietLogHasNoSplat) { EXPECT_TRUE(find_splats(quiet_log).empty()); }

struct Sample {
    const char* line;
    const char* what;
};

class EverySplat : public testing::TestWithParam<Sample> {};

TEST_P(EverySplat, IsFoundInTheMiddleOfALog) {
    std::string log = quiet_log + std::string("[   20.000000] ") + GetParam().line + "\n" + quiet_log;
    auto found = find_splats(log);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].what, GetParam().what);
    EXPECT_EQ(found[0].line, 9);
    EXPECT_NE(found[0].text.find(GetParam().line), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    AsKernelsPrintThem, EverySplat,
    testing::Values(Sample{"Kernel panic - not syncing: Fatal exception in interrupt", "panic"},
                    Sample{"kernel BUG at net/core/skbuff.c:1830!", "BUG"},
                    Sample{"BUG: kernel NULL pointer dereference, address: 0000000000000008", "BUG"},
                    Sample{"Oops: 0002 [#1] PREEMPT SMP NOPTI", "oops"},
                    Sample{"general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1]",
                           "oops"},
                    Sample{"BUG: KASAN: slab-use-after-free in krg_session_put+0x3a/0x90 [kerrighed]", "BUG"},
                    Sample{"UBSAN: array-index-out-of-bounds in kernel/peer.c:77:12", "UBSAN"},
                    Sample{"WARNING: CPU: 0 PID: 83 at mm/percpu.c:1758 pcpu_alloc+0x7e0/0x830", "warning"},
                    Sample{"WARNING: possible circular locking dependency detected", "lockdep"},
                    Sample{"WARNING: suspicious RCU usage", "lockdep"},
                    Sample{"WARNING: bad unlock balance detected!", "lockdep"},
                    Sample{"INFO: lockdep is turned off. turning off the locking correctness validator.", "lockdep"},
                    Sample{"BUG: sleeping function called from invalid context at include/linux/sched/mm.h:306", "BUG"},
                    Sample{"watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [krgadm:99]", "BUG"},
                    Sample{"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "RCU stall"},
                    Sample{"INFO: task krg-node:77 blocked for more than 120 seconds.", "hung task"},
                    Sample{"refcount_t: underflow; use-after-free.", "reference count"},
                    Sample{"list_del corruption. prev->next should be ffff888, but was dead", "list corruption"},
                    Sample{"ODEBUG: free active (active state 0) object type: timer_list hint: x", "object life"},
                    Sample{"kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", "kmemleak"},
                    Sample{"kmemleak: Cannot allocate a kmemleak_object structure", "kmemleak"},
                    Sample{"kmemleak: Cannot allocate a scan area, scanning the full object", "kmemleak scan area"},
                    Sample{"krg-rpc: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP)", "out of memory"},
                    Sample{"BUG kmalloc-64 (Tainted: G OE): Objects remaining in kmalloc-64 on __kmem_cache_shutdown()",
                           "memory corruption"},
                    Sample{"krgadm[99]: segfault at 0 ip 000055 sp 00007f error 4 in krgadm", "segmentation fault"},
                    Sample{"kerrighed: statistics: cannot start: -12", "cannot start"},
                    Sample{"kerrighed: internal check 7 of the membership engine failed", "module error"},
                    Sample{"Call Trace:", "call trace"}));

TEST(KernelLog, AllowedKindsDoNotCount) {
    std::string log = std::string(quiet_log) + "[   20.0] krgadm: page allocation failure: order:0\n";
    EXPECT_EQ(find_splats(log).size(), 1U);
    EXPECT_TRUE(find_splats(log, {"out of memory"}).empty());
}

TEST(KernelLog, WhatLockdepSaysWhenItStartsIsNoReport) {
    const std::string start =
        "[    1.518590] ... MAX_LOCKDEP_SUBCLASSES:  8\n[    1.518829] ... MAX_LOCKDEP_KEYS:        8192\n";
    EXPECT_TRUE(find_splats(start).empty());
    EXPECT_EQ(find_splats(start + "[   20.0] BUG: MAX_LOCKDEP_ENTRIES too low!\n").size(), 1U);
}

TEST(KernelLog, OneSplatIsOneFinding) {
    std::string log = "[1.0] WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2\n[1.0] Call Trace:\n[1.0]  <TASK>\n";
    EXPECT_EQ(find_splats(log).size(), 1U);
}

TEST(Kmemleak, OnlyOurObjectsCount) {
    const std::string foreign =
        "unreferenced object 0xffff888003d3c000 (size 1024):\n  comm \"swapper/0\", pid 1, jiffies 42949 (age 30.1s)\n"
        "  backtrace:\n    [<ffffffff81234567>] kmalloc_trace+0x22/0x60\n    [<ffffffff81934567>] acpi_init+0x22/0x60\n";
    const std::string ours =
        "unreferenced object 0xffff888003d3d000 (size 64):\n  comm \"krgadm\", pid 99, jiffies 42949 (age 30.1s)\n"
        "  backtrace:\n    [<00000000f5ad5d4b>] krg_session_create+0x22/0x60 [kerrighed]\n";
    const std::string gone =
        "unreferenced object 0xffff888003d3e000 (size 64):\n  comm \"insmod\", pid 99, jiffies 42949 (age 30.1s)\n"
        "  backtrace:\n    [<00000000f5ad5d4b>] 0xffffffffc0123456\n";
    EXPECT_TRUE(find_leaks("").empty());
    EXPECT_TRUE(find_leaks(foreign).empty());
    EXPECT_EQ(find_leaks(foreign + ours).size(), 1U);
    EXPECT_EQ(find_leaks(ours + foreign + gone).size(), 2U);
    const std::string gone_at_fixed_place =
        "unreferenced object 0xff110000063d3e00 (size 64):\n  comm \"insmod\", pid 99, jiffies 42949 (age 30.1s)\n"
        "  backtrace:\n    [<00000000f5ad5d4b>] 0xffffffffa009e000\n";
    EXPECT_EQ(find_leaks(foreign + gone_at_fixed_place).size(), 1U);
}

}  // namespace
}  // namespace krg::cluster_test
