// SPDX-License-Identifier: GPL-2.0
//
// The frame of a driver: its options, its scenarios one after another on one virtual cluster, repair between them, the
// check of all kernel logs at the end, and what to print when something failed.
#pragma once

#include "cluster.hh"
#include "report.hh"

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace krg::cluster_test {

struct DriverOptions {
    std::string program;  ///< as a user starts it, for the command that repeats a failure
    std::string what;
    std::string top, kernel = "6.1", only = "*", folder;
    std::uint64_t seed = 0;  ///< 0: a random one
    int nodes = 3, rounds = 0, links = 1;
    double patience = 0;  ///< 0: what the kernel needs
    bool keep = false, list = false, no_build = false;
    bool own_folder = false;  ///< nobody said where to keep things: gone when all went well
    std::vector<std::string> arguments;
    /// Patterns of kernel_log.hh, by `what`, that this driver causes on purpose.
    std::vector<std::string_view> allowed_splats;
};

/// What a scenario works with.
struct Test {
    Report& report;
    Cluster& cluster;
    std::mt19937_64& random;
    const DriverOptions& options;
};

struct Scenario {
    const char* name;
    const char* what;
    void (*run)(Test&);
};

/// Reads the options every driver has; `nodes` and `rounds` are the defaults, 0 rounds: no such option.
/// Ends the program on --help and on errors.
[[nodiscard]] DriverOptions read_options(int argc, char** argv, DriverOptions defaults);

/// Runs the scenarios that match --only; returns main()'s exit status.
[[nodiscard]] int run_driver(const DriverOptions& options, const std::vector<Scenario>& scenarios, ClusterOptions cluster);

/// The cluster a driver with these options works on.
[[nodiscard]] ClusterOptions cluster_for(const DriverOptions& options, const std::string& name);

/// Waits until all of `nodes` serve in the same epoch of the same cluster with exactly these members.
/// Returns that view's status, or throws ScenarioFailed after counting the failure.
NodeStatus require_view(Test& test, const NodeIds& nodes, const std::string& sentence, double timeout_s = 60);

/// What differs from that now; empty: nothing.
[[nodiscard]] std::string view_differs(const std::map<int, NodeStatus>& status, const NodeIds& wanted);

/// Brings the cluster back to all its machines as members, whatever happened; false when that did not work.
bool repair(Test& test, double timeout_s = 120);

/// Every node's log must be free of splats and end with a token written now; on the debug kernel nothing may have leaked.
void check_kernel_logs(Test& test);

}  // namespace krg::cluster_test
