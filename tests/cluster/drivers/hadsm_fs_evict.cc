// SPDX-License-Identifier: GPL-2.0
//
// Scenario `evict` of test_hadsm_fs: more than one node may keep, then more than all may keep, then an ordinary program that
// wants the machine's memory. Nothing may be lost, and who cannot go on is told so.
#include "hadsm_fs.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

constexpr unsigned quota_mib = 4;
constexpr unsigned pages_of_mib = 256;

std::string fill(const Test& test, const std::string& what, const std::string& file, const std::string& seed, unsigned pages) {
    return fmt::format("{} {} {} {} {}", program(test, "krg-memory-fill"), what, file, seed, pages);
}

void within_quota(Test& test, const std::string& when) {
    for (int node : running(test)) {
        // What is only read, records and what a writer commits here right now may go beyond it.
        const std::string more = wait_until("", test.cluster.limit(30), [&] {
            const long used = proc_sum(test, node, "memory", "used_pages");
            return used >= 0 && used <= quota_mib * pages_of_mib ? std::string() : fmt::format("{} pages", used);
        });
        test.report.check(more.empty(), fmt::format("node {} keeps no more than its {} MiB {}", node, quota_mib, when), more);
    }
}

void set_quota(Test& test, unsigned mib) {
    for (int node : running(test))
        (void)holds(test, node, fmt::format("echo {} > /sys/module/hadsm/parameters/quota_mib", mib),
                    fmt::format("its quota is {} MiB", mib));
}

void check_everywhere(Test& test, const std::string& file, const std::string& seed, unsigned pages,
                      const std::string& sentence) {
    for (int node : running(test)) (void)holds(test, node, fill(test, "check", file, seed, pages), sentence, nullptr, 110);
}

/// What was removed is freed a little later.
void wait_for_room(Test& test) {
    for (int node : running(test)) {
        const std::string more = wait_until("", test.cluster.limit(60), [&] {
            const long used = proc_sum(test, node, "memory", "used_pages");
            return used >= 0 && used < quota_mib * pages_of_mib / 4 ? std::string() : fmt::format("{} pages", used);
        });
        test.report.check(more.empty(), fmt::format("node {} has room again", node), more);
    }
}

/// More than one node may keep, less than all may.
void more_than_one(Test& test, const char* mount, unsigned pages) {
    const std::string file = fresh_dir(test, mount, "evict") + "/big", seed = next_seed(test);
    const long before = proc_sum(test, 1, "memory", "evicted");
    (void)holds(test, 1, fill(test, "write", file, seed, pages), fmt::format("writes {} pages in {}", pages, mount),
                fmt::format("pages={} end=all", pages).c_str(), 110);
    within_quota(test, "after that");
    const long after = proc_sum(test, 1, "memory", "evicted");
    test.report.check(after > before, "node 1 has given pages up", fmt::format("{} before, {} after", before, after));
    long taken = 0;
    for (int node : {2, 3}) taken += proc_sum(test, node, "containers", "injections");
    test.report.check(mount == two_copies || taken > 0, "others have taken them", fmt::format("{} injections", taken));
    check_everywhere(test, file, seed, pages, fmt::format("all {} pages in {} are what was written", pages, mount));
    within_quota(test, "after all have read everything");
    (void)holds(test, 2, "rm " + file, "removes it");
    wait_for_room(test);
}

/// All nodes are full: who wants more is told, the rest goes on.
void more_than_all(Test& test, const char* mount) {
    const std::string dir = fresh_dir(test, mount, "full"), seed = next_seed(test);
    const unsigned pages = 16 * pages_of_mib;
    (void)holds(test, 3, fmt::format("echo of others > {0}/before; printf begun > {0}/log", dir), "writes files before");
    ProcessResult result = test.cluster.shell(1, fill(test, "write", dir + "/a", seed, pages), 110);
    unsigned written = 0;
    const bool refused = result.done() && std::sscanf(result.out.c_str(), "pages=%u", &written) == 1 && written < pages &&
                         result.out.find("No space left on device") != std::string::npos;
    test.report.check(refused, fmt::format("node 1: a write in {} ends with ENOSPC when all nodes are full", mount),
                      result.evidence());
    result = test.cluster.shell(2, fill(test, "store", dir + "/b", seed, pages), 110);
    test.report.check(result.done() && result.out.find("end=SIGBUS") != std::string::npos,
                      fmt::format("node 2: a store in {} ends with SIGBUS", mount), result.evidence());
    (void)holds(test, 3, fmt::format("cat {}/before", dir), "reads on", "of others");
    // It may find room for a part.
    (void)test.cluster.shell(1, fmt::format("head -c 262144 /dev/zero >> {}/log", dir), 60);
    (void)holds(test, 3, fill(test, "check", dir + "/a", seed, written), "what was written before is right", nullptr, 110);
    const long refusals = proc_sum(test, 1, "memory", "refusals");
    test.report.check(refusals > 0, "node 1 has counted the refusal", fmt::format("refusals={}", refusals));
    (void)holds(test, 3, fmt::format("rm {0}/a {0}/b", dir), "removes what fills the nodes");
    const std::string missing = wait_until("", test.cluster.limit(60), [&] {
        ProcessResult again = test.cluster.shell(1, fill(test, "write", dir + "/c", seed, 256), 30);
        return again.done() && again.out.find("end=all") != std::string::npos ? std::string() : again.evidence();
    });
    test.report.check(missing.empty(), "node 1 writes again when there is room again", missing);
    (void)holds(test, 2,
                fmt::format("a=$(stat -c %s {0}/log); printf more >> {0}/log; b=$(stat -c %s {0}/log); tail -c 4 {0}/log; "
                            "echo $((b - a))",
                            dir),
                "appends right behind what an append that failed has left", "more4");
    (void)holds(test, 3, fmt::format("rm {0}/c {0}/log", dir), "removes that too");
    wait_for_room(test);
}

/// The kernel wants memory back, for itself and for a program.
void pressure(Test& test, const char* mount) {
    const std::string file = fresh_dir(test, mount, "pressure") + "/kept", seed = next_seed(test);
    const unsigned pages = 6 * pages_of_mib;
    (void)holds(test, 1, fill(test, "write", file, seed, pages), fmt::format("writes 6 MiB in {}", mount), nullptr, 110);
    (void)holds(test, 2, fill(test, "check", file, seed, pages), "reads them", nullptr, 110);
    const long before = proc_sum(test, 1, "memory", "shrinker_asked");
    (void)holds(test, 1, "for i in 1 2 3; do echo 2 > /proc/sys/vm/drop_caches; sleep 1; done", "drops caches");
    const long after = proc_sum(test, 1, "memory", "shrinker_asked");
    test.report.check(after > before, "node 1: the kernel has asked our shrinker", fmt::format("{}, {}", before, after));
    // Most of what is free, so that the kernel has to look for more; it may be killed for that.
    (void)
        test.cluster.shell(1,
                           fmt::format("echo 1000 > /proc/self/oom_score_adj; {} hog $(awk '/^MemAvailable/ {{ print int($2 / "
                                       "1024 * 0.9) }}' /proc/meminfo) 5",
                                       program(test, "krg-memory-fill")),
                           60);
    check_everywhere(test, file, seed, pages, "nothing is lost under memory pressure");
    (void)holds(test, 1, "rm " + file, "removes it");
}

}  // namespace

void scenario_evict(Test& test) {
    prepare(test);
    set_quota(test, quota_mib);
    (void)holds(test, 1, fmt::format("stat -f -c '%b %S' {}", one_copy), "df tells the quota",
                fmt::format("{} 4096", quota_mib * pages_of_mib).c_str());
    more_than_one(test, one_copy, 9 * pages_of_mib);
    more_than_one(test, two_copies, 1180);
    more_than_all(test, one_copy);
    more_than_all(test, two_copies);
    set_quota(test, 0);
    for (const char* mount : {one_copy, two_copies}) pressure(test, mount);
    require_view(test, running(test), "nobody was lost", 30);
}

}  // namespace krg::cluster_test
