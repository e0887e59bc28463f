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

void scenario_ahead(Test& test) {
    prepare(test);
    constexpr long pages = 1024;
    for (const char* mount : {one_copy, two_copies}) {
        const std::string dir = fresh_dir(test, mount, "ahead"), file = dir + "/file", copy = "/run/krg-ahead-copy";
        holds(test, 1, fmt::format("dd if=/dev/urandom of={0} bs=4096 count={1} 2>/dev/null && cp {0} {2}", copy, pages, file),
              fmt::format("node 1 writes {} pages in {}", pages, mount), nullptr, 60);
        ProcessResult sum = test.cluster.shell(1, "md5sum <" + copy, 30);
        test.report.require(sum.done(), "and knows their sum", sum.evidence());
        const std::string wanted = sum.out.substr(0, 32);
        const auto reads = [&](int node, int times) {
            return Job{node,
                       {"sh", "-c",
                        fmt::format("for i in $(seq {}); do [ $(md5sum <{} | cut -c1-32) = {} ] || exit 1; done", times, file,
                                    wanted)}};
        };
        sleep_s(1);  // what is being written does not come ahead
        const long before = proc_sum(test, 2, "containers", "ahead_got");
        all_hold(test, {reads(2, 1)}, "node 2 reads them in order", 60);
        const long came = proc_sum(test, 2, "containers", "ahead_got") - before;
        test.report.check(came >= pages * 3 / 4, "most of them were there before it asked",
                          fmt::format("{} of {}", came, pages));
        const Job writes{1,
                         {"sh", "-c",
                          fmt::format("for i in $(seq 8); do dd if={} of={} bs=64k conv=notrunc 2>/dev/null || exit 1; "
                                      "done",
                                      copy, file)}};
        all_hold(test, {writes, reads(2, 4), reads(3, 4)}, "while node 1 writes the same again, 2 and 3 read nothing else",
                 110);
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
