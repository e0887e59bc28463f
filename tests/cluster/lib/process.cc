// SPDX-License-Identifier: GPL-2.0
//
// Starting programs, reading what they say, ending them in time: see process.hh.
#include "process.hh"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace krg::cluster_test {

namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set in a signal handler");

constexpr int look_every_ms = 100;

void on_signal(int /*number*/) { interrupted = true; }

struct Pipe {
    int read_end = -1, write_end = -1;

    Pipe() {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
        read_end = ends[0];
        write_end = ends[1];
    }
    ~Pipe() {
        close_end(read_end);
        close_end(write_end);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;

    static void close_end(int& end) {
        if (end >= 0) close(std::exchange(end, -1));
    }
};

// A process group of its own: the terminal's Ctrl-C reaches the driver alone, and a kill reaches all that was started.
pid_t spawn(const std::vector<std::string>& argv, int in, int out, int err) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t defaults;
    sigfillset(&defaults);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    std::vector<char*> words;
    words.reserve(argv.size() + 1);
    for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    pid_t pid = -1;
    int error = posix_spawnp(&pid, words[0], &actions, &attributes, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) throw std::runtime_error(fmt::format("cannot run {}: {}", argv[0], std::strerror(error)));
    return pid;
}

void end_group(pid_t pid) {
    kill(-pid, SIGTERM);
    for (int i = 0; i < 30; ++i) {
        siginfo_t info{};
        if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid) break;
        usleep(100'000);
    }
    kill(-pid, SIGKILL);
}

int reap(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool drain(int fd, std::string& into, bool show, FILE* where) {
    char buffer[16384];
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got <= 0) return got < 0 && (errno == EINTR || errno == EAGAIN);
    into.append(buffer, static_cast<size_t>(got));
    if (show) {
        std::fwrite(buffer, 1, static_cast<size_t>(got), where);
        std::fflush(where);
    }
    return true;
}

bool feed(int fd, const std::string& input, size_t& at) {
    ssize_t put = write(fd, input.data() + at, input.size() - at);
    if (put < 0) return errno == EINTR || errno == EAGAIN;
    at += static_cast<size_t>(put);
    return at < input.size();
}

}  // namespace

void catch_interrupts() {
    struct sigaction action {};
    action.sa_handler = on_signal;
    for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
}

void forget_interrupt() { interrupted = false; }

void check_interrupt() {
    if (interrupted) throw Interrupted();
}

double monotonic_s() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void sleep_s(double seconds) {
    const double end = monotonic_s() + seconds;
    while (monotonic_s() < end) {
        check_interrupt();
        const double left = std::max(0.0, end - monotonic_s());
        usleep(static_cast<useconds_t>(std::min(left, look_every_ms / 1000.0) * 1e6));
    }
    check_interrupt();
}

std::string ProcessResult::evidence() const {
    std::string text = timed_out ? "ran into its time limit" : fmt::format("exit status {}", status);
    if (!out.empty()) text += "\nstdout: " + out;
    if (!err.empty()) text += "\nstderr: " + err;
    return text;
}

ProcessResult run_process(const std::vector<std::string>& argv, const ProcessOptions& options) {
    Pipe in, out, err;
    pid_t pid = spawn(argv, in.read_end, out.write_end, err.write_end);
    Pipe::close_end(in.read_end);
    Pipe::close_end(out.write_end);
    Pipe::close_end(err.write_end);
    fcntl(in.write_end, F_SETFL, O_NONBLOCK);
    if (options.input.empty()) Pipe::close_end(in.write_end);

    ProcessResult result;
    size_t written = 0;
    double end = monotonic_s() + options.timeout_s;
    while (out.read_end >= 0 || err.read_end >= 0) {
        std::array<pollfd, 3> waits{{{out.read_end, POLLIN, 0}, {err.read_end, POLLIN, 0}, {in.write_end, POLLOUT, 0}}};
        poll(waits.data(), waits.size(), look_every_ms);
        if (waits[0].revents && !drain(out.read_end, result.out, options.show, stdout)) Pipe::close_end(out.read_end);
        if (waits[1].revents && !drain(err.read_end, result.err, options.show, stderr)) Pipe::close_end(err.read_end);
        if (waits[2].revents && !feed(in.write_end, options.input, written)) Pipe::close_end(in.write_end);
        result.timed_out = monotonic_s() > end;
        if (!result.timed_out && !interrupted) continue;
        end_group(pid);
        break;
    }
    int status = reap(pid);
    check_interrupt();
    result.status = result.timed_out ? -1 : status;
    return result;
}

BackgroundProcess::BackgroundProcess(const std::vector<std::string>& argv, std::string output_path)
    : output_path_(std::move(output_path)) {
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int file = open(output_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);
    if (null < 0 || file < 0) throw std::runtime_error(fmt::format("cannot write {}: {}", output_path_, std::strerror(errno)));
    pid_ = spawn(argv, null, file, file);
    close(null);
    close(file);
}

std::string BackgroundProcess::output() const {
    std::ifstream in(output_path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

bool BackgroundProcess::running() {
    siginfo_t info{};
    return pid_ > 0 && waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

void BackgroundProcess::stop() {
    if (pid_ <= 0) return;
    end_group(pid_);
    reap(std::exchange(pid_, -1));
}

std::string shown(const std::vector<std::string>& argv) {
    std::string text;
    for (const auto& word : argv) {
        bool plain = !word.empty() && word.find_first_of(" \t\n'\"\\$`*?;|&<>()") == std::string::npos;
        text += text.empty() ? "" : " ";
        text += plain ? word : "'" + word + "'";
    }
    return text;
}

std::string last_lines(const std::string& text, int count) {
    size_t at = text.size();
    if (at > 0 && text[at - 1] == '\n') --at;
    for (; at > 0; --at)
        if (text[at - 1] == '\n' && --count <= 0) break;
    return text.substr(at);
}

}  // namespace krg::cluster_test
