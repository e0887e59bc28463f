// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is a pseudo terminal that they have both ends of: settings, what is in it, whose session it belongs to.
#include "program.hh"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace krg::cr {

namespace {

struct Terminal {
    int master = -1, slave = -1;
    std::string name;
};

Terminal open_terminal() {
    Terminal terminal;
    terminal.master = static_cast<int>(must(posix_openpt(O_RDWR | O_NOCTTY), "posix_openpt"));
    must(grantpt(terminal.master), "grantpt");
    must(unlockpt(terminal.master), "unlockpt");
    char name[64] = {};
    must(-ptsname_r(terminal.master, name, sizeof(name)), "ptsname_r");
    terminal.name = name;
    terminal.slave = static_cast<int>(must(open(name, O_RDWR | O_NOCTTY), "open of the slave"));
    return terminal;
}

void set_raw(int fd) {
    termios settings{};
    must(tcgetattr(fd, &settings), "tcgetattr");
    cfmakeraw(&settings);
    must(tcsetattr(fd, TCSANOW, &settings), "tcsetattr");
}

std::string read_some(int fd, size_t wanted) {
    std::string text;
    pollfd entry{fd, POLLIN, 0};
    while (text.size() < wanted && poll(&entry, 1, 5000) > 0) {
        char bytes[4096];
        const ssize_t n = read(fd, bytes, std::min(sizeof(bytes), wanted - text.size()));
        if (n <= 0) break;
        text.append(bytes, static_cast<size_t>(n));
    }
    return text;
}

void write_all(int fd, const std::string& text) {
    same("bytes written", static_cast<ssize_t>(text.size()), write(fd, text.data(), text.size()));
}

/// Until what was written at one end has come to the other.
void await_input(int fd) {
    pollfd entry{fd, POLLIN, 0};
    must(poll(&entry, 1, 5000) == 1 ? 0 : -1, "poll");
}

}  // namespace

CR_PROGRAM(tty_settings, Needs::nothing, "settings, size, flags of the open files of a pseudo terminal") {
    const Terminal terminal = open_terminal();
    termios settings{};
    must(tcgetattr(terminal.slave, &settings), "tcgetattr");
    settings.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    settings.c_iflag |= IXOFF;
    settings.c_cc[VINTR] = 7;
    settings.c_cc[VMIN] = 3;
    cfsetospeed(&settings, B19200);
    must(tcsetattr(terminal.slave, TCSANOW, &settings), "tcsetattr");
    must(tcgetattr(terminal.slave, &settings), "tcgetattr");
    const winsize size{33, 101, 7, 9};
    must(ioctl(terminal.master, TIOCSWINSZ, &size), "TIOCSWINSZ");
    must(fcntl(terminal.master, F_SETFL, O_NONBLOCK), "F_SETFL");
    run.operation([&] {
        const winsize other{1, 2, 3, 4};
        must(ioctl(terminal.master, TIOCSWINSZ, &other), "TIOCSWINSZ");
    });
    char name[64] = {};
    must(-ptsname_r(terminal.master, name, sizeof(name)), "ptsname_r");
    same("name by both ends", std::string(name), std::string(ttyname(terminal.slave)));
    if (name != terminal.name) remark("it was " + terminal.name + ", which somebody else had, and is " + name);
    termios found{};
    must(tcgetattr(terminal.slave, &found), "tcgetattr");
    same("c_lflag", settings.c_lflag, found.c_lflag);
    same("c_iflag", settings.c_iflag, found.c_iflag);
    same("c_oflag", settings.c_oflag, found.c_oflag);
    same("c_cflag", settings.c_cflag, found.c_cflag);
    holds("characters", std::memcmp(settings.c_cc, found.c_cc, sizeof(settings.c_cc)) == 0);
    same("speed", cfgetospeed(&settings), cfgetospeed(&found));
    winsize now{};
    must(ioctl(terminal.slave, TIOCGWINSZ, &now), "TIOCGWINSZ");
    holds("size", std::memcmp(&size, &now, sizeof(size)) == 0);
    holds("O_NONBLOCK of the master", fcntl(terminal.master, F_GETFL) & O_NONBLOCK);
    holds("no O_NONBLOCK of the slave", !(fcntl(terminal.slave, F_GETFL) & O_NONBLOCK));
    write_all(terminal.master, "through\n");
    same("a line", std::string("through\n"), read_some(terminal.slave, 8));
}

CR_PROGRAM(tty_queued, Needs::nothing, "what was written into both ends of a pseudo terminal, and not read, is there") {
    const Terminal terminal = open_terminal();
    set_raw(terminal.slave);
    std::string up(1500, 0), down(2500, 0);
    fill(up.data(), up.size(), 1);
    fill(down.data(), down.size(), 2);
    write_all(terminal.master, down);
    write_all(terminal.slave, up);
    await_input(terminal.slave);
    await_input(terminal.master);
    run.operation([&] { read_some(terminal.slave, 1); });
    const std::string below = read_some(terminal.slave, down.size()), above = read_some(terminal.master, up.size());
    same("bytes for the slave", down.size(), below.size());
    verify("what was for the slave", below.data(), below.size(), 2);
    same("bytes for the master", up.size(), above.size());
    verify("what was for the master", above.data(), above.size(), 1);
}

CR_PROGRAM(tty_lines, Needs::nothing, "lines that were typed and not read stay lines; one that is not yet ended can be ended") {
    const Terminal terminal = open_terminal();
    termios settings{};
    must(tcgetattr(terminal.slave, &settings), "tcgetattr");
    settings.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    must(tcsetattr(terminal.slave, TCSANOW, &settings), "tcsetattr");
    write_all(terminal.master, "first\nsecond\nthi");
    await_input(terminal.slave);
    run.operation([&] { read_some(terminal.slave, 6); });
    write_all(terminal.master, "rd\n");
    char line[64] = {};
    for (const char* wanted : {"first\n", "second\n", "third\n"}) {
        await_input(terminal.slave);
        const ssize_t n = must(read(terminal.slave, line, sizeof(line)), "read");
        same("a line", std::string(wanted), std::string(line, static_cast<size_t>(n)));
    }
}

CR_PROGRAM(tty_session, Needs::nothing, "a controlling terminal: session, foreground group, ^C, /dev/tty") {
    const Terminal terminal = open_terminal();
    static volatile sig_atomic_t interrupted = 0;
    pid_t job = 0;
    const pid_t leader = spawn(
        [&] {
            close(terminal.master);
            must(setsid(), "setsid");
            must(ioctl(terminal.slave, TIOCSCTTY, 0), "TIOCSCTTY");
            job = spawn(
                [&] {
                    must(setpgid(0, 0), "setpgid");
                    std::signal(SIGTTOU, SIG_IGN);
                    std::signal(SIGINT, [](int) { interrupted = 1; });
                    must(tcsetpgrp(terminal.slave, getpgrp()), "tcsetpgrp");
                },
                [&] {
                    for (int i = 0; i < 500 && !interrupted; i++) usleep(10000);
                    holds("^C is a signal to the foreground group", interrupted);
                    same("the terminal's session", getsid(0), tcgetsid(terminal.slave));
                });
        },
        [&] {
            const int own = static_cast<int>(must(open("/dev/tty", O_RDWR), "open of /dev/tty"));
            same("foreground group", job, tcgetpgrp(own));
            same("its session", getpid(), tcgetsid(own));
            finish(job);
        });
    close(terminal.slave);
    run.operation([&] { must(kill(leader, SIGKILL), "kill"); });
    write_all(terminal.master, "\003");
    finish(leader);
}

}  // namespace krg::cr
