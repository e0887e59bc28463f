// SPDX-License-Identifier: GPL-2.0
// The vocabulary of the coherence engine: object names, versions, small sets of
// node ids. No behaviour of the protocol lives here.
#pragma once

#include "hadsm/core/dsm.h"
#include "hadsm/core/mutants.hh"

#include <compare>

namespace krg::dsm {

/// Microseconds on this node's own monotonic clock.
using Us = u64;
inline constexpr Us never = ~0ull;

/// A node id: 1..max_nodes; 0 is nobody.
using NodeId = u16;

/// The errors that travel or reach programs; the kernel's numbers.
enum class Errno : s32 {
    none = 0,
    noent = -2,
    io = -5,
    again = -11,
    nomem = -12,
    busy = -16,
    inval = -22,
    nospc = -28,
    timedout = -110
};

/// How much memory a node has left.
enum class Room : u8 { enough = KRG_DSM_ROOM, tight = KRG_DSM_TIGHT, full = KRG_DSM_FULL, last_ = full };

/// (epoch of the grant or commit, counter): never reused. {0,0} is "zeros, everywhere".
struct Version {
    u64 epoch = 0;
    u64 count = 0;
    constexpr auto operator<=>(const Version&) const = default;
    [[nodiscard]] constexpr bool zero() const { return epoch == 0; }
    /// The version after this one, made in @now.
    [[nodiscard]] constexpr Version next(u64 now) const { return {now, count + 1}; }
};

/// Names an object within the domain, or a chunk (then index counts chunks).
struct Key {
    u64 container = 0;
    u64 index = 0;
    constexpr bool operator==(const Key&) const = default;
    [[nodiscard]] constexpr Key chunk() const { return {container, index >> KRG_DSM_CHUNK_SHIFT}; }
};

constexpr u64 mix(u64 a, u64 b) {
    // The finaliser of a 64-bit multiply-xorshift generator (SplitMix64), over both words.
    u64 z = a + 0x9e3779b97f4a7c15ull * (b + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
constexpr u64 hash_of(const Key& k) { return mix(mix(k.container, 1), k.index); }

/// The nodes that hold the committed version beside a writer: at most k - 1.
struct Rset {
    static constexpr u32 max = KRG_DSM_REPLICAS_MAX - 1;
    NodeId node[max] = {};
    u8 count = 0;

    [[nodiscard]] bool has(NodeId n) const {
        for (u32 i = 0; i < count; i++)
            if (node[i] == n) return true;
        return false;
    }
    void add(NodeId n) {
        if (count < max && !has(n)) node[count++] = n;
    }
    void remove(NodeId n) {
        u8 kept = 0;
        for (u32 i = 0; i < count; i++)
            if (node[i] != n) node[kept++] = node[i];
        count = kept;
    }
    [[nodiscard]] bool same_as(const Rset& other) const {
        for (u32 i = 0; i < count; i++)
            if (!other.has(node[i])) return false;
        return count == other.count;
    }
    /// Nobody but @n is in it.
    [[nodiscard]] bool within(NodeId n) const { return count == 0 || (count == 1 && node[0] == n); }
};

constexpr bool durable(const krg_dsm_policy& p) { return p.cls == KRG_DSM_DURABLE; }
/// How many copies @p asks for of what is current; those of recovery points are another matter.
constexpr u32 replicas(const krg_dsm_policy& p) { return p.replicas && p.cls != KRG_DSM_CHECKPOINTED ? p.replicas : 1; }

}  // namespace krg::dsm
