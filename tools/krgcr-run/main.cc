// SPDX-License-Identifier: GPL-2.0
// krgcr-run: starts a program so that it can be saved and moved alone: in a session of its own, without a terminal, with
// standard files that are nobody else's.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "tools/krgadm/version.hh"
#include "tools/lib/error.hh"

namespace {

using krg::Error;
using krg::Exit;

struct Arguments {
    std::vector<std::string> command;
    std::string output;
    bool background = false, quiet = false;
};

volatile pid_t child = 0;

void pass_on(int signal) {
    const int before = errno;
    if (child > 0) kill(child, signal);
    errno = before;
}

/** A terminal or a pipe has another end, which stays when the program is saved. */
bool has_other_end(int fd) {
    struct stat st {};
    return isatty(fd) || (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)));
}

void warn(const Arguments& arguments) {
    if (arguments.quiet || !arguments.output.empty()) return;
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
        if (has_other_end(fd))
            std::cerr << fmt::format("krgcr-run: standard {} is a terminal or a pipe: it cannot be in a checkpoint\n"
                                     "  try: --output FILE\n",
                                     fd == STDOUT_FILENO ? "output" : "error");
}

/** In the child; says why not through the pipe, which exec closes. */
[[noreturn]] void become(const Arguments& arguments, int output, int say) {
    const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    std::vector<char*> words;
    for (const std::string& word : arguments.command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    sigset_t none;
    sigemptyset(&none);
    if (setsid() >= 0 && dup2(input, STDIN_FILENO) >= 0 &&
        (output < 0 || (dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0)) &&
        sigprocmask(SIG_SETMASK, &none, nullptr) == 0)
        execvp(words[0], words.data());
    const int why = errno;
    (void)!write(say, &why, sizeof(why));
    _exit(127);
}

int open_output(const std::string& path) {
    if (path.empty()) return -1;
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) throw Error(Exit::failed, fmt::format("{}: {}", path, std::strerror(errno)), "name a file you may write");
    return fd;
}

void start(const Arguments& arguments) {
    const int output = open_output(arguments.output);
    int say[2];
    if (pipe2(say, O_CLOEXEC) != 0) throw Error(Exit::failed, fmt::format("pipe: {}", std::strerror(errno)));
    // A signal that comes before the id is known would be lost.
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t pid = fork();
    if (pid == 0) become(arguments, output, say[1]);
    const int why_not = errno;
    child = pid;
    sigprocmask(SIG_SETMASK, &before, nullptr);
    close(say[1]);
    if (output >= 0) close(output);
    if (pid < 0) throw Error(Exit::failed, fmt::format("fork: {}", std::strerror(why_not)));
    int why = 0;
    ssize_t said;
    while ((said = read(say[0], &why, sizeof(why))) < 0 && errno == EINTR) {}
    close(say[0]);
    if (said == sizeof(why)) {
        waitpid(pid, nullptr, 0);
        throw Error(why == ENOENT   ? Exit::no_object
                    : why == EACCES ? Exit::not_permitted
                                    : Exit::failed,
                    fmt::format("{}: {}", arguments.command.front(), std::strerror(why)));
    }
}

int wait_for_child() {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) throw Error(Exit::failed, fmt::format("wait: {}", std::strerror(errno)));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run(const Arguments& arguments) {
    warn(arguments);
    struct sigaction action {};
    action.sa_handler = pass_on;
    if (!arguments.background)
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaction(signal, &action, nullptr);
    start(arguments);
    if (arguments.background) {
        std::cout << child << std::endl;
        return 0;
    }
    if (!arguments.quiet) std::cerr << fmt::format("krgcr-run: process {}\n", child);
    return wait_for_child();
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    CLI::App app("Run a program so that it can be saved and moved: krgcr-run [OPTIONS] [--] COMMAND [ARGUMENTS...]",
                 "krgcr-run");
    app.set_version_flag("-v,--version", std::string("krgcr-run ") + krg::version);
    app.add_flag("-b,--background", arguments.background, "print its id and end");
    app.add_flag("-q,--quiet", arguments.quiet, "say nothing");
    app.add_option("-o,--output", arguments.output, "its standard output and error; what is there stays, it goes behind");
    app.prefix_command();
    app.footer("See krgcr-run(1).");
    try {
        app.parse(argc, argv);
        arguments.command = app.remaining();
        if (!arguments.command.empty() && arguments.command.front() == "--") arguments.command.erase(arguments.command.begin());
        if (arguments.command.empty()) throw CLI::RequiredError("COMMAND");
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::usage);
    }
    try {
        return run(arguments);
    } catch (const Error& error) {
        std::cerr << "krgcr-run: " << error.what() << '\n';
        if (!error.action().empty()) std::cerr << "  try: " << error.action() << '\n';
        return static_cast<int>(error.code());
    } catch (const std::exception& error) {
        std::cerr << "krgcr-run: " << error.what() << '\n';
        return static_cast<int>(Exit::failed);
    }
}
