// SPDX-License-Identifier: GPL-2.0
// Bytes on the wire: little-endian, explicit, every length checked. A Reader
// that ran out stays failed and returns zeros, so a decoder tests once at its
// end; a Writer that ran out stays failed and the message is not sent.
#pragma once

#include "kernel/core/types.hh"

namespace krg {

/// @v as it is on the wire, or back.
template<typename T>
[[nodiscard]] constexpr T little_endian(T v) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return v;
#else
    T r = 0;
    for (unsigned i = 0; i < sizeof(T); i++) r = static_cast<T>(r << 8 | (v >> (8 * i) & 0xff));
    return r;
#endif
}

class Writer {
public:
    Writer(u8* at, u32 room) : at_(at), room_(room) {}
    void put8(u8 v) { put(v); }
    void put16(u16 v) { put(v); }
    void put32(u32 v) { put(v); }
    void put64(u64 v) { put(v); }
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] u32 length() const { return length_; }

private:
    template<typename T>
    void put(T v) {
        if (!ok_ || room_ - length_ < sizeof(T)) {
            ok_ = false;
            return;
        }
        v = little_endian(v);
        __builtin_memcpy(at_ + length_, &v, sizeof(T));  // one store: the place is not aligned
        length_ += sizeof(T);
    }
    u8* at_;
    u32 room_;
    u32 length_ = 0;
    bool ok_ = true;
};

class Reader {
public:
    Reader(const u8* at, u32 length) : at_(at), length_(at ? length : 0) {}
    u8 get8() { return get<u8>(); }
    u16 get16() { return get<u16>(); }
    u32 get32() { return get<u32>(); }
    u64 get64() { return get<u64>(); }
    void fail() { ok_ = false; }
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] u32 left() const { return length_ - pos_; }
    /// Everything was there and nothing is left over.
    [[nodiscard]] bool complete() const { return ok_ && pos_ == length_; }

private:
    template<typename T>
    T get() {
        if (!ok_ || left() < sizeof(T)) {
            ok_ = false;
            return 0;
        }
        T v;
        __builtin_memcpy(&v, at_ + pos_, sizeof(T));
        pos_ += sizeof(T);
        return little_endian(v);
    }
    const u8* at_;
    u32 length_;
    u32 pos_ = 0;
    bool ok_ = true;
};

}  // namespace krg
