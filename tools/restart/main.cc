// SPDX-License-Identifier: GPL-2.0
// restart: processes out of an image, with their ids, as they were.
#include <iostream>
#include <new>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/krg_proc.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/krgadm/version.hh"
#include "tools/lib/error.hh"
#include "tools/lib/whole.hh"
#include "tools/restart/check.hh"
#include "tools/restart/restore.hh"

namespace {

using krg::Error;
using krg::Exit;
using Json = nlohmann::ordered_json;

int complain(bool json, const Error& error) {
    if (json) {
        Json text = {{"output_version", {{"command", "restart error"}, {"major", 1}, {"minor", 0}}}};
        text["error"] = {{"code", static_cast<int>(error.code())}, {"message", error.what()}, {"action", error.action()}};
        std::cerr << text.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
    } else {
        std::cerr << "restart: " << error.what() << '\n';
        if (!error.action().empty()) std::cerr << "  try: " << error.action() << std::endl;
    }
    return static_cast<int>(error.code());
}

void add_substitute(krg::restart::Options& options, const std::string& word) {
    const size_t comma = word.rfind(',');
    char* end = nullptr;
    const long fd = comma == std::string::npos ? -1 : std::strtol(word.c_str() + comma + 1, &end, 10);
    if (comma == std::string::npos || comma == 0 || *end || end == word.c_str() + comma + 1 || fd < 0)
        throw Error(Exit::usage, "--substitute-file " + word + ": not FILE,DESCRIPTOR",
                    "FILE is a path, or @N as krgimg show prints it");
    options.substitutes[word.substr(0, comma)] = static_cast<int>(fd);
}

/** A process from another node: the kernel started this program, and lends it the image. */
class Incoming {
public:
    explicit Incoming(u64 id) : device_(open(KRG_PROC_DEVICE, O_RDWR | O_CLOEXEC)) {
        krg_proc_incoming arg{};
        arg.id = id;
        if (device_ < 0 || ioctl(device_, KRG_PROC_INCOMING, &arg) != 0)
            throw Error(Exit::no_object, fmt::format("image {} from another node: {}", id, std::strerror(errno)));
        image_ = arg.fd;
    }
    ~Incoming() { close(device_); }
    Incoming(const Incoming&) = delete;
    Incoming& operator=(const Incoming&) = delete;

    [[nodiscard]] int device() const { return device_; }
    [[nodiscard]] std::string path() const { return fmt::format("/proc/self/fd/{}", image_); }
    /** The source hears why. */
    void failed(const std::string& why, Exit exit) const {
        krg_proc_incoming_failed arg{};
        arg.why = {reinterpret_cast<u64>(why.data()), 0, static_cast<u32>(why.size())};
        arg.error = exit == Exit::unsafe ? EOPNOTSUPP : exit == Exit::not_permitted ? EPERM : EIO;
        ioctl(device_, KRG_PROC_INCOMING_FAILED, &arg);
    }

private:
    int device_ = -1, image_ = -1;
};

struct Arguments {
    krg::restart::Options options;
    u64 incoming = 0, home = 0;
    std::string image;
    std::vector<std::string> substitutes;
    bool json = false, check = false;
};

int check_only(const Arguments& arguments, const krg::restart::Plan& plan) {
    krg::restart::refuse(krg::restart::refusals(plan, arguments.options));
    if (arguments.json)
        std::cout << Json{{"output_version", {{"command", "restart --check"}, {"major", 1}, {"minor", 0}}}, {"ok", true}}.dump()
                  << std::endl;
    return 0;
}

int come_in(Arguments& arguments) {
    const Incoming incoming(arguments.incoming);
    arguments.options.device = incoming.device();
    arguments.options.accept_changed = true;  // its own process has it open until now
    setsid();                                 // its group and session stay behind; those of a kernel's helper have no number
    try {
        const krg::restart::Plan plan(incoming.path());
        (void)krg::restart::restore(plan, arguments.options);
        return 0;
    } catch (const Error& error) {
        incoming.failed(error.what(), error.code());
        throw;
    } catch (const std::exception& error) {
        incoming.failed(error.what(), Exit::failed);
        throw;
    }
}

/** The kernel runs this program in a process's shadow, which it becomes. */
int come_home(Arguments& arguments) {
    const Incoming incoming(arguments.home);
    arguments.options.device = incoming.device();
    arguments.options.accept_changed = arguments.options.at_home = true;
    try {
        const krg::restart::Plan plan(incoming.path());
        krg::restart::come_home(plan, arguments.options);
    } catch (const Error& error) {
        incoming.failed(error.what(), error.code());
        throw;
    } catch (const std::exception& error) {
        incoming.failed(error.what(), Exit::failed);
        throw;
    }
}

int run(Arguments& arguments) {
    if (arguments.home) return come_home(arguments);
    if (arguments.incoming) return come_in(arguments);
    for (const std::string& word : arguments.substitutes) add_substitute(arguments.options, word);
    const krg::image::Whole whole(arguments.image);
    krg::restart::Plan plan(whole.path());
    if (arguments.options.pids) plan.replace_pids();
    if (arguments.check) return check_only(arguments, plan);
    const krg::restart::Restored restored = krg::restart::restore(plan, arguments.options);
    if (arguments.json)
        std::cout << Json{{"output_version", {{"command", "restart"}, {"major", 1}, {"minor", 0}}},
                          {"pid", restored.roots.front()},
                          {"pids", restored.roots},
                          {"tasks", restored.tasks},
                          {"threads", restored.threads},
                          {"number", fmt::format("{:016x}", restored.number)}}
                         .dump()
                  << std::endl;
    else if (!arguments.options.foreground)
        std::cout << restored.roots.front() << std::endl;
    return arguments.options.foreground ? krg::restart::wait_for(restored.roots.front()) : 0;
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    CLI::App app("Restart the processes of a checkpoint.", "restart");
    app.set_version_flag("--version", std::string("restart ") + krg::version);
    app.add_option("FILE", arguments.image, "the image");
    app.add_option("--incoming", arguments.incoming)->group("");  // the kernel's
    app.add_option("--home", arguments.home)->group("");
    app.add_flag("-f,--foreground", arguments.options.foreground, "wait for the first process and exit with its status");
    app.add_flag("-p,--pids", arguments.options.pids, "join the session and the process group of the caller");
    app.add_flag("-t,--replace-tty", arguments.options.replace_tty,
                 "take the caller's terminal for one that is not in the image");
    app.add_option("-s,--substitute-file", arguments.substitutes, "FILE,DESCRIPTOR: take that descriptor of restart's instead")
        ->take_all();
    app.add_flag("--accept-changed", arguments.options.accept_changed, "take files as they are now");
    app.add_flag("--check", arguments.check, "only say what stands in the way");
    app.add_flag("-j,--json", arguments.json, "JSON on standard output");
    app.footer("See restart(1).");
    try {
        app.parse(argc, argv);
        if (arguments.image.empty() != (arguments.incoming != 0 || arguments.home != 0)) throw CLI::RequiredError("FILE");
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::usage);
    }
    try {
        return run(arguments);
    } catch (const Error& error) {
        return complain(arguments.json, error);
    } catch (const std::bad_alloc&) {
        return complain(arguments.json, Error(Exit::failed, "out of memory", "use a machine with more"));
    } catch (const std::exception& error) {
        return complain(arguments.json, Error(Exit::failed, error.what()));
    }
}
