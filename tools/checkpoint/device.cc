// SPDX-License-Identifier: GPL-2.0
// See device.hh.
#include "tools/checkpoint/device.hh"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sstream>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace krg::checkpoint {

namespace {

constexpr std::size_t text_room = 65536 + 256;  // the kernel's longest text, and its last line

/** A buffer the kernel writes lines to. */
class Text {
public:
    Text() : buffer_(text_room, '\0') {}
    [[nodiscard]] krg_proc_text where() {
        krg_proc_text text{};
        text.at = reinterpret_cast<std::uintptr_t>(buffer_.data());
        text.room = static_cast<std::uint32_t>(buffer_.size());
        return text;
    }
    [[nodiscard]] std::vector<std::string> lines(std::uint32_t length) const {
        std::istringstream in(buffer_.substr(0, std::min<std::size_t>(length, buffer_.size())));
        std::vector<std::string> all;
        for (std::string line; std::getline(in, line);) all.push_back(line);
        return all;
    }

private:
    std::string buffer_;
};

const char* advice(int error) {
    switch (error) {
    case EPERM: return "run it as the user of that process, or as root";
    case ETIMEDOUT: return "try again, or give it more time with --timeout";
    case ESRCH: return "look at ps; it may have ended";
    case ENOMEM: return "free some memory";
    case ENOSPC: return "make room where the image goes";
    case EINTR: return "it was interrupted; nothing was changed";
    default: return "";
    }
}

void fail(int error, int pid, const std::vector<std::string>& reasons) {
    const std::string what = error == EOPNOTSUPP ? fmt::format("process {} cannot be captured", pid)
                                                 : fmt::format("process {}: {}", pid, std::strerror(error));
    if (error == ESTALE) throw Stale(Exit::failed, what, "make a full image", reasons);
    throw Refused(exit_of(error), what, advice(error), reasons);
}

int open_device() {
    const int fd = open(KRG_PROC_DEVICE, O_RDWR | O_CLOEXEC);
    if (fd >= 0) return fd;
    if (errno == EACCES || errno == EPERM)
        throw Error(Exit::not_permitted, fmt::format("cannot open {}: {}", KRG_PROC_DEVICE, std::strerror(errno)));
    throw Error(Exit::not_running, fmt::format("cannot open {}: {}", KRG_PROC_DEVICE, std::strerror(errno)),
                "modprobe krg_proc");
}

}  // namespace

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

Descriptor::~Descriptor() { close(number_); }

Device::Device() : device_(open_device()) {}

std::vector<std::string> Device::check(int pid, bool tree) const {
    Text text;
    krg_proc_check arg{};
    arg.pid = pid;
    arg.flags = tree ? KRG_PROC_TREE : 0;
    arg.refusals = text.where();
    const int error = ioctl(device_.get(), KRG_PROC_CHECK, &arg) == 0 ? 0 : errno;
    std::vector<std::string> lines = text.lines(arg.refusals.length);
    if (error) fail(error, pid, lines);
    return lines;
}

Image Device::capture(int pid, std::uint32_t flags, int fd, std::uint32_t timeout_ms, const std::string& description,
                      const Place& place) const {
    Text text;
    krg_proc_capture arg{};
    arg.pid = pid;
    arg.fd = fd;
    arg.flags = flags;
    arg.timeout_ms = timeout_ms;
    arg.error = text.where();
    arg.description.at = reinterpret_cast<std::uintptr_t>(description.data());
    arg.description.length = static_cast<std::uint32_t>(description.size());
    arg.chain = place.chain;
    arg.parent = place.parent;
    arg.base.at = reinterpret_cast<std::uintptr_t>(place.base.data());
    arg.base.length = static_cast<std::uint32_t>(place.base.size());
    if (ioctl(device_.get(), KRG_PROC_CAPTURE, &arg) != 0) {
        const int error = errno;
        fail(error, pid, text.lines(arg.error.length));
    }
    return {arg.number, arg.bytes, arg.pages, arg.tasks, arg.threads, arg.version, text.lines(arg.error.length)};
}

void Device::release(int pid, int signal) const {
    Text text;
    krg_proc_freeze arg{};
    arg.pid = pid;
    arg.flags = signal == SIGKILL ? KRG_PROC_KILL : 0;
    arg.signal = signal == SIGKILL ? 0 : static_cast<std::uint32_t>(signal);
    arg.error = text.where();
    if (ioctl(device_.get(), KRG_PROC_UNFREEZE, &arg) != 0) {
        const int error = errno;
        fail(error, pid, text.lines(arg.error.length));
    }
}

}  // namespace krg::checkpoint
