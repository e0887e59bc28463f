// SPDX-License-Identifier: GPL-2.0
//
// krg-file-lock: takes one lock on a file, says so, and keeps it until it is killed or a file appears. Exit status 0, 1 (something
// failed), 2 (usage), 3 (--try: somebody else has it).
#include "guest.hh"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace krg::guest {

namespace {

constexpr int busy = 3;

struct Options {
    std::string file, kind = "fcntl", until;
    bool shared = false, only_try = false;
    off_t start = 0, length = 0;
};

int take(const Options& o, int fd) {
    if (o.kind == "flock") return flock(fd, (o.shared ? LOCK_SH : LOCK_EX) | (o.only_try ? LOCK_NB : 0));
    struct flock lock {};
    lock.l_type = o.shared ? F_RDLCK : F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = o.start;
    lock.l_len = o.length;
    if (o.kind == "ofd") return fcntl(fd, o.only_try ? F_OFD_SETLK : F_OFD_SETLKW, &lock);
    return fcntl(fd, o.only_try ? F_SETLK : F_SETLKW, &lock);
}

int run(int argc, char** argv) {
    Options o;
    CLI::App app("One lock on a file");
    app.name("krg-file-lock");
    app.add_option("FILE", o.file, "Made if it is not there")->required();
    app.add_option("--kind", o.kind, "Which lock")->check(CLI::IsMember({"fcntl", "ofd", "flock"}))->capture_default_str();
    app.add_flag("--shared", o.shared, "For reading");
    app.add_flag("--try", o.only_try, "Do not wait for the lock");
    app.add_option("--start", o.start, "First byte");
    app.add_option("--length", o.length, "Bytes; 0: to the end");
    app.add_option("--until", o.until, "Keep it until this file is there; none: give it back at once");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? done : usage;
    }
    const Fd fd = open_file(o.file, O_RDWR | O_CREAT, 0666);
    while (take(o, fd.get()) != 0) {
        if (o.only_try && (errno == EAGAIN || errno == EACCES)) return busy;
        if (errno != EINTR) fail_errno("cannot lock " + o.file);
    }
    std::printf("locked\n");
    std::fflush(stdout);
    while (!o.until.empty() && access(o.until.c_str(), F_OK) != 0) sleep_ms(50);
    return done;
}

}  // namespace

}  // namespace krg::guest

int main(int argc, char** argv) {
    krg::guest::set_program("krg-file-lock");
    return krg::guest::run(argc, argv);
}
