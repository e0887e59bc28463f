// SPDX-License-Identifier: GPL-2.0
// How an operation comes by its pages, and the errors it ends with. A page that is
// only read is const: what may be changed was asked for as such.
#pragma once

#include "hadsm/names/format.hh"

namespace krg::names {

/// The kernel's numbers.
enum : int {
    e_perm = -1,
    e_noent = -2,
    e_busy = -16,
    e_exist = -17,
    e_notdir = -20,
    e_isdir = -21,
    e_inval = -22,
    e_fbig = -27,
    e_nospc = -28,
    e_mlink = -31,
    e_range = -34,
    e_nametoolong = -36,
    e_notempty = -39,
    e_nodata = -61,
    e_stale = -116,
    e_uclean = -117,
};

class Pages {
public:
    explicit Pages(const krg_names_io& io) : io_(io) {}

    template<typename T>
    [[nodiscard]] int read(u64 container, u64 index, const T*& page) const {
        u8* bytes = nullptr;
        const int rc = lend(container, index, KRG_NAMES_READ, bytes);
        page = reinterpret_cast<const T*>(bytes);
        return rc;
    }
    template<typename T>
    [[nodiscard]] int write(u64 container, u64 index, T*& page) const {
        u8* bytes = nullptr;
        const int rc = lend(container, index, KRG_NAMES_WRITE, bytes);
        page = reinterpret_cast<T*>(bytes);
        return rc;
    }
    [[nodiscard]] u32 self() const { return io_.self; }
    [[nodiscard]] krg_names_time now() const { return {io_.now.sec, io_.now.nsec, 0}; }

private:
    [[nodiscard]] int lend(u64 container, u64 index, u32 mode, u8*& bytes) const {
        const int rc = io_.page(io_.context, container, index, mode, &bytes);
        return rc <= 0 ? rc : e_uclean;
    }
    const krg_names_io& io_;
};

/// Nothing was ever written there, or it was emptied.
template<typename T>
[[nodiscard]] bool is_zero(const T& page) {
    static_assert(sizeof(T) % sizeof(u64) == 0);
    const u8* bytes = reinterpret_cast<const u8*>(&page);
    for (u32 i = 0; i < sizeof(T); i += sizeof(u64)) {
        u64 word;
        __builtin_memcpy(&word, bytes + i, sizeof(word));
        if (word) return false;
    }
    return true;
}

template<typename T>
void clear(T& page) {
    __builtin_memset(static_cast<void*>(&page), 0, sizeof(T));
}

}  // namespace krg::names
