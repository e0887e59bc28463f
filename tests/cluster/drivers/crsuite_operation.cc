// SPDX-License-Identifier: GPL-2.0
//
// The modes of crsuite; see crsuite_operation.hh. A process has left when its node has no such pid any more, or a task without
// memory (the shadow on its birth node), and the node it went to has a running one.
#include "crsuite_operation.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

using Kind = OperationResult::Kind;
constexpr int not_permitted_to_travel = 7;  // the tool's exit status for "cannot travel", said by name
constexpr double operation_limit_s = 120;

OperationResult failed(const std::string& reason, const Place& place) { return {Kind::failed, reason, place}; }

// VmSize of the pid there in kB; -1: no such pid, 0: no memory.
long memory_on(const Cluster& cluster, int node, long pid) {
    const ProcessResult result = cluster.shell(
        node,
        fmt::format(
            "if [ -d /proc/{0} ]; then awk '/^VmSize:/ {{ n = $2 }} END {{ print n + 0 }}' /proc/{0}/status; else echo -1; fi",
            pid));
    if (!result.done()) throw ClusterError(result.evidence());
    return std::stol(result.out);
}

// Empty: the process runs user code on `there` and none on `left`.
std::string not_moved(const Cluster& cluster, long pid, int left, int there) {
    if (left != there && memory_on(cluster, left, pid) > 0) return fmt::format("pid {} still has memory on node {}", pid, left);
    const long memory = memory_on(cluster, there, pid);
    if (memory < 0) return fmt::format("node {} has no pid {}", there, pid);
    if (memory == 0) return fmt::format("pid {} on node {} has no memory", pid, there);
    return {};
}

OperationResult after(const ProcessResult& result, const std::string& what, const Place& place) {
    if (result.done()) return {Kind::done, {}, place};
    if (result.status == not_permitted_to_travel) return {Kind::refused, result.err.empty() ? result.out : result.err, place};
    return failed(fmt::format("{}: {}", what, result.evidence()), place);
}

class None : public Operation {
public:
    std::vector<std::string> tools() const override { return {}; }
    int nodes_needed() const override { return 1; }
    OperationResult perform(const Cluster& /*cluster*/, const Place& place) const override { return {Kind::done, {}, place}; }
};

// Visits the nodes of a list one after another; each hop is proved.
class Migrate : public Operation {
public:
    Migrate(int nodes, std::vector<int> hops) : nodes_(nodes), hops_(std::move(hops)) {}
    std::vector<std::string> tools() const override { return {"migrate", "/proc/kerrighed"}; }
    int nodes_needed() const override { return nodes_; }
    OperationResult perform(const Cluster& cluster, const Place& place) const override {
        OperationResult now{Kind::done, {}, place};
        for (int node : hops_) {
            const int left = now.place.node;
            now = after(cluster.exec(left, {"migrate", "--tree", std::to_string(place.pid), std::to_string(node)},
                                     operation_limit_s),
                        fmt::format("migrate from node {} to {}", left, node), now.place);
            if (now.kind != Kind::done) return now;
            if (std::string why = not_moved(cluster, place.pid, left, node); !why.empty()) return failed(why, now.place);
            now.place.node = node;
        }
        return now;
    }

private:
    int nodes_;
    std::vector<int> hops_;
};

// When the kernel made the process, in ticks since the node started; -1: there is none.
long start_on(const Cluster& cluster, int node, long pid) {
    const ProcessResult result =
        cluster.shell(node,
                      fmt::format("[ ! -r /proc/{0}/stat ] && echo -1 || sed 's/.*) //' /proc/{0}/stat | cut -d' ' -f20", pid));
    if (!result.done()) throw ClusterError(result.evidence());
    return std::stol(result.out);
}

// Saves it, ends it, proves that it is gone, and restarts it on a node.
class CheckpointRestart : public Operation {
public:
    explicit CheckpointRestart(int target, std::string judge) : target_(target), judge_(std::move(judge)) {}
    std::vector<std::string> tools() const override { return {"checkpoint", "restart", "/dev/kerrighed"}; }
    int nodes_needed() const override { return target_; }

    void prepare(const Cluster& cluster) const override {
        for (int node = 1; node <= cluster.options().nodes; ++node) {
            const ProcessResult result =
                cluster.shell(node, fmt::format("[ -e /dev/kerrighed ] || insmod {}/build/$(uname -r)/krg_proc.ko",
                                                cluster.options().top));
            if (!result.done()) throw ClusterError(fmt::format("node {}: krg_proc: {}", node, result.evidence()));
        }
    }

    OperationResult perform(const Cluster& cluster, const Place& place) const override {
        const std::string image = place.work + "/image", pid = std::to_string(place.pid);
        const long before = start_on(cluster, place.node, place.pid);
        OperationResult now = after(cluster.exec(place.node, {"checkpoint", "--kill", "--tree", pid, "-o", image},
                                                 operation_limit_s),
                                    "checkpoint", place);
        if (now.kind != Kind::done) return now;
        const ProcessResult size = cluster.shell(place.node, fmt::format("stat -c %s {}", image));
        if (!size.done()) return failed("checkpoint: no image: " + size.evidence(), place);
        // Nothing of the program may be left, not even its entry in the process table.
        (void)cluster.exec(place.node, {judge_, "clean", "--token", place.token}, operation_limit_s);
        if (const long left = start_on(cluster, place.node, place.pid); left >= 0)
            return failed(fmt::format("after it was killed, node {} still has pid {}", place.node, pid), place);
        const ProcessResult restarted = cluster.exec(target_, {"restart", image}, operation_limit_s);
        // It cannot go on where it was any more, whatever the reason: that is a failure.
        if (!restarted.done()) return failed("restart: " + restarted.evidence(), place);
        if (std::string why = not_moved(cluster, place.pid, place.node, target_); !why.empty()) return failed(why, place);
        const long made = start_on(cluster, target_, place.pid);
        if (target_ == place.node && made <= before)
            return failed(fmt::format("pid {} was not made again: it is of tick {} still", pid, before), place);
        now.place.node = target_;
        now.reason = fmt::format("image of {} bytes; node {} tick {} ended, node {} tick {} began", std::stoll(size.out),
                                 place.node, before, target_, made);
        return now;
    }

private:
    int target_;
    std::string judge_;
};

}  // namespace

std::unique_ptr<Operation> make_operation(const std::string& mode, int nodes, const std::string& judge) {
    if (mode == "none") return std::make_unique<None>();
    if (mode == "checkpoint") return std::make_unique<CheckpointRestart>(1, judge);
    if (mode == "restart-elsewhere") return std::make_unique<CheckpointRestart>(2, judge);
    if (mode == "migrate") return std::make_unique<Migrate>(2, std::vector<int>{2});
    if (mode == "roundtrip") return std::make_unique<Migrate>(2, std::vector<int>{2, 1});
    if (mode != "ring") return nullptr;
    const int around = std::max(nodes, 3);
    std::vector<int> hops;
    for (int i = 1; i <= 5; ++i) hops.push_back(i % around + 1);
    return std::make_unique<Migrate>(around, hops);
}

std::string missing_tools(const Cluster& cluster, const Operation& operation) {
    std::string missing;
    for (int node = 1; node <= cluster.options().nodes; ++node)
        for (const std::string& tool : operation.tools()) {
            const ProcessResult result = cluster.shell(node, tool[0] == '/' ? "test -e " + tool
                                                                            : "command -v " + tool + " >/dev/null");
            if (result.timed_out) throw ClusterError(result.evidence());
            if (!result.done()) missing += fmt::format("node {} has no {}\n", node, tool);
        }
    return missing;
}

}  // namespace krg::cluster_test
