// SPDX-License-Identifier: GPL-2.0
//
// State directory and requests to the supervisor: see state.h.
#include "state.h"

#include "cpu_share.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

namespace krg::vcluster {

namespace fs = std::filesystem;

namespace {

constexpr int answer_timeout_ms = 30'000;

/// Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), 0 when there is none or it has ended and
/// only nobody has collected it yet.
unsigned long long start_time(pid_t pid) {
    std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
    size_t at = stat.rfind(')');  // the name before it may hold anything
    if (at == std::string::npos || at + 2 >= stat.size()) return 0;
    at += 2;
    if (stat[at] == 'Z' || stat[at] == 'X') return 0;
    for (int field = 3; field < 22; ++field) at = stat.find(' ', at) + 1;
    return std::strtoull(stat.c_str() + at, nullptr, 10);
}

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw Error("the path is too long for a socket: " + path);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    return address;
}

std::string receive_line(int socket, Fd* passed) {
    std::string line;
    double end = now_s() + answer_timeout_ms / 1000.0;
    while (line.empty() || line.back() != '\n') {
        pollfd wait{socket, POLLIN, 0};
        int left = static_cast<int>((end - now_s()) * 1000);
        if (left <= 0) throw Error("the supervisor does not answer; `vcluster down` ends it", ExitCode::timed_out);
        if (poll(&wait, 1, left) <= 0) continue;
        char buffer[16384];
        alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))];
        iovec part{buffer, sizeof buffer};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = ancillary;
        message.msg_controllen = sizeof ancillary;
        ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) throw Error("the supervisor went away", ExitCode::not_running);
        line.append(buffer, static_cast<size_t>(got));
        for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
            int fd = -1;
            if (header->cmsg_type == SCM_RIGHTS) std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
            if (passed && fd >= 0)
                passed->reset(fd);
            else if (fd >= 0)
                close(fd);
        }
    }
    return line;
}

}  // namespace

bool send_line(int socket, const std::string& line, int fd) {
    std::string text = line + "\n";
    if (fd >= 0) {
        alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))] = {};
        iovec part{text.data(), 1};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = ancillary;
        message.msg_controllen = sizeof ancillary;
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
        if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1) return false;
        text.erase(0, 1);
    }
    for (size_t at = 0; at < text.size();) {
        ssize_t put = send(socket, text.data() + at, text.size() - at, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        at += static_cast<size_t>(put);
    }
    return true;
}

ClusterState::ClusterState(const std::string& name) : name_(name) {
    bool good = !name.empty() && name.size() <= 32 && name[0] != '.' && name[0] != '-';
    for (char c : name) good = good && (std::isalnum(static_cast<unsigned char>(c)) || std::strchr("-_.", c));
    if (!good)
        throw Error("a cluster's name is 1 to 32 letters, digits, '-', '_', '.' and starts with no '-' or '.': " + name,
                    ExitCode::usage);
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    base_ = fmt::format("{}/krg-vcluster-{}", runtime && *runtime ? runtime : "/tmp", getuid());
    directory_ = base_ + "/" + name;
    (void)address_of(socket_path());
}

std::string ClusterState::node_file(int node, const char* file) const {
    return fmt::format("{}/node{}/{}", directory_, node, file);
}

Fd ClusterState::lock() const {
    if (mkdir(base_.c_str(), 0700) != 0 && errno != EEXIST) throw system_error("cannot make " + base_);
    struct stat st {};
    if (lstat(base_.c_str(), &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 022) != 0)
        throw Error(base_ + " is not a directory of ours that only we can write to; remove it", ExitCode::not_permitted);
    std::string path = base_ + "/." + name_ + ".lock";
    for (;;) {
        Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (!fd) throw system_error("cannot open " + path);
        double end = now_s() + 60;
        while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
            if (now_s() > end) throw Error("another vcluster is busy with cluster " + name_, ExitCode::timed_out);
            usleep(50'000);
        }
        struct stat held {
        }, there{};  // who held it may have removed it
        if (fstat(fd.get(), &held) == 0 && stat(path.c_str(), &there) == 0 && held.st_ino == there.st_ino) return fd;
    }
}

void ClusterState::create() const {
    if (mkdir(directory_.c_str(), 0700) != 0) throw system_error("cannot make " + directory_);
}

bool ClusterState::exists() const { return fs::exists(directory_); }

void ClusterState::record_supervisor(pid_t pid) const {
    write_file(directory_ + "/supervisor", fmt::format("{} {}\n", pid, start_time(pid)));
}

pid_t ClusterState::supervisor() const {
    std::string text = read_file(directory_ + "/supervisor");
    char* rest = nullptr;
    long pid = std::strtol(text.c_str(), &rest, 10);
    unsigned long long started = rest ? std::strtoull(rest, nullptr, 10) : 0;
    if (pid <= 0 || started == 0 || start_time(static_cast<pid_t>(pid)) != started) return 0;
    return static_cast<pid_t>(pid);
}

// Its machines die with it (PR_SET_PDEATHSIG), its network namespace with the last of them.
void ClusterState::end_supervisor() const {
    pid_t pid = supervisor();
    if (pid <= 0) return;
    Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!process || supervisor() != pid) return;
    try {
        (void)request({{"verb", "down"}});
    } catch (const Error&) {
        syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
    }
    pollfd wait{process.get(), POLLIN, 0};
    if (poll(&wait, 1, 10'000) > 0) return;
    syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
    if (poll(&wait, 1, 10'000) <= 0) throw Error(fmt::format("the supervisor (process {}) cannot be killed", pid));
}

void ClusterState::remove() const {
    end_supervisor();
    CpuShare::remove_groups(name_);
    std::error_code error;
    fs::remove_all(directory_, error);
    if (error) throw Error("cannot remove " + directory_ + ": " + error.message());
    unlink((base_ + "/." + name_ + ".lock").c_str());
    rmdir(base_.c_str());  // when this was the last cluster
}

Json ClusterState::request(const Json& question, Fd* passed) const {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = address_of(socket_path());
    if (connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        throw Error("cluster " + name_ + " is not up; start it with `vcluster up`", ExitCode::not_running);
    if (!send_line(socket.get(), question.dump())) throw Error("the supervisor went away", ExitCode::not_running);
    Json answer = Json::parse(receive_line(socket.get(), passed));
    if (answer.contains("error"))
        throw Error(answer["error"].get<std::string>(), static_cast<ExitCode>(answer.value("code", 1)));
    return answer;
}

Json spec_to_json(const ClusterSpec& s) {
    return {{"name", s.name},
            {"checkout", s.checkout},
            {"directory", s.directory},
            {"shared", s.shared},
            {"kver", s.kernel.version},
            {"image", s.kernel.image},
            {"modules", s.kernel.modules},
            {"kernel", s.kernel_wanted},
            {"accelerator", s.accelerator},
            {"machine", s.machine_type},
            {"nodes", s.nodes},
            {"memory_mb", s.memory_mb},
            {"cpus", s.cpus},
            {"links", s.links},
            {"cpu_share_percent", s.cpu_share_percent},
            {"load", s.load},
            {"systemd", s.systemd},
            {"disk_mb", s.disk_mb},
            {"kernel_arguments", s.kernel_arguments}};
}

}  // namespace krg::vcluster
