// SPDX-License-Identifier: GPL-2.0
//
// The measurements of krg-memory-bench, by subject, and the scene they share: nodes, files with one and with two copies of each
// page, fresh pages of both.
#pragma once

#include "report.hh"

#include <map>

namespace krg::bench {

struct Scene {
    std::string one_dir, two_dir;        ///< where file systems with one and two copies are mounted, on every node
    std::string nfs_server, nfs_client;  ///< a directory of node 2's memory; where node 1 has mounted it by NFS
    std::function<bool(const std::string&)> wanted;
    unsigned samples = 0, rounds = 0, mib = 0;

    Here here;
    std::map<unsigned, std::unique_ptr<Player>> others;
    std::unique_ptr<Homes> one_homes, two_homes;
    std::unique_ptr<FreshPages> one_pages, two_pages;
    std::unique_ptr<Report> report;
    std::unique_ptr<Rpc> rpc;

    /// 1 is this node.
    [[nodiscard]] Player& node(unsigned number);
    /// Opens a file everywhere, here first; returns its number.
    unsigned open(const std::string& path, std::uint64_t pages);

private:
    unsigned files_ = 0;
};

/// Files that all series use.
inline constexpr unsigned one_file = 0, two_file = 1;

void measure_faults(Scene& scene);
void measure_migration(Scene& scene);
/// The nine operations of Kerrighed's own benchmark. Four nodes.
void measure_operations(Scene& scene);
void measure_streams(Scene& scene);
void measure_local(Scene& scene);
/// Fills memory on node 3, says "ready", and waits with a fault until somebody has ended node 3.
void measure_recovery(Scene& scene);

}  // namespace krg::bench
