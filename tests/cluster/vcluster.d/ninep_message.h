// SPDX-License-Identifier: GPL-2.0
//
// Reading and writing 9P2000.L messages: little-endian numbers, strings with a two-byte length. What the messages mean is in
// ninep_session.cc.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace krg::vcluster {

enum class NinepType : uint8_t {
    rlerror = 7, tstatfs = 8, tlopen = 12, tlcreate = 14, tsymlink = 16, tmknod = 18, trename = 20, treadlink = 22,
    tgetattr = 24, tsetattr = 26, txattrwalk = 30, txattrcreate = 32, treaddir = 40, tfsync = 50, tlock = 52, tgetlock = 54,
    tlink = 70, tmkdir = 72, trenameat = 74, tunlinkat = 76, tversion = 100, tauth = 102, tattach = 104, tflush = 108,
    twalk = 110, tread = 116, twrite = 118, tclunk = 120, tremove = 122
};

/// Takes values from a message. A value that is not there reads as zero and makes good() false for ever.
class NinepReader {
public:
    explicit NinepReader(std::string_view bytes) : bytes_(bytes) {}
    [[nodiscard]] bool good() const { return good_; }
    uint8_t u8() { return number<uint8_t>(); }
    uint16_t u16() { return number<uint16_t>(); }
    uint32_t u32() { return number<uint32_t>(); }
    uint64_t u64() { return number<uint64_t>(); }
    std::string string() { return std::string(bytes(u16())); }
    std::string_view bytes(size_t size) {
        if (size > bytes_.size()) {
            good_ = false;
            return {};
        }
        std::string_view taken = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return taken;
    }

private:
    template <typename T>
    T number() {
        T value{};
        std::string_view taken = bytes(sizeof value);
        if (taken.size() == sizeof value) std::memcpy(&value, taken.data(), sizeof value);
        return value;
    }
    std::string_view bytes_;
    bool good_ = true;
};

/// Builds one message; finish() puts the length in front.
class NinepWriter {
public:
    NinepWriter(NinepType reply, uint16_t tag) { u32(0).u8(static_cast<uint8_t>(reply)).u16(tag); }
    NinepWriter& u8(uint8_t v) { return number(v); }
    NinepWriter& u16(uint16_t v) { return number(v); }
    NinepWriter& u32(uint32_t v) { return number(v); }
    NinepWriter& u64(uint64_t v) { return number(v); }
    NinepWriter& string(std::string_view v) {
        u16(static_cast<uint16_t>(v.size()));
        bytes_.append(v);
        return *this;
    }
    NinepWriter& bytes(std::string_view v) {
        bytes_.append(v);
        return *this;
    }
    [[nodiscard]] size_t size() const { return bytes_.size(); }
    std::string& finish() {
        auto size = static_cast<uint32_t>(bytes_.size());
        std::memcpy(bytes_.data(), &size, sizeof size);
        return bytes_;
    }

private:
    template <typename T>
    NinepWriter& number(T v) {
        bytes_.append(reinterpret_cast<const char*>(&v), sizeof v);
        return *this;
    }
    std::string bytes_;
};

/// The reply to a request has the next number.
[[nodiscard]] constexpr NinepType reply_to(NinepType request) {
    return static_cast<NinepType>(static_cast<uint8_t>(request) + 1);
}

}  // namespace krg::vcluster
