// SPDX-License-Identifier: GPL-2.0
//
// What crsuite does to a program between ready and SIGTERM: nothing, or one of the ways a process can be moved or saved. How
// programs are started and judged is in crsuite.cc.
#pragma once

#include "../lib/cluster.hh"

#include <memory>
#include <string>
#include <vector>

namespace krg::cluster_test {

/// Where a program is now.
struct Place {
    int node = 1;
    long pid = 0;
    std::string work;   ///< its folder under /shared
    std::string token;  ///< what its processes are known by
};

struct OperationResult {
    enum class Kind { done, refused, failed } kind = Kind::done;
    std::string reason;  ///< also of what was done: the proof that it was
    Place place;         ///< where to find it again
};

class Operation {
public:
    virtual ~Operation() = default;
    /// What a node has to have for it: programs looked for in every guest's PATH, and files.
    [[nodiscard]] virtual std::vector<std::string> tools() const = 0;
    [[nodiscard]] virtual int nodes_needed() const = 0;
    /// Once, before any program is started: loads what the nodes need. Throws ClusterError.
    virtual void prepare(const Cluster& /*cluster*/) const {}
    /// Does it, and proves that it was really done. Called from several threads for several programs.
    [[nodiscard]] virtual OperationResult perform(const Cluster& cluster, const Place& place) const = 0;
};

/// Null for a name that is no mode. @judge: the program that ends what belongs to a program of the suite.
[[nodiscard]] std::unique_ptr<Operation> make_operation(const std::string& mode, int nodes, const std::string& judge);

/// What is missing on the nodes for this operation, a line for each; empty: nothing.
[[nodiscard]] std::string missing_tools(const Cluster& cluster, const Operation& operation);

}  // namespace krg::cluster_test
