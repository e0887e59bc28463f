// SPDX-License-Identifier: GPL-2.0
//
// Shared memory, measured in guests by krg-memory-bench (guest/): here are the rows with their goals, and what has to stand
// before it can measure: a cluster, both file systems on all its nodes, the baseline's module, an NFS server and its client.
// The time to recover from a crash is taken here, on the host's clock.
#include "scene.hh"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fmt/format.h>

namespace krg::bench {

namespace {

using namespace cluster_test;

struct MemoryRow {
    const char* name;
    std::optional<double> goal = {};
    bool lower_is_better = true;
};

// A ratio that reads 1.00.
constexpr double no_overhead = 1.005;

const std::vector<MemoryRow> shared_rows{
    {"hadsm-read", 1.25},
    {"hadsm-three-hop", 1.8},
    {"hadsm-upgrade", 2.3},
    {"hadsm-read-two", {}},
    {"hadsm-three-hop-two", {}},
    {"hadsm-upgrade-two", {}},
    {"hadsm-migratory-0", {}},
    {"hadsm-migratory-1", 1.3},
    {"hadsm-migratory-16", {}},
    {"hadsm-migratory-256", {}},
    {"hadsm-local", no_overhead},
    {"hadsm-local-two", {}},
    {"hadsm-sequential", 0.8, false},
    {"hadsm-first-run-two", {}},
};
const std::vector<MemoryRow> nfs_rows{{"hadsm-nfs-cold", 0.5}, {"hadsm-nfs-again", 0.5}};

constexpr const char* one_dir = "/run/krg-one";
constexpr const char* two_dir = "/run/krg-two";
constexpr const char* nfs_server = "/run/krg-export";
constexpr const char* nfs_client = "/run/krg-nfs";
constexpr const char* output_file = "/run/krg-memory-bench.json";
constexpr double measure_limit_s = 3600;

std::vector<MemoryRow> operation_rows() {
    std::vector<MemoryRow> rows;
    static std::vector<std::string> names;
    if (names.empty())
        for (const char* operation : {"get-first-touch", "get-from-one", "get-from-two", "grab-first-touch", "grab-one-local",
                                      "grab-one-remote", "grab-local-and-three", "remove-local", "remove-three-remote"})
            for (const char* kind : {"local-4", "distant-4", "distant-4096"})
                names.push_back(fmt::format("hadsm-op-{}-{}", operation, kind));
    rows.reserve(names.size());
    for (const std::string& name : names) rows.push_back({name.c_str(), {}});
    return rows;
}

std::vector<MemoryRow> chosen(const std::vector<MemoryRow>& rows, const Wanted& wanted) {
    std::vector<MemoryRow> some;
    for (const MemoryRow& row : rows)
        if (wanted(row.name)) some.push_back(row);
    return some;
}

NodeIds nodes_of(const Cluster& cluster) {
    NodeIds nodes;
    for (int node = 1; node <= cluster.options().nodes; node++) nodes.insert(node);
    return nodes;
}

std::string program(const Options& options) { return options.top + "/build/host/bin/krg-memory-bench"; }

/// Both file systems on every node of a cluster that is up, and the module of the baseline.
void prepare(const Cluster& cluster, const Options& options) {
    const NodeIds nodes = nodes_of(cluster);
    wait_for_members(cluster, nodes);
    for (int node : nodes)
        must(cluster.shell(node, fmt::format("grep -q '^hadsm ' /proc/modules || insmod {}/hadsm.ko; mkdir -p {} {}",
                                             module_folder(options), one_dir, two_dir)),
             "hadsm.ko");
    wait_for_members(cluster, nodes);
    for (int node : nodes)
        must(cluster.shell(node, fmt::format("mount -t hadsm -o name=one,replicas=1 none {} && "
                                             "mount -t hadsm -o name=two,replicas=2 none {}",
                                             one_dir, two_dir)),
             "mount -t hadsm");
    load_bench(cluster, options, nodes);
}

/// Node 2 exports a directory of its memory, node 1 mounts it. Version 4 alone needs no portmapper.
void prepare_nfs(const Cluster& cluster) {
    const std::string server =
        fmt::format("set -e; mkdir -p {0} /var/lib/nfs/v4recovery; touch /var/lib/nfs/etab /var/lib/nfs/rmtab; modprobe nfsd; "
                    "mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd; "
                    "echo 10 >/proc/fs/nfsd/nfsv4leasetime; echo 10 >/proc/fs/nfsd/nfsv4gracetime; "
                    "exportfs -o rw,fsid=0,no_root_squash,no_subtree_check,insecure,sec=sys '10.77.0.0/24:{0}'; "
                    "rpc.mountd -N 2 -N 3; rpc.nfsd -N 3 -V 4.2 -U 8; "
                    "echo Y >/proc/fs/nfsd/v4_end_grace",
                    nfs_server);
    must(cluster.shell(2, server, 90), "the NFS server on node 2");
    must(cluster.shell(1, fmt::format("mkdir -p {0} && mount -t nfs4 -o vers=4.2,proto=tcp 10.77.0.2:/ {0}", nfs_client), 90),
         "the NFS client on node 1");
    // Every node opens a file of that name, its own.
    for (int node : nodes_of(cluster)) must(cluster.shell(node, fmt::format("mkdir -p {}", nfs_server)), "mkdir");
}

bool nfs_installed() { return std::filesystem::exists("/usr/sbin/rpc.nfsd") && std::filesystem::exists("/sbin/mount.nfs4"); }

/// `krg-memory-bench serve` on every node but the first, and the command that conducts them.
class Team {
public:
    Team(const Cluster& cluster, const Options& options) : cluster_(cluster), options_(options) {
        for (int node = 2; node <= cluster.options().nodes; node++) {
            if (node > 2) addresses_ += ",";
            addresses_ += fmt::format("10.77.0.{}", node);
            players_.push_back(
                std::make_unique<BackgroundProcess>(cluster.exec_words(node, {program(options), "serve"}),
                                                    fmt::format("{}/serve-{}.log", cluster.options().folder, node)));
        }
        for (int node = 2; node <= cluster.options().nodes; node++) {
            const std::string missing = wait_until("node " + std::to_string(node), 60, [&] {
                const auto listening = cluster.shell(node, "grep -q ':1B9E .* 0A ' /proc/net/tcp");
                return listening.done() ? std::string() : "it does not listen: " + log(node);
            });
            if (!missing.empty()) throw std::runtime_error(missing);
        }
    }

    [[nodiscard]] std::vector<std::string> conductor(const std::string& rows, bool with_nfs, int mib) const {
        std::vector<std::string> words{program(options_), "conduct",
                                       "--others",        addresses_,
                                       "--one",           one_dir,
                                       "--two",           two_dir,
                                       "--rows",          rows,
                                       "--samples",       std::to_string(options_.fault_samples),
                                       "--rounds",        std::to_string(options_.file_rounds),
                                       "--mib",           std::to_string(mib),
                                       "--output",        output_file};
        if (with_nfs) words.insert(words.end(), {"--nfs-server", nfs_server, "--nfs-client", nfs_client});
        return cluster_.exec_words(1, words);
    }

    [[nodiscard]] std::string log(int node) const { return players_[static_cast<size_t>(node) - 2]->output(); }

private:
    const Cluster& cluster_;
    const Options& options_;
    std::string addresses_;
    std::vector<std::unique_ptr<BackgroundProcess>> players_;
};

Spread spread(const Json& samples) { return {samples.at("p10"), samples.at("p90")}; }

/// What the conductor has measured, also when it failed later.
void take_rows(const Cluster& cluster, const std::vector<MemoryRow>& rows, Result& result) {
    const auto text = cluster.shell(1, fmt::format("cat {}", output_file));
    if (!text.done()) return;
    for (const Json& one : Json::parse(text.out))
        for (const MemoryRow& row : rows)
            if (one.at("row") == row.name)
                result.add({row.name, one.at("value").at("median"), one.at("unit"), one.at("baseline").at("median"), row.goal,
                            row.lower_is_better, spread(one.at("value")), spread(one.at("baseline"))});
}

void measure_group(const Options& options, const char* name, int nodes, const std::vector<MemoryRow>& rows, bool with_nfs,
                   Result& result) {
    if (rows.empty()) return;
    Cluster cluster(cluster_options(options, name, nodes));
    cluster.up();
    prepare(cluster, options);
    if (with_nfs) prepare_nfs(cluster);
    const Team team(cluster, options);
    std::string names;
    for (const MemoryRow& row : rows) names += (names.empty() ? "" : ",") + std::string(row.name);
    const auto run = run_process(team.conductor(names, with_nfs, options.file_mib), {measure_limit_s, {}, true});
    std::string logs;
    for (int node = 2; node <= nodes; node++) logs += team.log(node);
    take_rows(cluster, rows, result);
    if (!run.done()) throw std::runtime_error("krg-memory-bench: " + run.evidence() + logs);
    for (const MemoryRow& row : rows)
        if (std::none_of(result.rows().begin(), result.rows().end(), [&](const Row& one) { return one.name == row.name; }))
            throw std::runtime_error(fmt::format("krg-memory-bench has not measured {}", row.name));
}

struct Recovery {
    double view_ms = 0, served_ms = 0, waited_ms = 0;
};

/// Kills node 3 while node 1 reads its pages.
Recovery recover_once(Cluster& cluster, const Options& options, int mib) {
    const Team team(cluster, options);
    const Monitor monitor(cluster);
    BackgroundProcess conductor(team.conductor("hadsm-recovery", false, mib), cluster.options().folder + "/recovery.log");
    const auto said = [&](const std::string& words, double timeout_s) {
        const std::string missing = wait_until(words, timeout_s, [&] {
            const std::string output = conductor.output();
            if (output.find(words) != std::string::npos) return std::string();
            if (!conductor.running()) throw std::runtime_error("krg-memory-bench ended: " + output);
            return "so far: " + last_lines(output, 1);
        });
        if (!missing.empty()) throw std::runtime_error("krg-memory-bench does not say '" + words + "': " + missing);
    };
    said("ready\n", 1800);
    sleep_s(1);
    const pid_t machine = machine_pid(cluster, 3);
    Recovery times;
    const double begin = monotonic_s();
    if (kill(machine, SIGKILL) != 0) throw std::runtime_error("the machine cannot be killed");
    std::string output;
    while (output.find("served ") == std::string::npos) {
        if (times.view_ms == 0 && monitor.committed({1, 2})) times.view_ms = (monotonic_s() - begin) * 1000;
        if (!conductor.running()) throw std::runtime_error("krg-memory-bench ended: " + conductor.output());
        sleep_s(0.01);
        output = conductor.output();
    }
    times.served_ms = (monotonic_s() - begin) * 1000;
    times.waited_ms = std::stod(output.substr(output.find("served ") + 7)) / 1e6;
    if (times.view_ms == 0) times.view_ms = times.served_ms;  // both within one look
    return times;
}

void measure_recovery(const Options& options, int mib, const std::string& name, Result& result) {
    auto asked = cluster_options(options, "recovery", 3);
    asked.memory_mb = std::max(asked.memory_mb, 512 + 3 * mib);
    Cluster cluster(asked);
    cluster.up();
    prepare(cluster, options);
    const Recovery times = recover_once(cluster, options, mib);
    fmt::print("{}: view {:.0f} ms, served {:.0f} ms after the crash; the fault waited {:.0f} ms\n", name, times.view_ms,
               times.served_ms, times.waited_ms);
    result.add({name, times.served_ms, "ms", times.view_ms, std::nullopt, true});
}

}  // namespace

void measure_memory(const Options& options, const Wanted& wanted, Result& result) {
    const auto nfs = chosen(nfs_rows, wanted);
    auto rows = chosen(shared_rows, wanted);
    if (nfs_installed())
        rows.insert(rows.end(), nfs.begin(), nfs.end());
    else if (!nfs.empty())
        result.attempt("hadsm-nfs", [] {
            throw std::runtime_error("Debian's NFS server and client are not here: tests/deps.sh nfs installs them");
        });
    result.attempt("hadsm", [&] { measure_group(options, "hadsm", 3, rows, nfs_installed() && !nfs.empty(), result); });
    result.attempt("hadsm-op",
                   [&] { measure_group(options, "operations", 4, chosen(operation_rows(), wanted), false, result); });
    for (int mib : {16, 64, 256}) {
        const std::string name = fmt::format("hadsm-recovery-{}", mib);
        if (wanted(name)) result.attempt(name, [&] { measure_recovery(options, mib, name, result); });
    }
}

}  // namespace krg::bench
