// SPDX-License-Identifier: GPL-2.0
//
// The rolling hash of a run: everything that happens is folded into it in order, so two runs of one seed are the same run
// exactly when their hashes are equal. Not cryptographic.
#pragma once

#include <cstring>
#include <span>

#include "tests/sim/world/types.hh"

namespace krg::sim {

class RunHash {
public:
    void mix(u64 value) {
        state_ ^= value;
        state_ *= 0x9fb21c651e98df25;
        state_ ^= state_ >> 29;
    }

    void mix(std::span<const u8> bytes) {
        while (bytes.size() >= 8) {
            u64 word;
            std::memcpy(&word, bytes.data(), 8);
            mix(word);
            bytes = bytes.subspan(8);
        }
        u64 rest = bytes.size();
        for (u8 b : bytes) rest = rest << 8 | b;
        mix(rest);
    }

    [[nodiscard]] u64 value() const { return state_; }

private:
    u64 state_ = 0x6b72672d73696d31;
};

}  // namespace krg::sim
