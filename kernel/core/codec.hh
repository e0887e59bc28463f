// SPDX-License-Identifier: GPL-2.0
// Bytes on the wire: little-endian, explicit, every length checked. A Reader
// that ran out stays failed and returns zeros, so a decoder tests once at its
// end; a Writer that ran out stays failed and the message is not sent.
#pragma once

#include "kernel/core/types.hh"

namespace krg {

class Writer {
public:
    Writer(u8* at, u32 room) : at_(at), room_(room) {}
    void put8(u8 v) { put(v, 1); }
    void put16(u16 v) { put(v, 2); }
    void put32(u32 v) { put(v, 4); }
    void put64(u64 v) { put(v, 8); }
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] u32 length() const { return length_; }

private:
    void put(u64 v, u32 bytes) {
        if (!ok_ || room_ - length_ < bytes) {
            ok_ = false;
            return;
        }
        for (u32 i = 0; i < bytes; i++) at_[length_++] = static_cast<u8>(v >> (8 * i));
    }
    u8* at_;
    u32 room_;
    u32 length_ = 0;
    bool ok_ = true;
};

class Reader {
public:
    Reader(const u8* at, u32 length) : at_(at), length_(at ? length : 0) {}
    u8 get8() { return static_cast<u8>(get(1)); }
    u16 get16() { return static_cast<u16>(get(2)); }
    u32 get32() { return static_cast<u32>(get(4)); }
    u64 get64() { return get(8); }
    void fail() { ok_ = false; }
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] u32 left() const { return length_ - pos_; }
    /// Everything was there and nothing is left over.
    [[nodiscard]] bool complete() const { return ok_ && pos_ == length_; }

private:
    u64 get(u32 bytes) {
        if (!ok_ || left() < bytes) {
            ok_ = false;
            return 0;
        }
        u64 v = 0;
        for (u32 i = 0; i < bytes; i++) v |= static_cast<u64>(at_[pos_++]) << (8 * i);
        return v;
    }
    const u8* at_;
    u32 length_;
    u32 pos_ = 0;
    bool ok_ = true;
};

}  // namespace krg
