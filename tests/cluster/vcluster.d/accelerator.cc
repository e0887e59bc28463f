// SPDX-License-Identifier: GPL-2.0
//
// Whether hardware virtualisation works here. A device node proves nothing (nested hosts offer one and then hang), so a
// guest is booted; the answer is kept until this host boots again.
#include "up.h"

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

namespace krg::vcluster {

namespace {

constexpr double probe_timeout_s = 15;  // under working KVM the answer is there in about one second

bool boots_under_kvm(const ClusterSpec& base) {
    ClusterSpec spec = base;
    spec.accelerator = "kvm";
    spec.memory_mb = 256;
    spec.kernel_arguments += " krg.probe=1";
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw system_error("cannot make a socket pair");
    Fd ours(ends[0]);
    MachineWiring wiring;
    wiring.control.reset(ends[1]);
    wiring.agent_port = 0;
    std::filesystem::create_directories(spec.directory + "/node0");
    std::vector<std::string> command = machine_command(spec, 0, wiring);
    MachineProcess machine = MachineProcess::start(command, {wiring.control.get()}, spec.directory + "/node0/qemu.log", "");
    wiring.control.reset();
    std::string heard;
    double end = now_s() + probe_timeout_s;
    while (heard.find("probed\n") == std::string::npos && now_s() < end) {
        pollfd wait{ours.get(), POLLIN, 0};
        if (poll(&wait, 1, 200) <= 0) continue;
        char buffer[512];
        ssize_t got = recv(ours.get(), buffer, sizeof buffer, MSG_DONTWAIT);
        if (got <= 0) break;
        heard.append(buffer, static_cast<size_t>(got));
    }
    machine.kill_and_wait();
    std::filesystem::remove_all(spec.directory + "/node0");
    return heard.find("probed\n") != std::string::npos;
}

}  // namespace

std::string choose_accelerator(const ClusterSpec& spec) {
    if (Fd(open("/dev/kvm", O_RDWR | O_CLOEXEC)).get() < 0) return "tcg";
    std::string boot = read_file("/proc/sys/kernel/random/boot_id");
    std::string file = cache_dir() + "/accelerator";
    std::string known = read_file(file);
    if (known.starts_with(boot)) return known.substr(boot.size());
    fmt::print(stderr, "vcluster: trying hardware virtualisation (once per boot of this machine)\n");
    std::string answer = boots_under_kvm(spec) ? "kvm" : "tcg";
    std::filesystem::create_directories(cache_dir());
    write_file(file, boot + answer);
    return answer;
}

}  // namespace krg::vcluster
