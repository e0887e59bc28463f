// SPDX-License-Identifier: GPL-2.0
//
// test_chaos: rounds of crash, rejoin, pause, cut and heal chosen at random on a virtual cluster, the views of all nodes
// compared after each. A seed decides what is done; the run prints it.
#include "steps.hh"

#include <algorithm>
#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

constexpr double view_limit_s = 60;
constexpr double return_limit_s = 180;

class Chaos {
public:
    explicit Chaos(Test& test) : test_(test), nodes_(running(test)) {}

    void run() {
        epoch_ = require_view(test_, nodes_, fmt::format("nodes {} serve", to_text(nodes_))).epoch;
        for (int round = 1; round <= test_.options.rounds; ++round) {
            name_ = fmt::format("round {} of {}", round, test_.options.rounds);
            switch (pick(5)) {
            case 0: crash(1); break;
            case 1: crash(2); break;
            case 2: cut_off(); break;
            case 3: cut_pair(); break;
            default: pause(); break;
            }
            whole();
        }
    }

private:
    int pick(int below) { return static_cast<int>(test_.random() % static_cast<unsigned>(below)); }

    int any(const NodeIds& from) {
        auto at = from.begin();
        std::advance(at, pick(static_cast<int>(from.size())));
        return *at;
    }

    void say(const std::string& what) const { test_.report.note(fmt::format("{}: {}", name_, what)); }

    // Who is left has one view, later than all before, and nobody else says that he serves in it.
    void survivors(const NodeIds& nodes) {
        NodeStatus view = require_view(test_, nodes, fmt::format("{}: nodes {} have one view", name_, to_text(nodes)),
                                       view_limit_s);
        test_.report.check(view.epoch > epoch_, fmt::format("{}: it is a later one", name_),
                           fmt::format("epoch {} before, {} now", epoch_, view.epoch));
        epoch_ = view.epoch;
    }

    void outsiders_do_not_serve(const NodeIds& outsiders) {
        for (const auto& [node, status] : test_.cluster.status(outsiders))
            test_.report.check(status.state != "serving", fmt::format("{}: node {} does not serve", name_, node),
                               status.text());
    }

    void whole() {
        NodeStatus view = require_view(test_, nodes_, fmt::format("{}: all {} are members again", name_, nodes_.size()),
                                       return_limit_s);
        test_.report.check(view.epoch > epoch_, fmt::format("{}: in a later view", name_),
                           fmt::format("epoch {} before, {} now", epoch_, view.epoch));
        epoch_ = view.epoch;
    }

    void crash(int count) {
        NodeIds victims;
        while (static_cast<int>(victims.size()) < count) victims.insert(any(nodes_));
        say(fmt::format("crash {}", to_text(victims)));
        for (int node : victims) test_.cluster.crash(node);
        survivors(without(nodes_, victims));
        say(fmt::format("boot {}", to_text(victims)));
        for (int node : victims) test_.cluster.boot(node);
    }

    void cut_off() {
        NodeIds minority;
        const int size = 1 + pick((static_cast<int>(nodes_.size()) - 1) / 2);
        while (static_cast<int>(minority.size()) < size) minority.insert(any(nodes_));
        say(fmt::format("cut {} off from the others", to_text(minority)));
        test_.cluster.split(minority, without(nodes_, minority));
        survivors(without(nodes_, minority));
        outsiders_do_not_serve(minority);
        say("heal");
        test_.cluster.heal();
    }

    void cut_pair() {
        const int one = any(nodes_), two = any(without(nodes_, {one}));
        const bool one_way = pick(2) == 0;
        say(fmt::format("cut {} {} {}", one, one_way ? "->" : "<->", two));
        test_.cluster.cut(one, two, one_way);
        const int removed = std::max(one, two);
        survivors(without(nodes_, {removed}));
        outsiders_do_not_serve({removed});
        say("heal");
        test_.cluster.heal();
    }

    void pause() {
        const int sleeper = any(nodes_);
        say(fmt::format("pause {}", sleeper));
        test_.cluster.pause(sleeper);
        survivors(without(nodes_, {sleeper}));
        say(fmt::format("resume {}", sleeper));
        test_.cluster.resume(sleeper);
    }

    Test& test_;
    NodeIds nodes_;
    std::string name_;
    std::uint64_t epoch_ = 0;
};

void scenario_chaos(Test& test) { Chaos(test).run(); }

void scenario_unload_all(Test& test) {
    const NodeIds nodes = running(test);
    for (int node : nodes) {
        ProcessResult left = test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        test.report.check(left.done(), fmt::format("node {} leaves", node), left.evidence());
        ProcessResult unload = test.cluster.exec(node, {"rmmod", "kerrighed"});
        test.report.check(unload.done(), fmt::format("rmmod succeeds on node {}", node), unload.evidence());
    }
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_chaos";
    defaults.what = "Crash, rejoin, pause, cut and heal at random, views compared after each round";
    defaults.nodes = 5;
    defaults.rounds = 10;
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"chaos", "rounds of faults chosen at random", scenario_chaos},
        {"unload", "all leave and the module unloads everywhere", scenario_unload_all},
    };
    return run_driver(options, scenarios, cluster_for(options, "chaos"));
}
