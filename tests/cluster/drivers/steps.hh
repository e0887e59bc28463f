// SPDX-License-Identifier: GPL-2.0
//
// Steps that scenarios of several drivers share: what must stay as it was, what a node says of itself, listening to events.
#pragma once

#include "../lib/driver.hh"

#include <string>

namespace krg::cluster_test {

/// All machines that run.
[[nodiscard]] NodeIds running(const Test& test);
[[nodiscard]] NodeIds without(NodeIds nodes, const NodeIds& gone);

/// The view is still that one on all of `nodes`.
void require_same_view(Test& test, const NodeIds& nodes, const NodeStatus& view, const std::string& sentence);

/// Waits until a node says it is in one of these states; its last answer.
NodeStatus require_state(Test& test, int node, const std::vector<std::string>& states, const std::string& sentence,
                         double timeout_s = 30);

/// A command of krgadm must end with this exit status and name the reason.
ProcessResult check_refused(Test& test, int node, const std::vector<std::string>& arguments, int exit_status,
                            const std::string& reason, const std::string& sentence);

/// Lets an outside node join again, or fails the scenario.
void require_join(Test& test, int node, const std::string& sentence);

/// All nodes leave and unload these modules, those that are loaded, in this order; their kernels must have had nothing to complain about.
void unload_everywhere(Test& test, const std::vector<std::string>& modules);

/// `krgadm --json monitor` on a node, beside the scenario.
class EventListener {
public:
    EventListener(Test& test, int node);
    /// All events so far, without the picture at the start.
    [[nodiscard]] std::vector<Json> events() const;
    /// Waits for an event whose fields have these values; empty, or everything that was heard instead.
    [[nodiscard]] std::string wait_for(const Json& fields, double timeout_s = 30) const;

private:
    Test& test_;
    int node_;
    BackgroundProcess process_;
};

/// Polls a node's status inside the node, as fast as it can, across a pause.
class StatusPoller {
public:
    StatusPoller(Test& test, int node);
    struct Sample {
        double begin_s = 0, end_s = 0;  ///< of the node's own clock, which runs on while its machine is stopped
        std::string source, state;
        std::uint64_t epoch = 0;
        std::string incarnation;
    };
    [[nodiscard]] std::vector<Sample> stop();

private:
    Test& test_;
    int node_;
    std::string file_;
};

}  // namespace krg::cluster_test
