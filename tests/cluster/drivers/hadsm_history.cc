// SPDX-License-Identifier: GPL-2.0
//
// Histories of loads and stores: who plays, and the judgement afterwards. When to play, and who dies meanwhile, is the scenarios'.
#include "hadsm_fs.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

Job recorder(const Test& test, int node, unsigned me, const Recording& r) {
    return {node,
            {program(test, "krg-linearize"), "record", r.file, fmt::format("{}/log{}", r.shared, me), "--me",
             std::to_string(me), "--players", std::to_string(r.players), "--seed", r.seed, "--ops", r.operations, "--meet",
             r.shared, "--clock", r.shared, "--patience", r.patience}};
}

void judge(Test& test, const Recording& r, const std::vector<std::string>& more, const std::string& sentence) {
    std::vector<std::string> words{program(test, "krg-linearize"), "check", "--least-shared", "50"};
    words.insert(words.end(), more.begin(), more.end());
    for (unsigned i = 0; i < r.players; i++) words.push_back(fmt::format("{}/log{}", r.shared, i));
    ProcessResult result = test.cluster.exec(*running(test).begin(), words, 100);
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

}  // namespace krg::cluster_test
