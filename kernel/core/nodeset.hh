// SPDX-License-Identifier: GPL-2.0
// A set of node ids as a row of bits in arena memory. The set does not own its
// words; all sets of one engine have the same width.
#pragma once

#include "kernel/core/arena.hh"

#include <bit>

namespace krg {

/// Bits set in @v. Not std::popcount: without the popcnt instruction that is a call into libgcc, which kernels lack.
constexpr u32 popcount(u64 v) {
    v -= (v >> 1) & 0x5555555555555555ull;
    v = (v & 0x3333333333333333ull) + ((v >> 2) & 0x3333333333333333ull);
    v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0full;
    return static_cast<u32>((v * 0x0101010101010101ull) >> 56);
}

class NodeSet {
public:
    NodeSet() = default;
    NodeSet(u64* words, u32 count) : words_(words), count_(count) {}
    static constexpr u32 words_for(u32 max_nodes) { return (max_nodes + 64) / 64; }  // ids 0..max_nodes

    [[nodiscard]] bool has(NodeId n) const { return n / 64u < count_ && (words_[n / 64u] >> (n % 64u)) & 1; }
    void add(NodeId n) {
        if (n / 64u < count_) words_[n / 64u] |= 1ull << (n % 64u);
    }
    void remove(NodeId n) {
        if (n / 64u < count_) words_[n / 64u] &= ~(1ull << (n % 64u));
    }
    void clear() {
        for (u32 i = 0; i < count_; i++) words_[i] = 0;
    }
    void assign(const NodeSet& other) {
        for (u32 i = 0; i < count_; i++) words_[i] = other.words_[i];
    }
    void join(const NodeSet& other) {
        for (u32 i = 0; i < count_; i++) words_[i] |= other.words_[i];
    }
    void intersect(const NodeSet& other) {
        for (u32 i = 0; i < count_; i++) words_[i] &= other.words_[i];
    }
    [[nodiscard]] u32 size() const {
        u32 n = 0;
        for (u32 i = 0; i < count_; i++) n += popcount(words_[i]);
        return n;
    }
    [[nodiscard]] bool empty() const {
        for (u32 i = 0; i < count_; i++)
            if (words_[i]) return false;
        return true;
    }
    [[nodiscard]] bool contains_all(const NodeSet& other) const {
        for (u32 i = 0; i < count_; i++)
            if (other.words_[i] & ~words_[i]) return false;
        return true;
    }
    /// The lowest id >= @from, or 0.
    [[nodiscard]] NodeId next(NodeId from) const {
        for (u32 w = from / 64u; w < count_; w++) {
            u64 bits = words_[w];
            if (w == from / 64u) bits &= ~0ull << (from % 64u);
            if (bits) return static_cast<NodeId>(w * 64 + static_cast<u32>(std::countr_zero(bits)));
        }
        return 0;
    }
    /// Order by "most members, then lowest ids": is this set the better view?
    [[nodiscard]] bool better_than(const NodeSet& other) const {
        u32 a = size(), b = other.size();
        if (a != b) return a > b;
        for (u32 i = 0; i < count_; i++) {
            u64 differ = words_[i] ^ other.words_[i];
            if (differ) return words_[i] & (differ & (~differ + 1));  // the lowest id in which they differ
        }
        return false;
    }
    [[nodiscard]] u64* words() const { return words_; }
    [[nodiscard]] u32 word_count() const { return count_; }

    template<typename F>
    void each(F&& f) const {
        for (u32 w = 0; w < count_; w++)
            for (u64 bits = words_[w]; bits; bits &= bits - 1)
                f(static_cast<NodeId>(w * 64 + static_cast<u32>(std::countr_zero(bits))));
    }

private:
    u64* words_ = nullptr;
    u32 count_ = 0;
};

}  // namespace krg
