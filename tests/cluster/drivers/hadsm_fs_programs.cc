// SPDX-License-Identifier: GPL-2.0
//
// Scenarios of test_hadsm_fs with whole programs: the file system exerciser, programs of Debian that know nothing of clusters,
// objects of POSIX threads.
#include "hadsm_fs.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

constexpr int transactions = 25;

void run_players(Test& test, const std::string& dir, const std::vector<std::string>& more, const std::string& sentence,
                 double timeout_s) {
    const NodeIds nodes = running(test);
    const std::string seed = next_seed(test);
    std::vector<Job> jobs;
    for (int node : nodes) {
        Job job{node,
                {program(test, "krg-fs-exerciser"), "shared", dir, "--players", std::to_string(nodes.size()), "--me",
                 std::to_string(jobs.size()), "--seed", seed, "--patience", "60"}};
        job.words.insert(job.words.end(), more.begin(), more.end());
        jobs.push_back(std::move(job));
    }
    all_hold(test, jobs, fmt::format("{}, seed {}", sentence, seed), timeout_s);
}

}  // namespace

void scenario_exerciser(Test& test) {
    prepare(test);
    for (const char* mount : {one_copy, two_copies}) {
        const std::string dir = fresh_dir(test, mount, "single");
        std::vector<Job> jobs;
        for (int node : running(test))
            jobs.push_back(
                {node, {program(test, "krg-fs-exerciser"), "single", dir, "--seed", next_seed(test), "--steps", "1000"}});
        all_hold(test, jobs, fmt::format("the exerciser finds nothing in {}", mount), 100);
    }
}

void scenario_exerciser_shared(Test& test) {
    prepare(test);
    for (const char* mount : {one_copy, two_copies}) {
        const std::string dir = fresh_dir(test, mount, "shared");
        run_players(test, dir, {"--steps", "250"}, fmt::format("exercisers that share {} (fcntl)", mount), 120);
        run_players(test, dir, {"--steps", "250", "--flock"}, fmt::format("exercisers that share {} (flock)", mount), 120);
    }
}

void scenario_sort(Test& test) {
    prepare(test);
    const std::string dir = fresh_dir(test, two_copies, "sort");
    holds(test, 1, fmt::format("cd {} && seq 20000 | sort -R >numbers", dir), "writes 20,000 lines", nullptr, 60);
    holds(test, 2, fmt::format("cd {0} && sort -n -S 1M -T {0} numbers >sorted", dir),
          "sorts them, with its temporary files there too", nullptr, 60);
    holds(test, 3, fmt::format("cd {} && seq 20000 | cmp - sorted && sort -c -n sorted && wc -l <sorted", dir),
          "finds them in order", "20000", 60);
}

void scenario_sqlite(Test& test) {
    prepare(test);
    const std::string base = fresh_dir(test, two_copies, "sqlite") + "/db";
    holds(test, 1,
          fmt::format("sqlite3 {} 'pragma journal_mode=wal; create table t(node integer, n integer, primary key(node, n));'",
                      base),
          "makes a data base in WAL mode", "wal", 60);
    std::vector<Job> jobs;
    for (int node : {1, 2}) {
        const std::string script = fmt::format(
            "for i in $(seq {}); do echo \"insert into t values({}, $i);\"; done | sqlite3 -bail -cmd '.timeout 60000' {}",
            transactions, node, base);
        jobs.push_back({node, {"sh", "-c", script}});
    }
    all_hold(test, jobs, fmt::format("{} transactions beside those of the other node", transactions), 100);
    for (int node : {3, 1, 2}) {
        holds(
            test, node,
            fmt::format(
                "sqlite3 -cmd '.timeout 30000' {} 'select count(*) from t where node=1; select count(*) from t where node=2;'",
                base),
            "finds all of them", fmt::format("{0}\n{0}", transactions).c_str(), 60);
    }
    holds(test, 3, fmt::format("sqlite3 -cmd '.timeout 30000' {} 'pragma integrity_check; pragma journal_mode;'", base),
          "finds the data base whole", "ok\nwal", 60);
}

void scenario_git(Test& test) {
    prepare(test);
    const std::string dir = fresh_dir(test, two_copies, "git");
    const std::string settings = "export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t "
                                 "HOME=/tmp GIT_CONFIG_NOSYSTEM=1; ";
    holds(test, 1,
          settings + fmt::format("rm -rf /tmp/origin && git init -q /tmp/origin && cd /tmp/origin && for i in $(seq 5); do cp "
                                 "{}/Documentation/*.md . && echo $i >n && git add . && "
                                 "git commit -q -m $i; done && git clone -q /tmp/origin {}/clone",
                                 test.options.top, dir),
          "clones a repository", nullptr, 100);
    holds(test, 2,
          settings + fmt::format("cd {}/clone && git fsck --full && git status --porcelain && git log --oneline | wc -l", dir),
          "finds nothing wrong in it", "5", 60);
    holds(test, 3, settings + fmt::format("cd {}/clone && echo three >>n && git commit -q -a -m three && git gc -q", dir),
          "commits, and packs it", nullptr, 100);
    holds(test, 1,
          settings +
              fmt::format("cd {}/clone && git fsck --full && git status --porcelain && git log -1 --format=%s && tail -n 1 n",
                          dir),
          "sees the commit", "three\nthree", 60);
}

void scenario_tree(Test& test) {
    prepare(test);
    const std::string dir = fresh_dir(test, one_copy, "tree"), from = test.options.top + "/Documentation";
    holds(test, 1, fmt::format("cp -a {} {}/copy", from, dir), "copies a tree", nullptr, 60);
    holds(test, 2, fmt::format("diff -r {} {}/copy", from, dir), "finds no difference", "", 60);
    holds(test, 3, fmt::format("cd {} && tar cf tree.tar copy", dir), "makes an archive of it", nullptr, 60);
    holds(test, 1, fmt::format("cd {} && tar df tree.tar", dir), "finds the archive right", "", 60);
    holds(test, 2, fmt::format("cd {} && mkdir out && tar xf tree.tar -C out && diff -r copy out/copy", dir), "unpacks it", "",
          60);
    holds(test, 3, fmt::format("cd {} && rm -r copy out tree.tar && ls", dir), "removes everything", "", 60);
}

namespace {

/// Player `me` of all running nodes; `file` is a path, or with --shm in `more` a name.
Job synchronizer(const Test& test, int node, unsigned me, const std::string& file, const std::string& kind,
                 const std::vector<std::string>& more) {
    Job job{node,
            {program(test, "krg-posix-sync"), file, "--me", std::to_string(me), "--players",
             std::to_string(running(test).size()), "--rounds", "20", "--kind", kind, "--patience", "40"}};
    job.words.insert(job.words.end(), more.begin(), more.end());
    return job;
}

void synchronize(Test& test, const std::string& prefix, const std::vector<std::string>& more, const std::string& where) {
    for (const char* kind : {"mutex", "condvar", "sem", "barrier"}) {
        std::vector<Job> jobs;
        for (int node : running(test))
            jobs.push_back(synchronizer(test, node, static_cast<unsigned>(jobs.size()), prefix + kind, kind, more));
        all_hold(test, jobs, fmt::format("a process-shared {} {}", kind, where), 60);
    }
}

/// One process dies with the lock, its node lives: the others are told, and go on.
void robust(Test& test, const std::string& file) {
    std::vector<Job> jobs;
    for (int node : running(test))
        jobs.push_back(synchronizer(test, node, static_cast<unsigned>(jobs.size()), file, "robust", {}));
    jobs.back().words.insert(jobs.back().words.end(), {"--die-at", "10"});
    const std::vector<ProcessResult> results = at_once(test, jobs, 60);
    for (std::size_t i = 0; i < jobs.size(); i++) {
        const bool dies = i + 1 == jobs.size();
        const bool right = dies ? !results[i].done() && !results[i].timed_out && results[i].err.empty()
                                : results[i].done() && results[i].out.find("recovered 1") != std::string::npos;
        test.report.check(right, fmt::format("a robust mutex, node {}: {}", jobs[i].node, dies ? "dies with it" : "goes on"),
                          shown(jobs[i].words) + "\n" + results[i].evidence());
    }
}

}  // namespace

void scenario_posix_sync(Test& test) {
    prepare(test);
    const std::string dir = fresh_dir(test, two_copies, "sync") + "/";
    synchronize(test, dir, {}, "in a file");
    robust(test, dir + "robust");
}

void scenario_shm(Test& test) {
    prepare(test);
    const NodeIds nodes = running(test);
    for (int node : nodes)
        holds(test, node, "mkdir -p /dev/shm && mount -t hadsm -o name=shm,replicas=2 none /dev/shm",
              "/dev/shm is the cluster's");
    synchronize(test, "/shared-", {"--shm"}, "made with shm_open");
    for (int node : nodes) holds(test, node, "ls /dev/shm | wc -l", "sees all four objects", "4");
    for (int node : nodes) holds(test, node, "umount /dev/shm", "/dev/shm is its own again");
}

}  // namespace krg::cluster_test
