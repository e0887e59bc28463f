// SPDX-License-Identifier: GPL-2.0
//
// Scenarios of test_hadsm_fs about memory: histories of loads and stores of three nodes, judged afterwards. Five nodes: hadsm_chaos.cc.
#include "hadsm_fs.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

void scenario_linearize(Test& test) {
    prepare(test);
    for (const char* mount : {one_copy, two_copies}) {
        const Recording r = recording(test, mount);
        std::vector<Job> jobs;
        for (int node : running(test)) jobs.push_back(recorder(test, node, static_cast<unsigned>(jobs.size()), r));
        if (all_hold(test, jobs, fmt::format("{} operations in {}", r.operations, mount), 110))
            judge(test, r, {}, "one memory can have answered so");
    }
}

void scenario_linearize_crash(Test& test) {
    prepare(test);
    Recording r = recording(test, two_copies);
    r.operations = "1200";
    std::vector<std::unique_ptr<Beside>> players;
    for (int node : {1, 2, 3})
        players.push_back(
            std::make_unique<Beside>(test, recorder(test, node, static_cast<unsigned>(players.size()), r), "recorder"));
    const std::string missing = wait_until("node 3 has done something", test.cluster.limit(60), [&] {
        ProcessResult lines = test.cluster.shell(1, fmt::format("grep -c ^op {}/log2", r.shared), 30);
        return std::atoi(lines.out.c_str()) >= 150 ? std::string() : lines.evidence();
    });
    test.report.require(missing.empty(), "node 3 works", missing);
    test.cluster.crash(3);
    for (int i : {0, 1}) {
        const std::string late = players[static_cast<std::size_t>(i)]->wait_end(120);
        const std::string said = players[static_cast<std::size_t>(i)]->output();
        test.report.check(late.empty() && said.empty(), fmt::format("node {} goes on to its end", i + 1), late + said);
    }
    require_view(test, {1, 2}, "node 3 is dead", 60);
    judge(test, r, {"--crashed", "2"}, "nothing a survivor saw was lost");
    test.cluster.boot(3);
    prepare(test);
}

}  // namespace krg::cluster_test
