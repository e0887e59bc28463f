// SPDX-License-Identifier: GPL-2.0
//
// The supervisor's loop and its machines: see supervisor.h. Requests of the command line tool are in requests.cc.
#include "supervisor.h"

#include "agent_protocol.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

namespace krg::vcluster {

namespace {

constexpr int first_agent_port = 20'000;
constexpr int tick_ms = 500;

}  // namespace

const char* to_string(NodeState state) {
    switch (state) {
    case NodeState::booting: return "booting";
    case NodeState::running: return "running";
    case NodeState::paused: return "paused";
    case NodeState::crashed: return "crashed";
    case NodeState::off: return "off";
    }
    return "unknown";
}

void enter_own_network() {
    if (unshare(CLONE_NEWNET) != 0)
        throw Error(fmt::format("cannot make a network namespace: {}; vcluster needs root", std::strerror(errno)),
                    ExitCode::not_permitted);
    Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) throw system_error("cannot start the loopback interface");
}

Supervisor::Supervisor(ClusterSpec spec, const ClusterState& state) : spec_(std::move(spec)), state_(state) {
    listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, state_.socket_path().c_str(), sizeof address.sun_path - 1);
    if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener_.get(), 64) != 0)
        throw system_error("cannot listen on " + state_.socket_path());
    shared_ = std::make_unique<SharedServer>(spec_.shared, shared_port);
}

namespace {

// Made once; it is there still when the machine starts again.
void make_disk(const std::string& path, int megabytes) {
    Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file && errno == EEXIST) return;
    if (!file || ftruncate(file.get(), static_cast<off_t>(megabytes) << 20) != 0) throw system_error("cannot make " + path);
    RunResult made = vcluster::run({"mkfs.ext4", "-q", "-F", path});
    if (made.status == 0) return;
    unlink(path.c_str());
    throw Error("mkfs.ext4 " + path + " failed: " + made.output);
}

}  // namespace

int Supervisor::agent_port_of(int id) const { return first_agent_port + id; }

void Supervisor::start_node(int id) {
    std::string directory = fmt::format("{}/node{}", spec_.directory, id);
    if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) throw system_error("cannot make " + directory);
    if (spec_.disk_mb > 0) make_disk(disk_of(spec_, id), spec_.disk_mb);
    Node& node = nodes_[id];
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw system_error("cannot make a socket pair");
    MachineWiring wiring;
    node.control.reset(ends[0]);
    wiring.control.reset(ends[1]);
    wiring.agent_port = agent_port_of(id);
    std::vector<int> inherited{wiring.control.get()};
    for (int link = 1; link <= spec_.links; ++link) {
        wiring.cables.push_back(switch_.plug({id, link}));
        inherited.push_back(wiring.cables.back().get());
    }
    if (!node.share) node.share = std::make_unique<CpuShare>(spec_.name, id, spec_.cpu_share_percent);
    node.serial_seen = read_file(directory + "/serial.log").size();
    std::vector<std::string> command = machine_command(spec_, id, wiring);
    std::string shown;
    for (const auto& word : command) shown += "'" + word + "' ";
    write_file(directory + "/command", shown + "\n");
    node.process = MachineProcess::start(command, inherited, directory + "/qemu.log", node.share->procs_file());
    node.share->set_paused(false);
    node.share->attach(node.process.pid());
    node.state = NodeState::booting;
    node.stage = "starting";
    node.failure.clear();
    node.heard.clear();
    node.ready = node.joined = node.wants_role = node.has_role = false;
    node.started_s = now_s();
    ++node.boots;
}

void Supervisor::end_node(int id, NodeState state, const std::string& why) {
    Node& node = nodes_[id];
    node.share->detach();
    node.process.kill_and_wait();
    node.control.reset();
    switch_.unplug(id);
    node.state = state;
    node.failure = why;
    node.stage.clear();
    node.ready = node.joined = node.wants_role = node.has_role = false;
    assign_roles();
}

// A machine ended by itself: powered off, or QEMU failed.
void Supervisor::collect(int id) {
    Node& node = nodes_[id];
    int status = 0;
    if (!node.process.reap(&status)) return;
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    std::string why = node.failure;
    if (!clean) {
        std::string log = read_file(fmt::format("{}/node{}/qemu.log", spec_.directory, id));
        why = WIFSIGNALED(status) ? fmt::format("QEMU was killed by signal {}", WTERMSIG(status))
                                  : fmt::format("QEMU failed: {}", log.substr(log.size() > 400 ? log.size() - 400 : 0));
    }
    hear(id);  // its last words
    if (!node.failure.empty()) why = node.failure;
    end_node(id, clean ? NodeState::off : NodeState::crashed, why);
}

void Supervisor::hear(int id) {
    Node& node = nodes_[id];
    char buffer[4096];
    while (node.control) {
        ssize_t got = recv(node.control.get(), buffer, sizeof buffer, MSG_DONTWAIT);
        if (got < 0) return;
        if (got == 0) {
            node.control.reset();
            return;
        }
        node.heard.append(buffer, static_cast<size_t>(got));
        for (size_t end; (end = node.heard.find('\n')) != std::string::npos;) {
            std::string line = node.heard.substr(0, end);
            node.heard.erase(0, end + 1);
            handle_line(id, line);
        }
        if (node.heard.size() > 65536) node.heard.clear();
    }
}

void Supervisor::handle_line(int id, const std::string& line) {
    Node& node = nodes_[id];
    if (line == "boot") {
        if (node.ready || node.stage != "starting") ++node.boots;  // the guest reset itself
        node.state = NodeState::booting;
        node.stage = "kernel up";
        node.ready = node.joined = node.wants_role = node.has_role = false;
        node.failure.clear();
        assign_roles();
    } else if (line.starts_with("stage ")) {
        node.stage = line.substr(6);
    } else if (line == "loaded") {
        node.wants_role = true;
        node.stage = "waiting to join";
        assign_roles();
    } else if (line == "joined") {
        node.joined = true;
        assign_roles();
    } else if (line == "ready") {
        node.ready = true;
        node.ready_s = now_s();
        node.stage.clear();
        if (node.state == NodeState::booting) node.state = NodeState::running;
        assign_roles();
    } else if (line.starts_with("failed ")) {
        node.failure = line.substr(7);
        node.has_role = false;
        assign_roles();
    }
}

// The lowest node creates the cluster when there is none, the others join once it is there. When a whole cluster restarts,
// some were told to join while the last of the old members was still going down: they wait for whoever creates the new one.
void Supervisor::assign_roles() {
    bool cluster = false, creating = false;
    int lowest = 0;
    for (auto& [id, node] : nodes_) {
        cluster = cluster || node.joined;
        creating = creating || (node.has_role && node.creates && !node.joined);
        bool waits_for_others = node.has_role && !node.creates;
        bool candidate = node.process.running() && node.failure.empty() && !waits_for_others;
        if (candidate && lowest == 0) lowest = id;
    }
    for (auto& [id, node] : nodes_) {
        if (!node.wants_role || (!cluster && (creating || id != lowest))) continue;
        node.wants_role = false;
        node.has_role = true;
        node.creates = !cluster;
        creating = creating || node.creates;
        std::string role = cluster ? "join\n" : "create\n";
        (void)write_all(node.control.get(), role.data(), role.size());
    }
}

// A machine whose kernel panicked would spin for ever; it is as dead as a crashed one.
void Supervisor::look_for_panics() {
    for (auto& [id, node] : nodes_) {
        if (!node.process.running()) continue;
        std::string path = fmt::format("{}/node{}/serial.log", spec_.directory, id);
        struct stat st {};
        if (stat(path.c_str(), &st) != 0 || static_cast<size_t>(st.st_size) == node.serial_seen) continue;
        std::string text = read_file(path);
        bool panicked = text.find("Kernel panic - not syncing", std::min(node.serial_seen, text.size())) != std::string::npos;
        if (panicked && text.find("---[ end Kernel panic", std::min(node.serial_seen, text.size())) != std::string::npos)
            end_node(id, NodeState::crashed, "kernel panic, see `vcluster log " + std::to_string(id) + "`");
        else if (!panicked)
            node.serial_seen = text.size() > 200 ? text.size() - 200 : 0;
    }
}

void Supervisor::run(Fd started) {
    // All at once: they wait for one another less than for the processor.
    for (int id = 1; id <= spec_.nodes; ++id) start_node(id);
    (void)!write(started.get(), "s", 1);
    started.reset();
    double next_tick = now_s();
    while (!down_) {
        std::vector<pollfd> waits{{listener_.get(), POLLIN, 0}};
        std::vector<int> ids;
        for (auto& [id, node] : nodes_) {
            waits.push_back({node.control.get(), POLLIN, 0});
            waits.push_back({node.process.pidfd(), POLLIN, 0});
            ids.push_back(id);
        }
        int ready = poll(waits.data(), waits.size(), tick_ms);
        if (ready > 0) {
            for (size_t i = 0; i < ids.size(); ++i) {
                if (waits[1 + 2 * i].revents) hear(ids[i]);
                if (waits[2 + 2 * i].revents) collect(ids[i]);
            }
            if (waits[0].revents) serve_client();
        }
        if (now_s() >= next_tick) {
            look_for_panics();
            next_tick = now_s() + tick_ms / 1000.0;
        }
    }
    for (auto& [id, node] : nodes_) {
        if (node.process.running()) end_node(id, NodeState::off, "");
    }
}

}  // namespace krg::vcluster
