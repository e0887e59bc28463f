// SPDX-License-Identifier: GPL-2.0
//
// main() of all programs, which are names of one executable: options, the pid file, the wait, and the verdict.
#include "program.hh"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::cr {

namespace {

std::vector<Program>& programs() {
    static std::vector<Program> all;
    return all;
}

std::string outfile;

void say(const std::string& line) {
    const std::string text = line + "\n";
    const int fd = open(outfile.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        std::cerr << "cannot write to " << outfile << ": " << std::strerror(errno) << "\n" << text;
    if (fd >= 0) close(fd);
}

sigset_t term_only() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    return set;
}

// A folder of programs: a link for each name, and an `.args` file where it wants something.
int install(const std::string& executable, const std::string& folder) {
    std::filesystem::create_directories(folder);
    const auto target = std::filesystem::relative(executable, folder);
    for (const Program& program : programs()) {
        const std::string path = folder + "/" + program.name;
        std::filesystem::remove(path);
        std::filesystem::remove(path + ".args");
        std::filesystem::create_symlink(target, path);
        if (program.needs == Needs::nothing) continue;
        std::ofstream(path + ".args") << (program.needs == Needs::file ? "--filename=" : "--dirname=") << program.name
                                      << ".data\n";
    }
    return 0;
}

bool take(const std::string& word, const std::string& option, std::string& value) {
    if (word.rfind(option + "=", 0) != 0) return false;
    value = std::filesystem::absolute(word.substr(option.size() + 1));
    return true;
}

int usage(const std::string& name) {
    std::cerr << "usage: " << name << " --pidfile=P --outfile=O [--filename=F|--dirname=D] [--break]\n"
              << "       krg-cr-programs --list | --install DIR\n";
    return 2;
}

int run_program(const Program& program, int argc, char** argv) {
    Run run;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--break")
            run.broken = true;
        else if (!take(word, "--pidfile", run.pidfile) && !take(word, "--outfile", outfile) &&
                 !take(word, "--filename", run.filename) && !take(word, "--dirname", run.directory))
            return usage(program.name);
    }
    if (run.pidfile.empty() || outfile.empty() || (program.needs == Needs::file && run.filename.empty()) ||
        (program.needs == Needs::directory && run.directory.empty()))
        return usage(program.name);
    // Anybody: a program may have given up its rights when it has something to say.
    const int fd = open(outfile.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || fchmod(fd, 0666) != 0) {
        std::cerr << outfile << ": " << std::strerror(errno) << "\n";
        return 1;
    }
    close(fd);
    const sigset_t set = term_only();
    sigprocmask(SIG_BLOCK, &set, nullptr);
    if (program.needs == Needs::directory) must(mkdir(run.directory.c_str(), 0777), "mkdir");
    program.body(run);
    say("PASS");
    return 0;
}

}  // namespace

Registered::Registered(const Program& program) { programs().push_back(program); }

void Run::ready() const {
    const std::string aside = pidfile + ".new";
    std::ofstream file(aside);
    file << getpid() << "\n";
    file.close();
    if (!file || std::rename(aside.c_str(), pidfile.c_str()) != 0) fail("cannot write " + pidfile);
}

void Run::disturb(const std::function<void()>& what) const {
    if (!broken) return;
    if (!what) fail("this program has no --break");
    what();
}

void Run::operation(const std::function<void()>& what) const {
    ready();
    await_term();
    disturb(what);
}

void await_term() {
    const sigset_t set = term_only();
    siginfo_t info;
    while (sigwaitinfo(&set, &info) != SIGTERM) {}
}

void fail(const std::string& reason) {
    std::string line = reason;
    std::replace(line.begin(), line.end(), '\n', ' ');
    say("FAIL: " + line);
    _exit(1);
}

void skip(const Run& run, const std::string& reason) {
    say("SKIP: " + reason);
    run.ready();
    await_term();
    say("PASS");
    _exit(0);
}

void remark(const std::string& text) { say("# " + text); }

long must(long result, const char* call) {
    if (result == -1) fail(std::string("cannot set up or look: ") + call + ": " + std::strerror(errno));
    return result;
}

void* must_map(void* address) {
    if (reinterpret_cast<long>(address) == -1) fail(std::string("cannot set up: mmap: ") + std::strerror(errno));
    return address;
}

pid_t spawn(const std::function<void()>& before, const std::function<void()>& after) {
    int pipe_fds[2];
    must(pipe2(pipe_fds, O_CLOEXEC), "pipe2");
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {
        close(pipe_fds[0]);
        before();
        if (write(pipe_fds[1], "r", 1) != 1) _exit(1);
        close(pipe_fds[1]);
        await_term();
        after();
        _exit(0);
    }
    close(pipe_fds[1]);
    char byte = 0;
    if (read(pipe_fds[0], &byte, 1) != 1) fail("a child did not get ready");
    close(pipe_fds[0]);
    return child;
}

void finish(pid_t child) {
    int status = 0;
    must(kill(child, SIGTERM), "kill(child)");
    same("waitpid(child)", child, must(waitpid(child, &status, 0), "waitpid(child)"));
    same("wait status of a child", 0, status);
}

std::string contents(const std::string& path) {
    const int fd = static_cast<int>(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd < 0) fail(path + ": " + std::strerror(errno));
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<size_t>(n));
    close(fd);
    return text;
}

std::string status_field(const std::string& field, pid_t pid) {
    std::istringstream text(contents(pid == 0 ? "/proc/thread-self/status" : "/proc/" + std::to_string(pid) + "/status"));
    for (std::string line; std::getline(text, line);) {
        if (line.rfind(field + ":", 0) != 0) continue;
        const size_t at = line.find_first_not_of(" \t", field.size() + 1);
        return at == std::string::npos ? "" : line.substr(at);
    }
    return "(no such field)";
}

std::string smaps_of(const void* address) {
    std::istringstream text(contents("/proc/self/smaps"));
    std::string found;
    bool inside = false;
    for (std::string line; std::getline(text, line);) {
        unsigned long begin = 0, end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
            const auto at = reinterpret_cast<unsigned long>(address);
            inside = begin <= at && at < end;
        }
        if (inside) found += line + "\n";
    }
    return found;
}

bool mapping_has_flag(const void* address, const std::string& flag) {
    const std::string text = smaps_of(address);
    const size_t at = text.find("VmFlags:");
    return at != std::string::npos && (text.substr(at) + " ").find(" " + flag + " ") != std::string::npos;
}

void fill(void* to, size_t size, unsigned seed) {
    auto* bytes = static_cast<unsigned char*>(to);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<unsigned char>((i * 31 + i / 251 + seed * 97 + 1) & 0xff);
}

void verify(const std::string& what, const void* found, size_t size, unsigned seed) {
    std::vector<unsigned char> expected(size);
    fill(expected.data(), size, seed);
    const auto* bytes = static_cast<const unsigned char*>(found);
    for (size_t i = 0; i < size; ++i)
        if (bytes[i] != expected[i]) same(what + ", byte " + std::to_string(i), +expected[i], +bytes[i]);
}

double clock_s(clockid_t clock) {
    timespec now{};
    must(clock_gettime(clock, &now), "clock_gettime");
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

int main_of_all(int argc, char** argv) {
    auto& all = programs();
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return std::strcmp(a.name, b.name) < 0; });
    const std::string name = std::filesystem::path(argv[0]).filename();
    for (const Program& program : all)
        if (name == program.name) return run_program(program, argc, argv);
    if (argc == 2 && std::string(argv[1]) == "--list") {
        for (const Program& program : all) std::cout << program.name << "\t" << program.checks << "\n";
        return 0;
    }
    if (argc == 3 && std::string(argv[1]) == "--install") return install(std::filesystem::canonical("/proc/self/exe"), argv[2]);
    return usage(name);
}

}  // namespace krg::cr

int main(int argc, char** argv) { return krg::cr::main_of_all(argc, argv); }
