// SPDX-License-Identifier: GPL-2.0
// migrate: a running process goes to another node of the cluster, and keeps its id.
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <linux/krg_proc.h>
#include <nlohmann/json.hpp>

#include "tools/krgadm/version.hh"
#include "tools/lib/error.hh"

namespace {

using krg::Error;
using krg::Exit;
using Json = nlohmann::ordered_json;

struct Arguments {
    int pid = 0;
    unsigned node = 0, timeout_s = 60;
    bool json = false, check = false, tree = false;
    std::string mode = "stop";
};

class Device {
public:
    Device() : fd_(open(KRG_PROC_DEVICE, O_RDWR | O_CLOEXEC)) {
        if (fd_ < 0)
            throw Error(Exit::not_running, fmt::format("{}: {}", KRG_PROC_DEVICE, std::strerror(errno)), "modprobe krg_proc");
    }
    ~Device() { close(fd_); }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    /** Does @request; what it refuses or says becomes an Error. */
    template<typename Argument>
    void operator()(unsigned long request, Argument& argument, krg_proc_text Argument::*text, const std::string& what) const {
        std::array<char, 4096> reason{};
        (argument.*text).at = reinterpret_cast<__u64>(reason.data());
        (argument.*text).room = reason.size();
        const int err = ioctl(fd_, request, &argument) == 0 ? 0 : errno;
        std::string said(reason.data(), std::min<size_t>(reason.size(), (argument.*text).length));
        while (!said.empty() && said.back() == '\n') said.pop_back();
        if (err || !said.empty()) throw failure(err ? err : EOPNOTSUPP, what, said);
    }

private:
    static Error failure(int err, const std::string& what, const std::string& said) {
        Exit exit = Exit::failed;
        std::string action;
        switch (err) {
        case EPERM:
        case EACCES: exit = Exit::not_permitted; break;
        case ESRCH: exit = Exit::no_object; break;
        case EHOSTUNREACH: exit = Exit::no_object, action = "krgadm node list"; break;
        case ENOTCONN: exit = Exit::not_running, action = "krgadm cluster join"; break;
        case EOPNOTSUPP: exit = Exit::unsafe; break;
        case ETIMEDOUT: exit = Exit::timed_out; break;
        default: break;
        }
        return Error(exit, said.empty() ? fmt::format("{}: {}", what, std::strerror(err)) : fmt::format("{}: {}", what, said),
                     action);
    }

    int fd_;
};

int complain(bool json, const Error& error) {
    if (json) {
        Json text = {{"output_version", {{"command", "migrate error"}, {"major", 1}, {"minor", 0}}}};
        text["error"] = {{"code", static_cast<int>(error.code())}, {"message", error.what()}, {"action", error.action()}};
        std::cerr << text.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    } else {
        std::cerr << "migrate: " << error.what() << '\n';
        if (!error.action().empty()) std::cerr << "  try: " << error.action() << '\n';
    }
    return static_cast<int>(error.code());
}

void check(const Arguments& arguments) {
    krg_proc_migrate request{};
    request.pid = arguments.pid;
    request.flags = arguments.tree ? KRG_PROC_TREE : 0;
    Device()(KRG_PROC_MIGRATE, request, &krg_proc_migrate::error, fmt::format("process {} cannot move", arguments.pid));
    if (arguments.json)
        std::cout << Json{{"output_version", {{"command", "migrate --check"}, {"major", 1}, {"minor", 0}}},
                          {"pid", arguments.pid},
                          {"ok", true}}
                         .dump()
                  << std::endl;
}

void move(const Arguments& arguments) {
    krg_proc_migrate request{};
    request.pid = arguments.pid;
    request.node = arguments.node;
    request.flags = (arguments.tree ? KRG_PROC_TREE : 0) | (arguments.mode.starts_with("post") ? KRG_PROC_POST : 0) |
                    (arguments.mode.starts_with("pre") ? KRG_PROC_PRE : 0);
    request.timeout_ms = arguments.timeout_s * 1000;
    Device()(KRG_PROC_MIGRATE, request, &krg_proc_migrate::error,
             fmt::format("process {} did not move to node {}", arguments.pid, arguments.node));
    if (!arguments.json) return;
    std::cout << Json{{"output_version", {{"command", "migrate"}, {"major", 1}, {"minor", 0}}},
                      {"pid", arguments.pid},
                      {"node", arguments.node},
                      {"mode", arguments.mode},
                      {"bytes", request.bytes},
                      {"generation", request.generation},
                      {"bytes_before", request.bytes_before},
                      {"rounds", request.rounds},
                      {"bytes_after", request.bytes_after},
                      {"frozen_ms", static_cast<double>(request.frozen_ns) / 1e6},
                      {"local_ms", static_cast<double>(request.local_ns) / 1e6}}
                     .dump()
              << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    CLI::App app("Move a running process to another node of the cluster.", "migrate");
    app.set_version_flag("--version", std::string("migrate ") + krg::version);
    app.add_option("PID", arguments.pid, "the process")->required()->check(CLI::PositiveNumber);
    app.add_option("NODE", arguments.node, "id of the node it goes to")->check(CLI::Range(1, 126));
    app.add_option("--timeout", arguments.timeout_s, "seconds for the other node to build it")->check(CLI::Range(1, 3600));
    app.add_flag("--tree", arguments.tree, "with all its descendants");
    app.add_option("--mode", arguments.mode, "stop: all memory travels while it is frozen; pre: most of it before; post: after")
        ->check(CLI::IsMember({"stop", "pre", "pre-copy", "post", "post-copy"}))
        ->capture_default_str();
    app.add_flag("--check", arguments.check, "only say what stands in the way");
    app.add_flag("-j,--json", arguments.json, "JSON on standard output");
    app.footer("See migrate(1).");
    try {
        app.parse(argc, argv);
        if (!arguments.check && !arguments.node) throw CLI::RequiredError("NODE");
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::usage);
    }
    try {
        arguments.check ? check(arguments) : move(arguments);
        return 0;
    } catch (const Error& error) {
        return complain(arguments.json, error);
    } catch (const std::exception& error) {
        return complain(arguments.json, Error(Exit::failed, error.what()));
    }
}
