// SPDX-License-Identifier: GPL-2.0
//
// Arenas: blocks of powers of two, free ones in lists. See memory.hh.
#include "tests/sim/dsm/memory.hh"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <sys/mman.h>

namespace krg::sim::dsm {

Memory::Memory(bool arena) {
    if (!arena) return;
    void* at = mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::runtime_error("no memory for an engine");
    arena_ = static_cast<u8*>(at);
    reset();
}

Memory::~Memory() {
    if (arena_) munmap(arena_, arena_bytes);
}

void Memory::reset() {
    used_ = 0;
    if (!arena_) return;
    new (arena_) Head{};
    head()->end = (sizeof(Head) + 15) & ~u64{15};
}

krg_dsm_memory Memory::face() {
    krg_dsm_memory face{};
    face.alloc = [](void* context, u64 bytes) { return static_cast<Memory*>(context)->take(bytes); };
    face.free = [](void* context, void* at, u64 bytes) { static_cast<Memory*>(context)->give(at, bytes); };
    face.context = this;
    return face;
}

void* Memory::take(u64 bytes) {
    if (fail_in_ == 1) {
        failures_++;
        return nullptr;
    }
    if (fail_in_ > 1) fail_in_--;
    if (!arena_) {
        void* at = std::malloc(bytes ? bytes : 1);
        if (!at) return nullptr;
        std::memset(at, 0xa5, bytes);
        used_ += bytes;
        return at;
    }
    const auto cls = static_cast<unsigned>(std::bit_width(std::max<u64>(bytes, 16) - 1));
    Head* h = head();
    u64 at = cls < classes ? h->free_list[cls] : 0;
    if (at != 0) {
        std::memcpy(&h->free_list[cls], arena_ + at, sizeof(u64));
    } else {
        at = h->end;
        if (cls >= classes || at + (u64{1} << cls) > arena_bytes) return nullptr;
        h->end += u64{1} << cls;
    }
    h->used += bytes;
    std::memset(arena_ + at, 0xa5, bytes);
    return arena_ + at;
}

void Memory::give(void* at, u64 bytes) {
    if (!at) return;
    if (!arena_) {
        used_ -= bytes;
        std::memset(at, 0x5a, bytes);
        std::free(at);
        return;
    }
    const auto cls = static_cast<unsigned>(std::bit_width(std::max<u64>(bytes, 16) - 1));
    Head* h = head();
    const auto where = static_cast<u64>(static_cast<u8*>(at) - arena_);
    std::memset(at, 0x5a, bytes);
    std::memcpy(at, &h->free_list[cls], sizeof(u64));
    h->free_list[cls] = where;
    h->used -= bytes;
}

std::vector<u8> Memory::save() const { return {arena_, arena_ + head()->end}; }
void Memory::restore(const std::vector<u8>& bytes) { std::memcpy(arena_, bytes.data(), bytes.size()); }

}  // namespace krg::sim::dsm
