// SPDX-License-Identifier: GPL-2.0
//
// What needs a virtual cluster. krg_bench.ko measures messages inside a guest; the time to detect a crash and agree on a view
// is taken here, on the host's clock: from just before the machine is killed to the moment the survivor's `krgadm monitor`
// line about the committed view has arrived. That includes the way of the line to the host, so it never flatters.
#include "scene.hh"

#include <csignal>
#include <fmt/format.h>

namespace krg::bench {

namespace {

using namespace cluster_test;

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

// Milliseconds from the crash of `victim` to the committed view of the others, seen from node 1.
double crash_once(Cluster& cluster, int victim, const NodeIds& all) {
    NodeIds rest = all;
    rest.erase(victim);
    const Monitor monitor(cluster);
    sleep_s(1);
    const pid_t machine = machine_pid(cluster, victim);
    const double begin = monotonic_s();
    if (kill(machine, SIGKILL) != 0) throw std::runtime_error("the machine cannot be killed");
    while (!monitor.committed(rest)) {
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
    load_bench(cluster, options, {1, 2});
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
