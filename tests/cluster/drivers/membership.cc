// SPDX-License-Identifier: GPL-2.0
//
// test_membership: a cluster of three and then four nodes through everything that can happen to it. The scenarios are in
// scenarios_*.cc; here is their order.
#include "scenarios.hh"

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_membership";
    defaults.what = "Forming, growing, shrinking and surviving, on a virtual cluster";
    defaults.nodes = 3;
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"form", "three nodes form a cluster and all say the same", scenario_form},
        {"unprivileged", "a user without rights may read and nothing else", scenario_unprivileged},
        {"rmmod-refused", "the module cannot go while the node is a member", scenario_rmmod_refused},
        {"refused-joins", "wrong key, name, id: refused with the reason on both sides", scenario_refused_joins},
        {"grow", "a fourth node joins", scenario_grow},
        {"leave", "planned leave and return", scenario_leave},
        {"evict", "an evicted node stays out until it is told to join", scenario_evict},
        {"crash", "a crashed node is removed, the others go on, it returns as a new incarnation", scenario_crash},
        {"pause-short", "a node stopped for less than its lease", scenario_pause_short},
        {"pause-late", "a node that wakes late never answers as a member", scenario_pause_late},
        {"cut-one-way", "frames pass in one direction only", scenario_cut_one_way},
        {"cut-full", "a node alone on its side of a partition", scenario_cut_full},
        {"cut-halves", "no side has a majority: nobody serves, then all go on", scenario_cut_halves},
        {"cut-pair", "two nodes cannot talk, all others can", scenario_cut_pair},
        {"unload", "all leave, the module unloads everywhere, and a new life begins", scenario_unload},
    };
    return run_driver(options, scenarios, cluster_for(options, "membership"));
}
