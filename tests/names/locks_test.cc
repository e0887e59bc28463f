// SPDX-License-Identifier: GPL-2.0
//
// File locks of the name space engine against a model that has one cell for every byte: random locks of several owners on
// several nodes, some of which die. A failure names the seed and the step.
#include "hadsm/names/locks.h"
#include "tests/names/disk.hh"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <vector>

namespace krg::test {
namespace {

constexpr int e_busy = -16, e_nolck = -37;
constexpr u64 end_of_file = ~0ull;
constexpr u32 cells = 24;  // the last one stands for all bytes from there on
constexpr u64 ino = (7ull << 32) | 1025;

krg_names_lock wish(u32 node, u64 life, u64 owner, u32 type, u64 start, u64 last, u32 kind = KRG_NAMES_POSIX) {
    krg_names_lock l{};
    l.node = node;
    l.life = life;
    l.owner = owner;
    l.type = type;
    l.kind = kind;
    l.start = start;
    l.last = last;
    l.pid = 100 + node;
    return l;
}

struct Locks {
    Disk disk;
    std::vector<krg_names_life> lives{{11, 1, 0}, {12, 2, 0}, {13, 3, 0}};

    int lock(const krg_names_lock& want, u64 file = ino) {
        return disk.run(want.node, [&](const krg_names_io& io) {
            return krg_names_setlock(&io, file, &want, lives.data(), static_cast<u32>(lives.size()));
        });
    }
    int test(const krg_names_lock& want, krg_names_lock& found, u64 file = ino) {
        return disk.run(want.node, [&](const krg_names_io& io) {
            return krg_names_testlock(&io, file, &want, lives.data(), static_cast<u32>(lives.size()), &found);
        });
    }
};

TEST(Locks, ExclusiveKeepsOthersOut) {
    Locks t;
    krg_names_lock found{};
    EXPECT_EQ(t.lock(wish(1, 11, 1, KRG_NAMES_EXCLUSIVE, 10, 19)), 0);
    EXPECT_EQ(t.lock(wish(2, 12, 1, KRG_NAMES_SHARED, 19, 19)), e_busy);
    EXPECT_EQ(t.test(wish(2, 12, 1, KRG_NAMES_SHARED, 0, end_of_file), found), 1);
    EXPECT_EQ(found.node, 1u);
    EXPECT_EQ(found.pid, 101u);
    EXPECT_EQ(found.start, 10u);
    EXPECT_EQ(found.last, 19u);
    EXPECT_EQ(t.lock(wish(2, 12, 1, KRG_NAMES_EXCLUSIVE, 20, end_of_file)), 0);
    EXPECT_EQ(t.lock(wish(1, 11, 1, KRG_NAMES_UNLOCK, 0, end_of_file)), 0);
    EXPECT_EQ(t.lock(wish(2, 12, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file)), 0);
}

TEST(Locks, TheTwoKindsDoNotMeet) {
    Locks t;
    EXPECT_EQ(t.lock(wish(1, 11, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file)), 0);
    EXPECT_EQ(t.lock(wish(2, 12, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file, KRG_NAMES_FLOCK)), 0);
    EXPECT_EQ(t.lock(wish(3, 13, 1, KRG_NAMES_SHARED, 0, end_of_file, KRG_NAMES_FLOCK)), e_busy);
}

TEST(Locks, OfADeadNodeOrAnEarlierLifeDoNotCount) {
    Locks t;
    EXPECT_EQ(t.lock(wish(1, 11, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file)), 0);
    EXPECT_EQ(t.lock(wish(2, 12, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file)), e_busy);
    t.lives[0].life = 99;
    EXPECT_EQ(t.lock(wish(2, 12, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file)), 0);
    EXPECT_EQ(t.lock(wish(1, 99, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file)), e_busy);
}

TEST(Locks, OfAnEarlierInodeInTheSlotAreGone) {
    Locks t;
    EXPECT_EQ(t.lock(wish(1, 11, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file)), 0);
    const u64 next = ino + (1ull << 32);
    krg_names_lock found{};
    EXPECT_EQ(t.test(wish(2, 12, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file), found, next), 0);
    EXPECT_EQ(t.lock(wish(2, 12, 1, KRG_NAMES_EXCLUSIVE, 0, end_of_file), next), 0);
}

TEST(Locks, AFullTableSaysSoAndStaysAsItIs) {
    Locks t;
    t.disk.thorough = false;
    u64 at = 0;
    int rc = 0;
    for (; at < 100000 && !rc; at += 2) rc = t.lock(wish(1, 11, 1, KRG_NAMES_SHARED, at, at));
    EXPECT_EQ(rc, e_nolck);
    EXPECT_GT(at, 2000u);
    // What needs no new record still works, and gives room for more.
    EXPECT_EQ(t.lock(wish(1, 11, 1, KRG_NAMES_UNLOCK, 0, 7)), 0);
    EXPECT_EQ(t.lock(wish(1, 11, 1, KRG_NAMES_SHARED, 0, 0)), 0);
}

TEST(Locks, DamagedPagesAreRefused) {
    Locks t;
    EXPECT_EQ(t.lock(wish(1, 11, 1, KRG_NAMES_EXCLUSIVE, 0, 9)), 0);
    std::mt19937_64 random(5);
    const Page good = t.disk.page(KRG_NAMES_LOCKS, 1025);
    for (int i = 0; i < 2000; i++) {
        Page& page = t.disk.page(KRG_NAMES_LOCKS, 1025);
        page = good;
        for (int k = 0; k < 3; k++) page.bytes.at(random() % 160) = static_cast<u8>(random());
        krg_names_lock found{};
        const int rc = t.test(wish(2, 12, 1, KRG_NAMES_SHARED, 0, end_of_file), found);
        EXPECT_TRUE(rc == 0 || rc == 1 || rc == -117) << rc;
    }
}

/// Who has which byte, one cell a byte.
class Model {
public:
    using Owner = std::pair<u32, u64>;  // node, owner
    bool lock(const Owner& who, u32 type, u32 from, u32 to) {
        if (type != KRG_NAMES_UNLOCK && !free(who, type, from, to)) return false;
        for (u32 i = from; i <= to; i++) cell_[who].at(i) = type == KRG_NAMES_UNLOCK ? 0 : type + 1;
        return true;
    }
    [[nodiscard]] bool free(const Owner& who, u32 type, u32 from, u32 to) const {
        for (const auto& [other, cell] : cell_)
            for (u32 i = from; i <= to && other != who; i++)
                if (cell.at(i) && (type == KRG_NAMES_EXCLUSIVE || cell.at(i) == KRG_NAMES_EXCLUSIVE + 1)) return false;
        return true;
    }
    void dies(u32 node) {
        for (auto& [who, cell] : cell_)
            if (who.first == node) cell = {};
    }

private:
    std::map<Owner, std::array<u32, cells>> cell_;
};

void run(u64 seed) {
    std::mt19937_64 random(seed);
    const auto pick = [&](u32 n) { return static_cast<u32>(random() % n); };
    Locks t;
    t.disk.thorough = seed % 8 == 0;
    Model model;
    for (u32 step = 0; step < 400; step++) {
        const u32 node = 1 + pick(3), owner = 1 + pick(2), type = pick(3);
        const u32 from = pick(cells), to = from + pick(cells - from);
        if (pick(60) == 0) {
            t.lives[node - 1].life += 100;
            model.dies(node);
        }
        krg_names_lock want = wish(node, t.lives[node - 1].life, owner, type, from, to == cells - 1 ? end_of_file : to),
                       found{};
        const bool fits = model.free({node, owner}, type, from, to);
        if (type != KRG_NAMES_UNLOCK) {
            ASSERT_EQ(t.test(want, found), fits ? 0 : 1) << fmt::format("seed {} step {}: test", seed, step);
        }
        ASSERT_EQ(t.lock(want), fits || type == KRG_NAMES_UNLOCK ? 0 : e_busy) << fmt::format("seed {} step {}", seed, step);
        (void)model.lock({node, owner}, type, from, to);
        // Each byte alone, as a stranger meets it: exclusive meets any lock, shared an exclusive one.
        const u32 byte = pick(cells);
        for (const u32 asked : {u32{KRG_NAMES_SHARED}, u32{KRG_NAMES_EXCLUSIVE}}) {
            const krg_names_lock probe = wish(1, t.lives[0].life, 77, asked, byte, byte == cells - 1 ? end_of_file : byte);
            ASSERT_EQ(t.test(probe, found), model.free({1, 77}, asked, byte, byte) ? 0 : 1)
                << fmt::format("seed {} step {}: byte {}", seed, step, byte);
        }
    }
}

TEST(Locks, AgainstTheModel) {
    for (u64 seed = 1; seed <= 200 && !HasFatalFailure(); seed++) run(seed);
}

}  // namespace
}  // namespace krg::test
