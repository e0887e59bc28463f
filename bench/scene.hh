// SPDX-License-Identifier: GPL-2.0
//
// What measurements on virtual clusters share: bringing one up, waiting for its view, crashing a machine and hearing of it.
#pragma once

#include "measure.hh"
#include "tests/cluster/lib/cluster.hh"

namespace krg::bench {

/// `what` is part of the cluster's name.
[[nodiscard]] cluster_test::ClusterOptions cluster_options(const Options& options, const char* what, int nodes);
/// Throws with `what` and the evidence unless it is done.
void must(const cluster_test::ProcessResult& result, const std::string& what);
/// Where the modules of this kernel are.
[[nodiscard]] std::string module_folder(const Options& options);
void wait_for_members(const cluster_test::Cluster& cluster, const cluster_test::NodeIds& nodes);
/// krg_bench.ko on these nodes.
void load_bench(const cluster_test::Cluster& cluster, const Options& options, const cluster_test::NodeIds& nodes);
[[nodiscard]] pid_t machine_pid(const cluster_test::Cluster& cluster, int node);

/// `krgadm monitor` on node 1.
class Monitor {
public:
    explicit Monitor(const cluster_test::Cluster& cluster);
    /// Has it said that a view with exactly these members is committed?
    [[nodiscard]] bool committed(const cluster_test::NodeIds& members) const;
    [[nodiscard]] std::string output() const { return process_.output(); }

private:
    cluster_test::BackgroundProcess process_;
};

}  // namespace krg::bench
