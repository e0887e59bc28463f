// SPDX-License-Identifier: GPL-2.0
//
// Fuzz target: the witness, whose state is a file that may have been damaged or written by anybody. An input is
//
//	flags, length (2), that many bytes of state, then messages: length (2), bytes
//
// Flag 1 repairs the checksum of the state, which mutation would never find. Whatever the state and the messages are, the
// witness stays within its buffers, and a state it has written itself is one it accepts.
#include "tests/fuzz/membership_scene.hh"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace {

using krg::fuzz::Bytes;

void require(bool fact) {
    if (!fact) std::abort();
}

Bytes take(const uint8_t*& at, size_t& left) {
    if (left < 2) {
        left = 0;
        return {};
    }
    const size_t n = std::min<size_t>(at[0] | at[1] << 8, left - 2);
    Bytes out(at + 2, at + 2 + n);
    at += 2 + n;
    left -= 2 + n;
    return out;
}

void repair(Bytes& state) {
    if (state.size() < 8) return;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < state.size() - 4; ++i) h = (h ^ state[i]) * 16777619u;
    for (int i = 0; i < 4; ++i) state[state.size() - 4 + i] = static_cast<uint8_t>(h >> (8 * i));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 3) return 0;
    const bool repaired = data[0] & 1;
    const uint8_t* at = data + 1;
    size_t left = size - 1;
    Bytes state = take(at, left);
    if (repaired) repair(state);
    auto length = static_cast<u32>(state.size());
    constexpr u32 room = 8192;
    if (length > room) return 0;
    state.resize(room);
    state.shrink_to_fit();
    bool ours = false;
    while (left > 0) {
        const Bytes message = take(at, left);
        Bytes reply(512);
        auto reply_length = static_cast<u32>(reply.size());
        const Bytes before = state;
        const u32 length_before = length;
        const int verdict = krg_mbr_witness(state.data(), &length, room, krg::fuzz::cluster_id, message.data(),
                                            static_cast<u32>(message.size()), reply.data(), &reply_length);
        require(verdict >= -1 && verdict <= 1);
        require(length <= room);
        if (verdict >= 0) require(reply_length <= reply.size());
        if (verdict == 1) ours = true;
        if (verdict == -1 && ours) require(length == length_before && state == before);
    }
    return 0;
}
