// SPDX-License-Identifier: GPL-2.0
//
// Process 1 of a guest. In the initramfs: load the few modules needed to reach the host, mount the root, move into it.
// Then, without systemd, it stays process 1: starts the service, reaps orphans, powers off or reboots when told to.
// With systemd it leaves a unit that starts the service and becomes systemd.
#include "parts.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::vcluster::guest {

namespace {

void mount_kernel_file_systems() {
    mkdir("/proc", 0555);
    mkdir("/sys", 0555);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
    if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755") != 0 && errno != EBUSY) boot_failure("mount /dev");
}

// The host wrote the names in load order, dependencies first.
void load_boot_modules() {
    std::string list = read_file("/modules/order");
    for (size_t at = 0; at < list.size();) {
        size_t end = list.find('\n', at);
        std::string path = "/modules/" + list.substr(at, end - at);
        at = end == std::string::npos ? list.size() : end + 1;
        int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST)) boot_failure("load " + path);
        close(fd);
        unlink(path.c_str());  // the initramfs stays in memory
    }
}

void start_kernel_log() {
    int port = open_port("krg.kmsg");
    if (port < 0) boot_failure("open the port for the kernel log");
    pid_t child = fork();
    if (child == 0) {
        forget_host();
        setsid();
        prctl(PR_SET_NAME, "krg-kmsg");
        pump_kernel_log(port);
    }
    close(port);
}

void move_into_root() {
    for (const char* dir : {"/proc", "/sys", "/dev"}) {
        if (mount(dir, (std::string(new_root) + dir).c_str(), nullptr, MS_MOVE, nullptr) != 0)
            boot_failure(std::string("move ") + dir);
    }
    if (chdir(new_root) != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 || chdir("/") != 0)
        boot_failure("enter the new root");
}

// The host's own services have no business in a guest that has the host's disk: what its administrator enabled is
// disabled in the guest's layer, except what is ours.
void disable_host_services() {
    std::string units = "/etc/systemd/system";
    DIR* dir = opendir(units.c_str());
    while (dirent* entry = dir ? readdir(dir) : nullptr) {
        std::string name = entry->d_name;
        if (!name.ends_with(".wants")) continue;
        std::string wants = units + "/" + name;
        DIR* links = opendir(wants.c_str());
        std::vector<std::string> unwanted;
        while (dirent* link = links ? readdir(links) : nullptr) {
            std::string unit = link->d_name;
            if (unit != "." && unit != ".." && !unit.starts_with("kerrighed") && !unit.starts_with("krg"))
                unwanted.push_back(unit);
        }
        if (links) closedir(links);
        for (const auto& unit : unwanted) unlink((wants + "/" + unit).c_str());
    }
    if (dir) closedir(dir);
}

void become_systemd() {
    disable_host_services();
    std::string units = "/run/systemd/system";
    make_dirs(units + "/multi-user.target.wants");
    write_file(units + "/krg-agent.service",
               "[Unit]\nDescription=vcluster agent\nAfter=basic.target\n"
               "[Service]\nType=exec\nExecStart=/run/krg/guest serve\nRestart=no\nKillMode=process\nOOMScoreAdjust=-500\n"
               "TasksMax=infinity\n");
    symlink("../krg-agent.service", (units + "/multi-user.target.wants/krg-agent.service").c_str());
    // The devices are there already; announcing all of them loads dozens of drivers, a minute in an emulated machine.
    make_dirs(units + "/systemd-udev-trigger.service.d");
    write_file(units + "/systemd-udev-trigger.service.d/vcluster.conf",
               "[Service]\nExecStart=\nExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=net\n");
    for (const char* unit : {"systemd-binfmt.service", "systemd-journal-flush.service", "e2scrub_reap.service", "getty.target",
                             "modprobe@dm_mod.service", "modprobe@drm.service", "systemd-update-utmp-runlevel.service"})
        symlink("/dev/null", (units + "/" + unit).c_str());
    char* argv[] = {const_cast<char*>("/lib/systemd/systemd"), nullptr};
    execv(argv[0], argv);
    boot_failure("run /lib/systemd/systemd");
}

pid_t start_service(const Settings& settings) {
    pid_t child = fork();
    if (child != 0) return child;
    signal(SIGTERM, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    setsid();
    prctl(PR_SET_NAME, "krg-service");
    serve(settings);
}

// Programs send process 1 what sysvinit and systemd understand: SIGUSR2 power off, SIGTERM or SIGINT reboot.
void stay_process_one(const Settings& settings) {
    sigset_t wanted;
    sigfillset(&wanted);
    sigprocmask(SIG_SETMASK, &wanted, nullptr);
    pid_t service = start_service(settings);
    for (;;) {
        siginfo_t info{};
        int number = sigwaitinfo(&wanted, &info);
        if (number == SIGUSR1 || number == SIGUSR2 || number == SIGTERM || number == SIGINT) {
            sync();
            reboot(number == SIGUSR1 || number == SIGUSR2 ? RB_POWER_OFF : RB_AUTOBOOT);
        }
        if (number != SIGCHLD) continue;
        for (pid_t ended; (ended = waitpid(-1, nullptr, WNOHANG)) > 0;) {
            if (ended != service) continue;
            tell_host("failed the guest's service ended unexpectedly");
            log_line("service ended");
        }
    }
}

}  // namespace

void boot() {
    mount_kernel_file_systems();
    load_boot_modules();
    Settings settings;
    if (!settings.load("/krg.conf")) boot_failure("read /krg.conf");
    tell_host("boot");
    if (settings.enabled("probe")) {  // the host only wanted to see a kernel come this far
        tell_host("probed");
        sync();
        reboot(RB_POWER_OFF);
    }
    start_kernel_log();
    mount_root(settings);
    move_into_root();
    tell_host("stage root mounted");
    write_identity(settings);
    configure_network(settings);
    tell_host("stage network up");
    if (settings.enabled("systemd")) become_systemd();
    stay_process_one(settings);
}

}  // namespace krg::vcluster::guest
