// SPDX-License-Identifier: GPL-2.0
//
// Runs a command in a guest as if it ran here: stdin, stdout, stderr, signals, exit status, and a terminal for `shell`.
#pragma once

#include "state.h"

#include <string>
#include <vector>

namespace krg::vcluster {

struct RemoteCommand {
    int node = 0;
    std::vector<std::string> arguments;
    bool terminal = false;
    bool read_stdin = true;
    double timeout_s = 0;  ///< 0: none
};

/// Exit status of the command: its own, 128 + signal, 126/127 when it could not be started; an Error when the node is not
/// there or dies, ExitCode::timed_out when the time is over (the command is killed).
int run_remote(const ClusterState& state, const std::string& checkout, const RemoteCommand& command);

}  // namespace krg::vcluster
