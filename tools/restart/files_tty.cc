// SPDX-License-Identifier: GPL-2.0
// Pseudo terminals of which a master is in the image, and terminals of the node that are replaced by the caller's own.
#include <cerrno>
#include <cstring>

#include <asm/termbits.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/restart/files.hh"

namespace krg::restart {

namespace {

constexpr u64 locked = 1, packet_mode = 2, exclusive = 4, stopped = 8, master_closed = 16;
constexpr unsigned tries = 4096;

[[noreturn]] void fail(const Record& tty, const std::string& what) {
    throw Error(Exit::failed,
                fmt::format("terminal /dev/pts/{}: {}: {}", tty.number(KRG_GHOST_TTY_INDEX), what, std::strerror(errno)));
}

/** Numbers are given out from the lowest free one on, and each node has its own: one that somebody has is not worth failing for. */
int open_master(const Record& tty) {
    const auto wanted = static_cast<int>(tty.number(KRG_GHOST_TTY_INDEX));
    std::vector<int> opened;
    int index = -1, found = -1;
    for (unsigned i = 0; i < tries && found < 0 && index < wanted; i++) {
        const int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (fd < 0) break;
        opened.push_back(fd);
        if (ioctl(fd, TIOCGPTN, &index) != 0) break;
        if (index == wanted) found = fd;
    }
    if (opened.empty()) fail(tty, "cannot open /dev/ptmx");
    if (found < 0) {
        found = opened.front();
        if (ioctl(found, TIOCGPTN, &index) != 0) fail(tty, "cannot ask for its number");
        fmt::print(stderr, "restart: /dev/pts/{} is in use here: the terminal is /dev/pts/{} from now on\n", wanted, index);
    }
    for (const int fd : opened)
        if (fd != found) close(fd);
    return found;
}

struct ::termios2 settings_of(const Record& tty) {
    const std::string bytes = tty.text(KRG_GHOST_TTY_TERMIOS);
    struct ::termios2 settings {};
    static_assert(sizeof(settings) == 44);
    std::memcpy(&settings, bytes.data(), std::min(bytes.size(), sizeof(settings)));
    return settings;
}

void write_all(const Record& tty, int fd, const std::string& bytes) {
    if (write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
        fail(tty, "cannot put back what was in it");
}

/** An end of the slave's, which stays open until the others are: what is in it would be lost with the last one. */
int set_up(const Plan& plan, const Record& tty, int master) {
    const int zero = 0;
    if (ioctl(master, TIOCSPTLCK, &zero) != 0) fail(tty, "cannot unlock it");
    const int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) fail(tty, "cannot open it");
    const struct ::termios2 settings = settings_of(tty);
    struct ::termios2 quiet = settings;
    quiet.c_iflag = 0;
    quiet.c_oflag = 0;
    quiet.c_lflag &= ICANON;
    if (ioctl(slave, TCSETS2, &quiet) != 0) fail(tty, "cannot set it up");
    fcntl(master, F_SETFL, O_NONBLOCK);
    fcntl(slave, F_SETFL, O_NONBLOCK);
    for (const Record* data : plan.of(tty.object, KRG_GHOST_TTY_DATA))
        write_all(tty, data->number(KRG_GHOST_TTY_DATA_QUEUE) ? slave : master, data->bytes);
    fcntl(master, F_SETFL, 0);
    if (ioctl(slave, TCSETS2, &settings) != 0) fail(tty, "cannot set it up");
    const winsize size{static_cast<unsigned short>(tty.number(KRG_GHOST_TTY_ROWS)),
                       static_cast<unsigned short>(tty.number(KRG_GHOST_TTY_COLUMNS)),
                       static_cast<unsigned short>(tty.number(KRG_GHOST_TTY_WIDTH)),
                       static_cast<unsigned short>(tty.number(KRG_GHOST_TTY_HEIGHT))};
    if (ioctl(slave, TIOCSWINSZ, &size) != 0) fail(tty, "cannot set its size");
    if ((tty.number(KRG_GHOST_TTY_FLAGS) & stopped) && ioctl(slave, TCXONC, TCOOFF) != 0) fail(tty, "cannot stop its output");
    return slave;
}

/** The terminal of a session, if a master of it is in the image; or null. */
const Record* terminal_of(const Plan& plan, pid_t sid) {
    for (const Record* tty : plan.all(KRG_GHOST_TTY)) {
        const u64 session = tty->number(KRG_GHOST_TTY_SESSION);
        if (session && static_cast<pid_t>(plan.object(session).number(KRG_GHOST_SESSION_SID)) == sid) return tty;
    }
    return nullptr;
}

}  // namespace

void make_terminals(Files& files, bool replace) {
    const Plan& plan = files.plan();
    for (const Record* tty : plan.all(KRG_GHOST_TTY)) {
        std::vector<const Record*> masters, slaves;
        for (const Record* file : plan.all(KRG_GHOST_FILE_TTY)) {
            if (file->number(KRG_GHOST_FILE_TTY_TTY) != tty->object || files.substitute(*file) >= 0) continue;
            (has(*file, KRG_GHOST_FILE_TTY_MASTER, 1) ? masters : slaves).push_back(file);
        }
        if (masters.empty()) {
            if (!replace || slaves.empty()) continue;
            for (const Record* file : slaves) {
                const int fd = open("/dev/tty", (open_flags(*file) & ~O_NONBLOCK) | O_CLOEXEC | O_NOCTTY);
                if (fd < 0) fail_file(*file, "--replace-tty: there is no terminal to take instead");
                files.made(*file, fd);
            }
            continue;
        }
        const int master = open_master(*tty);
        const int first = set_up(plan, *tty, master);
        for (const Record* file : slaves) {
            const int fd = ioctl(master, TIOCGPTPEER, (open_flags(*file) & O_ACCMODE) | O_NOCTTY | O_CLOEXEC);
            if (fd < 0) fail_file(*file, "cannot open it");
            files.made(*file, fd);
        }
        close(first);
        const int one = 1;
        const u64 flags = tty->number(KRG_GHOST_TTY_FLAGS);
        if ((flags & packet_mode) && ioctl(master, TIOCPKT, &one) != 0) fail(*tty, "cannot set packet mode");
        if ((flags & exclusive) && !slaves.empty() && ioctl(files.at(slaves[0]->object), TIOCEXCL) != 0) fail(*tty, "TIOCEXCL");
        if ((flags & locked) && ioctl(master, TIOCSPTLCK, &one) != 0) fail(*tty, "cannot lock it");
        if (flags & master_closed)
            close(master);
        else
            files.made(*masters[0], master);
    }
}

void take_terminal(const Files& files, pid_t sid) {
    const Record* tty = terminal_of(files.plan(), sid);
    if (!tty) return;
    int master = -1;
    for (const Record* file : files.plan().all(KRG_GHOST_FILE_TTY))
        if (file->number(KRG_GHOST_FILE_TTY_TTY) == tty->object && has(*file, KRG_GHOST_FILE_TTY_MASTER, 1))
            master = files.at(file->object);
    if (master < 0) return;
    const int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) != 0) fail(*tty, fmt::format("cannot become that of session {}", sid));
    close(slave);
}

void set_foreground(const Plan& plan, pid_t sid) {
    const Record* tty = terminal_of(plan, sid);
    const u64 group = tty ? tty->number(KRG_GHOST_TTY_FOREGROUND) : 0;
    if (!group) return;
    const int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return;  // replaced, by one that is not the session's
    const auto pgid = static_cast<pid_t>(plan.object(group).number(KRG_GHOST_GROUP_PGID));
    // All signals are blocked: SIGTTOU does not stop it. A group of which nobody is left is no group.
    if (ioctl(fd, TIOCSPGRP, &pgid) != 0 && errno != ESRCH)
        fail(*tty, fmt::format("cannot have group {} in its foreground", pgid));
    close(fd);
}

}  // namespace krg::restart
