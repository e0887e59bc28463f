// SPDX-License-Identifier: GPL-2.0
//
// The bytes between `vcluster exec` on the host and the agent in a guest: one TCP connection per command, frames of a
// type, a length and a payload in both directions. Both ends come from one build, so there is no version to negotiate.
// What the frames do is decided in agent_client.cc (host) and guest/agent.cc (guest).
#pragma once

#include <cstddef>
#include <cstdint>

namespace krg::vcluster {

/// Port the agent listens on, on the guest's eth0.
inline constexpr uint16_t agent_port = 7007;

/// Port of the server of /shared, on host_address.
inline constexpr uint16_t shared_port = 10564;

/// Address of the guest on its management network, and of the host as the guest sees it (QEMU user networking).
inline constexpr const char* guest_address = "10.0.2.15";
inline constexpr const char* host_address = "10.0.2.2";

/// Longest payload of a frame; a longer one is a broken connection.
inline constexpr uint32_t frame_max_bytes = 256 * 1024;

/// How much of stdin may be under way before the command has read it: a command that reads nothing must not block
/// the signals that travel on the same connection.
inline constexpr uint32_t stdin_window_bytes = 256 * 1024;

enum class FrameType : uint8_t {
    // host to guest
    exec = 1,     ///< NUL-terminated strings: mode ("pipe" or "tty"), rows, columns, directory, count of variables,
                  ///< variables, then the arguments
    stdin_data,   ///< bytes for the command
    stdin_end,    ///< end of file on stdin
    signal,       ///< one byte: the signal for the command's process group
    window_size,  ///< rows and columns, two bytes each
    // guest to host
    stdout_data = 64,
    stderr_data,
    stdin_credit,  ///< four bytes: so many more bytes of stdin may be sent
    exited,        ///< two bytes: exit status (128 + signal when killed by one), signal number or 0
    failed,        ///< exit status (one byte) and a text: the command could not be started
};

struct FrameHeader {
    uint8_t type;
    uint8_t reserved[3];
    uint32_t length;
};
static_assert(sizeof(FrameHeader) == 8);

}  // namespace krg::vcluster
