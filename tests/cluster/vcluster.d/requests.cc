// SPDX-License-Identifier: GPL-2.0
//
// What the supervisor answers to the command line tool: one JSON object in, one out, per connection. "verb" says what is
// wanted; an answer with "error" carries a text for people and an exit code. Nothing here waits for a guest: the tool asks
// for the status again until it likes it.
#include "supervisor.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

namespace krg::vcluster {

namespace {

constexpr int request_timeout_ms = 2000;
constexpr size_t request_max_bytes = 65536;

std::string read_request(int socket) {
    std::string line;
    while (line.size() < request_max_bytes && (line.empty() || line.back() != '\n')) {
        pollfd wait{socket, POLLIN, 0};
        char buffer[4096];
        if (poll(&wait, 1, request_timeout_ms) <= 0) return {};
        ssize_t got = recv(socket, buffer, sizeof buffer, 0);
        if (got <= 0) return {};
        line.append(buffer, static_cast<size_t>(got));
    }
    return line;
}

char process_state(pid_t pid) {
    std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
    size_t at = stat.rfind(')');
    return at == std::string::npos || at + 2 >= stat.size() ? 'X' : stat[at + 2];
}

}  // namespace

void Supervisor::serve_client() {
    Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) return;
    Json reply;
    Fd passed;
    try {
        std::string line = read_request(client.get());
        if (line.empty()) return;
        reply = answer(Json::parse(line), passed);
    } catch (const Error& error) {
        reply = {{"error", error.what()}, {"code", static_cast<int>(error.code())}};
    } catch (const Json::exception& error) {
        reply = {{"error", fmt::format("a request the supervisor cannot read: {}", error.what())}, {"code", 1}};
    }
    (void)send_line(client.get(), reply.dump(-1, ' ', false, Json::error_handler_t::replace), passed.get());
}

Node& Supervisor::node(const Json& question) {
    int id = question.at("node");
    auto found = nodes_.find(id);
    if (found == nodes_.end())
        throw Error(fmt::format("there is no node {} in cluster {} ({} nodes)", id, spec_.name, nodes_.size()),
                    ExitCode::no_such_object);
    return found->second;
}

Json Supervisor::answer(const Json& question, Fd& passed) {
    std::string verb = question.at("verb");
    if (verb == "status") return status();
    if (verb == "down") {
        down_ = true;
        return {{"done", true}};
    }
    if (verb == "set-path" || verb == "heal") return change_paths(question);
    if (verb == "boot") {
        boot_node(question.at("node"));
        return {{"node", question.at("node")}};
    }
    if (verb == "add") {
        int id = nodes_.empty() ? 1 : nodes_.rbegin()->first + 1;
        boot_node(id);
        return {{"node", id}};
    }
    Node& one = node(question);
    int id = question.at("node");
    if (verb == "connect") {
        // A socket belongs to the network namespace it is made in; the tool connects it by itself and can wait.
        if (!one.ready || one.state != NodeState::running)
            throw Error(fmt::format("node {} is {}{}", id, to_string(one.state), one.failure.empty() ? "" : ": " + one.failure),
                        ExitCode::not_running);
        passed.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!passed) throw system_error("cannot make a socket");
        return {{"port", agent_port_of(id)}, {"boots", one.boots}};
    }
    if (verb == "crash") {
        if (!one.process.running())
            throw Error(fmt::format("node {} is {} already", id, to_string(one.state)), ExitCode::not_running);
        end_node(id, NodeState::crashed, "killed by `vcluster crash`");
        return {{"done", true}};
    }
    if (verb == "pause")
        pause_node(id);
    else if (verb == "resume")
        resume_node(id);
    else
        throw Error("the supervisor does not know the request " + verb);
    return {{"done", true}};
}

void Supervisor::boot_node(int id) {
    int next = nodes_.empty() ? 1 : nodes_.rbegin()->first + 1;
    if (id < 1 || id > next || id > node_id_max)
        throw Error(fmt::format("node {} cannot be started: cluster {} has nodes 1 to {}, the next new one is {}", id,
                                spec_.name, next - 1, next),
                    ExitCode::no_such_object);
    if (nodes_.contains(id) && nodes_[id].process.running())
        throw Error(fmt::format("node {} is {} already; `vcluster crash {}` first", id, to_string(nodes_[id].state), id));
    start_node(id);
}

// Stopped from outside, the guest's clock runs on: its time stamp counter is the host's. A stop through QEMU's monitor
// would stop the clock too, and a node that overslept its lease could not notice.
void Supervisor::pause_node(int id) {
    Node& one = nodes_[id];
    if (!one.process.running()) throw Error(fmt::format("node {} is {}", id, to_string(one.state)), ExitCode::not_running);
    if (one.state == NodeState::paused) throw Error(fmt::format("node {} is paused already", id));
    one.share->set_paused(true);
    one.process.signal(SIGSTOP);
    for (int i = 0; i < 1000 && process_state(one.process.pid()) != 'T'; ++i) usleep(1000);
    one.state = NodeState::paused;
}

void Supervisor::resume_node(int id) {
    Node& one = nodes_[id];
    if (one.state != NodeState::paused) throw Error(fmt::format("node {} is {}, not paused", id, to_string(one.state)));
    one.process.signal(SIGCONT);
    one.share->set_paused(false);
    one.state = one.ready ? NodeState::running : NodeState::booting;
}

// {"from":1,"to":2,"one_way":false,"link":0 (all),"cut":true | "delay_ms":N | "loss_percent":X}; heal without nodes: all.
Json Supervisor::change_paths(const Json& question) {
    if (!question.contains("from")) {
        switch_.clear_faults();
        return {{"done", true}};
    }
    int from = question.at("from"), to = question.at("to"), wanted = question.value("link", 0);
    for (int id : {from, to}) (void)node({{"node", id}});
    if (from == to) throw Error(fmt::format("node {} has no link to itself", from), ExitCode::usage);
    if (wanted > spec_.links)
        throw Error(fmt::format("cluster {} has {} link{}, not a link {}", spec_.name, spec_.links, spec_.links > 1 ? "s" : "",
                                wanted),
                    ExitCode::no_such_object);
    for (int link = 1; link <= spec_.links; ++link) {
        if (wanted != 0 && link != wanted) continue;
        for (PathId path : {PathId{from, to, link}, PathId{to, from, link}}) {
            Fault fault = switch_.fault(path);
            if (question.at("verb") == "heal") fault = {};
            fault.cut = question.value("cut", fault.cut);
            fault.delay_ms = question.value("delay_ms", fault.delay_ms);
            fault.loss_percent = question.value("loss_percent", fault.loss_percent);
            switch_.set_fault(path, fault);
            if (question.value("one_way", false)) break;
        }
    }
    return {{"done", true}};
}

Json Supervisor::status() {
    Json nodes = Json::array(), cuts = Json::array(), faults = Json::array();
    auto counters = switch_.counters();
    for (auto& [id, node] : nodes_) {
        Json links = Json::array();
        for (int link = 1; link <= spec_.links; ++link) {
            PortCounters c = counters[{id, link}];
            links.push_back({{"link", link},
                             {"mac", Switch::mac({id, link})},
                             {"frames_in", c.frames_in},
                             {"frames_out", c.frames_out},
                             {"cut", c.cut},
                             {"lost", c.lost},
                             {"overflow", c.overflow}});
        }
        nodes.push_back({{"id", id},
                         {"state", to_string(node.state)},
                         {"pid", node.process.running() ? node.process.pid() : 0},
                         {"kernel", spec_.kernel.version},
                         {"joined", node.joined},
                         {"ready", node.ready},
                         {"stage", node.stage},
                         {"failure", node.failure},
                         {"boots", node.boots},
                         {"boot_s", node.ready ? node.ready_s - node.started_s : 0.0},
                         {"links", links}});
    }
    for (const auto& [path, fault] : switch_.faults()) {
        Json where{{"from", path.from}, {"to", path.to}, {"link", path.link}};
        if (fault.cut) cuts.push_back(where);
        if (fault.delay_ms == 0 && fault.loss_percent <= 0) continue;
        where["delay_ms"] = fault.delay_ms;
        where["loss_percent"] = fault.loss_percent;
        faults.push_back(where);
    }
    const char* share = nodes_.empty() || !nodes_.begin()->second.share ? "none" : nodes_.begin()->second.share->method();
    return {{"version", 1},
            {"name", spec_.name},
            {"supervisor", getpid()},
            {"directory", spec_.directory},
            {"accelerator", spec_.accelerator},
            {"machine", spec_.machine_type},
            {"kernel", spec_.kernel.version},
            {"memory_mb", spec_.memory_mb},
            {"cpus", spec_.cpus},
            {"links", spec_.links},
            {"load", spec_.load},
            {"systemd", spec_.systemd},
            {"shared", spec_.shared},
            {"cpu_share", {{"percent", spec_.cpu_share_percent}, {"method", share}}},
            {"nodes", nodes},
            {"cuts", cuts},
            {"faults", faults}};
}

}  // namespace krg::vcluster
