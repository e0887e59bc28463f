// SPDX-License-Identifier: GPL-2.0
//
// QEMU command lines and processes: see machine.h. The choices below were measured; Documentation/vcluster.md has the figures.
#include "machine.h"

#include "agent_protocol.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <x86intrin.h>

namespace krg::vcluster {

namespace {

// QEMU's software emulation orders a guest's memory accesses against its own device threads only when it believes that the
// machine could have two processors (thread=multi and maxcpus=2). Otherwise a store and the load behind it may change places
// across a barrier, a driver and its device both wait for the other, and a network card sends nothing any more. The guest is
// told not to count on the second one (possible_cpus), or it would do without high-resolution timers. With several
// processors that mode livelocks when the guest's kernel patches its text, and the lesser evil is the other one.
const char* accelerator(const ClusterSpec& spec) {
    if (spec.accelerator == "kvm") return "kvm";
    return spec.cpus == 1 ? "tcg,thread=multi" : "tcg,thread=single";
}

/// Suffix of virtio devices: microvm has no PCI bus.
const char* bus(const ClusterSpec& spec) { return spec.machine_type == "microvm" ? "device" : "pci"; }

std::string kernel_command_line(const ClusterSpec& spec, int node) {
    // Warnings and worse reach the serial console (slow); everything reaches the krg.kmsg port.
    // The processor time a guest gets is not even: limits meant for real machines would cry wolf after a pause.
    std::string line = fmt::format("console=ttyS0 loglevel=5 panic=0 net.ifnames=0 random.trust_cpu=on no_timer_check "
                                   "clocksource=tsc tsc=reliable nolapic_timer initcall_blacklist=amd_pstate_init "
                                   "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 "
                                   "possible_cpus={} krg.node={}",
                                   spec.cpus, node);
    if (spec.accelerator == "tcg") line += fmt::format(" tsc_early_khz={} lpj={}", tsc_khz(), tsc_khz() * 4);
    if (spec.systemd) line += " systemd.show_status=false systemd.log_level=notice systemd.default_standard_output=journal";
    if (!spec.kernel_arguments.empty()) line += " " + spec.kernel_arguments;
    return line;
}

void add_network(std::vector<std::string>& argv, const ClusterSpec& spec, int node, const MachineWiring& wiring) {
    auto card = [&](int link, const std::string& backend) {
        argv.insert(argv.end(), {"-netdev", backend, "-device",
                                 fmt::format("virtio-net-{},netdev=net{},mac={}", bus(spec), link, Switch::mac({node, link}))});
        if (spec.machine_type != "microvm") argv.back() += ",romfile=";
    };
    card(0, fmt::format("user,id=net0,ipv6=off,restrict=off,hostfwd=tcp:127.0.0.1:{}-{}:{}", wiring.agent_port, guest_address,
                        agent_port));
    for (size_t i = 0; i < wiring.cables.size(); ++i)
        card(static_cast<int>(i) + 1, fmt::format("socket,id=net{},fd={}", i + 1, wiring.cables[i].get()));
}

void add_file_systems(std::vector<std::string>& argv, const ClusterSpec& spec) {
    auto share = [&](const char* tag, const std::string& path) {
        argv.insert(argv.end(),
                    {"-fsdev", fmt::format("local,id={},path={},security_model=none,readonly=on,multidevs=remap", tag, path),
                     "-device", fmt::format("virtio-9p-{},fsdev={},mount_tag={}", bus(spec), tag, tag)});
    };
    share("root", "/");
    share("checkout", spec.checkout);
}

// Only for as long as the machine is there: nobody waits for a disk of the host.
void add_disk(std::vector<std::string>& argv, const ClusterSpec& spec, int node) {
    argv.insert(argv.end(), {"-drive", fmt::format("file={},format=raw,if=none,id=disk,cache=unsafe", disk_of(spec, node)),
                             "-device", fmt::format("virtio-blk-{},drive=disk", bus(spec))});
}

}  // namespace

std::string disk_of(const ClusterSpec& spec, int node) { return fmt::format("{}/node{}/disk", spec.directory, node); }

long tsc_khz() {
    static const long khz = [] {
        timespec begin{}, end{};
        clock_gettime(CLOCK_MONOTONIC_RAW, &begin);
        unsigned long long from = __rdtsc();
        timespec pause{0, 100'000'000};
        nanosleep(&pause, nullptr);
        clock_gettime(CLOCK_MONOTONIC_RAW, &end);
        unsigned long long to = __rdtsc();
        double ms = static_cast<double>(end.tv_sec - begin.tv_sec) * 1e3 +
                    static_cast<double>(end.tv_nsec - begin.tv_nsec) / 1e6;
        return std::lround(static_cast<double>(to - from) / ms);
    }();
    return khz;
}

// All there is, but five levels of page tables: without them walks are shorter, and KASAN does not take an interrupt's data for
// wild addresses while the kernel still finds out about its processor.
constexpr const char* processor = "max,la57=off";

std::vector<std::string> machine_command(const ClusterSpec& spec, int node, const MachineWiring& wiring) {
    std::string own = fmt::format("{}/node{}", spec.directory, node);
    std::vector<std::string> argv{"qemu-system-x86_64",
                                  "-name",
                                  fmt::format("krg-{}-node{}", spec.name, node),
                                  "-nodefaults",
                                  "-no-user-config",
                                  "-display",
                                  "none",
                                  "-accel",
                                  accelerator(spec),
                                  "-cpu",
                                  processor,
                                  "-smp",
                                  fmt::format("{},maxcpus={}", spec.cpus, std::max(spec.cpus, 2)),
                                  "-m",
                                  std::to_string(spec.memory_mb),
                                  "-rtc",
                                  "base=utc,clock=host",
                                  "-kernel",
                                  spec.kernel.image,
                                  "-initrd",
                                  spec.directory + "/initramfs",
                                  "-append",
                                  kernel_command_line(spec, node),
                                  "-chardev",
                                  fmt::format("file,id=serial,path={}/serial.log,append=on", own),
                                  "-serial",
                                  "chardev:serial",
                                  "-chardev",
                                  fmt::format("file,id=kmsg,path={}/kernel.log,append=on", own),
                                  "-chardev",
                                  fmt::format("socket,id=control,fd={}", wiring.control.get()),
                                  "-device",
                                  fmt::format("virtio-serial-{},max_ports=4", bus(spec)),
                                  "-device",
                                  "virtserialport,chardev=control,name=krg.control",
                                  "-device",
                                  "virtserialport,chardev=kmsg,name=krg.kmsg"};
    if (spec.machine_type == "microvm")
        argv.insert(argv.end(), {"-M", "microvm,acpi=on,pit=on,pic=on,rtc=on"});
    else
        argv.insert(argv.end(), {"-M", spec.machine_type + ",hpet=off"});
    add_file_systems(argv, spec);
    if (spec.disk_mb > 0) add_disk(argv, spec, node);
    add_network(argv, spec, node, wiring);
    return argv;
}

MachineProcess MachineProcess::start(const std::vector<std::string>& argv, const std::vector<int>& inherited,
                                     const std::string& log, const std::string& cgroup_procs) {
    std::vector<char*> args;
    for (const auto& word : argv) args.push_back(const_cast<char*>(word.c_str()));
    args.push_back(nullptr);
    Fd output(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    Fd group;
    if (!cgroup_procs.empty()) {
        group.reset(open(cgroup_procs.c_str(), O_WRONLY | O_CLOEXEC));
        if (!group) throw system_error("cannot open " + cgroup_procs);
    }
    pid_t parent = getpid();
    MachineProcess process;
    process.pid_ = fork();
    if (process.pid_ == 0) {  // only async-signal-safe calls: the parent has threads
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        setsid();
        dup2(null.get(), 0);
        dup2(output.get(), 1);
        dup2(output.get(), 2);
        for (int fd : inherited) fcntl(fd, F_SETFD, 0);
        if (group && write(group.get(), "0", 1) != 1) _exit(1);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, nullptr);
        execvp(args[0], args.data());
        _exit(127);
    }
    if (process.pid_ < 0) throw system_error("cannot start QEMU");
    process.pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, process.pid_, 0)));
    return process;
}

void MachineProcess::signal(int number) const {
    // Not yet collected, so the number is still this process's.
    if (pid_ > 0) kill(pid_, number);
}

bool MachineProcess::reap(int* status) {
    if (pid_ <= 0 || waitpid(pid_, status, WNOHANG) != pid_) return false;
    pid_ = -1;
    pidfd_.reset();
    return true;
}

void MachineProcess::kill_and_wait() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {}
    pid_ = -1;
    pidfd_.reset();
}

}  // namespace krg::vcluster
