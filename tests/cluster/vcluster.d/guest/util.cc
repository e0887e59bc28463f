// SPDX-License-Identifier: GPL-2.0
//
// Helpers of the guest program: see util.h.
#include "util.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::vcluster::guest {

namespace {

int control_port = -1;

void split_setting(std::string_view word, std::map<std::string, std::string, std::less<>>& into) {
    auto equals = word.find('=');
    if (equals != std::string_view::npos) into[std::string(word.substr(0, equals))] = std::string(word.substr(equals + 1));
}

}  // namespace

bool Settings::load(const char* path) {
    if (access(path, R_OK) != 0) return false;
    std::string text = read_file(path);
    for (size_t at = 0; at < text.size();) {
        size_t end = text.find('\n', at);
        if (end == std::string::npos) end = text.size();
        split_setting(std::string_view(text).substr(at, end - at), values_);
        at = end + 1;
    }
    std::string cmdline = read_file("/proc/cmdline");
    for (size_t at = 0; at < cmdline.size();) {
        size_t end = cmdline.find_first_of(" \n", at);
        if (end == std::string::npos) end = cmdline.size();
        std::string_view word = std::string_view(cmdline).substr(at, end - at);
        if (word.starts_with("krg.")) split_setting(word.substr(4), values_);
        at = end + 1;
    }
    return true;
}

const std::string& Settings::get(std::string_view key) const {
    static const std::string none;
    auto found = values_.find(key);
    return found == values_.end() ? none : found->second;
}

int Settings::number(std::string_view key) const { return std::atoi(get(key).c_str()); }

void log_line(std::string_view text) {
    int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    std::string line = "<6>vcluster: " + std::string(text.substr(0, 900));
    (void)!write(fd, line.data(), line.size());
    close(fd);
}

int open_port(std::string_view name) {
    DIR* dir = opendir("/sys/class/virtio-ports");
    if (!dir) return -1;
    int fd = -1;
    while (dirent* entry = readdir(dir)) {
        std::string base = std::string("/sys/class/virtio-ports/") + entry->d_name;
        std::string port_name = read_file(base + "/name");
        while (!port_name.empty() && port_name.back() == '\n') port_name.pop_back();
        if (port_name != name) continue;
        fd = open((std::string("/dev/") + entry->d_name).c_str(), O_RDWR | O_CLOEXEC);
        break;
    }
    closedir(dir);
    return fd;
}

void tell_host(std::string_view line) {
    if (control_port < 0) control_port = open_port("krg.control");
    if (control_port < 0) return;
    std::string text(line);
    for (char& c : text) {
        if (c == '\n') c = ' ';
    }
    text += '\n';
    (void)write_all(control_port, text.data(), text.size());
}

void forget_host() {
    if (control_port >= 0) close(control_port);
    control_port = -1;
}

std::string hear_host(int timeout_s) {
    if (control_port < 0) control_port = open_port("krg.control");
    std::string line;
    double end = now_s() + timeout_s;
    while (control_port >= 0) {
        double left = end - now_s();
        if (left <= 0) return {};
        pollfd wait{control_port, POLLIN, 0};
        if (poll(&wait, 1, static_cast<int>(left * 1000) + 1) <= 0) continue;
        char c = 0;
        ssize_t got = read(control_port, &c, 1);
        if (got == 0) {  // the host side is not connected at this moment
            usleep(100'000);
            continue;
        }
        if (got < 0 && errno != EINTR && errno != EAGAIN) return {};
        if (got < 0) continue;
        if (c == '\n') return line;
        if (line.size() < 4096) line += c;
    }
    return {};
}

void boot_failure(std::string_view what) {
    std::string text = std::string(what) + ": " + std::strerror(errno);
    log_line("failed: " + text);
    tell_host("failed " + text);
    sync();
    usleep(500'000);  // the ports are emptied by the host
    reboot(RB_POWER_OFF);
    for (;;) pause();
}

bool write_file(const std::string& path, std::string_view text, int mode) {
    int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0) return false;
    bool good = write_all(fd, text.data(), text.size());
    if (mode != 0644) good = fchmod(fd, static_cast<mode_t>(mode)) == 0 && good;
    return close(fd) == 0 && good;
}

std::string read_file(const std::string& path) {
    std::string text;
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return text;
    char buffer[4096];
    for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(got));
    close(fd);
    return text;
}

void make_dirs(const std::string& path) {
    for (size_t at = 1; at <= path.size(); ++at) {
        if (at == path.size() || path[at] == '/') mkdir(path.substr(0, at).c_str(), 0755);
    }
}

bool copy_file(const char* from, const char* to, int mode) {
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return false;
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool good = out >= 0;
    char buffer[65536];
    for (ssize_t got; good && (got = read(in, buffer, sizeof buffer)) != 0;)
        good = got > 0 && write_all(out, buffer, static_cast<size_t>(got));
    close(in);
    if (out >= 0) good = close(out) == 0 && good;
    return good;
}

int run(const std::vector<std::string>& argv, std::string* output, int timeout_s) {
    std::vector<char*> args;
    for (const auto& word : argv) args.push_back(const_cast<char*>(word.c_str()));
    args.push_back(nullptr);
    int pipe_fds[2] = {-1, -1};
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) return 127;
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(pipe_fds[1], 1);
        dup2(pipe_fds[1], 2);
        execvp(args[0], args.data());
        dprintf(2, "%s: %s", args[0], std::strerror(errno));
        _exit(127);
    }
    close(pipe_fds[1]);
    double end = now_s() + timeout_s;
    bool timed_out = false;
    std::string text;
    for (char buffer[4096]; child > 0;) {
        pollfd wait{pipe_fds[0], POLLIN, 0};
        double left = end - now_s();
        if (left <= 0 || poll(&wait, 1, static_cast<int>(left * 1000) + 1) == 0) {
            timed_out = true;
            kill(-child, SIGKILL);
            break;
        }
        ssize_t got = read(pipe_fds[0], buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (text.size() < 65536) text.append(buffer, static_cast<size_t>(got));
    }
    close(pipe_fds[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return 127;
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    if (timed_out) text += " (no end after " + std::to_string(timeout_s) + " s)";
    if (output) *output = text;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace krg::vcluster::guest
