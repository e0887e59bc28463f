// SPDX-License-Identifier: GPL-2.0
//
// How long a program stands still when it moves, as it sees it itself (guest/gap.cc), and how long until all of its memory is at
// the new node: by the size of its memory, in each mode of migrate.
#include "scene.hh"

#include <fmt/format.h>

namespace krg::bench {

namespace {

using namespace cluster_test;

struct Move {
    double gap_ms = 0, frozen_ms = 0, local_ms = 0;
};

void load(const Cluster& cluster, const Options& options, int node) {
    const std::string script = fmt::format("for m in hadsm krg_proc; do insmod {}/$m.ko || exit 1; done; "
                                           "echo {}/build/host/bin/restart >/sys/module/krg_proc/parameters/helper",
                                           module_folder(options), options.top);
    must(cluster.shell(node, script), "krg_proc.ko");
}

Move move_once(const Cluster& cluster, const Options& options, const std::string& mode, int mib) {
    const std::string folder = "/shared/gap";
    const std::string start = fmt::format(
        "rm -rf {0}; mkdir {0}; cd {0}; setsid {1}/build/host/bin/krg-gap --mib {2} --ready {0}/pid </dev/null >out 2>err & "
        "for i in $(seq 600); do [ -s {0}/pid ] && break; sleep 0.1; done; sleep 1; cat {0}/pid",
        folder, options.top, mib);
    const auto started = cluster.shell(1, start, 120);
    must(started, "krg-gap");
    const long pid = std::stol(started.out);
    const auto moved = cluster.shell(1, fmt::format("migrate --json --mode {} {} 2", mode, pid), 300);
    must(moved, "migrate --mode " + mode);
    const std::string end =
        fmt::format("sleep 1; kill -TERM {1}; for i in $(seq 600); do [ -s {0}/out ] && break; sleep 0.1; done; "
                    "cat {0}/out; cat {0}/err >&2; [ -s {0}/out ]",
                    folder, pid);
    const auto said = cluster.shell(1, end, 120);
    must(said, "krg-gap at its end");
    const Json migrate = Json::parse(moved.out), gap = Json::parse(said.out);
    return {gap.at("longest_gap_ns").get<double>() / 1e6, migrate.at("frozen_ms"), migrate.at("local_ms")};
}

}  // namespace

void measure_migration(const Options& options, const Wanted& wanted, Result& result) {
    const std::vector<int> sizes{1, 16, 64, 128};
    const auto name = [](const char* what, const char* mode, int mib) {
        return fmt::format("migrate-{}-{}-{}", what, mode, mib);
    };
    bool any = false;
    for (const int mib : sizes)
        for (const char* what : {"gap", "local"})
            any = any || wanted(name(what, "post", mib)) || wanted(name("gap", "pre", mib));
    if (!any) return;
    Cluster cluster(cluster_options(options, "migrate", 2));
    cluster.up();
    wait_for_members(cluster, {1, 2});
    for (const int node : {1, 2}) load(cluster, options, node);
    for (const int mib : sizes) {
        if (wanted(name("gap", "pre", mib)))
            result.attempt(name("gap", "pre", mib), [&] {
                std::vector<double> pre, stop;
                for (int i = 0; i < options.moves; ++i) {
                    pre.push_back(move_once(cluster, options, "pre", mib).gap_ms);
                    stop.push_back(move_once(cluster, options, "stop", mib).gap_ms);
                }
                result.add({name("gap", "pre", mib), median(pre), "ms", median(stop), {}, true});
            });
        if (!wanted(name("gap", "post", mib)) && !wanted(name("local", "post", mib))) continue;
        result.attempt(name("gap", "post", mib), [&] {
            std::vector<double> post, stop, post_local, stop_local;
            for (int i = 0; i < options.moves; ++i) {
                const Move second = move_once(cluster, options, "post", mib), first = move_once(cluster, options, "stop", mib);
                post.push_back(second.gap_ms), stop.push_back(first.gap_ms);
                post_local.push_back(second.local_ms), stop_local.push_back(first.local_ms);
            }
            result.add({name("gap", "post", mib), median(post), "ms", median(stop), {}, true});
            result.add({name("local", "post", mib), median(post_local), "ms", median(stop_local), {}, true});
        });
    }
    cluster.down();
}

}  // namespace krg::bench
