// SPDX-License-Identifier: GPL-2.0
//
// test_unprivileged: what users who are not root can do, to their own processes and to others'. Two users, Ann and Bob; images
// that Ann has forged; names that lead elsewhere on another node.
#include "migrate_steps.hh"

#include <fmt/format.h>

#include "proc/core/ghost.h"

namespace krg::cluster_test {

namespace {

constexpr int ann = 2001, bob = 2002;
const std::string folder = "/shared/unprivileged", local = "/run/unprivileged";

/// A command of a user, with tools as they are installed.
std::string as(int user, const std::string& command, const std::string& more = "") {
    // setpriv itself keeps root's capabilities until it executes something: what counts is what env executes.
    return fmt::format("setpriv --reuid {0} --regid {0} --clear-groups {1} -- env PATH={2}/bin:$PATH {3}", user, more, local,
                       command);
}

void prepare(Test& test) {
    require_view(test, running(test), "all serve");
    for (const int node : running(test))
        done(test, node,
             fmt::format(
                 "for m in hadsm krg_proc; do grep -q \"^$m \" /proc/modules || insmod {0}/build/$(uname -r)/$m.ko; done; "
                 "echo {0}/build/host/bin/restart >/sys/module/krg_proc/parameters/helper; "
                 "mkdir -p {1}; mountpoint -q {1} || mount -t tmpfs -o suid,mode=755 none {1}; rm -rf {1}/*; mkdir {1}/bin && "
                 "cp {0}/build/host/bin/restart {1}/bin && "
                 "setcap cap_checkpoint_restore=ep {1}/bin/restart && mkdir -p {1}/ann && chown {2}:{2} {1}/ann",
                 test.options.top, local, ann),
             fmt::format("node {} has the tools as they are installed", node));
    done(test, 1,
         fmt::format("rm -rf {0}; mkdir -p {0}/ann {0}/bob; chown {1}:{1} {0}/ann; chown {2}:{2} {0}/bob", folder, ann, bob),
         "Ann and Bob have folders");
}

/// Something of Ann's that reads a file of hers when it is asked to end.
long start_reader(Test& test, const std::string& file) {
    done(test, 1,
         fmt::format("echo mine-mine-mine >{0}; chown {1}:{1} {0}; chmod 644 {0}; touch -d @1700000000 {0}; rm -f {2}/ann/pid "
                     "{2}/ann/out",
                     file, ann, folder),
         "there is a file of Ann's");
    for (const int node : running(test))
        done(test, node, fmt::format("rm -f {0}/fifo; mkfifo -m 666 {0}/fifo", local), "and a fifo");
    const std::string script = fmt::format("exec 3<{0} 4<>{1}/fifo; trap \"read x <&3; echo \\$x >{2}/ann/out; exit 0\" TERM; "
                                           "echo $$ >{2}/ann/pid; while :; do read y <&4; done",
                                           file, local, folder);
    const ProcessResult started =
        done(test, 1,
             fmt::format("setsid {} </dev/null >/dev/null 2>&1 & for i in $(seq 100); do [ -s {}/ann/pid ] && break; "
                         "sleep 0.1; done; cat {}/ann/pid",
                         as(ann, fmt::format("sh -c '{}'", script)), folder, folder),
             "Ann starts a program");
    return std::stol(started.out);
}

void runs_as(Test& test, int node, long pid, int user, const std::string& sentence) {
    const ProcessResult result = test.cluster.shell(node,
                                                    fmt::format("awk '/^(Uid|Gid|CapPrm|CapEff|Groups):/' /proc/{}/status",
                                                                pid));
    test.report.check(result.done() && result.out.find(fmt::format("Uid:\t{0}\t{0}\t{0}\t{0}\n", user)) != std::string::npos &&
                          result.out.find(fmt::format("Gid:\t{0}\t{0}\t{0}\t{0}\n", user)) != std::string::npos &&
                          result.out.find("CapPrm:\t0000000000000000\n") != std::string::npos,
                      sentence, result.evidence());
}

void refused(Test& test, const std::string& command, int status, const std::string& reason, const std::string& sentence) {
    const ProcessResult result = test.cluster.shell(1, "cd " + folder + "/ann; " + command);
    test.report.check(result.status == status && (result.out + result.err).find(reason) != std::string::npos, sentence,
                      result.evidence());
}

void end(Test& test, int node, long pid, const std::string& wanted, const std::string& sentence) {
    done(test, node, as(ann, fmt::format("kill -TERM {}", pid)), "Ann asks it to end");
    require_text(test, node, folder + "/ann/out", wanted, sentence);
}

void scenario_own(Test& test) {
    prepare(test);
    const long pid = start_reader(test, folder + "/ann/file");
    done(test, 1, as(ann, fmt::format("checkpoint --kill {} {}/ann/image", pid, folder)), "she saves it, and it is killed");
    done(test, 1, as(ann, fmt::format("restart {}/ann/image", folder)), "she restarts it");
    runs_as(test, 1, pid, ann, "it is hers, with her rights");
    done(test, 1,
         fmt::format("echo freeze | {0} && echo unfreeze | {0}",
                     as(ann, fmt::format("tee /proc/kerrighed/{}/control >/dev/null", pid))),
         "she freezes it and lets it go on");
    end(test, 1, pid, "mine-mine-mine", "it goes on reading");
}

void scenario_others(Test& test) {
    prepare(test);
    const long pid = start_reader(test, folder + "/ann/file");
    done(test, 1, as(ann, fmt::format("checkpoint {} {}/ann/image", pid, folder)), "Ann saves hers");
    for (const char* words :
         {"checkpoint {} ../bob/image", "checkpoint --check {}", "checkpoint --freeze {}", "checkpoint --unfreeze {}",
          "checkpoint --kill {} ../bob/image", "migrate {} 2", "migrate --check {}"})
        refused(test, as(bob, fmt::format(fmt::runtime(words), pid)), 4, "permission: ", fmt::format("Bob: {}", words));
    for (const char* word : {"freeze", "unfreeze", "kill", "checkpoint /shared/unprivileged/bob/image"})
        refused(test, fmt::format("echo {} | {}", word, as(bob, fmt::format("tee /proc/kerrighed/{}/control", pid))), 1,
                "not permitted", fmt::format("Bob writes {} to its control file", word));
    refused(test, as(bob, "cat image"), 1, "ermission denied", "Bob reads her image");
    refused(test, as(bob, "restart image"), 4, "ermission denied", "Bob restarts it");
    // Root holds it: that makes it nobody else's.
    done(test, 1, fmt::format("checkpoint --freeze {}", pid), "root freezes it");
    refused(test, as(bob, fmt::format("checkpoint --ckpt-only {} ../bob/image", pid)), 4,
            "permission: ", "Bob saves what root has frozen");
    refused(test, as(bob, fmt::format("checkpoint --unfreeze {}", pid)), 4, "permission: ", "or lets it go on");
    done(test, 1, fmt::format("checkpoint --unfreeze {}", pid), "root lets it go on");
    end(test, 1, pid, "mine-mine-mine", "it noticed nothing");
    done(test, 1, fmt::format("! ls {}/bob/* 2>/dev/null", folder), "Bob has nothing");
}

void scenario_more_rights(Test& test) {
    prepare(test);
    done(test, 1,
         fmt::format(
             "cp $(readlink -f /bin/sleep) {0}/su-sleep; chmod 4755 {0}/su-sleep; cp $(readlink -f /bin/sleep) {0}/x-sleep; "
             "chmod 711 {0}/x-sleep",
             local),
         "there is a setuid program, and one that cannot be read");
    for (const char* name : {"su-sleep", "x-sleep"}) {
        const std::string pid = done(test, 1,
                                     fmt::format("setsid {} </dev/null >/dev/null 2>&1 & sleep 0.5; pgrep -x {}",
                                                 as(ann, fmt::format("{}/{} 1000", local, name)), name),
                                     fmt::format("Ann starts {}", name))
                                    .out;
        const std::string number = pid.substr(0, pid.find('\n'));
        refused(test, as(ann, fmt::format("checkpoint {} image", number)), 4, "permission: ", "she cannot save it");
        refused(test, as(ann, fmt::format("migrate {} 2", number)), 4, "permission: ", "nor move it");
        done(test, 1, fmt::format("kill -KILL {}", number), "it is killed");
    }
    // A child with more rights, under a parent of hers.
    const ProcessResult tree = done(test, 1,
                                    fmt::format("setsid {} </dev/null >/dev/null 2>&1 & sleep 0.5; pgrep -x su-sleep",
                                                as(ann, fmt::format("sh -c \"echo \\$\\$ >{}/ann/pid; {}/su-sleep 1000; :\"",
                                                                    folder, local))),
                                    "Ann has a shell with such a child");
    refused(test, as(ann, "sh -c 'checkpoint --tree $(cat pid) image'"), 4, "permission: ", "the tree cannot be saved");
    done(test, 1, fmt::format("checkpoint --freeze $(cat {}/ann/pid)", folder), "root freezes the tree");
    refused(test, as(ann, "sh -c 'checkpoint --ckpt-only --tree $(cat pid) image'"), 4,
            "permission: ", "nor what root has frozen");
    refused(test, as(ann, "sh -c 'checkpoint --unfreeze=KILL $(cat pid)'"), 4, "permission: ", "nor killed so");
    done(test, 1,
         fmt::format("checkpoint --unfreeze $(cat {}/ann/pid) && kill -KILL {} $(cat {}/ann/pid)", folder,
                     tree.out.substr(0, tree.out.find('\n')), folder),
         "root ends it");
}

void scenario_forged(Test& test) {
    prepare(test);
    const long pid = start_reader(test, folder + "/ann/file");
    done(test, 1, as(ann, fmt::format("checkpoint --kill {} {}/ann/image", pid, folder)), "Ann saves a program of hers");
    done(test, 1,
         fmt::format("echo secret-secret- >{0}/ann/fil0; chmod 600 {0}/ann/fil0; chown 0:0 {0}/ann/fil0; touch -d @1700000000 "
                     "{0}/ann/fil0",
                     folder),
         "there is a file of root's");
    // Types and fields as in the tables of Documentation/ghost-format.md.
    const auto forged = [&](const std::string& changes, const std::string& sentence) {
        done(test, 1,
             as(ann, fmt::format("{}/build/host/bin/krg-forge {}/ann/image {}/ann/forged {}", test.options.top, folder, folder,
                                 changes)),
             fmt::format("Ann forges an image: {}", sentence));
        const ProcessResult result = test.cluster.shell(1, as(ann, fmt::format("restart {}/ann/forged", folder)));
        test.report.check(!result.done() && result.status != 124, "it is refused: " + sentence, result.evidence());
        const ProcessResult left = test.cluster.shell(1, fmt::format("test ! -e /proc/{}", pid));
        test.report.check(left.done(), "and nothing of it runs", left.evidence());
    };
    const std::string creds = fmt::format("{}", static_cast<int>(KRG_GHOST_CREDS));
    forged(creds + " 1 1 0 " + creds + " 2 1 0 " + creds + " 3 1 0 " + creds + " 4 1 0", "all user ids are root's");
    forged(creds + " 3 1 0", "the saved user id is root's");
    forged(creds + " 4 1 0", "the file system user id is root's");
    forged(creds + " 5 1 0 " + creds + " 6 1 0 " + creds + " 7 1 0 " + creds + " 8 1 0", "all group ids are root's");
    forged(fmt::format("{0} 1 1 {1} {0} 2 1 {1} {0} 3 1 {1} {0} 4 1 {1}", creds, bob), "the user is Bob");
    forged(creds + " 10 3 0x1ffffffffff " + creds + " 11 3 0x1ffffffffff", "it has all capabilities");
    forged(creds + " 10 3 0x10000000000", "it keeps the capability of restart");
    forged(creds + " 9 3 0x200000 " + creds + " 10 3 0x200000 " + creds + " 13 3 0x200000", "it has an ambient capability");
    forged(fmt::format("{} {} 5 {}/ann/fil0", static_cast<int>(KRG_GHOST_FILE_REGULAR),
                       static_cast<int>(KRG_GHOST_FILE_REGULAR_PATH), folder),
           "its files are root's");
    forged(fmt::format("{} {} 1 0xffffffffffffffff", static_cast<int>(KRG_GHOST_RLIMIT),
                       static_cast<int>(KRG_GHOST_RLIMIT_HARD)),
           "it has no limits");
    const ProcessResult bare = test.cluster.shell(1, as(ann, fmt::format("restart {}/ann/image", folder), "--no-new-privs"));
    test.report.check(!bare.done(), "without the capability of restart the true image is refused too", bare.evidence());
    done(test, 1, as(ann, fmt::format("restart {}/ann/image", folder)), "the true image is restarted");
    runs_as(test, 1, pid, ann, "with her rights");
    end(test, 1, pid, "mine-mine-mine", "and it reads what was hers");
}

void scenario_move(Test& test) {
    prepare(test);
    const long pid = start_reader(test, folder + "/ann/file");
    done(test, 1, as(ann, fmt::format("migrate {} 2", pid)), "Ann moves it to node 2", 120);
    runs_as(test, 2, pid, ann, "it has her rights there");
    const ProcessResult killed = test.cluster.shell(2, as(bob, fmt::format("kill -TERM {}", pid)));
    test.report.check(!killed.done(), "Bob cannot signal it there", killed.evidence());
    const ProcessResult moved = test.cluster.shell(2, as(bob, fmt::format("migrate {} 1", pid)));
    test.report.check(moved.status == 4, "nor move it on", moved.evidence());
    done(test, 2, as(ann, fmt::format("migrate {} 1", pid)), "she moves it home", 120);
    runs_as(test, 1, pid, ann, "it has her rights at home");
    end(test, 1, pid, "mine-mine-mine", "and its file");
}

void scenario_namespace(Test& test) {
    prepare(test);
    const ProcessResult root = test.cluster.shell(1, as(ann, "unshare -Ur sh -c 'sleep 1000 </dev/null >/dev/null 2>&1 & P=$!; "
                                                             "sleep 0.3; migrate $P 2; E=$?; kill $P; exit $E'"));
    if (root.err.find("unshare") != std::string::npos) {
        test.report.check(true, "users have no namespaces on this kernel: nothing to show");
        return;
    }
    test.report.check(root.status == 4 && root.err.find("namespaces: ") != std::string::npos,
                      "root of a namespace of Ann's is not root of another node", root.evidence());
}

/// The same name, size and time: on node 2 it is root's.
void scenario_names(Test& test) {
    prepare(test);
    const std::string file = local + "/ann/file";
    for (const bool link : {true, false}) {
        const long pid = start_reader(test, file);
        done(test, 2,
             fmt::format(
                 "rm -f {0} {1}/secret; echo secret-secret- >{2}; chown 0:0 {2}; chmod 600 {2}; touch -d @1700000000 {2}; {3}",
                 file, local, link ? local + "/secret" : file, link ? fmt::format("ln -s {}/secret {}", local, file) : ":"),
             link ? "on node 2 that is a link to a file of root's" : "on node 2 that is a file of root's");
        const ProcessResult moved = test.cluster.shell(1, as(ann, fmt::format("migrate {} 2", pid)), 120);
        test.report.check(moved.status == 0 || moved.status == 1 || moved.status == 4 || moved.status == 7,
                          fmt::format("the move is made or refused ({})", moved.status), moved.evidence());
        end(test, moved.done() ? 2 : 1, pid, "mine-mine-mine", "Ann reads what is hers, not what is root's");
    }
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_unprivileged";
    defaults.what = "Users who are not root";
    defaults.nodes = 2;
    const DriverOptions options = read_options(argc, argv, defaults);
    return run_driver(options,
                      {{"own", "their own processes", scenario_own},
                       {"others", "others' processes", scenario_others},
                       {"more-rights", "processes with more rights", scenario_more_rights},
                       {"forged", "forged images", scenario_forged},
                       {"move", "their own, to another node", scenario_move},
                       {"namespace", "root of a namespace", scenario_namespace},
                       {"names", "names that are somebody else's there", scenario_names}},
                      cluster_for(options, "unprivileged"));
}
