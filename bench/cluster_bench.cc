// SPDX-License-Identifier: GPL-2.0
//
// What needs a virtual cluster. krg_bench.ko measures messages inside a guest; the time to detect a crash and agree on a view
// is taken here, on the host's clock: from just before the machine is killed to the moment the survivor's `krgadm monitor`
// line about the committed view has arrived. That includes the way of the line to the host, so it never flatters.
#include "measure.hh"
#include "tests/cluster/lib/cluster.hh"

#include <csignal>
#include <fmt/format.h>
#include <sstream>
#include <unistd.h>

namespace krg::bench {

namespace {

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

// One run of krg_bench.ko from node 1 to node 2.
Json bench_run(const Cluster& cluster, const std::string& order) {
    const auto result = cluster.shell(1,
                                      fmt::format("cd /sys/kernel/debug/krg_bench && echo '{}' >run && cat result || "
                                                  "{{ dmesg | tail -n 20; false; }}",
                                                  order),
                                      300);
    must(result, "krg_bench: " + order);
    return Json::parse(result.out);
}

void round_trip(const Cluster& cluster, const Options& options, const std::string& name, int size, Result& result) {
    const Json json = bench_run(cluster, fmt::format("rtt 2 {} {}", size, options.round_trips));
    result.add({name, json.at("rpc").at("median_ns"), "ns", json.at("bare").at("median_ns"), 1.10, true});
}

void bulk(const Cluster& cluster, const Options& options, const std::string& name, Result& result) {
    const Json json = bench_run(cluster, fmt::format("bulk 2 65536 {} {}", options.bulk_messages, options.bulk_rounds));
    result.add(
        {name, json.at("rpc").at("median_bytes_per_s"), "bytes/s", json.at("bare").at("median_bytes_per_s"), 0.90, false});
}

// Has the monitor said that a view with exactly these members is committed?
bool committed(const std::string& output, const NodeIds& members) {
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
        const Json json = Json::parse(line, nullptr, false);
        if (json.is_discarded() || !json.contains("event") || !json.contains("members")) continue;
        const std::string event = json.at("event");
        if (event.find("commit") != std::string::npos && json.at("members").get<NodeIds>() == members) return true;
    }
    return false;
}

pid_t machine_pid(const Cluster& cluster, int node) {
    const Json all = cluster.machines();
    for (const auto& machine : all.at("nodes"))
        if (machine.at("id") == node && machine.at("pid") != 0) return machine.at("pid");
    throw std::runtime_error(fmt::format("node {} is not running", node));
}

// Milliseconds from the crash of `victim` to the committed view of the others, seen from node 1.
double crash_once(Cluster& cluster, int victim, const NodeIds& all) {
    NodeIds rest = all;
    rest.erase(victim);
    BackgroundProcess monitor(cluster.exec_words(1, {"krgadm", "--json", "monitor"}),
                              cluster.options().folder + "/monitor.log");
    const std::string silent = wait_until("the monitor", 30, [&] {
        return monitor.output().find("\"exists\"") == std::string::npos ? std::string("no line") : std::string();
    });
    if (!silent.empty()) throw std::runtime_error("krgadm monitor says nothing: " + monitor.output());
    sleep_s(1);
    const pid_t machine = machine_pid(cluster, victim);
    const double begin = monotonic_s();
    if (kill(machine, SIGKILL) != 0) throw std::runtime_error("the machine cannot be killed");
    while (!committed(monitor.output(), rest)) {
        if (monotonic_s() - begin > 60) throw std::runtime_error("no new view within 60 s: " + monitor.output());
        sleep_s(0.01);
    }
    return (monotonic_s() - begin) * 1000;
}

}  // namespace

void measure_messages(const Options& options, const Wanted& wanted, Result& result) {
    if (!wanted("rpc-rtt-64") && !wanted("rpc-rtt-4096") && !wanted("rpc-bulk-65536")) return;
    Cluster cluster(cluster_options(options, "rpc", 2));
    cluster.up();
    wait_for_members(cluster, {1, 2});
    const std::string load =
        fmt::format("mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug; insmod {}/krg_bench.ko",
                    module_folder(options));
    for (int node : {1, 2}) must(cluster.shell(node, load), "krg_bench.ko");
    const auto measure = [&](const std::string& name, const std::function<void()>& part) {
        if (wanted(name)) result.attempt(name, part);
    };
    measure("rpc-rtt-64", [&] { round_trip(cluster, options, "rpc-rtt-64", 64, result); });
    measure("rpc-rtt-4096", [&] { round_trip(cluster, options, "rpc-rtt-4096", 4096, result); });
    measure("rpc-bulk-65536", [&] { bulk(cluster, options, "rpc-bulk-65536", result); });
    for (int node : {1, 2}) must(cluster.shell(node, "rmmod krg_bench"), "rmmod krg_bench");
    cluster.down();
}

void measure_detection(const Options& options, const Wanted& wanted, Result& result) {
    if (!wanted("detect-and-agree")) return;
    const NodeIds all{1, 2, 3};
    Cluster cluster(cluster_options(options, "crash", 3));
    cluster.up();
    std::vector<double> times;
    double lease_ms = 0;
    for (int i = 0; i < options.crashes; ++i) {
        if (i > 0) cluster.boot(3);
        wait_for_members(cluster, all);
        lease_ms = static_cast<double>(cluster.status(1).lease_ms);
        times.push_back(crash_once(cluster, 3, all));
        fmt::print("crash {}: {:.0f} ms\n", i + 1, times.back());
    }
    cluster.down();
    result.add({"detect-and-agree", median(times), "ms", lease_ms, 1.5, true});
}

}  // namespace krg::bench
