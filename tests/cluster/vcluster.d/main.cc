// SPDX-License-Identifier: GPL-2.0
//
// The command line of vcluster: verbs, options, output. What a verb does is elsewhere (up.cc, requests.cc, agent_client.cc).
#include "agent_client.h"
#include "state.h"
#include "up.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <set>
#include <unistd.h>

namespace krg::vcluster {

namespace {

/// Everything the command line can say.
struct Arguments {
    std::string name = "default";
    std::string checkout;
    UpOptions up;
    bool no_load = false, no_build = false, json = false, one_way = false, no_wait = false, no_stdin = false, serial = false;
    int node = 0, from = 0, to = 0, link = 0, delay_ms = 0;
    double loss_percent = 0, timeout_s = 0, wait_timeout_s = 180;
    std::vector<int> nodes;
    std::vector<std::string> command;
};

void add_up(CLI::App& app, Arguments& a) {
    CLI::App* up = app.add_subcommand("up", "Start a cluster; ready when every node answers");
    ClusterSpec& spec = a.up.spec;
    up->add_option("--nodes", spec.nodes, "How many machines")->check(CLI::Range(1, node_id_max))->capture_default_str();
    spec.kernel_wanted = "6.1";
    up->add_option("--kernel", spec.kernel_wanted, "6.1, 6.12, debug, or a full version")->capture_default_str();
    up->add_option("--mem", spec.memory_mb, "Memory of a machine in MiB")->check(CLI::Range(128, 65536))->capture_default_str();
    up->add_option("--cpus", spec.cpus, "Processors of a machine")->check(CLI::Range(1, 64))->capture_default_str();
    up->add_option("--links", spec.links, "Cluster networks (eth1, eth2)")->check(CLI::Range(1, 2))->capture_default_str();
    up->add_option("--cpu-share", spec.cpu_share_percent, "Limit each machine to PCT % of one processor of the host")
        ->check(CLI::Range(1, 100));
    up->add_flag("--no-load", a.no_load, "Load no module and join nothing");
    up->add_flag("--no-build", a.no_build, "Use the modules and tools as they are built now");
    up->add_option("--shared", spec.shared, "Host directory behind /shared (default: one of the cluster's own)");
    up->add_flag("--systemd", spec.systemd,
                 "systemd as process 1 on a root that is writable as a whole (changes stay in memory)");
    up->add_option("--disk", spec.disk_mb, "What a guest writes goes to a disk of so many MiB and survives a restart of it")
        ->check(CLI::Range(64, 65536));
    up->add_option("--append", spec.kernel_arguments, "More words for the kernel's command line");
    up->add_option("--accel", a.up.accelerator, "auto, kvm or tcg")->check(CLI::IsMember({"auto", "kvm", "tcg"}));
    up->add_option("--machine", spec.machine_type, "QEMU machine: microvm or q35")->check(CLI::IsMember({"microvm", "q35"}));
    up->add_option("--timeout", a.up.timeout_s, "Give up after this many seconds")->capture_default_str();
}

void add_node_verbs(CLI::App& app, Arguments& a) {
    CLI::App* exec = app.add_subcommand("exec", "Run a command on a node: streams, signals and exit status pass through");
    exec->add_option("NODE", a.node)->required();
    exec->add_option("--timeout", a.timeout_s, "Kill it after this many seconds (exit status 5)");
    exec->add_flag("-n,--no-stdin", a.no_stdin, "Do not read stdin");
    exec->footer("Usage: vcluster exec [OPTIONS] NODE [OPTIONS] [--] CMD [ARGUMENTS...]");
    CLI::App* shell = app.add_subcommand("shell", "A login shell on a node");
    shell->add_option("NODE", a.node)->required();
    for (auto [name, text] :
         {std::pair{"crash", "Kill a machine at once (kill -9)"}, std::pair{"pause", "Stop a machine; its clock runs on"},
          std::pair{"resume", "Let a paused machine run again"}})
        app.add_subcommand(name, text)->add_option("NODE", a.node)->required();
    CLI::App* boot = app.add_subcommand("boot", "Start a machine that is off or crashed; the next unused number adds one");
    boot->add_option("NODE", a.node)->required();
    CLI::App* add = app.add_subcommand("add", "Start one more machine");
    for (CLI::App* one : {boot, add}) {
        one->add_flag("--no-wait", a.no_wait, "Return at once");
        one->add_option("--timeout", a.wait_timeout_s, "Give up waiting after this many seconds")->capture_default_str();
    }
    CLI::App* wait = app.add_subcommand("wait", "Wait until nodes (default: all) answer");
    wait->add_option("NODES", a.nodes);
    wait->add_option("--timeout", a.wait_timeout_s)->capture_default_str();
    CLI::App* log = app.add_subcommand("log", "Kernel messages of a node, also of a crashed one");
    log->add_option("NODE", a.node)->required();
    log->add_flag("--serial", a.serial, "Only what the serial console got (warnings, panics)");
}

void add_network_verbs(CLI::App& app, Arguments& a) {
    auto path = [&](const char* name, const char* text) {
        CLI::App* verb = app.add_subcommand(name, text);
        verb->add_option("A", a.from)->required();
        verb->add_option("B", a.to)->required();
        verb->add_flag("--one-way", a.one_way, "Only frames from A to B");
        verb->add_option("--link", a.link, "Only this link (default: all)")->check(CLI::Range(1, 2));
        return verb;
    };
    path("cut", "Nothing passes between A and B");
    path("delay", "Frames between A and B arrive MS milliseconds later")
        ->add_option("MS", a.delay_ms)
        ->required()
        ->check(CLI::Range(0, 60000));
    path("loss", "PCT percent of the frames between A and B are lost")
        ->add_option("PCT", a.loss_percent)
        ->required()
        ->check(CLI::Range(0.0, 100.0));
    CLI::App* heal = app.add_subcommand("heal", "End all cuts, delays and losses, or those between A and B");
    CLI::Option* first = heal->add_option("A", a.from);
    heal->add_option("B", a.to)->needs(first);
    CLI::App* status = app.add_subcommand("status", "Nodes, links, cuts");
    status->add_flag("--json", a.json);
    app.add_subcommand("down", "End the cluster and remove every trace of it");
}

// A command's own options are nobody else's: from its first word on, or from "--", nothing is looked at.
std::vector<std::string> take_command(std::vector<std::string> words, std::vector<std::string>& command) {
    size_t at = 0;
    while (at < words.size() && words[at].starts_with("-")) at += words[at].find('=') == std::string::npos ? 2 : 1;
    if (at >= words.size() || words[at] != "exec") return words;
    bool node_seen = false;
    for (++at; at < words.size(); ++at) {
        if (words[at] == "--" || (node_seen && !words[at].starts_with("-"))) break;
        if (words[at] == "--timeout")
            ++at;
        else if (!words[at].starts_with("-"))
            node_seen = true;
    }
    if (at >= words.size()) return words;
    command.assign(words.begin() + static_cast<ptrdiff_t>(at) + (words[at] == "--" ? 1 : 0), words.end());
    words.resize(at);
    return words;
}

void print_status(const Json& status) {
    fmt::print("cluster {}   Linux {}   {} MiB, {} processor{}, {} link{}   {}\n", status.at("name").get<std::string>(),
               status.at("kernel").get<std::string>(), status.at("memory_mb").get<int>(), status.at("cpus").get<int>(),
               status.at("cpus") == 1 ? "" : "s", status.at("links").get<int>(), status.at("links") == 1 ? "" : "s",
               status.at("accelerator") == "kvm" ? "hardware virtualisation" : "software emulation");
    for (const auto& node : status.at("nodes")) {
        std::string more = node.at("failure");
        if (more.empty()) more = node.at("stage");
        fmt::print("node {:<3} {:<8} {:<10} {}{}\n", node.at("id").get<int>(), node.at("state").get<std::string>(),
                   node.at("joined").get<bool>() ? "joined" : "not joined",
                   node.at("pid") == 0 ? "" : fmt::format("pid {}  ", node.at("pid").get<int>()), more);
    }
    for (const auto& cut : status.at("cuts"))
        fmt::print("cut     {} -> {} (eth{})\n", cut.at("from").get<int>(), cut.at("to").get<int>(), cut.at("link").get<int>());
    for (const auto& fault : status.at("faults"))
        fmt::print("fault   {} -> {} (eth{}): delay {} ms, loss {} %\n", fault.at("from").get<int>(), fault.at("to").get<int>(),
                   fault.at("link").get<int>(), fault.at("delay_ms").get<int>(), fault.at("loss_percent").get<double>());
}

// The log is complete up to the moment the guest's user space last ran; a panic is only on the serial console. Lines are
// alike in both, so what the first has not is appended.
void print_log(const ClusterState& state, const Arguments& a) {
    if (!state.exists()) throw Error("cluster " + state.name() + " is not up", ExitCode::not_running);
    if (!std::filesystem::exists(state.node_file(a.node, "serial.log")))
        throw Error(fmt::format("there is no node {} in cluster {}", a.node, state.name()), ExitCode::no_such_object);
    std::string serial = read_file(state.node_file(a.node, "serial.log"));
    std::erase(serial, '\r');
    std::string kernel = a.serial ? "" : read_file(state.node_file(a.node, "kernel.log"));
    std::set<std::string> known;
    auto each_line = [](const std::string& text, auto&& use) {
        for (size_t at = 0; at < text.size();) {
            size_t end = std::min(text.find('\n', at), text.size());
            use(text.substr(at, end - at));
            at = end + 1;
        }
    };
    each_line(kernel, [&](const std::string& line) { known.insert(line); });
    fmt::print("{}", kernel);
    each_line(serial, [&](const std::string& line) {
        if (!line.empty() && !known.contains(line)) fmt::print("{}\n", line);
    });
}

int run_verb(const std::string& verb, Arguments& a) {
    ClusterState state(a.name);
    if (verb == "up") {
        a.up.spec.checkout = a.checkout;
        a.up.spec.load = !a.no_load;
        a.up.build = !a.no_build;
        if (!a.up.spec.shared.empty()) a.up.spec.shared = std::filesystem::absolute(a.up.spec.shared);
        bring_up(state, a.up);
    } else if (verb == "down") {
        Fd lock = state.lock();
        state.remove();
    } else if (verb == "exec" || verb == "shell") {
        RemoteCommand command{a.node, a.command, verb == "shell", !a.no_stdin, a.timeout_s};
        if (verb == "shell") command.arguments = {"/bin/bash", "-l"};
        if (command.arguments.empty()) throw Error("exec needs a command: vcluster exec NODE [--] CMD...", ExitCode::usage);
        if (verb == "shell" && !isatty(0)) throw Error("shell needs a terminal; use exec", ExitCode::usage);
        return run_remote(state, a.checkout, command);
    } else if (verb == "boot" || verb == "add") {
        Json answer = state.request(verb == "add" ? Json{{"verb", "add"}} : Json{{"verb", "boot"}, {"node", a.node}});
        if (!a.no_wait) wait_ready(state, {answer.at("node").get<int>()}, a.wait_timeout_s, true);
    } else if (verb == "wait") {
        wait_ready(state, a.nodes, a.wait_timeout_s, true);
    } else if (verb == "status") {
        Json status = state.request({{"verb", "status"}});
        if (a.json)
            fmt::print("{}\n", status.dump(2));
        else
            print_status(status);
    } else if (verb == "log") {
        print_log(state, a);
    } else if (verb == "heal" && a.from == 0) {
        state.request({{"verb", "heal"}});
    } else if (verb == "cut" || verb == "delay" || verb == "loss" || verb == "heal") {
        if (verb == "heal" && a.to == 0) throw Error("heal takes two nodes or none", ExitCode::usage);
        Json question{{"verb", verb == "heal" ? "heal" : "set-path"},
                      {"from", a.from},
                      {"to", a.to},
                      {"link", a.link},
                      {"one_way", a.one_way}};
        if (verb == "cut") question["cut"] = true;
        if (verb == "delay") question["delay_ms"] = a.delay_ms;
        if (verb == "loss") question["loss_percent"] = a.loss_percent;
        state.request(question);
    } else {
        state.request({{"verb", verb}, {"node", a.node}});
    }
    return 0;
}

int run_tool(int argc, char** argv) {
    Arguments a;
    CLI::App app(
        "A cluster of virtual machines on this machine: Debian's unmodified kernels, the host's files, a network of its own");
    app.name("vcluster");
    app.require_subcommand(1);
    app.add_option("--name", a.name, "Which cluster, when several exist side by side")->capture_default_str();
    app.add_option("--checkout", a.checkout, "Top of the source tree")->group("")->required();
    add_up(app, a);
    add_node_verbs(app, a);
    add_network_verbs(app, a);
    try {
        std::vector<std::string> words = take_command({argv + 1, argv + argc}, a.command);
        std::reverse(words.begin(), words.end());  // CLI11 takes them from the end
        app.parse(words);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::usage);
    }
    return run_verb(app.get_subcommands().front()->get_name(), a);
}

}  // namespace

}  // namespace krg::vcluster

int main(int argc, char** argv) {
    using namespace krg::vcluster;
    try {
        return run_tool(argc, argv);
    } catch (const Error& error) {
        fmt::print(stderr, "vcluster: {}\n", error.what());
        return static_cast<int>(error.code());
    } catch (const std::exception& error) {
        fmt::print(stderr, "vcluster: {}\n", error.what());
        return static_cast<int>(ExitCode::failed);
    }
}
