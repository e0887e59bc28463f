// SPDX-License-Identifier: GPL-2.0
//
// Scenarios of `migrate --tree`: shells with pipes, children that are waited for, killed, lost with their node, or dead already.
#include "migrate_steps.hh"

#include <algorithm>
#include <fmt/format.h>
#include <sstream>

namespace krg::cluster_test {

namespace {

/// A shell script that leads a session, and writes its id to $D/pid.
Moving start_script(Test& test, const std::string& name, const std::string& script) {
    const std::string file = "/shared/" + name + ".sh";
    done(test, 1, fmt::format("cat >{} <<'END'\nD=$1; echo $$ >$D/pid.new; mv $D/pid.new $D/pid\n{}\nEND\n", file, script),
         "a script is written");
    return start_command(test, name, fmt::format("setsid -w sh {} @", file));
}

/// All descendants of it on a node that live, or with @p dead those that were not waited for.
std::vector<long> family(Test& test, int node, long pid, bool dead = false) {
    const ProcessResult result =
        test.cluster.shell(node,
                           fmt::format("cat /proc/[0-9]*/stat 2>/dev/null | sed 's/([^)]*)//' | awk -v root={} -v dead={} "
                                       "'{{ parent[$1] = $3; state[$1] = $2 }} END {{ for (p in parent) "
                                       "for (a = parent[p]; a > 1; a = parent[a]) if (a == root) "
                                       "{{ if ((state[p] == \"Z\") == dead) print p; break }} }}'",
                                       pid, dead ? 1 : 0));
    std::vector<long> pids;
    std::istringstream lines(result.out);
    for (long child; lines >> child;) pids.push_back(child);
    std::sort(pids.begin(), pids.end());
    return pids;
}

bool is_in(const std::vector<long>& pids, long pid) { return std::find(pids.begin(), pids.end(), pid) != pids.end(); }

/// With everything below it. A shell that is just making a child may refuse: it is asked again.
void move_tree(Test& test, const Moving& moving, int from, int to) {
    ProcessResult result;
    for (int i = 0; i < 4 && (i == 0 || !result.done()); i++)
        result = test.cluster.shell(from, fmt::format("migrate --json --tree {} {}", moving.pid, to), test.cluster.limit(120));
    test.report.require(result.done(), fmt::format("the tree moves from node {} to {}", from, to), result.evidence());
    test.report.check(memory_on(test, to, moving.pid) > 0, fmt::format("its root runs on node {}", to));
    test.report.check(memory_on(test, from, moving.pid) <= 0, fmt::format("and has no memory on node {}", from));
}

void gone(Test& test, int node, const std::vector<long>& pids) {
    std::string left;
    const std::string missing = wait_until("nothing is left", test.cluster.limit(30), [&] {
        left.clear();
        for (const long pid : pids)
            if (memory_on(test, node, pid) != -1) left += fmt::format(" {}", pid);
        return left;
    });
    test.report.check(missing.empty(), fmt::format("nothing of it is left on node {}", node), "left:" + left);
}

std::vector<long> with(std::vector<long> pids, long pid) {
    pids.push_back(pid);
    return pids;
}

}  // namespace

void scenario_tree_pipeline(Test& test) {
    const Moving moving = start_script(test, "pipeline",
                                       "i=0\n"
                                       "while [ ! -e $D/stop ]; do i=$((i + 1)); echo $i; sleep 0.1; done |\n"
                                       "  while read n; do echo $n; done | while read n; do echo $n >>$D/numbers; done\n"
                                       "echo PASS >$D/out");
    const std::vector<long> before = family(test, 1, moving.pid);
    move_tree(test, moving, 1, 2);
    const std::vector<long> there = family(test, 2, moving.pid);
    test.report.check(there.size() >= 3, "the shells of the pipe are its children there",
                      fmt::format("{} of {}", there.size(), before.size()));
    done(test, 2, fmt::format("n=$(wc -l <{0}/numbers); sleep 2; [ $(wc -l <{0}/numbers) -gt $n ]", moving.folder),
         "numbers go on through the pipes");
    move_tree(test, moving, 2, 3);
    done(test, 3, fmt::format("n=$(wc -l <{0}/numbers); sleep 2; [ $(wc -l <{0}/numbers) -gt $n ]", moving.folder),
         "and on a third node");
    done(test, 1, fmt::format("touch {}/stop", moving.folder), "it is told to stop");
    require_text(test, 1, moving.folder + "/out", "PASS", "the root has waited for all of them");
    require_text(test, 1, moving.folder + "/code", "0", "its parent on node 1 sees its exit status");
    done(test, 1, fmt::format("awk 'NR != $1 {{ exit 1 }}' {}/numbers", moving.folder),
         "no number is missing, none came twice");
    for (const int node : {1, 2, 3}) gone(test, node, with(before, moving.pid));
}

void scenario_tree_wait(Test& test) {
    const Moving moving = start_script(test, "waits",
                                       "sh -c 'while [ ! -e $0/stop ]; do sleep 0.1; done; exit 7' $D\n"
                                       "echo $? >$D/child; exit 3");
    const std::vector<long> before = family(test, 1, moving.pid);
    move_tree(test, moving, 1, 2);
    done(test, 1, fmt::format("touch {}/stop", moving.folder), "its child is told to end");
    require_text(test, 1, moving.folder + "/child", "7", "the parent has its child's status there");
    require_text(test, 1, moving.folder + "/code", "3", "and its own parent on node 1 has its");
    for (const int node : {1, 2}) gone(test, node, with(before, moving.pid));
}

void scenario_tree_group(Test& test) {
    const Moving moving = start_script(test, "group", "sleep 1000 &\nsleep 1000 &\nsh -c 'sleep 1000; true' &\nwait");
    const std::string waited = wait_until("its children sleep", test.cluster.limit(10),
                                          [&] { return family(test, 1, moving.pid).size() == 4 ? std::string() : "not yet"; });
    const std::vector<long> before = family(test, 1, moving.pid);
    test.report.check(waited.empty(), "it has four descendants", waited);
    move_tree(test, moving, 1, 2);
    test.report.check(family(test, 1, moving.pid) == before, "all have shadows, children of each other as before");
    done(test, 1, fmt::format("kill -TERM -{}", moving.pid), "kill of the group at home");
    require_text(test, 1, moving.folder + "/code", "143", "its parent sees that signal 15 ended it");
    for (const int node : {1, 2}) gone(test, node, with(before, moving.pid));
}

void scenario_tree_child_killed(Test& test) {
    const Moving moving = start_script(test, "child-killed",
                                       "sleep 1000 &\necho $! >$D/sleeper\nwait $!\necho $? >$D/child\nsleep 1000 &\nwait");
    const std::vector<long> before = family(test, 1, moving.pid);
    move_tree(test, moving, 1, 2);
    const std::string sleeper = test.cluster.shell(1, fmt::format("cat {}/sleeper", moving.folder)).out;
    done(test, 1, fmt::format("kill -KILL {}", sleeper), "kill -9 of a child's shadow");
    require_text(test, 1, moving.folder + "/child", "137", "its parent hears of it where it runs");
    test.report.check(memory_on(test, 2, moving.pid) > 0, "and goes on there");
    gone(test, 1, before);
    done(test, 1, fmt::format("kill -KILL -{}", moving.pid), "kill -9 of all that is left");
    require_text(test, 1, moving.folder + "/code", "137", "its parent on node 1 sees it");
    gone(test, 2, with(before, moving.pid));
}

void scenario_tree_zombie(Test& test) {
    const Moving moving = start_script(test, "zombie", "(exit 5) &\nsleep 1000 &\nexec sleep 1000");
    const std::string waited = wait_until("one child is dead", test.cluster.limit(10), [&] {
        return family(test, 1, moving.pid, true).size() == 1 ? std::string() : "not yet";
    });
    const std::vector<long> dead = family(test, 1, moving.pid, true), alive = family(test, 1, moving.pid);
    test.report.require(waited.empty() && dead.size() == 1 && alive.size() == 1,
                        "it has a child that lives, and one that nobody waited for");
    move_tree(test, moving, 1, 2);
    test.report.check(is_in(family(test, 2, moving.pid, true), dead[0]), "the dead one is there, with its id");
    test.report.check(memory_on(test, 1, dead[0]) == -1, "and not on node 1 any more");
    done(test, 1, fmt::format("kill -TERM -{}", moving.pid), "all are ended");
    require_text(test, 1, moving.folder + "/code", "143", "its parent sees it");
    for (const int node : {1, 2}) gone(test, node, {moving.pid, dead[0], alive[0]});
}

void scenario_tree_runner_dies(Test& test) {
    const Moving moving = start_script(test, "tree-lost", "sleep 1000 &\nsh -c 'sleep 1000; true' &\nwait");
    const std::vector<long> before = family(test, 1, moving.pid);
    move_tree(test, moving, 1, 3);
    test.cluster.crash(3);
    require_view(test, {1, 2}, "node 3 dies", 60);
    require_text(test, 1, moving.folder + "/code", "137", "the parent of the root sees that it was lost");
    gone(test, 1, with(before, moving.pid));
    test.cluster.boot(3);
    require_view(test, {1, 2, 3}, "node 3 is back", 120);
}

}  // namespace krg::cluster_test
