// SPDX-License-Identifier: GPL-2.0
//
// The parts of the guest program, in the order a boot goes through them. Each is one file of the same name.
#pragma once

#include "util.h"

namespace krg::vcluster::guest {

inline constexpr const char* new_root = "/newroot";
inline constexpr const char* program_path = "/run/krg/guest";
inline constexpr const char* settings_path = "/run/krg/conf";

/// boot.cc: what the process 1 of the initramfs does; returns only as process 1 of the running guest.
void boot();

/// mounts.cc: the guest's root below new_root: host's root read-only, with writable places.
void mount_root(const Settings& settings);

/// identity.cc: host name, /etc/hosts, the cluster's configuration and key, addresses of eth0..ethN.
void write_identity(const Settings& settings);
void configure_network(const Settings& settings);

/// shared.cc: mounts /shared; false with errno when that fails.
bool mount_shared();

/// service.cc: load the modules, join, then serve exec; never returns. Runs as a child of process 1 or a systemd unit.
[[noreturn]] void serve(const Settings& settings);

/// kmsg.cc: copies the kernel log to the host for ever.
[[noreturn]] void pump_kernel_log(int port);

/// agent.cc: accepts connections and runs commands for ever.
[[noreturn]] void run_agent();

}  // namespace krg::vcluster::guest
