// SPDX-License-Identifier: GPL-2.0
//
// `make demo`: three machines become one cluster, grow, share memory, lose one, and go on. Shows real commands and their real output;
// every step is checked, and the program fails when one did not happen. Takes everything down at the end and on Ctrl-C.
#include "steps.hh"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <optional>
#include <unistd.h>

namespace krg::cluster_test {

namespace {

constexpr const char* shared_dir = "/run/shared-memory";

class Demo {
public:
    Demo(Cluster& cluster, std::string folder, std::string top)
        : cluster_(cluster),
          folder_(std::move(folder)),
          top_(std::move(top)) {}

    void run() {
        form();
        grow();
        share();
        lose();
        come_back();
        evict();
        fmt::print("\nThat is all: every step above really happened. Taking the machines down.\n");
    }

private:
    void say(const std::string& text) {
        fmt::print("\n== {}. {}\n", ++step_, text);
        std::fflush(stdout);
    }

    static void remark(const std::string& text) {
        fmt::print("   {}\n", text);
        std::fflush(stdout);
    }

    void show(int node, const std::vector<std::string>& command) {
        fmt::print("   node{}# {}\n", node, shown(command));
        ProcessResult result = cluster_.exec(node, command, 90);
        fmt::print("{}{}", indented(result.out, "      "), indented(result.err, "      "));
        std::fflush(stdout);
        if (!result.done()) throw ClusterError(fmt::format("{} on node {}: {}", shown(command), node, result.evidence()));
    }

    NodeStatus view(const NodeIds& nodes, double timeout_s = 60) {
        std::map<int, NodeStatus> status;
        std::string missing = wait_until(fmt::format("one view on nodes {}", to_text(nodes)), cluster_.limit(timeout_s), [&] {
            status = cluster_.status(nodes);
            return view_differs(status, nodes);
        });
        if (!missing.empty()) throw ClusterError(missing);
        return status.begin()->second;
    }

    void quietly(int node, const std::string& script) {
        ProcessResult result = cluster_.shell(node, script, 60);
        if (!result.done()) throw ClusterError(fmt::format("{} on node {}: {}", script, node, result.evidence()));
    }

    void load_shared_memory(int node) {
        quietly(node, fmt::format("insmod {}/build/$(uname -r)/hadsm.ko && mkdir -p {}", top_, shared_dir));
    }

    void status_on(const NodeIds& nodes) {
        for (int node : nodes) show(node, {"krgadm", "status"});
    }

    void form() {
        say("Three virtual machines boot Debian's own kernel, load the module and form a cluster");
        cluster_.up();
        remark("Each is asked by itself; all have agreed on one view: the same epoch, the same members.");
        view({1, 2, 3});
        status_on({1, 2, 3});
    }

    void grow() {
        say("A fourth machine starts and joins");
        const NodeStatus before = view({1, 2, 3});
        cluster_.boot(4);
        const NodeStatus after = view({1, 2, 3, 4});
        remark(fmt::format("One more view: epoch {} became epoch {}.", before.epoch, after.epoch));
        show(1, {"krgadm", "node", "list"});
    }

    void share() {
        say("They share memory: one file system in the memory of all four, two copies of every page");
        for (int node : {1, 2, 3, 4}) load_shared_memory(node);
        view({1, 2, 3, 4});
        for (int node : {1, 2, 3, 4}) show(node, {"mount", "-t", "hadsm", "-o", "name=demo,replicas=2", "none", shared_dir});
        show(3, {"sh", "-c", fmt::format("echo written on node 3 >{}/note; ls -l {}", shared_dir, shared_dir)});
        show(1, {"cat", std::string(shared_dir) + "/note"});
        remark("A lock that node 2 holds keeps node 4 out; it ends with its holder.");
        show(2, {"sh", "-c", fmt::format("flock {0}/note sleep 8 >{0}/holder 2>&1 &", shared_dir)});
        sleep_s(2);
        show(4, {"sh", "-c", fmt::format("flock --nonblock {}/note true || echo locked by another node", shared_dir)});
    }

    void lose() {
        say("Node 3 dies: kill -9 of its machine, while node 1 watches with krgadm monitor");
        const NodeStatus before = view({1, 2, 3, 4});
        BackgroundProcess monitor(cluster_.exec_words(1, {"krgadm", "monitor", "--timestamps"}), folder_ + "/monitor");
        sleep_s(2);
        const double begin = monotonic_s();
        cluster_.crash(3);
        const NodeStatus after = view({1, 2, 4});
        remark(fmt::format("Seen, agreed on and in force everywhere, asked from outside: {:.1f} s.", monotonic_s() - begin));
        if (after.epoch <= before.epoch) throw ClusterError("the epoch did not grow");
        std::string missing = wait_until("the event stream says so", cluster_.limit(20), [&] {
            return monitor.output().find("destroy node id=3") == std::string::npos ? std::string("not yet") : std::string();
        });
        const std::string heard = monitor.output();
        monitor.stop();
        if (!missing.empty()) throw ClusterError("krgadm monitor did not report that node 3 is gone:\n" + heard);
        fmt::print("   node1# krgadm monitor --timestamps\n{}", indented(heard, "      "));
        status_on({1, 2, 4});
        remark("What it wrote is still there:");
        for (int node : {1, 4}) show(node, {"cat", std::string(shared_dir) + "/note"});
    }

    void come_back() {
        say("Node 3 boots again and joins: a new incarnation, its old life is over");
        cluster_.boot(3);
        view({1, 2, 3, 4});
        show(1, {"krgadm", "node", "list"});
        load_shared_memory(3);
        view({1, 2, 3, 4});
        show(3, {"mount", "-t", "hadsm", "-o", "name=demo,replicas=2", "none", shared_dir});
        show(3, {"cat", std::string(shared_dir) + "/note"});
    }

    void evict() {
        say("An administrator evicts node 4: it stays out until it is told to join");
        show(1, {"krgadm", "node", "evict", "4", "--wait=60"});
        view({1, 2, 3});
        status_on({1, 2, 3});
        std::string missing = wait_until("node 4 has learned it", cluster_.limit(30), [&] {
            NodeStatus out = cluster_.status(4);
            return out.state == "out" && out.last_reason == "evicted" ? std::string() : out.text();
        });
        if (!missing.empty()) throw ClusterError(missing);
        ProcessResult out = cluster_.krgadm(4, {"status"});
        fmt::print("   node4# krgadm status\n{}", indented(out.out, "      "));
    }

    Cluster& cluster_;
    std::string folder_, top_;
    int step_ = 0;
};

int run_demo(const ClusterOptions& options) {
    catch_interrupts();
    Cluster cluster(options);
    const double begin = monotonic_s();
    int status = 0;
    try {
        Demo(cluster, options.folder, options.top).run();
    } catch (const Interrupted&) {
        fmt::print("\ninterrupted: taking the machines down\n");
        status = 130;
    } catch (const std::exception& error) {
        fmt::print("\nThe demo failed: {}\n", error.what());
        status = 1;
    }
    cluster.down();
    fmt::print("{:.0f} s\n", monotonic_s() - begin);
    return status;
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    ClusterOptions options;
    options.nodes = 3;
    options.patience = 2;
    options.name = fmt::format("demo-{}", getpid());
    bool no_build = false;
    CLI::App app("Three nodes become one cluster, grow, share memory, lose one, and go on");
    app.name("tests/cluster/demo");
    app.add_option("--top", options.top)->group("")->required();
    app.add_option("--kernel", options.kernel, "6.1, 6.12 or debug")->capture_default_str();
    app.add_flag("--no-build", no_build, "Use what is built now");
    CLI11_PARSE(app, argc, argv);
    options.build = !no_build;
    std::string folder = "/tmp/krg-demo.XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) {
        fmt::print(stderr, "cannot make a folder in /tmp\n");
        return 1;
    }
    options.folder = folder;
    int status = 1;
    try {
        status = run_demo(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "demo: {}\n", error.what());
    }
    (void)unlink((folder + "/monitor").c_str());
    (void)rmdir(folder.c_str());
    return status;
}
