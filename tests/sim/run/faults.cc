// SPDX-License-Identifier: GPL-2.0
//
// Drawing, doing and undoing faults. See faults.hh.
#include "tests/sim/run/faults.hh"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>

namespace krg::sim {

Injector::Injector(const Knobs& knobs, u64 seed, World& world, Cluster& cluster, const std::set<u64>* only)
    : knobs_(knobs),
      world_(world),
      cluster_(cluster),
      only_(only),
      nodes_(static_cast<unsigned>(knobs.nodes)) {
    const u64 sum = std::accumulate(std::begin(knobs.weight), std::end(knobs.weight), u64{0});
    for (u64 i = 0; i < knobs.faults; i++) {
        Rng rng(derive(seed, "fault", i));
        Fault fault{FaultKind::reset, 0, 0, 0, {}};
        u64 at = rng.below(sum != 0 ? sum : 1);
        for (unsigned kind = 0; kind < fault_kinds && sum != 0; kind++) {
            if (at < knobs.weight[kind]) {
                fault.kind = static_cast<FaultKind>(kind);
                break;
            }
            at -= knobs.weight[kind];
        }
        if (fault.kind == FaultKind::storage && knobs.witness == 0) fault.kind = FaultKind::freeze;
        fault.at = rng.next();
        fault.duration = rng.log_uniform(20, knobs.longest_ms) * ms;
        fault.seed = rng.next();
        plan_.push_back(std::move(fault));
    }
}

void Injector::arm(Time start, Time length) {
    for (u64 i = 0; i < plan_.size(); i++) {
        if (only_ && !only_->contains(i)) continue;
        plan_[i].at = start + plan_[i].at % length;
        world_.cue_at(plan_[i].at, cue_begin, i);
    }
}

void Injector::cue(u32 what, u64 arg) {
    if (over_) return;
    switch (what) {
    case cue_begin: begin(arg); break;
    case cue_end: undo(plan_[arg]); break;
    case cue_ambush: spring(arg >> 16, static_cast<NodeId>(arg)); break;
    default: break;
    }
}

void Injector::begin(u64 index) {
    Fault& fault = plan_[index];
    Rng rng(fault.seed);
    if (fault.kind == FaultKind::ambush) {
        ambushes_.push_back(index);
        return;
    }
    FaultKind done = fault.kind;
    if (!attempt(fault, done, rng)) {
        done = FaultKind::reset;
        if (!attempt(fault, done, rng)) {
            world_.cue_at(world_.now() + second / 2, cue_begin, index);
            return;
        }
    }
    executed_++;
    counts_[static_cast<unsigned>(done)]++;
    happened_.push_back(index);
    if (!fault.undo.empty()) world_.cue_at(world_.now() + fault.duration, cue_end, index);
}

NodeId Injector::pick_up(Rng& rng) {
    const unsigned first = static_cast<unsigned>(rng.below(nodes_));
    for (unsigned i = 0; i < nodes_; i++) {
        const auto node = static_cast<NodeId>(1 + (first + i) % nodes_);
        if (world_.up(node) && !world_.frozen(node)) return node;
    }
    return 0;
}

bool Injector::attempt(Fault& fault, FaultKind kind, Rng& rng) {
    switch (kind) {
    case FaultKind::crash: return crash(fault, rng, 1);
    case FaultKind::crash_two: return crash(fault, rng, 2);
    case FaultKind::freeze: {
        const NodeId victim = pick_up(rng);
        if (victim == 0) return false;
        world_.note(victim, Detail::short_log, '!', fmt::format("freezes for {} ms", fault.duration / ms));
        world_.freeze(victim);
        fault.undo.push_back({Undo::What::thaw, victim});
        return true;
    }
    case FaultKind::reset: {
        bool any_reset = false;
        const u64 how_many = rng.chance(1, 2) ? 1 : rng.between(1, nodes_);
        for (u64 i = 0; i < 8 * how_many && !any_reset; i++) {
            const NodeId a = any(rng);
            const NodeId b = any(rng);
            if (a == b || !world_.network().connected(a, b)) continue;
            world_.note(a, Detail::short_log, '!', fmt::format("connection to n{} is reset", b));
            world_.network().reset(world_.now(), a, b, rng.below(4 * ms));
            any_reset = true;
        }
        return any_reset;
    }
    case FaultKind::delay: {
        const NodeId victim = any(rng);
        const bool all = rng.chance(1, 2);
        const NodeId peer = any(rng);
        const u64 extra = rng.log_uniform(1000, knobs_.lease_ms * 500);
        world_.note(victim, Detail::short_log, '!',
                    fmt::format("is slow by {} us {} for {} ms", extra, all ? "to all" : fmt::format("to n{}", peer),
                                fault.duration / ms));
        for (unsigned i = 1; i <= nodes_; i++) {
            const auto to = static_cast<NodeId>(i);
            if (to == victim || (!all && to != peer)) continue;
            world_.network().delay(victim, to, static_cast<i64>(extra));
            fault.undo.push_back({Undo::What::undelay, victim, to, extra});
        }
        return true;
    }
    case FaultKind::hint: {
        const NodeId about = any(rng);
        world_.note(about, Detail::short_log, '!', "is reported dead by the transport");
        const bool all = rng.chance(1, 2);
        const NodeId one = any(rng);
        for (unsigned i = 1; i <= nodes_; i++)
            if (i != about && (all || i == one)) world_.hint(static_cast<NodeId>(i), about);
        return true;
    }
    case FaultKind::leave:
    case FaultKind::evict: return operators(fault, kind, rng);
    case FaultKind::storage: {
        const bool all = rng.chance(1, 2);
        world_.note(0, Detail::short_log, '!',
                    fmt::format("storage is out of reach for {} for {} ms", all ? "all" : "some", fault.duration / ms));
        for (unsigned i = 1; i <= nodes_; i++) {
            if (!all && rng.chance(1, 2)) continue;
            world_.set_storage(static_cast<NodeId>(i), false);
            fault.undo.push_back({Undo::What::storage, static_cast<NodeId>(i)});
        }
        return true;
    }
    default: return partition(fault, kind, rng);
    }
}

bool Injector::crash(Fault& fault, Rng& rng, unsigned how_many) {
    const u64 silent = rng.below(2);
    const bool quick = rng.chance(1, 4);
    unsigned done = 0;
    for (unsigned i = 0; i < 4 * nodes_ && done < how_many; i++) {
        const NodeId victim = any(rng);
        if (!world_.up(victim) || (knobs_.keep_quorum != 0 && !cluster_.may_lose(victim))) continue;
        world_.note(victim, Detail::short_log, '!', fmt::format("crashes{}", silent != 0 ? " silently" : ""));
        world_.crash(victim, silent != 0);
        fault.undo.push_back({Undo::What::boot, victim});
        done++;
    }
    if (quick) fault.duration = rng.between(1, 50) * ms;
    return done != 0;
}

void Injector::block(Fault& fault, NodeId from, NodeId to) {
    world_.network().block(world_.now(), from, to);
    fault.undo.push_back({Undo::What::unblock, from, to});
}

bool Injector::partition(Fault& fault, FaultKind kind, Rng& rng) {
    const u64 length = fault.duration / ms;
    const NodeId a = any(rng);
    NodeId b = any(rng);
    if (a == b) b = static_cast<NodeId>(a % nodes_ + 1);
    std::vector<u8> side(nodes_ + 1, 0);
    switch (kind) {
    case FaultKind::cut:
        world_.note(0, Detail::short_log, '!', fmt::format("cut n{} | n{} for {} ms", a, b, length));
        block(fault, a, b);
        block(fault, b, a);
        return true;
    case FaultKind::cut_one_way:
        world_.note(0, Detail::short_log, '!', fmt::format("cut n{} -> n{} for {} ms", a, b, length));
        block(fault, a, b);
        return true;
    case FaultKind::cuts:
        for (u64 i = rng.between(2, nodes_); i > 0; i--) {
            const NodeId from = any(rng);
            const NodeId to = any(rng);
            if (from == to) continue;
            const bool both = rng.chance(3, 4);
            world_.note(0, Detail::short_log, '!',
                        fmt::format("cut n{} {} n{} for {} ms", from, both ? "|" : "->", to, length));
            block(fault, from, to);
            if (both) block(fault, to, from);
        }
        return !fault.undo.empty();
    case FaultKind::isolate: side[a] = 1; break;
    default:
        for (unsigned i = 1; i <= nodes_; i++) side[i] = static_cast<u8>(rng.below(2));
        side[a] = 0;
        side[b] = 1;
        break;
    }
    const bool one_way = kind == FaultKind::split_one_way;
    std::string text[2];
    for (unsigned from = 1; from <= nodes_; from++) {
        text[side[from]] += fmt::format(" n{}", from);
        for (unsigned to = 1; to <= nodes_; to++)
            if (side[from] != side[to] && !(one_way && side[from] == 0))
                block(fault, static_cast<NodeId>(from), static_cast<NodeId>(to));
    }
    world_.note(0, Detail::short_log, '!',
                fmt::format("split{} {}{} for {} ms", text[1], one_way ? "->" : "|", text[0], length));
    return true;
}

bool Injector::operators(Fault& fault, FaultKind kind, Rng& rng) {
    const NodeId at = pick_up(rng);
    const NodeId victim = kind == FaultKind::leave ? at : any(rng);
    if (at == 0 || (kind == FaultKind::evict && victim == at)) return false;
    world_.note(at, Detail::short_log, '*',
                kind == FaultKind::leave ? "is asked to leave" : fmt::format("is asked to evict n{}", victim));
    if (kind == FaultKind::leave ? !cluster_.leave(at) : !cluster_.evict(at, victim)) return false;
    fault.duration += 2 * second;
    fault.undo.push_back({Undo::What::join, victim});
    return true;
}

void Injector::agreement(NodeId proposer) {
    if (over_ || ambushes_.empty()) return;
    const u64 index = ambushes_.back();
    ambushes_.pop_back();
    Rng rng(derive(plan_[index].seed, "ambush"));
    const Time wait = rng.chance(1, 3) ? 1 : rng.log_uniform(1, 4 * (knobs_.latency_us + knobs_.jitter_us + 10));
    world_.cue_at(world_.now() + wait, cue_ambush, index << 16 | proposer);
}

void Injector::spring(u64 index, NodeId proposer) {
    Fault& fault = plan_[index];
    Rng rng(derive(fault.seed, "spring"));
    const NodeId victim = rng.chance(2, 3) ? proposer : any(rng);
    if (!world_.up(victim)) return;
    world_.note(victim, Detail::short_log, '!', fmt::format("ambush while n{} proposes", proposer));
    const u64 what = rng.below(6);
    // Slow enough that what was decided comes much later than what was voted.
    const u64 slow = rng.log_uniform(5000, knobs_.lease_ms * 500);
    if (what == 0 && (knobs_.keep_quorum == 0 || cluster_.may_lose(victim))) {
        world_.crash(victim, rng.chance(1, 2));
        fault.undo.push_back({Undo::What::boot, victim});
    } else if (what <= 1) {
        world_.freeze(victim);
        fault.undo.push_back({Undo::What::thaw, victim});
    } else {
        for (unsigned i = 1; i <= nodes_; i++) {
            const auto peer = static_cast<NodeId>(i);
            if (peer == victim || rng.chance(1, 3)) continue;
            if (what >= 4) {
                world_.network().delay(victim, peer, static_cast<i64>(slow));
                fault.undo.push_back({Undo::What::undelay, victim, peer, slow});
                continue;
            }
            block(fault, victim, peer);
            if (what == 2) block(fault, peer, victim);
        }
    }
    executed_++;
    counts_[static_cast<unsigned>(FaultKind::ambush)]++;
    happened_.push_back(index);
    world_.cue_at(world_.now() + fault.duration, cue_end, index);
}

void Injector::wait_no_longer() {
    for (const u64 index : ambushes_) {
        plan_[index].kind = FaultKind::reset;
        world_.cue_at(world_.now() + 1, cue_begin, index);
    }
    ambushes_.clear();
}

void Injector::undo(Fault& fault) {
    std::vector<Undo> list;
    list.swap(fault.undo);
    for (const Undo& undo : list) {
        switch (undo.what) {
        case Undo::What::unblock: world_.network().unblock(world_.now(), undo.a, undo.b); break;
        case Undo::What::thaw:
            world_.note(undo.a, Detail::short_log, '~', "wakes");
            world_.thaw(undo.a);
            break;
        case Undo::What::boot: world_.boot(undo.a); break;
        case Undo::What::undelay: world_.network().delay(undo.a, undo.b, -static_cast<i64>(undo.amount)); break;
        case Undo::What::storage: world_.set_storage(undo.a, true); break;
        case Undo::What::join: cluster_.join_again(undo.a); break;
        }
    }
    if (!list.empty() && list.front().what == Undo::What::unblock) world_.note(0, Detail::short_log, '~', "a cut heals");
}

void Injector::heal_all() {
    over_ = true;
    for (Fault& fault : plan_) undo(fault);
}

}  // namespace krg::sim
