// SPDX-License-Identifier: GPL-2.0
//
// Memory for one engine: from malloc(), filled with a pattern, so that a sanitizer sees every slip; or from an arena that
// can be saved and restored as bytes, pointers included, for exhaustive worlds. Either may be told to fail.
#pragma once

#include <vector>

#include "tests/sim/dsm/types.hh"

namespace krg::sim::dsm {

class Memory {
public:
    explicit Memory(bool arena);
    ~Memory();
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    [[nodiscard]] krg_dsm_memory face();
    /// From now on the @p nth call (1: the next one) finds no memory, and all after it until 0 is said.
    void fail_from(u32 nth) { fail_in_ = nth; }
    [[nodiscard]] u64 used() const { return arena_ ? head()->used : used_; }
    [[nodiscard]] u64 failures() const { return failures_; }
    /// A new life begins: everything is forgotten. Only for arenas.
    void reset();

    [[nodiscard]] std::vector<u8> save() const;
    void restore(const std::vector<u8>& bytes);

private:
    static constexpr u64 arena_bytes = u64{8} << 20;
    static constexpr unsigned classes = 24;
    struct Head {
        u64 end = 0, used = 0;
        u64 free_list[classes] = {};
    };
    [[nodiscard]] Head* head() const { return reinterpret_cast<Head*>(arena_); }
    void* take(u64 bytes);
    void give(void* at, u64 bytes);

    u8* arena_ = nullptr;
    u64 used_ = 0, failures_ = 0;
    u32 fail_in_ = 0;
};

}  // namespace krg::sim::dsm
