// SPDX-License-Identifier: GPL-2.0
//
// What the host's side and the guest program both need and neither owns: whole reads and writes on a file descriptor, and
// monotonic time. No policy, no exceptions: the guest's program runs before there is a root file system.
#pragma once

#include <cstddef>

namespace krg::vcluster {

[[nodiscard]] bool write_all(int fd, const void* data, size_t size);
[[nodiscard]] bool read_exactly(int fd, void* data, size_t size);

/// Monotonic seconds.
[[nodiscard]] double now_s();

}  // namespace krg::vcluster
