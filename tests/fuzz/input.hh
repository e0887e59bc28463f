// SPDX-License-Identifier: GPL-2.0
//
// What every stateful fuzz target reads: the bytes of one input, one piece after the other, zeros behind its end; and the
// way a target says that something must not have happened. What the pieces mean is the target's business, and the order
// in which it takes them is the format of its corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace krg::fuzz {

/// Ends the process: the input that broke it is kept.
inline void require(bool fact) {
    if (!fact) std::abort();
}

class Input {
public:
    Input(const uint8_t* data, size_t size) : at_(data), left_(size) {}
    [[nodiscard]] bool empty() const { return left_ == 0; }
    uint8_t byte() {
        if (left_ == 0) return 0;
        --left_;
        return *at_++;
    }
    /// Two bytes, the low one first.
    uint16_t word() {
        const unsigned low = byte();
        return static_cast<uint16_t>(low | static_cast<unsigned>(byte()) << 8);
    }
    /// The next @p n, or all that are left; copied, so that a read behind their end is seen.
    template<typename Container = std::vector<uint8_t>>
    Container bytes(size_t n) {
        n = n < left_ ? n : left_;
        Container out(at_, at_ + n);
        at_ += n;
        left_ -= n;
        return out;
    }

private:
    const uint8_t* at_;
    size_t left_;
};

}  // namespace krg::fuzz
