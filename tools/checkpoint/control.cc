// SPDX-License-Identifier: GPL-2.0
#include "tools/checkpoint/control.hh"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include <fcntl.h>
#include <fmt/format.h>

#include "tools/checkpoint/device.hh"

namespace krg::checkpoint {

namespace {

std::string status_of(int pid) {
    std::ifstream file(fmt::format("/proc/kerrighed/{}/status", pid));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

Exit exit_of(int error) {
    switch (error) {
    case EPERM:
    case EACCES: return Exit::not_permitted;
    case ETIMEDOUT: return Exit::timed_out;
    case EOPNOTSUPP: return Exit::unsafe;
    case ESRCH: return Exit::no_object;
    default: return Exit::failed;
    }
}

}  // namespace

void control(int pid, const std::string& command) {
    const Descriptor file(open(fmt::format("/proc/kerrighed/{}/control", pid).c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0 && access("/proc/kerrighed/nodes", F_OK) != 0)
        throw Error(Exit::not_running, "/proc/kerrighed is not there", "modprobe krg_proc");
    if (file.get() < 0)
        throw Error(errno == ENOENT ? Exit::no_object : Exit::failed,
                    fmt::format("process {}: {}", pid, errno == ENOENT ? "there is none" : std::strerror(errno)),
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
