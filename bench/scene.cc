// SPDX-License-Identifier: GPL-2.0
//
// See scene.hh.
#include "scene.hh"

#include <fmt/format.h>
#include <sstream>
#include <unistd.h>

namespace krg::bench {

using namespace cluster_test;

ClusterOptions cluster_options(const Options& options, const char* what, int nodes) {
    ClusterOptions cluster;
    cluster.top = options.top;
    cluster.name = fmt::format("bench-{}-{}", what, getpid());
    cluster.kernel = options.kernel;
    cluster.nodes = nodes;
    cluster.memory_mb = options.kernel == "debug" ? 1024 : 512;
    cluster.folder = options.top + "/build/bench";
    return cluster;
}

void must(const ProcessResult& result, const std::string& what) {
    if (!result.done()) throw std::runtime_error(what + ": " + result.evidence());
}

std::string module_folder(const Options& options) {
    const auto result = run_process({options.top + "/scripts/kver", options.kernel});
    must(result, "scripts/kver");
    return options.top + "/build/" + result.out.substr(0, result.out.find(' '));
}

void wait_for_members(const Cluster& cluster, const NodeIds& nodes) {
    const std::string missing = wait_until(fmt::format("a view of [{}]", to_text(nodes)), 180, [&] {
        for (const auto& [id, status] : cluster.status(nodes))
            if (status.state != "serving" || status.members != nodes) return fmt::format("node {}: {}", id, status.text());
        return std::string();
    });
    if (!missing.empty()) throw std::runtime_error("the cluster did not form: " + missing);
}

void load_bench(const Cluster& cluster, const Options& options, const NodeIds& nodes) {
    const std::string load =
        fmt::format("mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug; insmod {}/krg_bench.ko",
                    module_folder(options));
    for (int node : nodes) must(cluster.shell(node, load), "krg_bench.ko");
}

pid_t machine_pid(const Cluster& cluster, int node) {
    const Json all = cluster.machines();
    for (const auto& machine : all.at("nodes"))
        if (machine.at("id") == node && machine.at("pid") != 0) return machine.at("pid");
    throw std::runtime_error(fmt::format("node {} is not running", node));
}

Monitor::Monitor(const Cluster& cluster)
    : process_(cluster.exec_words(1, {"krgadm", "--json", "monitor"}), cluster.options().folder + "/monitor.log") {
    const std::string silent = wait_until("the monitor", 30, [&] {
        return output().find("\"exists\"") == std::string::npos ? std::string("no line") : std::string();
    });
    if (!silent.empty()) throw std::runtime_error("krgadm monitor says nothing: " + output());
}

bool Monitor::committed(const NodeIds& members) const {
    std::istringstream lines(output());
    for (std::string line; std::getline(lines, line);) {
        const Json json = Json::parse(line, nullptr, false);
        if (json.is_discarded() || !json.contains("event") || !json.contains("members")) continue;
        const std::string event = json.at("event");
        if (event.find("commit") != std::string::npos && json.at("members").get<NodeIds>() == members) return true;
    }
    return false;
}

}  // namespace krg::bench
