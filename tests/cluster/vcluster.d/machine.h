// SPDX-License-Identifier: GPL-2.0
//
// One virtual machine: its QEMU command line and its process. Whether it is a node of a cluster is not known here.
#pragma once

#include "kernel.h"
#include "switch.h"
#include "util.h"

#include <string>
#include <sys/types.h>
#include <vector>

namespace krg::vcluster {

/// What all machines of a cluster have in common; written to the state directory as JSON.
struct ClusterSpec {
    std::string name;
    std::string checkout;   ///< top of the source tree
    std::string directory;  ///< state directory
    std::string shared;     ///< host directory behind /shared
    Kernel kernel;
    std::string kernel_wanted;
    std::string accelerator;  ///< "kvm" or "tcg"
    std::string machine_type = "q35";
    int nodes = 3;
    int memory_mb = 512;
    int cpus = 1;
    int links = 1;
    int cpu_share_percent = 0;  ///< 0: no limit
    bool load = true;
    bool systemd = false;
    int disk_mb = 0;  ///< 0: what a guest writes stays in its memory
    std::string kernel_arguments;
};

/// Highest node id; a MAC address and the 10.77.0.N addresses have one byte for it.
inline constexpr int node_id_max = 126;

/// The pipes and cables of a machine that is about to start.
struct MachineWiring {
    Fd control;              ///< other end of the control port
    std::vector<Fd> cables;  ///< eth1, eth2
    int agent_port = 0;      ///< in the cluster's network namespace
};

/// What a guest writes, when it has a disk for that.
[[nodiscard]] std::string disk_of(const ClusterSpec& spec, int node);

[[nodiscard]] std::vector<std::string> machine_command(const ClusterSpec& spec, int node, const MachineWiring& wiring);

/// Frequency of the host's time stamp counter, which an emulated guest sees unchanged.
[[nodiscard]] long tsc_khz();

/// A QEMU process that is our child: dies with us, never confused with a later process of the same number.
class MachineProcess {
public:
    /// Starts `argv` with `inherited` descriptors kept open and its messages appended to `log`; when `cgroup_procs` is a
    /// file, the process enters that control group first.
    static MachineProcess start(const std::vector<std::string>& argv, const std::vector<int>& inherited, const std::string& log,
                                const std::string& cgroup_procs);
    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] int pidfd() const { return pidfd_.get(); }
    [[nodiscard]] bool running() const { return pid_ > 0; }
    void signal(int number) const;
    /// Collects the process when it has ended; its wait status in *status.
    bool reap(int* status);
    /// Kills and collects it.
    void kill_and_wait();

private:
    pid_t pid_ = -1;
    Fd pidfd_;
};

}  // namespace krg::vcluster
