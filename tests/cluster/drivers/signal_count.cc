// SPDX-License-Identifier: GPL-2.0
//
// krg-signal-count: a process that writes down the values of the signals it gets, and one that sends them. Runs in guests.
//
//	krg-signal-count take PIDFILE OUTFILE LIST [FILE]	until SIGTERM, then PASS in OUTFILE; FILE stays open
//	krg-signal-count watch STATES PROGRAM...	runs it, and writes down when it stops, goes on and ends
//	krg-signal-count send PID FIRST COUNT GAP_MS		values FIRST... with a gap between
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace {

const int counted = SIGRTMIN + 3;

void write_line(const char* path, const std::string& line) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, (line + "\n").c_str(), line.size() + 1) != static_cast<ssize_t>(line.size() + 1)) {
        std::perror(path);
        std::exit(1);
    }
    close(fd);
}

int take(int argc, char** argv) {
    if (argc < 5) return 2;
    if (argc > 5 && open(argv[5], O_RDONLY | O_CLOEXEC) < 0) {
        std::perror(argv[5]);
        return 1;
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, counted);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    write_line(argv[2], std::to_string(getpid()));
    for (;;) {
        siginfo_t info{};
        const int signal = sigwaitinfo(&set, &info);
        if (signal == SIGTERM) break;
        if (signal == counted) write_line(argv[4], std::to_string(info.si_value.sival_int));
    }
    write_line(argv[3], "PASS");
    return 0;
}

int send(int argc, char** argv) {
    if (argc < 6) return 2;
    const auto pid = static_cast<pid_t>(std::atol(argv[2]));
    const int first = std::atoi(argv[3]), count = std::atoi(argv[4]), gap = std::atoi(argv[5]);
    for (int i = first; i < first + count; i++) {
        sigval value{};
        value.sival_int = i;
        while (sigqueue(pid, counted, value) != 0) {
            if (errno != EAGAIN) {
                std::fprintf(stderr, "signal %d to process %d: %s\n", i, pid, std::strerror(errno));
                return 1;
            }
            usleep(1000);
        }
        usleep(static_cast<useconds_t>(gap) * 1000);
    }
    return 0;
}

int watch(int argc, char** argv) {
    if (argc < 4) return 2;
    const pid_t child = fork();
    if (child == 0) {
        execv(argv[3], argv + 3);
        _exit(127);
    }
    int status = 0;
    while (waitpid(child, &status, WUNTRACED | WCONTINUED) == child) {
        if (WIFSTOPPED(status)) write_line(argv[2], "stopped " + std::to_string(WSTOPSIG(status)));
        if (WIFCONTINUED(status)) write_line(argv[2], "continued");
        if (!WIFEXITED(status) && !WIFSIGNALED(status)) continue;
        write_line(argv[2], "ended " + std::to_string(status));
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string verb = argc > 1 ? argv[1] : "";
    const int status = verb == "take"    ? take(argc, argv)
                       : verb == "send"  ? send(argc, argv)
                       : verb == "watch" ? watch(argc, argv)
                                         : 2;
    if (status == 2)
        std::fprintf(stderr, "usage: krg-signal-count take PIDFILE OUTFILE LIST [FILE] | send PID FIRST COUNT GAP_MS | watch "
                             "STATES PROGRAM...\n");
    return status;
}
