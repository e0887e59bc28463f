// SPDX-License-Identifier: GPL-2.0
//
// The process behind a virtual cluster: owns its network namespace, its switch, its machines and the server of /shared, and
// answers the command line tool over a socket. When it ends, everything it owns ends.
#pragma once

#include "cpu_share.h"
#include "machine.h"
#include "shared_server.h"
#include "state.h"
#include "switch.h"

#include <list>
#include <map>
#include <memory>

namespace krg::vcluster {

enum class NodeState { booting, running, paused, crashed, off };
[[nodiscard]] const char* to_string(NodeState state);

/// One machine and what it said about itself over its control port.
struct Node {
    NodeState state = NodeState::off;
    MachineProcess process;
    Fd control;
    std::string heard;    ///< an incomplete line
    std::string stage;    ///< what it is doing, for people
    std::string failure;  ///< why it is not what it should be, for people
    bool ready = false;   ///< the agent answers
    bool joined = false;
    bool wants_role = false;  ///< modules loaded, waits to be told what to join
    bool has_role = false;
    bool creates = false;  ///< the role is to create, not to join
    int boots = 0;         ///< counts starts and resets: a command belongs to one boot
    double started_s = 0, ready_s = 0;
    size_t serial_seen = 0;
    std::unique_ptr<CpuShare> share;
};

class Supervisor {
public:
    Supervisor(ClusterSpec spec, const ClusterState& state);

    /// Serves until told to go down. `started` gets one byte when requests are answered.
    void run(Fd started);

private:
    void start_node(int id);
    void end_node(int id, NodeState state, const std::string& why);
    void hear(int id);
    void handle_line(int id, const std::string& line);
    void assign_roles();
    void collect(int id);
    void look_for_panics();
    [[nodiscard]] int agent_port_of(int id) const;

    void serve_client();
    Json answer(const Json& question, Fd& passed);
    Json status();
    Json change_paths(const Json& question);
    void pause_node(int id);
    void resume_node(int id);
    Node& node(const Json& question);
    void boot_node(int id);

    ClusterSpec spec_;
    const ClusterState& state_;
    Switch switch_;
    std::unique_ptr<SharedServer> shared_;
    std::map<int, Node> nodes_;
    Fd listener_;
    bool down_ = false;
};

/// Moves this process into a network namespace of its own with nothing but a loopback interface.
void enter_own_network();

}  // namespace krg::vcluster
