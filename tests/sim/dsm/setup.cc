// SPDX-License-Identifier: GPL-2.0
//
// What a seed stands for: every run draws its own size, classes, weights and faults.
#include <fmt/format.h>

#include "tests/sim/dsm/drive.hh"
#include "tests/sim/world/rng.hh"

namespace krg::sim::dsm {

namespace {

/// How fast each kind of work goes on, against the others.
void draw_pace(Setup& s, Rng& rng) {
    constexpr u32 weights[] = {1, 4, 12};
    s.deliver_weight = weights[rng.below(3)];
    s.edge_weight = weights[rng.below(3)];
    s.program_weight = weights[rng.below(3)];
    s.view_weight = weights[rng.below(3)];
    s.time_weight = weights[rng.below(2)];
    s.time_step = static_cast<u32>(rng.log_uniform(2, 200));
    s.slow_pair = rng.chance(1, 3) ? static_cast<u32>(rng.between(2, 6)) : 0;
}

void draw_objects(Setup& s, Rng& rng) {
    // One policy in half of the runs, a mixture in the others; indexes in one chunk or in several.
    const u64 classes = rng.below(4);
    const auto count = 1 + rng.below(rng.chance(1, 2) ? 2 : 5);
    const auto k = static_cast<u8>(2 + (rng.chance(1, 3) ? rng.below(3) : 0));
    const bool spread = rng.chance(1, 2);
    const auto affinity = static_cast<u16>(rng.chance(1, 5) ? 1 + rng.below(s.nodes) : 0);
    for (u64 i = 0; i < count; i++) {
        krg_dsm_object o{};
        const bool is_volatile = classes == 0 || (classes == 1 && rng.chance(1, 2));
        o.container = is_volatile ? 1 : 2;
        o.index = spread ? i * 512 : i;
        o.policy.cls = is_volatile ? KRG_DSM_VOLATILE : KRG_DSM_DURABLE;
        o.policy.replicas = is_volatile ? 1 : k;
        o.policy.affinity = affinity;
        s.objects.push_back(o);
    }
}

}  // namespace

namespace {

/// A world for what is rare in the others: one object, one home, copies that move about, a crash in the middle of that.
Setup draw_narrow(u64 seed) {
    Setup s;
    s.seed = seed;
    Rng rng(derive(seed, "narrow"));
    s.nodes = static_cast<unsigned>(3 + rng.below(2));
    krg_dsm_object o{};
    o.container = 2;
    o.policy.cls = KRG_DSM_DURABLE;
    o.policy.replicas = 2;
    o.policy.affinity = 1;
    s.objects.push_back(o);
    s.params.retry_us = 50;
    s.params.attempts = 8;
    s.params.commit_us = 100;
    s.params.parked_max = 1000;
    s.moves = static_cast<u32>(rng.between(100, 400));
    s.writes_pct = 50;
    s.evict_weight = static_cast<u32>(rng.between(8, 64));
    s.sync_weight = static_cast<u32>(rng.between(8, 64));
    s.program_weight = 2;
    s.crashes = static_cast<u32>(rng.between(1, 2));
    s.slow_pair = 2;
    s.time_step = 50;
    Rng pins(derive(seed, "narrow, with pins"));
    if (pins.chance(1, 4)) {  // holders that cannot let go, of a page that several read and one wants to write
        s.pinned_pct = static_cast<u32>(pins.between(20, 60));
        s.params.pin_us = 50;
        s.writes_pct = 25;
        s.evict_weight = s.sync_weight = 1;
        s.program_weight = 8;
        s.time_weight = 4;
        s.moves = 1500;
    }
    return s;
}

}  // namespace

namespace {

/// A world in which room ends all the time: a few pages a node, many evictions, news that come late.
Setup draw_crowded(u64 seed) {
    Setup s;
    s.seed = seed;
    Rng rng(derive(seed, "crowded"));
    s.nodes = static_cast<unsigned>(rng.chance(3, 4) ? 3 : 4);
    const u64 count = rng.between(3, 6);
    const u64 classes = rng.below(3);
    for (u64 i = 0; i < count; i++) {
        krg_dsm_object o{};
        const bool is_volatile = classes == 0 || (classes == 1 && rng.chance(1, 2));
        o.container = is_volatile ? 1 : 2;
        o.index = i;
        o.policy.cls = is_volatile ? KRG_DSM_VOLATILE : KRG_DSM_DURABLE;
        o.policy.replicas = is_volatile ? 1 : 2;
        s.objects.push_back(o);
    }
    s.memory_pages = static_cast<u32>(rng.between(2, 4));
    s.programs = static_cast<unsigned>(1 + rng.below(programs_max));
    s.params.retry_us = 50;
    s.params.attempts = 8;
    s.params.commit_us = rng.chance(1, 2) ? 100 : 0;
    s.params.parked_max = 1000;
    s.moves = static_cast<u32>(rng.between(400, 2000));
    s.writes_pct = static_cast<u32>(rng.between(20, 60));
    s.evict_weight = static_cast<u32>(rng.between(16, 96));
    s.sync_weight = rng.chance(1, 2) ? static_cast<u32>(rng.between(1, 16)) : 0;
    s.program_weight = 4;
    s.crashes = rng.chance(1, 2) ? static_cast<u32>(rng.between(1, 3)) : 0;
    s.drains = rng.chance(1, 8) ? 1 : 0;
    s.slow_pair = static_cast<u32>(rng.between(2, 4));
    s.time_step = 50;
    return s;
}

}  // namespace

Setup draw_points(u64 seed) {
    Setup s;
    s.seed = seed;
    Rng rng(derive(seed, "points"));
    s.nodes = static_cast<unsigned>(2 + rng.below(4));
    s.point_copies = static_cast<unsigned>(rng.chance(1, 8) ? 1 : rng.chance(1, 2) ? 2 : 2 + rng.below(3));
    s.crash_rolls_back = rng.chance(1, 2);
    const u64 count = 1 + rng.below(6);
    const bool spread = rng.chance(1, 2);
    for (u64 i = 0; i < count; i++) {
        krg_dsm_object o{};
        o.container = 1 + (rng.chance(1, 4) ? 1 : 0);
        o.index = spread ? i * 512 : i;
        o.policy.cls = KRG_DSM_CHECKPOINTED;
        o.policy.replicas = static_cast<u8>(s.point_copies);
        s.objects.push_back(o);
    }
    s.programs = static_cast<unsigned>(1 + rng.below(programs_max));
    constexpr u32 holds[] = {0, 0, 50, 500};
    s.params.hold_us = holds[rng.below(4)];
    s.params.retry_us = static_cast<u32>(rng.between(20, 500));
    s.params.attempts = static_cast<u32>(rng.between(2, 8));
    s.params.parked_max = rng.chance(1, 8) ? static_cast<u32>(rng.between(16, 64)) : 10000;
    s.params.point_us = rng.chance(1, 3) ? static_cast<u32>(rng.log_uniform(100, 20000)) : 0;
    s.params.ahead_max = 100;
    s.moves = static_cast<u32>(rng.log_uniform(300, 2000));
    s.writes_pct = static_cast<u32>(rng.between(20, 60));
    s.updates_pct = static_cast<u32>(rng.between(0, 30));
    s.hot_pct = rng.chance(1, 3) ? static_cast<u32>(rng.between(30, 90)) : 0;
    s.point_weight = static_cast<u32>(rng.log_uniform(1, 32));
    s.rollback_weight = rng.chance(1, 2) ? 1 : 0;
    s.evict_weight = rng.chance(1, 3) ? static_cast<u32>(rng.between(1, 8)) : 0;
    s.abandon_weight = rng.chance(1, 4) ? 1 : 0;
    s.punch_weight = rng.chance(1, 3) ? static_cast<u32>(rng.between(1, 4)) : 0;
    s.ahead_weight = rng.chance(1, 3) ? static_cast<u32>(rng.between(1, 8)) : 0;
    s.crashes = rng.chance(4, 5) ? static_cast<u32>(1 + rng.below(4)) : 0;
    s.crashes_after_point = rng.chance(2, 3);
    s.resets = rng.chance(1, 3) ? static_cast<u32>(rng.below(4)) : 0;
    s.drains = rng.chance(1, 4) ? static_cast<u32>(rng.between(1, 2)) : 0;
    s.duplicate_ppm = rng.chance(1, 3) ? 50000 : 0;
    s.no_memory_ppm = rng.chance(1, 6) ? static_cast<u32>(rng.log_uniform(500, 20000)) : 0;
    s.pinned_pct = rng.chance(1, 8) ? static_cast<u32>(rng.between(1, 20)) : 0;
    if (s.pinned_pct != 0) s.params.pin_us = rng.chance(1, 2) ? 500 : 0;
    if (rng.chance(1, 8)) s.memory_pages = static_cast<u32>(rng.between(2, 4 + 2 * s.objects.size()));
    draw_pace(s, rng);
    return s;
}

Setup draw_setup(u64 seed) {
    if (seed % 16 == 11) return draw_narrow(seed);
    if (seed % 16 == 3 || seed % 16 == 7) return draw_crowded(seed);
    Setup s;
    s.seed = seed;
    Rng rng(derive(seed, "setup"));
    s.nodes = static_cast<unsigned>(2 + rng.below(4));
    draw_objects(s, rng);
    s.programs = static_cast<unsigned>(1 + rng.below(programs_max));
    constexpr u32 holds[] = {0, 0, 50, 500};
    constexpr u32 commits[] = {0, 0, 300, 3000};
    s.params.hold_us = holds[rng.below(4)];
    s.params.retry_us = static_cast<u32>(rng.between(20, 500));
    s.params.attempts = static_cast<u32>(rng.between(2, 8));
    s.params.commit_us = commits[rng.below(4)];
    s.params.dirty_max = static_cast<u32>(rng.chance(1, 2) ? 0 : rng.between(1, 3));
    s.params.parked_max = rng.chance(1, 4) ? static_cast<u32>(rng.between(8, 64)) : 10000;
    s.moves = static_cast<u32>(rng.log_uniform(200, 1500));
    s.writes_pct = static_cast<u32>(rng.between(10, 60));
    s.updates_pct = static_cast<u32>(rng.between(0, 30));
    s.hot_pct = rng.chance(1, 3) ? static_cast<u32>(rng.between(30, 90)) : 0;
    s.evict_weight = rng.chance(1, 2) ? static_cast<u32>(rng.between(1, 8)) : 0;
    s.sync_weight = rng.chance(1, 2) ? static_cast<u32>(rng.between(1, 4)) : 0;
    s.abandon_weight = rng.chance(1, 4) ? 1 : 0;
    s.crashes = rng.chance(3, 4) ? static_cast<u32>(rng.below(5)) : 0;
    s.resets = rng.chance(1, 2) ? static_cast<u32>(rng.below(5)) : 0;
    s.drains = rng.chance(1, 4) ? static_cast<u32>(rng.between(1, 2)) : 0;
    s.duplicate_ppm = rng.chance(1, 2) ? 50000 : 0;
    s.no_memory_ppm = rng.chance(1, 6) ? static_cast<u32>(rng.log_uniform(500, 50000)) : 0;
    s.pinned_pct = rng.chance(1, 8) ? static_cast<u32>(rng.between(1, 20)) : 0;
    draw_pace(s, rng);
    // What came later draws from a source of its own, so that older seeds still are what they were.
    Rng more(derive(seed, "setup of holes"));
    s.punch_weight = more.chance(1, 4) ? static_cast<u32>(more.between(1, 6)) : 0;
    constexpr u32 pins[] = {0, 50, 500};
    if (s.pinned_pct != 0) s.params.pin_us = pins[more.below(3)];
    s.edge_memory_pct = more.chance(1, 8) ? static_cast<u32>(more.between(1, 20)) : 0;
    Rng latest(derive(seed, "setup of ahead"));
    s.ahead_weight = latest.chance(1, 2) ? static_cast<u32>(latest.between(1, 12)) : 0;
    s.params.ahead_max = static_cast<u32>(latest.chance(1, 2) ? 100 : latest.between(1, 3));
    constexpr u32 calms[] = {0, 0, 50, 500};
    s.params.calm_us = calms[latest.below(4)];
    Rng room(derive(seed, "setup of memory"));
    if (room.chance(1, 16)) {
        s.memory_pages = static_cast<u32>(room.between(1, 2 + s.objects.size()));
        if (s.evict_weight == 0) s.evict_weight = static_cast<u32>(room.between(2, 32));
    }
    return s;
}

std::string describe(const Setup& s) {
    std::string out = fmt::format("{} nodes, {} programs each;", s.nodes, s.programs);
    for (std::size_t i = 0; i < s.objects.size(); i++)
        out += fmt::format(" object {}: {}:{} {} k={}{};", i, s.objects[i].container, s.objects[i].index,
                           s.objects[i].policy.cls == KRG_DSM_DURABLE        ? "durable"
                           : s.objects[i].policy.cls == KRG_DSM_CHECKPOINTED ? "checkpointed"
                                                                             : "volatile",
                           s.objects[i].policy.replicas,
                           s.objects[i].policy.affinity != 0 ? fmt::format(" at n{}", s.objects[i].policy.affinity) : "");
    out += fmt::format("\n{} moves; at most {} crashes, {} resets, {} leaves; no memory {} ppm, duplicates {} ppm, pinned {} % "
                       "for {} us, edge without memory "
                       "{} %, holes {}, ahead {}, room for {} pages; hold {} us, calm after {} us, "
                       "commit after {} us, dirty at most {}, parked at most {}\n",
                       s.moves, s.crashes, s.resets, s.drains, s.no_memory_ppm, s.duplicate_ppm, s.pinned_pct, s.params.pin_us,
                       s.edge_memory_pct, s.punch_weight, s.ahead_weight, s.memory_pages, s.params.hold_us, s.params.calm_us,
                       s.params.commit_us, s.params.dirty_max, s.params.parked_max);
    if (s.point_copies != 0)
        out += fmt::format("recovery points {}, wanted rollbacks {}, {} copies, a point may take {} us, {}\n", s.point_weight,
                           s.rollback_weight, s.point_copies, s.params.point_us,
                           s.crash_rolls_back ? "back at every crash" : "back when something is lost");
    return out;
}

}  // namespace krg::sim::dsm
