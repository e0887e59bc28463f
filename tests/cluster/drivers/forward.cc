// SPDX-License-Identifier: GPL-2.0
//
// test_forward: a process that moves goes on using what stays behind: pipes to its neighbours, its terminal, files of one node
// only. What its neighbours see is the same as if it had stayed, also when a node dies.
#include "steps.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

// All of it is on the nodes' own file systems: /tmp is another one on each.
const std::string here = "/tmp/forward";

ProcessResult done(Test& test, int node, const std::string& script, const std::string& sentence, double timeout_s = 60) {
    ProcessResult result = test.cluster.shell(node, script, test.cluster.limit(timeout_s));
    test.report.require(result.done(), sentence, result.evidence());
    return result;
}

void load(Test& test) {
    require_view(test, running(test), "all serve");
    for (int node : running(test))
        done(test, node,
             fmt::format(
                 "for m in hadsm krg_proc; do grep -q \"^$m \" /proc/modules || insmod {0}/build/$(uname -r)/$m.ko; done; "
                 "echo {0}/build/host/bin/restart >/sys/module/krg_proc/parameters/helper",
                 test.options.top),
             fmt::format("the modules are loaded on node {}", node));
}

/// Starts a pipeline or the like on node 1, in a folder of its own; `program` is a script of the process that is to move, which
/// `command` runs as ./program and which writes its pid first.
long start(Test& test, const std::string& interpreter, const std::string& program, const std::string& command) {
    load(test);
    // The folder that a process is in must be there; it is empty on all other nodes.
    for (int node : running(test)) done(test, node, fmt::format("rm -rf {0} && mkdir {0}", here), "a folder is there");
    const std::string say_pid = interpreter == "python3" ? "open('pid', 'w').write(str(os.getpid()) + '\\n')" : "echo $$ >pid";
    const std::string first = interpreter == "python3" ? "import os, select, signal, sys, termios, time\n" : "";
    done(test, 1,
         fmt::format("cd {0} && cat >program <<'END'\n#!/usr/bin/env {1}\n{2}{3}\n{4}\nEND\n"
                     "chmod +x program",
                     here, interpreter, first, say_pid, program),
         "the program is there");
    const ProcessResult result = done(test, 1,
                                      fmt::format("cd {} && setsid sh -c '{}' </dev/null >/dev/null 2>&1 & "
                                                  "for i in $(seq 300); do [ -s {}/pid ] && break; sleep 0.1; done; cat {}/pid",
                                                  here, command, here, here),
                                      "it runs on node 1");
    return std::stol(result.out);
}

void move(Test& test, long pid, int from, int to) {
    done(test, from, fmt::format("migrate --json {} {}", pid, to), fmt::format("it moves from node {} to {}", from, to), 120);
    const ProcessResult result = test.cluster.shell(to, fmt::format("grep VmSize: /proc/{}/status", pid));
    test.report.check(result.done(), fmt::format("it runs on node {}", to), result.evidence());
}

/// The whole of a file on a node, once it has `wanted` in it.
void require_in(Test& test, int node, const std::string& file, const std::string& wanted, const std::string& sentence) {
    std::string text;
    const std::string missing = wait_until(sentence, test.cluster.limit(40), [&] {
        text = test.cluster.shell(node, "cat " + file + " 2>/dev/null").out;
        return text.find(wanted) == std::string::npos ? "it is not there" : std::string();
    });
    test.report.check(missing.empty(), sentence, fmt::format("wanted \"{}\", there is \"{}\"", wanted, text));
}

void require_text(Test& test, int node, const std::string& file, const std::string& wanted, const std::string& sentence) {
    std::string text;
    const std::string missing = wait_until(sentence, test.cluster.limit(40), [&] {
        text = test.cluster.shell(node, "cat " + file + " 2>/dev/null").out;
        return text == wanted ? std::string() : "it is another one";
    });
    test.report.check(missing.empty(), sentence, fmt::format("wanted \"{}\", there is \"{}\"", wanted, text));
}

/// Nobody serves anything and nobody uses anything any more.
void require_none(Test& test) {
    for (int node : running(test))
        require_text(test, node, "/proc/kerrighed/forwarded", "", fmt::format("no forwarded file is left on node {}", node));
}

void scenario_pipe(Test& test) {
    const long pid =
        start(test, "sh", "while read l; do echo got $l; done; echo end",
              "(echo a; while [ ! -e go ]; do sleep 0.1; done; echo b; echo c) | ./program | cat >out; echo ended >code");
    require_text(test, 1, here + "/out", "got a\n", "the first line goes through");
    move(test, pid, 1, 2);
    done(test, 1, fmt::format("touch {}/go", here), "the writer goes on");
    require_text(test, 1, here + "/out", "got a\ngot b\ngot c\nend\n", "so do the others, and the end of the pipe");
    require_text(test, 1, here + "/code", "ended\n", "the reader sees its end");
    require_none(test);
}

/// Much data, and their sum; the process is moved twice while they flow.
void scenario_onwards(Test& test) {
    const long pid = start(
        test, "sh", "exec sha256sum",
        "(i=0; while [ $i -lt 400 ]; do seq $i $((i + 2000)); i=$((i + 1)); sleep 0.05; done) | tee copy | ./program >sum");
    move(test, pid, 1, 2);
    move(test, pid, 2, 3);
    move(test, pid, 3, 2);
    require_in(test, 1, here + "/sum", "-", "it comes to its end");
    done(test, 1, fmt::format("cd {} && [ \"$(sha256sum <copy)\" = \"$(cat sum)\" ]", here), "every byte came once");
    require_none(test);
}

void scenario_log(Test& test) {
    const long pid = start(test, "python3",
                           "by_name = open('/shared/forward-by-name', 'w')\nfor i in range(100):\n    print('line', i, "
                           "flush=True)\n    time.sleep(0.2)\n"
                           "print(os.fstat(1).st_size, os.lseek(1, 0, os.SEEK_CUR), flush=True)",
                           "./program >>log; echo ended >>log");
    move(test, pid, 1, 2);
    done(test, 2, fmt::format("readlink /proc/{}/fd/* | grep -qx /shared/forward-by-name", pid),
         "a file that is the same everywhere was opened by its name");
    done(test, 1, fmt::format("echo home >>{}/log", here), "somebody at home writes into its log too");
    move(test, pid, 2, 3);
    move(test, pid, 3, 1);
    const ProcessResult file = done(test, 1, fmt::format("readlink /proc/{}/fd/1", pid), "it is at home again");
    test.report.check(file.out == here + "/log\n", "with the file itself", file.evidence());
    require_in(test, 1, here + "/log", "ended", "it ends");
    done(test, 1,
         fmt::format(
             "cd {} && [ $(grep -c ^line log) = 100 ] && [ $(grep ^line log | sort -u | wc -l) = 100 ] && grep -q home log "
             "&& set -- $(tail -n 2 log) && [ $1 = $2 ]",
             here),
         "every line is there once, and the file was as long for it as it is");
    test.report.check(test.cluster.shell(2, "ls " + here + "/log").status != 0, "there is no such file on node 2");
    require_none(test);
}

/// Its program, its data and a mapping of them are files of node 1.
void scenario_mapped(Test& test) {
    const long pid = start(test, "python3",
                           "import hashlib, mmap\nf = open('data', 'rb')\nm = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
                           "p = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE)\np[0:3] = b'own'\n"
                           "while not os.path.exists('/shared/forward-go'): time.sleep(0.1)\n"
                           "own = bytes(p[0:3])\np[0:3] = m[0:3]\nf.seek(0)\n"
                           "sums = [hashlib.sha256(x).hexdigest() for x in (f.read(), m[:], p[:])]\n"
                           "print(own, len(m), len(set(sums)), sums[0], flush=True)",
                           "rm -f /shared/forward-go; head -c 3000001 /dev/urandom >data; ./program >out");
    move(test, pid, 1, 2);
    done(test, 1, "touch /shared/forward-go", "it goes on");
    require_in(test, 1, here + "/out", "b'own' 3000001 1 ", "it read and mapped the same bytes, and kept its own");
    done(test, 1, fmt::format("cd {} && grep -q $(sha256sum <data) out; rm -f /shared/forward-go", here),
         "they are the right ones");
    require_none(test);
}

void scenario_broken_pipe(Test& test) {
    const long pid =
        start(test, "python3", "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\nwhile True: os.write(1, b'x' * 20000)",
              "(./program; echo $? >code) | (while [ ! -e go ]; do sleep 0.1; done; head -c 1000000 | wc -c >count)");
    move(test, pid, 1, 2);
    done(test, 1, fmt::format("touch {}/go", here), "the reader reads, and ends");
    require_text(test, 1, here + "/count", "1000000\n", "it had what it wanted");
    require_text(test, 1, here + "/code", "141\n", "the writer gets SIGPIPE");
    require_none(test);
}

void scenario_terminal(Test& test) {
    const long pid =
        start(test, "python3",
              "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
              "signal.signal(signal.SIGWINCH, lambda *x: print('size', *os.get_terminal_size(0), flush=True))\n"
              "try:\n    while True: print('line', input(), os.isatty(0), os.tcgetpgrp(0) == os.getpgid(os.getpid()) "
              "or os.tcgetpgrp(0) == os.getpid(), flush=True)\n"
              "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n    sys.exit(3)",
              "mkfifo keys; sleep 1000 >keys & s=$!; script -qefc ./program typescript <keys; echo $? >code; kill $s");
    move(test, pid, 1, 2);
    done(test, 1, fmt::format("echo one >{}/keys", here), "a line is typed");
    require_in(test, 1, here + "/typescript", "line one True True", "it reads it, from its terminal");
    done(test, 1, fmt::format("stty -F /dev/$(ps -o tty= -p {}) rows 33 cols 77", pid), "its window gets another size");
    require_in(test, 1, here + "/typescript", "size 77 33", "it is told");
    done(test, 1, fmt::format("printf '\\003' >{}/keys", here), "^C is typed");
    require_in(test, 1, here + "/typescript", "interrupted", "it is interrupted");
    require_text(test, 1, here + "/code", "3\n", "its parent sees its exit status");
    require_none(test);
}

void scenario_client_dies(Test& test) {
    const long pid = start(test, "python3", "while True: print('line', flush=True); time.sleep(0.1)",
                           "./program | (cat >out; echo end >>out)");
    move(test, pid, 1, 3);
    test.cluster.crash(3);
    require_in(test, 1, here + "/out", "end", "the reader sees the end of the pipe when the writer's node has died");
    test.cluster.boot(3);
    require_view(test, {1, 2, 3}, "node 3 is back", 120);
    require_none(test);
}

void scenario_server_dies(Test& test) {
    const long pid = start(test, "python3",
                           "out = open('/shared/forward-out', 'w')\n"
                           "def say(f):\n    try: print(f(), file=out, flush=True)\n    except OSError as e: print(e.errno, "
                           "file=out, flush=True)\n"
                           "p = select.poll()\np.register(0, select.POLLIN)\n"
                           "say(lambda: p.poll()[0][1] & (select.POLLERR | select.POLLHUP))\nsay(lambda: os.read(0, 1))\n"
                           "say(lambda: os.write(1, b'x'))\nprint('end', file=out, flush=True)",
                           "rm -f /shared/forward-out; sleep 1000 | ./program | cat");
    move(test, pid, 1, 2);
    test.cluster.crash(1);
    require_view(test, {2, 3}, "node 1, which has the pipes, dies", 60);
    require_text(test, 2, "/shared/forward-out", "24\n5\n32\nend\n",
                 "poll says POLLERR and POLLHUP, a read EIO, a write EPIPE; and it goes on");
    test.cluster.boot(1);
    require_view(test, {1, 2, 3}, "node 1 is back", 120);
    load(test);
    require_none(test);
}

/// One pair of sockets has an end in another process, of the other pair both are its own.
void scenario_unix(Test& test) {
    const long pid = start(test, "python3",
                           "import socket\nnear, far = socket.socketpair()\none, two = socket.socketpair()\n"
                           "if os.fork() == 0:\n"
                           "    if os.fork() == 0:\n"
                           "        for other in near, one, two: other.close()\n"
                           "        for line in far.makefile(): far.sendall(b'got ' + line.encode())\n"
                           "    os._exit(0)\n"
                           "os.wait()\nfar.close()\none.sendall(b'its own')\n"
                           "for i in range(50):\n"
                           "    os.write(near.fileno(), b'%d\\n' % i)\n"
                           "    print(os.read(near.fileno(), 100).decode().strip(), flush=True)\n"
                           "    time.sleep(0.2)\n"
                           "print(two.recv(100).decode(), flush=True)",
                           "./program >out; echo ended >>out");
    require_in(test, 1, here + "/out", "got 5\n", "it talks with its neighbour");
    move(test, pid, 1, 2);
    require_in(test, 1, here + "/out", "got 49\nits own\nended\n",
               "they go on talking, and what it had queued for itself came along");
    require_none(test);
}

/// Who was refused goes on, until it is told to end.
void require_untouched(Test& test, long pid) {
    const ProcessResult result = test.cluster.shell(1, fmt::format("kill {}", pid));
    test.report.check(result.done(), "nothing happened to it", result.evidence());
    require_none(test);
}

void scenario_locked(Test& test) {
    for (const char* file : {"/shared/locked", "/tmp/forward/locked"}) {
        const long pid = start(test, "python3",
                               fmt::format("import fcntl\nf = open('{}', 'w')\nfcntl.flock(f, fcntl.LOCK_EX)\n"
                                           "print('locked', flush=True)\ntime.sleep(1000)",
                                           file),
                               "./program >out");
        require_in(test, 1, here + "/out", "locked\n", fmt::format("it locks {}", file));
        const ProcessResult result = test.cluster.shell(1, fmt::format("migrate {} 2", pid));
        test.report.check(result.status == 7 && result.err.find("lock: process") != std::string::npos, "it is refused by name",
                          result.evidence());
        require_untouched(test, pid);
    }
}

void scenario_refused(Test& test) {
    const long pid = start(test, "python3",
                           "import mmap\nf = open('data', 'r+b')\nm = mmap.mmap(f.fileno(), 0)\ntime.sleep(1000)",
                           "head -c 10000 /dev/zero >data; ./program");
    const ProcessResult result = test.cluster.shell(1, fmt::format("migrate {} 2", pid));
    test.report.check(result.status == 7 && result.err.find("a shared mapping, for writing") != std::string::npos,
                      "a shared mapping of a file of one node, for writing, is refused by name", result.evidence());
    require_untouched(test, pid);
}

void scenario_unload(Test& test) { unload_everywhere(test, {"krg_proc", "hadsm", "kerrighed"}); }

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_forward";
    defaults.what = "Files that stay behind when a process moves";
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"pipe", "a filter between two pipes", scenario_pipe},
        {"onwards", "moved again and again while data flow", scenario_onwards},
        {"log", "a log on a node's own file system", scenario_log},
        {"mapped", "files of one node, mapped", scenario_mapped},
        {"broken-pipe", "the reader ends", scenario_broken_pipe},
        {"terminal", "a terminal: lines, size, ^C", scenario_terminal},
        {"client-dies", "the node with the process dies", scenario_client_dies},
        {"server-dies", "the node with the files dies", scenario_server_dies},
        {"unix", "sockets, with an end elsewhere and without", scenario_unix},
        {"locked", "a file that is locked", scenario_locked},
        {"refused", "what cannot stay behind", scenario_refused},
        {"unload", "the modules go", scenario_unload},
    };
    return run_driver(options, scenarios, cluster_for(options, "forward"));
}
