// SPDX-License-Identifier: GPL-2.0
//
// Limits a machine to a share of one processor, so that several nodes on two processors are equally fast and more nodes mean
// more work done. A control group of the host where there is one (v2, then v1), else stopping and continuing the process.
#pragma once

#include <atomic>
#include <string>
#include <sys/types.h>
#include <thread>

namespace krg::vcluster {

class CpuShare {
public:
    /// Prepares a limit of `percent` of one processor for a machine of cluster `name`; 0: none.
    CpuShare(const std::string& name, int node, int percent);
    ~CpuShare();
    CpuShare(const CpuShare&) = delete;
    CpuShare& operator=(const CpuShare&) = delete;

    /// File a process writes "0" to before it becomes QEMU; empty when no control group is used.
    [[nodiscard]] const std::string& procs_file() const { return procs_file_; }

    /// Starts the stop-and-continue cycle for `pid` when there is no control group.
    void attach(pid_t pid);
    void detach();

    /// Nothing may continue a machine that is paused.
    void set_paused(bool paused) { paused_ = paused; }

    /// "cgroup2", "cgroup1", "signals" or "none".
    [[nodiscard]] const char* method() const { return method_; }

    /// Removes control groups a cluster left behind.
    static void remove_groups(const std::string& name);

private:
    bool use_group(const std::string& root, bool v2);
    void cycle(pid_t pid);

    int percent_;
    std::string group_, group_name_, procs_file_;
    const char* method_ = "none";
    std::atomic<bool> stop_{false}, paused_{false};
    std::thread thread_;
};

}  // namespace krg::vcluster
