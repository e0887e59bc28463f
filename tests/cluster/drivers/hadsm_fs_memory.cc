// SPDX-License-Identifier: GPL-2.0
//
// Scenarios of test_hadsm_fs about memory: histories of loads and stores of all nodes, judged afterwards.
#include "hadsm_fs.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

struct Recording {
    std::string file, shared, seed, operations = "500";
    unsigned players = 3;
};

Job recorder(const Test& test, int node, unsigned me, const Recording& r) {
    return {node,
            {program(test, "krg-linearize"), "record", r.file, fmt::format("{}/log{}", r.shared, me), "--me",
             std::to_string(me), "--players", std::to_string(r.players), "--seed", r.seed, "--ops", r.operations, "--meet",
             r.shared, "--clock", r.shared, "--patience", "100"}};
}

void judge(Test& test, const Recording& r, const std::vector<std::string>& more, const std::string& sentence) {
    std::vector<std::string> words{program(test, "krg-linearize"), "check", "--least-shared", "50"};
    words.insert(words.end(), more.begin(), more.end());
    for (unsigned i = 0; i < r.players; i++) words.push_back(fmt::format("{}/log{}", r.shared, i));
    ProcessResult result = test.cluster.exec(1, words, 100);
    test.report.check(result.done(), fmt::format("{}, seed {}", sentence, r.seed),
                      fmt::format("{}\n{}", shown(words), result.evidence()));
    if (result.done()) return test.report.note(result.out);
    // The machines' /shared goes with them; the histories stay.
    for (unsigned i = 0; i < r.players; i++)
        (void)run_process(
            {"cp", fmt::format("{}{}/log{}", test.cluster.machines().at("shared").get<std::string>(), r.shared.substr(7), i),
             test.options.folder});
    test.report.note(fmt::format("the logs are in {}", test.options.folder));
}

Recording recording(Test& test, const char* mount) {
    Recording r;
    r.file = fresh_dir(test, mount, "words") + "/memory";
    r.shared = fresh_dir(test, "/shared", "words");
    r.seed = next_seed(test);
    return r;
}

}  // namespace

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
