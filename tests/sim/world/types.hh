// SPDX-License-Identifier: GPL-2.0
//
// Words shared by every file of the simulator: integer names, virtual time and node numbers. Nothing here knows what
// protocol is being simulated.
#pragma once

#include <cstdint>

namespace krg::sim {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i64 = std::int64_t;

/// Microseconds of true (virtual) time since the start of the run. Nodes never see it; checkers do.
using Time = u64;
/// 1..N, as in the cluster; 0 is nobody.
using NodeId = u16;

inline constexpr Time ms = 1000;
inline constexpr Time second = 1000 * ms;
inline constexpr Time never = ~Time{0};

}  // namespace krg::sim
