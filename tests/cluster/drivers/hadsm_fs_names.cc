// SPDX-License-Identifier: GPL-2.0
//
// Scenarios of test_hadsm_fs about names and locks, and what becomes of them when nodes die, leave, and come back.
#include "hadsm_fs.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

void check_names(Test& test, const std::string& dir) {
    const auto at = [&](const std::string& script) { return fmt::format("cd {} && {}", dir, script); };
    holds(test, 1, at("mkdir a && echo hello >a/f"), "makes a directory and a file");
    holds(test, 2, at("cat a/f"), "reads it", "hello");
    holds(test, 3, at("ls a"), "lists it", "f");
    holds(test, 2, at("mv a/f a/g"), "renames it");
    holds(test, 1, at("test ! -e a/f && cat a/g"), "knows only the new name", "hello");
    holds(test, 3, at("ln a/g a/h && stat -c %h a/g"), "links it", "2");
    holds(test, 1, at("stat -c %h a/g && test a/g -ef a/h"), "sees two names of one file", "2");
    holds(test, 1, at("ln -s g a/s && readlink a/s"), "makes a symbolic link", "g");
    holds(test, 2, at("echo more >>a/h && stat -c %s a/g"), "appends", "11");
    holds(test, 3, at("cat a/s"), "reads it through the symbolic link", "hello\nmore");
    holds(test, 1, at("truncate -s 3 a/g"), "cuts it");
    holds(test, 3, at("cat a/h && stat -c ' %s' a/h"), "has the rest only", "hel 3");
    holds(test, 2, at("truncate -s 3000000000 a/h && truncate -s 5 a/h"), "makes it long, and short again");
    holds(test, 1, at("od -An -c a/g | tr -d ' '"), "sees zeros where nothing was written", "hel\\0\\0");
    holds(test, 3, at("chmod 640 a/g && chown 1000:1001 a/g"), "changes mode and owner");
    holds(test, 1, at("stat -c '%a %u %g' a/h"), "sees that", "640 1000 1001");
    fails(test, 2, at("chmod 755 . && setpriv --reuid 1002 --regid 1002 --clear-groups cat a/g"), "Permission denied",
          "another user may not read it");
    holds(test, 2, at("setpriv --reuid 1000 --regid 1000 --clear-groups cat a/g >/dev/null"), "its owner may");
    const std::string python = "python3 -c \"import os; {}\"";
    holds(test, 1, at(fmt::format(fmt::runtime(python), "os.setxattr('a/g', 'user.colour', b'blue')")),
          "sets an extended attribute");
    holds(test, 3,
          at(fmt::format(fmt::runtime(python),
                         "print(os.getxattr('a/h', 'user.colour').decode(), os.listxattr('a/h').count('user.colour'))")),
          "reads it", "blue 1");
    holds(test, 2, at("touch -d @1234567890 a/g"), "sets its time");
    holds(test, 1, at("stat -c %Y a/h"), "sees that", "1234567890");
    holds(test, 2, at("rm a/g"), "removes one name");
    holds(test, 3, at("test ! -e a/g && stat -c %h a/h"), "knows the other one", "1");
    fails(test, 3, at("rmdir a"), "not empty", "cannot remove a directory with names");
    holds(test, 1, at("mkdir -p x/y/z && echo deep >x/y/z/w"), "makes directories");
    holds(test, 3, at("mv x/y v && cat v/z/w && ls x | wc -l"), "moves one", "deep\n0");
    fails(test, 2, at("mv v v/z"), "subdirectory of itself", "cannot move a directory into itself");
    holds(test, 1, at("cd v/z && ls ../.. | xargs"), "finds the way up", "a v x");
}

void check_many_names(Test& test, const std::string& dir) {
    holds(test, 1, fmt::format("cd {} && for i in $(seq 200); do : >f$i; done", dir), "makes 200 files", nullptr, 60);
    holds(test, 2, fmt::format("cd {} && ls | wc -l && ls | sort -u | wc -l", dir), "lists each of them once", "200\n200");
    holds(test, 3, fmt::format("cd {} && for i in $(seq 1 2 200); do rm f$i; done && ls | wc -l", dir), "removes half of them",
          "100", 60);
    holds(test, 2, fmt::format("cd {} && ls | wc -l && test ! -e f1 && test -e f2", dir), "sees the other half", "100");
    holds(test, 2, fmt::format("rm -r {0} && test ! -e {0}", dir), "removes all", nullptr, 60);
    holds(test, 1, fmt::format("test ! -e {}", dir), "has no such directory any more");
}

void check_unlinked(Test& test, const std::string& dir) {
    holds(test, 2, fmt::format("cd {} && echo still here >u", dir), "writes a file");
    const std::string hold = fmt::format("cd {} && exec 9<u && echo open && while [ ! -e gone ]; do sleep 0.1; done; cat <&9",
                                         dir);
    Beside reader(test, {1, {"sh", "-c", hold}}, "unlinked");
    const std::string missing = reader.wait_for("open");
    test.report.check(missing.empty(), "node 1 opens it", missing);
    holds(test, 2, fmt::format("cd {} && rm u && : >gone", dir), "removes it while node 1 has it open");
    const std::string lost = reader.wait_for("still here");
    test.report.check(lost.empty(), "node 1 reads it to its end", lost);
}

Job lock_job(const Test& test, int node, const std::string& file, std::vector<std::string> more) {
    more.insert(more.begin(), {program(test, "krg-file-lock"), file});
    return {node, more};
}

/// Whether a node can have the lock now.
void check_lock(Test& test, int node, const std::string& file, const std::vector<std::string>& how, bool free,
                const std::string& sentence) {
    std::vector<std::string> words = how;
    words.emplace_back("--try");
    const Job job = lock_job(test, node, file, words);
    ProcessResult result = test.cluster.exec(node, job.words, 30);
    test.report.check(result.status == (free ? 0 : 3), fmt::format("node {}: {}", node, sentence),
                      fmt::format("{}\nwanted status {}\n{}", shown(job.words), free ? 0 : 3, result.evidence()));
}

void check_locks_of(Test& test, const std::string& dir, const std::string& kind) {
    const std::string file = dir + "/" + kind, end = file + ".end";
    const std::vector<std::string> how{"--kind", kind};
    Beside holder(test, lock_job(test, 1, file, {"--kind", kind, "--until", end}), kind + "-holder");
    const std::string missing = holder.wait_for("locked");
    test.report.check(missing.empty(), fmt::format("node 1 takes a lock ({})", kind), missing);
    check_lock(test, 2, file, how, false, "does not get it");
    check_lock(test, 3, file, {"--kind", kind, "--shared"}, false, "does not get it for reading either");
    Beside waiter(test, lock_job(test, 2, file, how), kind + "-waiter");
    sleep_s(1);
    test.report.check(waiter.output().empty(), "node 2 waits for it", waiter.output());
    holds(test, 3, ": >" + end, "tells node 1 to end");
    const std::string late = waiter.wait_for("locked", 15);
    test.report.check(late.empty(), "node 2 gets it then", late);
    const std::string slow = waiter.wait_end(15);
    test.report.check(slow.empty(), "and gives it back", slow);
    check_lock(test, 3, file, how, true, "gets it afterwards");
}

void check_shared_locks(Test& test, const std::string& dir) {
    const std::string file = dir + "/shared";
    for (const char* kind : {"fcntl", "flock"}) {
        const std::string end = file + kind + ".end";
        Beside one(test, lock_job(test, 1, file + kind, {"--kind", kind, "--shared", "--until", end}),
                   std::string("shared-") + kind);
        const std::string missing = one.wait_for("locked");
        test.report.check(missing.empty(), fmt::format("node 1 has a lock for reading ({})", kind), missing);
        check_lock(test, 2, file + kind, {"--kind", kind, "--shared"}, true, "gets one too");
        check_lock(test, 3, file + kind, {"--kind", kind}, false, "does not get one for writing");
        holds(test, 3, ": >" + end, "tells node 1 to end");
    }
    const std::string range = dir + "/range", end = range + ".end";
    Beside one(test, lock_job(test, 1, range, {"--start", "100", "--length", "50", "--until", end}), "range");
    const std::string missing = one.wait_for("locked");
    test.report.check(missing.empty(), "node 1 locks bytes 100 to 149", missing);
    check_lock(test, 2, range, {"--start", "0", "--length", "100"}, true, "gets those before");
    check_lock(test, 2, range, {"--start", "150"}, true, "gets those behind");
    check_lock(test, 2, range, {"--start", "149", "--length", "1"}, false, "does not get the last of them");
    holds(test, 3, ": >" + end, "tells node 1 to end");
}

void check_lock_of_the_dead(Test& test, const std::string& dir) {
    for (const char* kind : {"fcntl", "flock"}) {
        const std::string file = dir + "/dead-" + kind;
        const std::string kill_it = fmt::format("{} {} --kind {} --until /nowhere & echo pid $!; wait",
                                                program(test, "krg-file-lock"), file, kind);
        Beside holder(test, {2, {"sh", "-c", kill_it}}, std::string("killed-") + kind);
        const std::string missing = holder.wait_for("locked");
        test.report.check(missing.empty(), fmt::format("a process of node 2 takes a lock ({})", kind), missing);
        check_lock(test, 1, file, {"--kind", kind}, false, "does not get it");
        const std::string said = holder.output();
        holds(test, 2,
              "kill -9 " + said.substr(said.find("pid ") + 4, said.find('\n', said.find("pid ")) - said.find("pid ") - 4),
              "kills that process");
        const std::string late = wait_until("it is free", test.cluster.limit(15), [&] {
            return test.cluster.exec(1, lock_job(test, 1, file, {"--kind", kind, "--try"}).words, 30).done() ? "" : "not free";
        });
        test.report.check(late.empty(), "node 1 gets it", late);
    }
}

void boot_again(Test& test, int node) {
    test.cluster.boot(node);
    prepare(test);
}

}  // namespace

void scenario_names(Test& test) {
    prepare(test);
    for (const char* mount : {one_copy, two_copies}) {
        const std::string dir = fresh_dir(test, mount, "names");
        check_names(test, dir);
        check_unlinked(test, dir);
        check_many_names(test, fresh_dir(test, dir, "many"));
    }
}

void scenario_locks(Test& test) {
    prepare(test);
    const std::string dir = fresh_dir(test, two_copies, "locks");
    for (const char* kind : {"fcntl", "ofd", "flock"}) check_locks_of(test, dir, kind);
    check_shared_locks(test, dir);
    check_lock_of_the_dead(test, dir);
    const std::string file = dir + "/node";
    Beside posix(test, lock_job(test, 3, file, {"--until", "/nowhere"}), "dead-node-fcntl");
    Beside bsd(test, lock_job(test, 3, file + "2", {"--kind", "flock", "--until", "/nowhere"}), "dead-node-flock");
    const std::string missing = posix.wait_for("locked") + bsd.wait_for("locked");
    test.report.check(missing.empty(), "node 3 has two locks", missing);
    check_lock(test, 1, file, {}, false, "does not get the first");
    check_lock(test, 1, file + "2", {"--kind", "flock"}, false, "does not get the second");
    test.cluster.crash(3);
    require_view(test, {1, 2}, "node 3 dies", 60);
    check_lock(test, 1, file, {}, true, "gets the first");
    check_lock(test, 2, file + "2", {"--kind", "flock"}, true, "gets the second");
    boot_again(test, 3);
}

void scenario_crash(Test& test) {
    prepare(test);
    const std::string dir = fresh_dir(test, two_copies, "crash");
    const std::string list =
        fmt::format("cd {} && find . -type f -o -type d -o -type l | sort && find . -type f | sort | xargs md5sum", dir);
    holds(test, 3,
          fmt::format("cd {} && mkdir -p tree/{{a,b}} 2>/dev/null; mkdir -p tree/a tree/b && for i in $(seq 20); do echo text "
                      "$i >tree/a/f$i; done && ln tree/a/f1 "
                      "tree/b/g && ln -s nowhere tree/b/s",
                      dir),
          "makes a tree");
    ProcessResult seen = test.cluster.shell(1, list, 60);
    test.report.check(seen.done(), "node 1 sees it", seen.evidence());
    holds(test, 3, fmt::format("cd {} && echo synced >only && sync -f only && mkdir kept && sync -f kept", dir),
          "syncs a file that nobody else has seen");
    holds(test, 3, fmt::format("cd {} && mkdir late && for i in $(seq 10); do echo late $i >late/f$i; done", dir),
          "makes more, which nobody has seen");
    test.cluster.crash(3);
    require_view(test, {1, 2}, "node 3 dies", 60);
    for (int node : {1, 2}) {
        ProcessResult now =
            test.cluster.shell(node, fmt::format("cd {}/tree && find . | sort && find . -type f | sort | xargs md5sum", dir),
                               60);
        ProcessResult then = test.cluster.shell(node,
                                                fmt::format("cd {} && test \"$(cat only)\" = synced && test -d kept", dir), 60);
        std::string expected = seen.out, have = now.out;
        // What was seen is all of the tree: the list above has it below ./tree, this one as it is.
        bool same = now.done();
        std::istringstream lines(have);
        for (std::string line; std::getline(lines, line);) {
            const auto at = line.find("./");
            std::string long_line = line == "."               ? "./tree"
                                    : at == std::string::npos ? line
                                                              : line.substr(0, at) + "./tree" + line.substr(at + 1);
            same = same && expected.find(long_line + "\n") != std::string::npos;
        }
        same = same && std::count(have.begin(), have.end(), '\n') + 1 == std::count(expected.begin(), expected.end(), '\n');
        test.report.check(same, fmt::format("node {} has the tree that node 1 saw", node),
                          fmt::format("was:\n{}\nis:\n{}", expected, now.evidence()));
        test.report.check(then.done(), fmt::format("node {} has what was synced", node), then.evidence());
    }
    // What nobody saw may be gone, but only as the end of what node 3 did.
    const std::string prefix = fmt::format("cd {} && n=0; for i in $(seq 10); do if [ \"$(cat late/f$i 2>/dev/null)\" = \"late "
                                           "$i\" ]; then test $n = $((i - 1)) || "
                                           "{{ echo f$i without f$((i - 1)); exit 1; }}; n=$i; fi; done; echo $n",
                                           dir);
    ProcessResult left = test.cluster.shell(1, prefix, 60);
    test.report.check(left.done(), "of what nobody saw a prefix is left", left.evidence());
    holds(test, 2, fmt::format("cd {} && echo after >after && rm -r tree/a", dir), "goes on making and removing names");
    boot_again(test, 3);
    const ProcessResult one = test.cluster.shell(1, list, 60), three = test.cluster.shell(3, list, 60);
    test.report.check(one.done() && three.done() && one.out == three.out, "node 3, back again, sees what node 1 sees",
                      one.evidence() + three.evidence());
}

void scenario_leave(Test& test) {
    prepare(test);
    const NodeIds all = running(test);
    const std::string kept = fresh_dir(test, one_copy, "leave"), load = fresh_dir(test, two_copies, "load"),
                      meet = fresh_dir(test, "/shared", "leave");
    for (int node : all)
        holds(test, node, fmt::format("cd {} && for i in $(seq 10); do seq $i 100 >n{}.$i; done", kept, node),
              "writes ten files with one copy", nullptr, 60);
    const std::string sum = fmt::format("cd {} && cat n* | md5sum", kept);
    const ProcessResult before = test.cluster.shell(1, sum, 60);
    for (int node : all) {
        const std::string seed = next_seed(test);
        const NodeIds others = without(all, {node});
        std::vector<std::unique_ptr<Beside>> players;
        for (int other : others)
            players.push_back(std::make_unique<Beside>(test,
                                                       Job{other,
                                                           {program(test, "krg-fs-exerciser"), "shared", load, "--players", "2",
                                                            "--me", std::to_string(players.size()), "--seed", seed, "--steps",
                                                            "400", "--patience", "90"}},
                                                       "leave-load"));
        sleep_s(2);
        holds(test, node, fmt::format("umount {} && umount {}", one_copy, two_copies), "unmounts", nullptr, 60);
        ProcessResult gone = test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        test.report.check(gone.done(), fmt::format("node {} leaves while the others work", node), gone.evidence());
        for (auto& player : players) {
            const std::string late = player->wait_end(120);
            const bool good = late.empty() && player->output().find("everybody:") != std::string::npos;
            test.report.check(good, fmt::format("an exerciser goes on to its end, seed {}", seed), late + player->output());
        }
        for (int other : others)
            holds(test, other, sum, fmt::format("has everything without node {}", node),
                  last_lines(before.out, 1).substr(0, before.out.find('\n')).c_str());
        require_join(test, node, fmt::format("node {} joins again", node));
        prepare(test);
        holds(test, node, sum, "sees everything again", before.out.substr(0, before.out.find('\n')).c_str());
    }
}

void scenario_far(Test& test) {
    constexpr int delay_ms = 40;
    prepare(test);
    const std::string dir = fresh_dir(test, two_copies, "far");
    const NodeIds all = running(test);
    for (int one : all)
        for (int other : all)
            if (one < other) test.cluster.delay(one, other, delay_ms);
    std::vector<Job> jobs;
    for (int node : all)
        jobs.push_back(
            {node, {"sh", "-c", fmt::format("for i in 1 2 3 4 5; do echo {1} >{0}/{1}-$i || exit 1; done", dir, node)}});
    all_hold(test, jobs, fmt::format("messages take {} ms: all make files in one directory", delay_ms), 90);
    test.cluster.heal();
    for (int node : all)
        holds(test, node, fmt::format("ls {} | wc -l", dir), "sees all of them", std::to_string(5 * all.size()).c_str());
}

void scenario_take_down(Test& test) {
    prepare(test);
    const NodeIds all = running(test);
    for (int node : all) {
        holds(test, node, fmt::format("umount {} && umount {}", one_copy, two_copies), "unmounts", nullptr, 60);
        ProcessResult gone = test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        test.report.check(gone.done(), fmt::format("node {} leaves", node), gone.evidence());
    }
    for (int node : all) holds(test, node, "rmmod hadsm && rmmod kerrighed", "both modules go", nullptr, 60);
}

}  // namespace krg::cluster_test
