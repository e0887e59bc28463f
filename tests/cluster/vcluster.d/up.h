// SPDX-License-Identifier: GPL-2.0
//
// Bringing a cluster up: build what it needs, choose the accelerator, start the supervisor, wait and show progress.
#pragma once

#include "state.h"

namespace krg::vcluster {

struct UpOptions {
    ClusterSpec spec;
    std::string accelerator = "auto";  ///< auto, kvm, tcg
    double timeout_s = 180;
    bool build = true;
};

void bring_up(const ClusterState& state, UpOptions options);

/// Waits until the nodes in `wanted` (all when empty) answer, printing what changes.
void wait_ready(const ClusterState& state, const std::vector<int>& wanted, double timeout_s, bool progress);

/// "kvm" when a guest kernel really starts under it, else "tcg". Asked once per boot of this host.
[[nodiscard]] std::string choose_accelerator(const ClusterSpec& spec);

}  // namespace krg::vcluster
