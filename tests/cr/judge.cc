// SPDX-License-Identifier: GPL-2.0
//
// krg-cr-judge starts one program of the protocol in program.hh, ends it and judges it, on this machine. It knows nothing
// of clusters and of what happens between the two; any executable that keeps to the protocol can be given.
//
//	krg-cr-judge start  --work DIR --token T --limit S PROG [WORDS...]     prints `pid N` when it is ready
//	krg-cr-judge finish --work DIR --token T --limit S --pid N             prints `pass` or `fail: REASON`
//	krg-cr-judge clean  --token T                                          ends what is left, prints `left N` if so
//
// What belongs to a program is known by a word in its environment, wherever it went and whoever its parent is now.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct Options {
    std::string work, token;
    double limit_s = 60;
    pid_t pid = 0;
    std::vector<std::string> words;
};

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// A zombie has ended; who was to reap it may be gone.
bool alive(pid_t pid) {
    const std::string stat = contents("/proc/" + std::to_string(pid) + "/stat");
    const size_t at = stat.rfind(')');
    return at != std::string::npos && at + 2 < stat.size() && stat[at + 2] != 'Z' && stat[at + 2] != 'X';
}

std::string last_line(const std::string& path) {
    std::istringstream text(contents(path));
    std::string last;
    for (std::string line; std::getline(text, line);)
        if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
    return last;
}

template<typename Condition>
bool wait_for(double limit_s, const Condition& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(limit_s);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
}

std::vector<pid_t> marked(const std::string& token) {
    const std::string mark = "KRG_CRSUITE=" + token;
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        const std::string environment = std::string(1, '\0') + contents(entry.path().string() + "/environ");
        const pid_t pid = std::stoi(name);
        if (environment.find(std::string(1, '\0') + mark + '\0') != std::string::npos && pid != getpid() && alive(pid))
            found.push_back(pid);
    }
    return found;
}

int clean(const Options& options) {
    size_t ended = 0;
    // One that is ended may have started another meanwhile.
    for (int i = 0; i < 5; ++i) {
        const std::vector<pid_t> left = marked(options.token);
        if (left.empty()) break;
        for (pid_t pid : left) kill(pid, SIGKILL);
        ended = std::max(ended, left.size());
        (void)wait_for(2, [&] { return std::none_of(left.begin(), left.end(), alive); });
    }
    if (ended > 0) std::cout << "left " << ended << "\n";
    return 0;
}

[[noreturn]] void become(const Options& options) {
    setsid();
    setenv("KRG_CRSUITE", options.token.c_str(), 1);
    const std::string output = options.work + "/output";
    const int in = open("/dev/null", O_RDONLY), out = open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir(options.work.c_str()) != 0)
        _exit(126);
    for (int fd = 3; fd < 256; ++fd) close(fd);
    std::vector<std::string> words = options.words;
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    std::cerr << argv[0] << ": " << std::strerror(errno) << std::endl;
    _exit(127);
}

int start(const Options& options) {
    const pid_t child = fork();
    if (child < 0) {
        std::cout << "fail: fork: " << std::strerror(errno) << "\n";
        return 1;
    }
    if (child == 0) become(options);
    int status = -1;
    pid_t pid = 0;
    bool ended = false;
    const auto settled = [&] {
        std::istringstream text(contents(options.work + "/pid"));
        if (text >> pid && pid > 0) return true;
        // The first process may end when a daemon has taken over; the daemon carries the mark.
        if (!ended) ended = waitpid(child, &status, WNOHANG) == child;
        return ended && (status != 0 || marked(options.token).empty());
    };
    const bool in_time = wait_for(options.limit_s, settled);
    if (pid > 0) {
        std::cout << "pid " << pid << "\n";
        return 0;
    }
    const std::string why = last_line(options.work + "/out").empty() ? last_line(options.work + "/output")
                                                                     : last_line(options.work + "/out");
    std::cout << "fail: " << (in_time ? "it ended before it was ready" : "it was not ready in time")
              << (why.empty() ? "" : ": ") << why << "\n";
    return 1;
}

int finish(const Options& options) {
    const std::string out = options.work + "/out";
    if (!alive(options.pid)) {
        std::cout << "fail: it was gone before SIGTERM: " << last_line(out) << "\n";
        return 1;
    }
    if (kill(options.pid, SIGTERM) != 0) {
        std::cout << "fail: SIGTERM: " << std::strerror(errno) << "\n";
        return 1;
    }
    const bool ended = wait_for(options.limit_s, [&] { return !alive(options.pid); });
    const std::string verdict = last_line(out);
    if (verdict == "PASS") {
        std::istringstream text(contents(out));
        for (std::string line; std::getline(text, line);)
            if (line.rfind("SKIP", 0) == 0) std::cout << "remark " << line << "\n";
        std::cout << "pass\n";
        return 0;
    }
    std::cout << "fail: " << (ended ? "" : "it did not end in time after SIGTERM; ")
              << (verdict.empty() ? "it wrote no verdict: " + last_line(options.work + "/output") : verdict) << "\n";
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Starts, ends and judges one program of crsuite on this machine");
    Options options;
    std::string verb;
    app.add_option("verb", verb, "start, finish or clean")->required()->check(CLI::IsMember({"start", "finish", "clean"}));
    app.add_option("--work", options.work, "Its folder: pid, out, output");
    app.add_option("--token", options.token, "What its processes are known by")->required();
    app.add_option("--limit", options.limit_s, "Seconds to wait")->capture_default_str();
    app.add_option("--pid", options.pid, "What start printed");
    // Everything from the program's path on belongs to it.
    int own = 2;
    while (own < argc && argv[own][0] == '-') own += 2;
    own = std::min(own, argc);
    options.words.assign(argv + own, argv + argc);
    try {
        app.parse(own, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    if (verb != "clean" && options.work.empty()) {
        std::cerr << "krg-cr-judge " << verb << " needs --work\n";
        return 2;
    }
    if (verb == "clean") return clean(options);
    if (verb == "finish") return finish(options);
    if (options.words.empty()) {
        std::cerr << "krg-cr-judge start needs the absolute path of a program\n";
        return 2;
    }
    return start(options);
}
