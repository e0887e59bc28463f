// SPDX-License-Identifier: GPL-2.0
// Memory of an engine: one block from the caller, cut up once at init and
// never given back. With a null base it only measures, so the size that is
// asked for and the size that is used come from the same code.
#pragma once

#include "kernel/core/types.hh"

#include <cstddef>
#include <new>

namespace krg {

class Arena {
public:
    Arena(void* base, u64 size) : base_(static_cast<u8*>(base)), size_(size) {}

    /// An array of @count value-initialised T; nullptr while measuring or when the block is too small.
    template<typename T>
    T* take(u64 count) {
        static_assert(alignof(T) <= 16);
        u64 at = (used_ + 15) & ~15ull;
        used_ = at + count * sizeof(T);
        if (!base_ || used_ > size_) return nullptr;
        T* p = reinterpret_cast<T*>(base_ + at);
        for (u64 i = 0; i < count; i++) new (p + i) T();
        return p;
    }
    [[nodiscard]] u64 used() const { return (used_ + 15) & ~15ull; }
    [[nodiscard]] bool overflowed() const { return base_ && used_ > size_; }

private:
    u8* base_;
    u64 size_;
    u64 used_ = 0;
};

}  // namespace krg
