// SPDX-License-Identifier: GPL-2.0
//
// Shared helpers of the host side: see util.h.
#include "util.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>

namespace krg::vcluster {

Error system_error(const std::string& what) { return Error(what + ": " + std::strerror(errno)); }

std::string read_file(const std::string& path) {
    std::string text;
    Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char buffer[65536];
    for (ssize_t got; fd && (got = read(fd.get(), buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(got));
    return text;
}

// Through a temporary name: a reader, or a kill in the middle, never sees half a file.
void write_file(const std::string& path, std::string_view text, int mode) {
    std::string temporary = path + ".new";
    Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (!fd || !write_all(fd.get(), text.data(), text.size())) throw system_error("cannot write " + path);
    fd.reset();
    if (rename(temporary.c_str(), path.c_str()) != 0) throw system_error("cannot write " + path);
}

namespace {

[[noreturn]] void become(const std::vector<std::string>& argv, const std::string& directory) {
    std::vector<char*> args;
    for (const auto& word : argv) args.push_back(const_cast<char*>(word.c_str()));
    args.push_back(nullptr);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    if (!directory.empty() && chdir(directory.c_str()) != 0) _exit(126);
    execvp(args[0], args.data());
    dprintf(2, "%s: %s\n", args[0], std::strerror(errno));
    _exit(127);
}

int collect_status(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

int run_shown(const std::vector<std::string>& argv, const std::string& directory) {
    pid_t child = fork();
    if (child < 0) throw system_error("cannot run " + argv[0]);
    if (child == 0) {
        dup2(2, 1);
        become(argv, directory);
    }
    return collect_status(child);
}

RunResult run(const std::vector<std::string>& argv, bool merge, const std::string& directory) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw system_error("cannot make a pipe");
    pid_t child = fork();
    if (child < 0) throw system_error("cannot run " + argv[0]);
    if (child == 0) {
        dup2(ends[1], 1);
        if (merge) dup2(ends[1], 2);
        become(argv, directory);
    }
    close(ends[1]);
    Fd out(ends[0]);
    RunResult result;
    char buffer[65536];
    for (;;) {
        ssize_t got = read(out.get(), buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        result.output.append(buffer, static_cast<size_t>(got));
    }
    result.status = collect_status(child);
    return result;
}

}  // namespace krg::vcluster
