// SPDX-License-Identifier: GPL-2.0
//
// test_hadsm_prefix: two threads on two processors of one node write pages of a file with two copies in a known order, another
// node reads, and the writers' machine is killed. What survives is a prefix of what was written, and nothing that was read is
// missing; round after round, with the nodes taking turns to die.
#include "hadsm_fs.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

constexpr const char* pages = "12";

struct Round {
    int number, writer, reader;
    std::string file, shared, seed;
};

std::vector<std::string> words(const Test& test, const Round& r, const char* what, std::vector<std::string> more) {
    std::vector<std::string> all{program(test, "krg-prefix"), what, r.file, "--seed", r.seed, "--pages", pages};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

/// Lets them work for a time by chance, then kills the writers' machine.
void kill_writer(Test& test, const Round& r) {
    const double life_s = 1 + static_cast<double>(test.random() % 2000) / 1000;
    Beside writer(test, {r.writer, words(test, r, "write", {"--pause-us", std::to_string(test.random() % 3 * 500)})},
                  fmt::format("writer{}", r.number));
    const std::string log = r.shared + "/log", stop = r.shared + "/stop";
    Beside reader(test, {r.reader, words(test, r, "watch", {log, "--stop", stop})}, fmt::format("reader{}", r.number));
    const std::string unseen = wait_until("the reader has seen something", test.cluster.limit(40), [&] {
        return test.cluster.shell(r.reader, "test -s " + log, 30).done() ? std::string() : writer.output() + reader.output();
    });
    test.report.require(unseen.empty(),
                        fmt::format("round {}: node {} reads what node {} writes", r.number, r.reader, r.writer), unseen);
    sleep_s(life_s);
    test.cluster.crash(r.writer);
    require_view(test, running(test), fmt::format("round {}: node {} is dead", r.number, r.writer), 60);
    sleep_s(0.5);
    (void)test.cluster.shell(r.reader, ": >" + stop, 30);
    const std::string late = reader.wait_end(40);
    const std::string said = reader.output();
    test.report.check(late.empty() && said.find("samples") != std::string::npos,
                      fmt::format("round {}: nothing the reader saw went away", r.number), late + said);
    test.report.note(fmt::format("round {}, seed {}: {}", r.number, r.seed, said));
}

void check_prefix(Test& test, const Round& r) {
    std::vector<Job> jobs;
    for (int node : running(test)) jobs.push_back({node, words(test, r, "verify", {"--seen", r.shared + "/log"})});
    const std::vector<ProcessResult> results = at_once(test, jobs, 60);
    std::string evidence;
    bool same = true;
    for (const ProcessResult& result : results) {
        evidence += result.evidence() + "\n";
        same = same && result.done() && result.out == results.front().out;
    }
    test.report.check(same, fmt::format("round {}: what node {} left is a prefix, the same for all", r.number, r.writer),
                      shown(jobs.front().words) + "\n" + evidence);
    if (same) test.report.note(fmt::format("round {}: {}", r.number, results.front().out));
}

void scenario_prefix(Test& test) {
    prepare(test);
    const std::string dir = fresh_dir(test, two_copies, "prefix");
    const int nodes = static_cast<int>(running(test).size());
    for (int i = 0; i < test.options.rounds; i++) {
        Round r{i,
                1 + i % nodes,
                1 + (i + 1) % nodes,
                fmt::format("{}/round{}", dir, i),
                fresh_dir(test, "/shared", "prefix"),
                next_seed(test)};
        kill_writer(test, r);
        check_prefix(test, r);
        test.cluster.boot(r.writer);
        prepare(test);
    }
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_hadsm_prefix";
    defaults.what = "Writers die in the middle of their work: what is left is a prefix of what they did";
    defaults.nodes = 3;
    defaults.rounds = 3;
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    ClusterOptions cluster = cluster_for(options, "hadsm-prefix");
    cluster.cpus = 2;
    return run_driver(options, {{"prefix", "the machine of two writers is killed, again and again", scenario_prefix}}, cluster);
}
