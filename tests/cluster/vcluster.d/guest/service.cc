// SPDX-License-Identifier: GPL-2.0
//
// What makes a booted guest a node: mount /shared, load the modules, join, and only then serve commands. Processes started
// by the agent therefore always start after the join, which later parts of the system rely on (pids, process placement).
#include "parts.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

namespace krg::vcluster::guest {

namespace {

bool fail(const std::string& what, const std::string& output) {
    tell_host("failed " + what + ": " + output);
    log_line(what + ": " + output);
    return false;
}

bool load_modules(const Settings& settings) {
    std::string output;
    tell_host("stage loading modules");
    // What udev does on a machine: without it, TIPC's encryption runs in generic C and is half the cost of a message here.
    // Not every processor and kernel has it; both ways are right.
    run({"modprobe", "-q", "aesni_intel"}, &output);
    if (run({"modprobe", "tipc"}, &output) != 0) return fail("modprobe tipc", output);
    if (run({"insmod", settings.get("module")}, &output) != 0) return fail("insmod " + settings.get("module"), output);
    return true;
}

// The supervisor alone knows whether there is a cluster to join or one to create.
bool join(const Settings& settings) {
    tell_host("loaded");
    std::string role = hear_host(600);
    if (role.empty()) return fail("join", "the host did not say what to join");
    tell_host("stage " + std::string(role == "create" ? "creating the cluster" : "joining"));
    std::string tool = settings.get("bin") + "/krgadm";
    std::string output;
    int status = role == "create" ? run({tool, "cluster", "create"}, &output)
                                  : run({tool, "cluster", "join", "--wait"}, &output, 300);
    if (status != 0) return fail("krgadm cluster " + role + " (exit status " + std::to_string(status) + ")", output);
    tell_host("joined");
    return true;
}

}  // namespace

void serve(const Settings& settings) {
    std::string path = settings.get("bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    setenv("PATH", path.c_str(), 1);
    setenv("HOME", "/root", 1);
    setenv("LANG", "C.UTF-8", 1);
    setenv("USER", "root", 1);
    umask(022);
    if (!mount_shared()) fail("mount /shared", std::strerror(errno));
    if (settings.enabled("load") && load_modules(settings)) join(settings);
    // A node that failed to join still answers: somebody has to look at it.
    run_agent();
}

}  // namespace krg::vcluster::guest
