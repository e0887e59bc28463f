// SPDX-License-Identifier: GPL-2.0
//
// The modes of crsuite; see crsuite_operation.hh. A process has left when its node has no such pid any more, or a task without
// memory (the shadow on its birth node), and the node it went to has a running one.
#include "crsuite_operation.hh"

#include "../lib/report.hh"

#include <cstdint>
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

// Empty: what is left of the process on `node` is a shadow, one thread without memory and descriptors, where it was born, and
// nothing elsewhere. Threads of a process that has moved on may need a moment to end.
std::string not_left(const Cluster& cluster, long pid, int node, bool born_here) {
    const std::string seen =
        fmt::format("p=/proc/{0}; [ -d $p ] || {{ echo gone; exit; }}; "
                    "echo $(ls $p/task | wc -l) thread $(awk '/^VmSize:/ {{ n = $2 }} END {{ print n + 0 }}' $p/status) kB "
                    "$(ls $p/fd | wc -l) files",
                    pid);
    const std::string wanted = born_here ? "1 thread 0 kB 0 files\n" : "gone\n";
    const ProcessResult result = cluster.shell(
        node,
        fmt::format("s() {{ {}; }}; for i in $(seq 50); do w=$(s); [ \"$w\" = \"{}\" ] && break; sleep 0.1; done; echo \"$w\"",
                    seen, wanted.substr(0, wanted.size() - 1)));
    if (!result.done()) return result.evidence();
    if (result.out == wanted) return {};
    return fmt::format("pid {} has left node {}, but there is still: {}", pid, node, result.out);
}

// What the modules of this build need to be told to find each other's programs.
void load_modules(const Cluster& cluster) {
    for (int node = 1; node <= cluster.options().nodes; ++node) {
        const ProcessResult result = cluster.shell(
            node,
            fmt::format("for m in hadsm krg_proc; do grep -q \"^$m \" /proc/modules || insmod {0}/build/$(uname -r)/$m.ko "
                        "|| exit; done; echo {0}/build/host/bin/restart >/sys/module/krg_proc/parameters/helper",
                        cluster.options().top));
        if (!result.done()) throw ClusterError(fmt::format("node {}: hadsm, krg_proc: {}", node, result.evidence()));
    }
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
    std::vector<std::string> tools() const override { return {"migrate", "/dev/kerrighed"}; }
    int nodes_needed() const override { return nodes_; }
    void prepare(const Cluster& cluster) const override { load_modules(cluster); }

    OperationResult perform(const Cluster& cluster, const Place& place) const override {
        OperationResult now{Kind::done, {}, place};
        std::uint64_t generation = 0, bytes = 0;
        for (int node : hops_) {
            const int left = now.place.node;
            const ProcessResult result = cluster.exec(left,
                                                      {"migrate", "--json", "--tree", std::to_string(place.pid),
                                                       std::to_string(node)},
                                                      operation_limit_s);
            const std::string what = fmt::format("migrate from node {} to {}", left, node);
            now = after(result, what, now.place);
            if (now.kind != Kind::done) {
                now.reason = reason_of(result, what, now.reason);
                return now;
            }
            const Json said = Json::parse(result.out);
            if (said.at("generation") <= generation)
                return failed(fmt::format("{}: no new generation: {}", what, result.out), now.place);
            if (said.at("bytes") == 0) return failed(fmt::format("{}: nothing was sent: {}", what, result.out), now.place);
            generation = said.at("generation");
            bytes += said.at("bytes").get<std::uint64_t>();
            if (std::string why = not_moved(cluster, place.pid, node, node); !why.empty()) return failed(why, now.place);
            if (std::string why = not_left(cluster, place.pid, left, left == place.node); !why.empty())
                return failed(why, now.place);
            now.place.node = node;
        }
        now.reason = fmt::format("{} moves, generation {}, {} bytes", hops_.size(), generation, bytes);
        return now;
    }

private:
    // A refusal in the tool's words, on one line.
    static std::string reason_of(const ProcessResult& result, const std::string& what, const std::string& otherwise) {
        const Json said = Json::parse(result.err, nullptr, false);
        if (!said.is_object() || !said.contains("error")) return otherwise;
        std::string text = said["error"].value("message", otherwise);
        for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) text.replace(at, 1, ";");
        return what + ": " + text;
    }

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

    void prepare(const Cluster& cluster) const override { load_modules(cluster); }

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
