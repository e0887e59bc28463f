// SPDX-License-Identifier: GPL-2.0
// Other processes: moved, saved, restarted, frozen.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "tools/checkpoint/control.hh"
#include "tools/checkpoint/device.hh"
#include "tools/checkpoint/file.hh"
#include "tools/checkpoint/sysv.hh"
#include "tools/libkerrighed/internal.hh"

using namespace krg::library;
using krg::checkpoint::Descriptor;

namespace {

constexpr std::uint32_t freeze_ms = 5000;
constexpr int gone_limit_ms = 30000;

void ask_to_migrate(pid_t pid, int node, std::uint32_t flags) {
    const Descriptor device(open(KRG_PROC_DEVICE, O_RDWR | O_CLOEXEC));
    if (device.get() < 0) throw Failure(errno == ENOENT ? ENODEV : errno, "the module krg_proc is not loaded");
    std::array<char, 4096> said{};
    krg_proc_migrate request{};
    request.pid = pid;
    request.node = static_cast<std::uint32_t>(node);
    request.flags = flags;
    request.error.at = reinterpret_cast<std::uintptr_t>(said.data());
    request.error.room = said.size() - 1;
    int error = ioctl(device.get(), KRG_PROC_MIGRATE, &request) == 0 ? 0 : errno;
    std::string why(said.data(), std::min<size_t>(said.size() - 1, request.error.length));
    if (!why.empty() && !error) error = EOPNOTSUPP;
    if (error) throw Failure(error, why.empty() ? std::strerror(error) : why);
}

std::uint32_t tree_of(unsigned flags) { return flags & KRG_TREE ? KRG_PROC_TREE : 0; }

void wait_until_gone(int pidfd, pid_t pid) {
    pollfd what{pidfd, POLLIN, 0};
    if (poll(&what, 1, gone_limit_ms) != 1)
        throw Failure(ETIMEDOUT, fmt::format("process {} was killed, and is still there", pid));
}

void save(pid_t pid, const char* path, unsigned flags, krg_image_info* info) {
    const Descriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (pidfd.get() < 0) throw Failure(ESRCH, fmt::format("there is no process {}", pid));
    const krg::checkpoint::Device device;
    krg::checkpoint::ImageFile file(path);
    const krg::checkpoint::Image image = device.capture(pid,
                                                        tree_of(flags) | (flags & KRG_KILL ? KRG_PROC_STOP : 0) |
                                                            (flags & KRG_NO_CALLBACKS ? KRG_PROC_NO_CALLBACKS : 0),
                                                        file.descriptor(), freeze_ms, "");
    file.keep();
    if (flags & KRG_KILL) {
        device.release(pid, SIGKILL);
        wait_until_gone(pidfd.get(), pid);
        (void)krg::checkpoint::remove_objects(path);
    }
    if (info) *info = {image.number, image.bytes, image.pages, image.tasks, image.threads};
}

int memory_file(const char* name) {
    const int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) throw Failure(errno, "memfd_create");
    return fd;
}

std::string contents_of(int fd) {
    std::string all(static_cast<size_t>(std::max<off_t>(lseek(fd, 0, SEEK_END), 0)), 0);
    const ssize_t n = pread(fd, all.data(), all.size(), 0);
    all.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return all;
}

int number_of_status(int status) {
    if (!WIFEXITED(status)) return EIO;
    switch (WEXITSTATUS(status)) {
    case 2: return EINVAL;
    case 3: return ENODEV;
    case 4: return EPERM;
    case 5: return ETIMEDOUT;
    case 7: return EOPNOTSUPP;
    case 8: return ENOENT;
    default: return EIO;
    }
}

/** The tool restart has a capability that programs have not. */
pid_t run_restart(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const Descriptor out(memory_file("restart-out")), err(memory_file("restart-err"));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err.get(), STDERR_FILENO);
    pid_t child = 0;
    int error = posix_spawn(&child, KRG_BINDIR "/restart", &actions, nullptr, arguments.data(), environ);
    if (error == ENOENT) error = posix_spawn(&child, "/usr/bin/restart", &actions, nullptr, arguments.data(), environ);
    if (error == ENOENT && !getauxval(AT_SECURE))
        error = posix_spawnp(&child, "restart", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) throw Failure(error, fmt::format("{}/restart: {}", KRG_BINDIR, std::strerror(error)));
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) throw Failure(errno, "somebody else has waited for restart(1)");
    if (status) throw Failure(number_of_status(status), contents_of(err.get()));
    return static_cast<pid_t>(std::strtol(contents_of(out.get()).c_str(), nullptr, 10));
}

}  // namespace

extern "C" int krg_migrate(pid_t pid, int node, unsigned flags) {
    return at_border([&] {
        only_flags(flags, KRG_TREE | KRG_POST_COPY);
        if (node <= 0) throw Failure(EINVAL, "no such node");
        ask_to_migrate(pid, node, tree_of(flags) | (flags & KRG_POST_COPY ? KRG_PROC_POST : 0));
        return 0;
    });
}

extern "C" int krg_migrate_check(pid_t pid, unsigned flags) {
    return at_border([&] {
        only_flags(flags, KRG_TREE);
        ask_to_migrate(pid, 0, tree_of(flags));
        return 0;
    });
}

extern "C" int krg_checkpoint(pid_t pid, const char* path, unsigned flags, struct krg_image_info* info) {
    return at_border([&] {
        only_flags(flags, KRG_TREE | KRG_KILL | KRG_NO_CALLBACKS);
        if (!path) throw Failure(EFAULT, "no path");
        save(pid, path, flags, info);
        return 0;
    });
}

extern "C" int krg_checkpoint_check(pid_t pid, unsigned flags) {
    return at_border([&] {
        only_flags(flags, KRG_TREE);
        std::string all;
        for (const std::string& line : krg::checkpoint::Device().check(pid, flags & KRG_TREE)) all += line + "\n";
        if (!all.empty()) throw Failure(EOPNOTSUPP, all);
        return 0;
    });
}

extern "C" pid_t krg_restart(const char* path, unsigned flags) {
    return at_border([&] {
        only_flags(flags, KRG_ACCEPT_CHANGED | KRG_OWN_SESSION);
        if (!path) throw Failure(EFAULT, "no path");
        std::vector<std::string> words{"restart"};
        if (flags & KRG_ACCEPT_CHANGED) words.emplace_back("--accept-changed");
        if (flags & KRG_OWN_SESSION) words.emplace_back("--pids");
        words.insert(words.end(), {"--", path});
        return run_restart(words);
    });
}

extern "C" int krg_freeze(pid_t pid) {
    return at_border([&] {
        krg::checkpoint::control(pid, "freeze");
        return 0;
    });
}

extern "C" int krg_unfreeze(pid_t pid, int signal) {
    return at_border([&] {
        krg::checkpoint::control(pid, signal ? fmt::format("unfreeze {}", signal) : "unfreeze");
        return 0;
    });
}
