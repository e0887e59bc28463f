// SPDX-License-Identifier: GPL-2.0
//
// The things that are measured: each adds its rows.
#pragma once

#include "result.hh"

namespace krg::bench {

struct Options {
    std::string top, kernel = "6.1", only = "*", output;
    int round_trips = 400, bulk_rounds = 12, bulk_messages = 32, crashes = 3;
    int moves = 3;  ///< of each size and mode
    int fault_samples = 200, file_rounds = 3, file_mib = 64;
};

/// Our messages against bare TIPC sockets, with krg_bench.ko in a cluster of two nodes.
void measure_messages(const Options& options, const Wanted& wanted, Result& result);
/// From the crash of a machine to the view without it, in a cluster of three nodes.
void measure_detection(const Options& options, const Wanted& wanted, Result& result);
/// Shared memory (hadsm.ko) beside our messages, tmpfs and NFS, in clusters of three nodes; with four, Kerrighed's operations.
void measure_memory(const Options& options, const Wanted& wanted, Result& result);
/// A program that moves, by the size of its memory, in a cluster of two nodes.
void measure_migration(const Options& options, const Wanted& wanted, Result& result);
/// Steps of the membership engine, in userspace.
void measure_engine(const Options& options, const Wanted& wanted, Result& result);

}  // namespace krg::bench
