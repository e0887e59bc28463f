// SPDX-License-Identifier: GPL-2.0
// checkpoint: saves a running process, with all its threads, in an image; or says why it cannot.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <poll.h>
#include <random>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/checkpoint/control.hh"
#include "tools/checkpoint/device.hh"
#include "tools/checkpoint/file.hh"
#include "tools/checkpoint/sysv.hh"
#include "tools/checkpoint/versions.hh"
#include "tools/krgadm/version.hh"
#include "tools/lib/chain.hh"

namespace {

using krg::Error;
using krg::Exit;
using namespace krg::checkpoint;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int gone_limit_ms = 30000;  // for a killed process to be gone
constexpr std::size_t description_max = 4096;

volatile std::sig_atomic_t interrupted = 0;

struct Options {
    int pid = 0;
    std::string file, description, kill_word, unfreeze_word;
    bool tree = false, check = false, json = false, pretty = false, incremental = false, full = false;
    bool freeze = false, unfreeze = false, only = false;
    bool ignore = false, quiet = false;
    int signal = 0;  // once the image is safe, or before it goes on
    double timeout_s = 5, every_s = 0;
    unsigned keep = 3, full_every = 10;
    krg::image::Codec codec = krg::image::Codec::plain;
};

Json head(const char* command) {
    return {{"output_version", {{"command", fmt::format("checkpoint {}", command)}, {"major", 1}, {"minor", 0}}}};
}

void print(const Options& options, std::ostream& out, const Json& json) {
    out << json.dump(options.pretty ? 2 : -1, ' ', false, Json::error_handler_t::replace) << '\n';
}

int complain(const Options& options, const Error& error, const std::vector<std::string>& reasons) {
    if (options.json) {
        Json text = head("error");
        text["error"] = {{"code", static_cast<int>(error.code())},
                         {"message", error.what()},
                         {"action", error.action()},
                         {"reasons", reasons}};
        print(options, std::cerr, text);
    } else {
        std::cerr << "checkpoint: " << error.what() << '\n';
        for (const std::string& reason : reasons) std::cerr << "  " << reason << '\n';
        if (!error.action().empty()) std::cerr << "  try: " << error.action() << '\n';
    }
    return static_cast<int>(error.code());
}

// Says how far it is, from the third second on.
class Progress {
public:
    explicit Progress(int fd) : fd_(fd), thread_([this] { run(); }) {}
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() {
        {
            const std::lock_guard lock(mutex_);
            done_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

private:
    void run() {
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, std::chrono::seconds(2), [this] { return done_; })) {
            struct stat status {};
            if (fstat(fd_, &status) == 0) std::cerr << fmt::format("checkpoint: {} MiB written\n", status.st_size >> 20);
        }
    }

    int fd_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false;
    std::thread thread_;
};

// An interruption ends the operation in the kernel; what was begun is then taken back by the destructors.
void make_interruptible() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
}

int check(const Options& options) {
    const std::vector<std::string> refusals = Device().check(options.pid, options.tree);
    if (options.json) {
        Json text = head("check");
        text["pid"] = options.pid;
        text["refusals"] = refusals;
        print(options, std::cout, text);
    } else {
        for (const std::string& line : refusals) std::cout << line << '\n';
    }
    return static_cast<int>(refusals.empty() ? Exit::done : Exit::unsafe);
}

/** 15, TERM or SIGTERM. */
int signal_of(const std::string& word) {
    char* end = nullptr;
    const long number = std::strtol(word.c_str(), &end, 10);
    if (!word.empty() && !*end && number >= 1 && number <= SIGRTMAX) return static_cast<int>(number);
    const std::string name = word.rfind("SIG", 0) == 0 ? word.substr(3) : word;
    for (int i = 1; i < NSIG; i++)
        if (const char* known = sigabbrev_np(i); known && name == known) return i;
    throw Error(Exit::usage, fmt::format("{} is no signal", word), "kill -l lists them");
}

/** What is frozen so stays, until somebody says otherwise. */
int steer(const Options& options) {
    if (options.freeze)
        control(options.pid, "freeze");
    else
        control(options.pid, options.signal ? fmt::format("unfreeze {}", options.signal) : "unfreeze");
    if (options.json) {
        Json text = head(options.freeze ? "freeze" : "unfreeze");
        text.update({{"pid", options.pid}, {"signal", options.signal}});
        print(options, std::cout, text);
    }
    return static_cast<int>(Exit::done);
}

std::uint32_t capture_flags(const Options& options) {
    return (options.tree ? KRG_PROC_TREE : 0) | (options.signal ? KRG_PROC_STOP : 0) |
           (options.ignore ? KRG_PROC_IGNORE_UNSUPPORTED : 0) | (options.quiet ? KRG_PROC_NO_CALLBACKS : 0);
}

void wait_until_gone(int pidfd, int pid) {
    pollfd what{pidfd, POLLIN, 0};
    if (poll(&what, 1, gone_limit_ms) != 1)
        throw Error(Exit::timed_out, fmt::format("process {} was killed, and is still there", pid),
                    "look at its state in /proc");
}

Descriptor open_process(int pid) { return Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

// Packed when the process goes on, or is frozen to be killed: it does not wait for more than the plain bytes.
Image capture(const Options& options, const Device& device, const ImageFile& file, const Place& place) {
    const std::uint32_t flags = capture_flags(options);
    const auto timeout_ms = static_cast<std::uint32_t>(options.timeout_s * 1000);
    if (options.codec == krg::image::Codec::plain)
        return device.capture(options.pid, flags, file.descriptor(), timeout_ms, options.description, place);
    const ImageFile plain(options.file);
    Image image = device.capture(options.pid, flags, plain.descriptor(), timeout_ms, options.description, place);
    image.bytes = krg::image::rewrite(plain.temporary(), file.descriptor(), options.codec, true).size;
    return image;
}

void say_saved(const Options& options, const Image& image, const Place& place, double seconds) {
    if (options.json) {
        Json text = head("save");
        text.update({{"pid", options.pid}, {"file", options.file}, {"number", fmt::format("{:#018x}", image.number)}});
        text.update({{"bytes", image.bytes}, {"pages", image.pages}, {"tasks", image.tasks}, {"threads", image.threads}});
        text.update({{"killed", options.signal == SIGKILL}, {"signal", options.signal}, {"seconds", seconds}});
        text["left_out"] = image.left_out;
        text.update({{"version", image.version}, {"base", place.base}});
        print(options, std::cout, text);
    } else {
        std::cout << fmt::format("{}: {} processes, {} threads, {} pages, {} bytes{}, {:.2f} s\n", options.file, image.tasks,
                                 image.threads, image.pages, image.bytes,
                                 place.base.empty() ? "" : ", an increment of " + place.base, seconds);
    }
}

/** @saved is called when the image is safe, before what is killed is. */
int save(const Options& options, const Place& place = {}, const std::function<void()>& saved = {}) {
    if (options.description.size() > description_max)
        throw Error(Exit::usage, fmt::format("the description is longer than {} bytes", description_max));
    const Device device;
    const Clock::time_point begin = Clock::now();
    const Descriptor pidfd = open_process(options.pid);
    if (pidfd.get() < 0 && errno == ESRCH)
        throw Error(Exit::no_object, fmt::format("there is no process {}", options.pid), "look at ps; it may have ended");
    const bool frozen = is_frozen(options.pid);
    if (options.only && !frozen)
        throw Error(Exit::failed, fmt::format("process {} is not frozen", options.pid), "checkpoint --freeze PID");
    ImageFile file(options.file);
    Image image{};
    {
        const Progress progress(file.descriptor());
        image = capture(options, device, file, place);
        // What is killed was frozen since: the image is the last that there is of it.
        file.keep();
        if (saved) saved();
    }
    for (const std::string& line : image.left_out) std::cerr << "checkpoint: left out: " << line << '\n';
    if (options.signal && frozen)
        control(options.pid, fmt::format("unfreeze {}", options.signal));
    else if (options.signal)
        device.release(options.pid, options.signal);
    if (options.signal == SIGKILL) {
        wait_until_gone(pidfd.get(), options.pid);
        std::cerr << remove_objects(options.file);
    }
    say_saved(options, image, place, std::chrono::duration<double>(Clock::now() - begin).count());
    return static_cast<int>(Exit::done);
}

// What the newest version says of itself, so that it does not matter who made it, or when. Nothing: a full image comes next.
std::optional<Place> place_after(const Options& options, const Versions& versions) {
    const std::optional<std::string> newest = versions.newest();
    if (options.full || !newest) return std::nullopt;
    try {
        const krg::image::Link link = krg::image::link_of(*newest);
        if (!link.chain || link.version + 1 >= options.full_every) return std::nullopt;
        (void)krg::image::chain_of(*newest);
        return Place{link.chain, link.number, std::filesystem::path(link.path).filename()};
    } catch (const Error& error) {
        std::cerr << fmt::format("checkpoint: {}; a full image is made\n", error.what());
        return std::nullopt;
    }
}

std::uint64_t fresh_chain() {
    std::random_device random;
    return std::uint64_t{random()} << 32 | random() | 1;
}

// An increment where one can be; where it is not known what was written, a full image, which begins a chain of its own.
int save_version(const Options& options, Versions& versions) {
    Options once = options;
    once.file = versions.next();
    const auto saved = [&] { versions.took(); };
    if (const std::optional<Place> place = place_after(options, versions)) {
        try {
            return save(once, *place, saved);
        } catch (const Stale& stale) {
            for (const std::string& reason : stale.reasons()) std::cerr << "checkpoint: " << reason << '\n';
            std::cerr << "checkpoint: a full image is made\n";
        }
    }
    return save(once, {options.full ? 0 : fresh_chain(), 0, {}}, saved);
}

// Until the process has ended, or somebody has had enough. One that fails leaves the ones before it, and the next is tried.
int save_again_and_again(const Options& options) {
    Versions versions(options.file, options.keep);
    const Descriptor pidfd = open_process(options.pid);
    if (pidfd.get() < 0)
        throw Error(Exit::no_object, fmt::format("there is no process {}", options.pid), "look at ps; it may have ended");
    Exit last = Exit::done;
    for (Clock::time_point next = Clock::now();;) {
        try {
            save_version(options, versions);
            last = Exit::done;
        } catch (const Error& error) {
            if (interrupted) return static_cast<int>(Exit::done);
            last = error.code();
            const auto* refused = dynamic_cast<const Refused*>(&error);
            complain(options, error, refused ? refused->reasons() : std::vector<std::string>{});
        }
        std::cout.flush();
        next += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.every_s));
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now()).count();
        if (left < 0) next = Clock::now();
        pollfd what{pidfd.get(), POLLIN, 0};
        const int ended = poll(&what, 1, static_cast<int>(std::max<long long>(left, 0)));
        if (ended > 0 || interrupted) return static_cast<int>(last);
    }
}

int run(const Options& options) {
    if (options.check) return check(options);
    if (options.every_s > 0) return save_again_and_again(options);
    if (!options.incremental) return save(options);
    Versions versions(options.file, options.keep);
    return save_version(options, versions);
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Save a running process, with all its threads, in an image.", "checkpoint");
    app.set_version_flag("--version", std::string("checkpoint ") + krg::version);
    app.add_option("PID", options.pid, "the process")->required()->check(CLI::Range(1, 4194304));
    CLI::Option* name = app.add_option("FILE,-o,--output", options.file, "the image; one that is there is replaced");
    app.add_flag("-t,--tree", options.tree, "with all its descendants");
    CLI::Option* kill = app.add_flag("-k,--kill{KILL}", options.kill_word,
                                     "send it SIGKILL, or that signal, once the image is safe");
    CLI::Option* freeze = app.add_flag("-f,--freeze", options.freeze, "hold it, with all descendants, until --unfreeze");
    CLI::Option* unfreeze = app.add_flag("-u,--unfreeze{0}", options.unfreeze_word, "let it go on, with a signal or without");
    CLI::Option* only = app.add_flag("--ckpt-only", options.only, "save one that is frozen, and leave it so");
    app.add_flag("--ignore-unsupported", options.ignore, "files that an image cannot carry become /dev/null in it");
    app.add_flag("-b,--no-callbacks", options.quiet, "do not tell the program before and after");
    freeze->excludes(name)->excludes(unfreeze)->excludes(only)->excludes(kill);
    unfreeze->excludes(name)->excludes(only)->excludes(kill);
    only->excludes(kill);
    app.add_flag("--check", options.check, "only say what would be refused")->excludes(name);
    app.add_option("-d,--description", options.description, "free text for the image");
    app.add_option("--timeout", options.timeout_s, "seconds for all threads to stop")->check(CLI::Range(0.01, 3600.0));
    CLI::Option* every = app.add_option("--every", options.every_s,
                                        "again and again, as 60s, 5m or 2h: FILE leads to the newest version")
                             ->transform(
                                 CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1}, {"m", 60}, {"h", 3600}}));
    CLI::Option* incremental =
        app.add_flag("-i,--incremental", options.incremental,
                     "one more version, as --every makes them: only pages that were written since the last one");
    app.add_option("--keep", options.keep, "versions that are kept, with what they add to")->check(CLI::Range(1, 1000000));
    app.add_option("--full-every", options.full_every, "so many versions from one full image to the next")
        ->check(CLI::Range(1, 10000));
    app.add_flag("--full", options.full, "with --every: each version is a full image")->needs(every)->excludes(incremental);
    app.add_option("-c,--compress", options.codec, "pack pages: lz4 or zstd")
        ->transform(CLI::Transformer(
            std::map<std::string, krg::image::Codec>{{"lz4", krg::image::Codec::lz4}, {"zstd", krg::image::Codec::zstd}}));
    app.add_flag("-j,--json", options.json, "JSON on standard output");
    app.add_flag("-p,--pretty", options.pretty, "indented JSON");
    app.footer("See checkpoint(1). What came of it is continued by restart(1).");
    try {
        app.parse(argc, argv);
        options.unfreeze = unfreeze->count() > 0;
        const bool steers = options.freeze || options.unfreeze;
        if (options.check && (steers || kill->count() || only->count())) throw CLI::ExcludesError("--check", "an operation");
        if (!options.check && !steers && options.file.empty()) throw CLI::RequiredError("FILE");
        if (every->count() && (steers || only->count()))
            throw CLI::ExcludesError("--every", "--freeze, --unfreeze, --ckpt-only");
        if (every->count() && (options.check || kill->count()))
            throw CLI::ExcludesError("--every", options.check ? "--check" : "--kill");
        if (options.check && options.incremental) throw CLI::ExcludesError("--incremental", "--check");
        if (every->count() && (options.every_s < 1 || options.every_s > 1e6))
            throw CLI::ValidationError("--every", "must be from 1 s to 1000000 s");
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::usage);
    }
    make_interruptible();
    try {
        if (!options.kill_word.empty()) options.signal = signal_of(options.kill_word);
        if (!options.unfreeze_word.empty() && options.unfreeze_word != "0") options.signal = signal_of(options.unfreeze_word);
        if (options.freeze || options.unfreeze) return steer(options);
        const int exit = run(options);
        if (!std::cout.flush()) throw Error(Exit::failed, "cannot write to standard output", "is there room where it goes?");
        return exit;
    } catch (const Refused& error) {
        return complain(options, error, error.reasons());
    } catch (const Error& error) {
        return complain(options, error, {});
    } catch (const std::bad_alloc&) {
        return complain(options, Error(Exit::failed, "out of memory", "use a machine with more"), {});
    } catch (const std::exception& error) {
        return complain(options, Error(Exit::failed, error.what()), {});
    }
}
