// SPDX-License-Identifier: GPL-2.0
#include "tools/checkpoint/control.hh"

#include <cerrno>
#include <cstring>
#include <unistd.h>

#include <fcntl.h>
#include <fmt/format.h>

#include "tools/checkpoint/device.hh"

namespace krg::checkpoint {

namespace {

[[noreturn]] void not_yours(int pid) {
    throw ControlFailed(Exit::not_permitted,
                        fmt::format("permission: process {} is another user's, has more rights than you, or is not dumpable",
                                    pid),
                        EPERM);
}

/** Nothing: there is no such process. */
std::string status_of(int pid) {
    const Descriptor file(open(fmt::format("/proc/kerrighed/{}/status", pid).c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) return {};
    std::string text(65536, '\0');
    const ssize_t n = read(file.get(), text.data(), text.size());
    if (n < 0 && (errno == EPERM || errno == EACCES)) not_yours(pid);
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
}

}  // namespace

void control(int pid, const std::string& command) {
    const Descriptor file(open(fmt::format("/proc/kerrighed/{}/control", pid).c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0 && access("/proc/kerrighed/nodes", F_OK) != 0)
        throw Error(Exit::not_running, "/proc/kerrighed is not there", "modprobe krg_proc");
    if (file.get() < 0)
        throw Error(errno == ENOENT ? Exit::no_object : Exit::failed,
                    errno == ENOENT ? fmt::format("there is no process {}", pid)
                                    : fmt::format("process {}: {}", pid, std::strerror(errno)),
                    "look at ps; it may have ended");
    if (write(file.get(), command.data(), command.size()) >= 0) return;
    const int error = errno;
    const std::string status = status_of(pid);
    const size_t last = status.find("last: ");
    std::string why = last == std::string::npos ? std::strerror(error) : status.substr(last + std::strlen("last: "));
    while (!why.empty() && why.back() == '\n') why.pop_back();
    throw ControlFailed(exit_of(error), why, error);
}

bool is_frozen(int pid) { return status_of(pid).find("\nstate frozen\n") != std::string::npos; }

}  // namespace krg::checkpoint
