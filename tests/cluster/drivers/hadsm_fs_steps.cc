// SPDX-License-Identifier: GPL-2.0
//
// What the drivers of the hadsm file system share: see hadsm_fs.hh.
#include "hadsm_fs.hh"

#include <fmt/format.h>
#include <future>

namespace krg::cluster_test {

namespace {

const char* options_of(std::string_view mount) {
    if (mount == one_copy) return "name=one,replicas=1";
    return mount == two_copies ? "name=two,replicas=2" : "name=three,replicas=3";
}

// The mount of a node that was out of the cluster meanwhile answers EIO until it is made anew.
std::string mount_line(const char* dir) {
    return fmt::format("stat {0} >/dev/null 2>&1 || umount -l {0} 2>/dev/null; mkdir -p {0} && {{ mountpoint -q {0} || mount "
                       "-t hadsm -o {1} none {0}; }}",
                       dir, options_of(dir));
}

void report(Test& test, const Job& job, const ProcessResult& result, const std::string& sentence) {
    test.report.check(result.done(), sentence,
                      fmt::format("on node {}: {}\n{}", job.node, shown(job.words), result.evidence()));
}

}  // namespace

void prepare(Test& test, const std::vector<const char*>& mounts) {
    const NodeIds nodes = running(test);
    require_view(test, nodes, "all are members", 120);
    std::vector<Job> jobs;
    const std::string load = fmt::format("grep -q '^hadsm ' /proc/modules || insmod {}/build/$(uname -r)/hadsm.ko",
                                         test.options.top);
    for (int node : nodes) jobs.push_back({node, {"sh", "-c", load}});
    bool ready = true;
    std::string evidence;
    const auto step = [&](double timeout_s) {
        for (const ProcessResult& result : at_once(test, jobs, timeout_s)) {
            ready = ready && result.done();
            if (!result.done()) evidence += result.evidence() + "\n";
        }
        jobs.clear();
    };
    step(60);
    require_view(test, nodes, "all have hadsm.ko", 60);
    std::string script = "true";
    for (const char* mount : mounts) script += " && { " + mount_line(mount) + "; }";
    for (int node : nodes) jobs.push_back({node, {"sh", "-c", script}});
    step(90);
    test.report.require(ready, "the file systems are mounted everywhere", evidence);
}

std::string fresh_dir(Test& test, const std::string& below, const std::string& name) {
    std::string dir = fmt::format("{}/{}-{}", below, name, test.random() % 1'000'000);
    const int node = *running(test).begin();
    ProcessResult made = test.cluster.shell(node, "mkdir -p " + dir, 60);
    test.report.require(made.done(), fmt::format("node {} makes {}", node, dir), made.evidence());
    return dir;
}

std::string program(const Test& test, const std::string& name) { return test.options.top + "/build/host/bin/" + name; }

std::string next_seed(Test& test) { return std::to_string(test.random() % 1'000'000); }

std::vector<ProcessResult> at_once(Test& test, const std::vector<Job>& jobs, double timeout_s) {
    std::vector<std::future<ProcessResult>> started;
    started.reserve(jobs.size());
    for (const Job& job : jobs)
        started.push_back(std::async(std::launch::async,
                                     [&test, &job, timeout_s] { return test.cluster.exec(job.node, job.words, timeout_s); }));
    std::vector<ProcessResult> results;
    for (auto& future : started) results.push_back(future.get());
    return results;
}

bool all_hold(Test& test, const std::vector<Job>& jobs, const std::string& sentence, double timeout_s) {
    const std::vector<ProcessResult> results = at_once(test, jobs, timeout_s);
    bool all = true;
    for (std::size_t i = 0; i < jobs.size(); i++) {
        report(test, jobs[i], results[i], fmt::format("{}, node {}", sentence, jobs[i].node));
        all = all && results[i].done();
    }
    return all;
}

bool holds(Test& test, int node, const std::string& script, const std::string& sentence, const char* out, double timeout_s) {
    ProcessResult result = test.cluster.shell(node, script, timeout_s);
    std::string said = result.out;
    while (!said.empty() && said.back() == '\n') said.pop_back();
    const bool right = result.done() && (!out || said == out);
    return test.report.check(right, fmt::format("node {}: {}", node, sentence),
                             fmt::format("{}\nwanted: {}\n{}", script, out ? out : "status 0", result.evidence()));
}

void fails(Test& test, int node, const std::string& script, const std::string& words, const std::string& sentence) {
    ProcessResult result = test.cluster.shell(node, "LC_ALL=C; export LC_ALL; " + script, 30);
    const bool right = !result.done() && !result.timed_out && result.err.find(words) != std::string::npos;
    test.report.check(right, fmt::format("node {}: {}", node, sentence),
                      fmt::format("{}\nwanted: '{}'\n{}", script, words, result.evidence()));
}

long proc_sum(Test& test, int node, const std::string& file, const std::string& name) {
    ProcessResult result = test.cluster.shell(
        node,
        fmt::format("tr ' ' '\\n' < /proc/kerrighed/{} | awk -F= '$1 == \"{}\" {{ n += $2; seen = 1 }} END {{ print seen ? "
                    "n : -1 }}'",
                    file, name));
    return result.done() ? std::atol(result.out.c_str()) : -1;
}

Beside::Beside(Test& test, const Job& job, const std::string& name)
    : test_(test),
      process_(test.cluster.exec_words(job.node, job.words),
               fmt::format("{}/{}-node{}.out", test.options.folder, name, job.node)) {}

std::string Beside::wait_for(const std::string& words, double timeout_s) const {
    return wait_until(words, test_.cluster.limit(timeout_s), [&] {
        const std::string said = process_.output();
        return said.find(words) != std::string::npos ? std::string() : "so far: " + said;
    });
}

std::string Beside::wait_end(double timeout_s) {
    return wait_until("it ends", test_.cluster.limit(timeout_s), [&] {
        return process_.running() ? "still running: " + last_lines(process_.output(), 3) : std::string();
    });
}

}  // namespace krg::cluster_test
