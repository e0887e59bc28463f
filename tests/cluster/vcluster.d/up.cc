// SPDX-License-Identifier: GPL-2.0
//
// The `up` verb: see up.h.
#include "up.h"

#include "supervisor.h"

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <poll.h>
#include <random>
#include <sys/stat.h>
#include <thread>

namespace krg::vcluster {

namespace {

void build(const ClusterSpec& spec) {
    auto step = [&](const std::vector<std::string>& argv) {
        int status = run_shown(argv, spec.checkout);
        if (status != 0)
            throw Error(fmt::format("cannot build what the guests need: {} failed ({}), see above", argv[0], status));
    };
    // The debug kernel has no version that the build knows it by.
    step({spec.checkout + "/scripts/build-modules", spec.kernel_wanted == "debug" ? "debug" : spec.kernel.version,
          fmt::format("-j{}", std::max(1U, std::thread::hardware_concurrency()))});
    step({spec.checkout + "/scripts/build-host", "build/host", "--target", "krgadm"});
}

std::string random_key() {
    std::random_device random;
    std::string key;
    for (int i = 0; i < 8; ++i) key += fmt::format("{:08x}", random());
    return key;
}

// KASAN and lockdep under emulation: a node that is merely slow must not be taken for a dead one.
constexpr int debug_lease_ms = 8000;

std::map<std::string, std::string> guest_settings(const ClusterSpec& spec) {
    return {{"name", spec.name},
            {"links", std::to_string(spec.links)},
            {"load", spec.load ? "1" : "0"},
            {"systemd", spec.systemd ? "1" : "0"},
            {"disk", spec.disk_mb > 0 ? "1" : "0"},
            {"kver", spec.kernel.version},
            {"modules", spec.kernel.modules},
            {"checkout", spec.checkout},
            {"bin", spec.checkout + "/build/host/bin"},
            {"key", random_key()},
            {"lease_ms", std::to_string(spec.kernel_wanted == "debug" ? debug_lease_ms : 0)},
            {"max_nodes", std::to_string(node_id_max)},
            {"module", fmt::format("{}/build/{}/kerrighed.ko", spec.checkout, spec.kernel.version)}};
}

// The supervisor's life begins here: a session of its own, its own network, no terminal.
[[noreturn]] void become_supervisor(const ClusterState& state, const ClusterSpec& spec, Fd started) {
    setsid();
    Fd null(open("/dev/null", O_RDONLY));
    Fd log(open((spec.directory + "/supervisor.log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600));
    dup2(null.get(), 0);
    dup2(log.get(), 1);
    dup2(log.get(), 2);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    umask(0);  // modes in /shared are the guests'
    int exit_status = 0;
    try {
        state.record_supervisor(getpid());
        enter_own_network();
        (void)!chdir("/");
        Supervisor(spec, state).run(std::move(started));
    } catch (const std::exception& error) {
        std::string text = error.what();
        fmt::print(stderr, "supervisor: {}\n", text);
        if (started) (void)!write(started.get(), text.data(), text.size());
        exit_status = 1;
    }
    _exit(exit_status);
}

void start_supervisor(const ClusterState& state, const ClusterSpec& spec, Fd lock) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw system_error("cannot make a pipe");
    Fd from(ends[0]), to(ends[1]);
    std::fflush(nullptr);
    pid_t child = fork();
    if (child < 0) throw system_error("cannot start the supervisor");
    if (child == 0) {
        lock.reset();
        from.reset();
        become_supervisor(state, spec, std::move(to));
    }
    to.reset();
    std::string said;
    pollfd wait{from.get(), POLLIN, 0};
    char buffer[4096];
    if (poll(&wait, 1, 30'000) > 0) {
        ssize_t got = read(from.get(), buffer, sizeof buffer);
        if (got > 0) said.assign(buffer, static_cast<size_t>(got));
    }
    if (said != "s") throw Error("the supervisor did not start: " + (said.empty() ? "see " + spec.directory : said));
}

std::string last_lines(const std::string& path, size_t bytes) {
    std::string text = read_file(path);
    return text.size() > bytes ? text.substr(text.size() - bytes) : text;
}

}  // namespace

void wait_ready(const ClusterState& state, const std::vector<int>& wanted, double timeout_s, bool progress) {
    double begin = now_s(), end = begin + timeout_s;
    std::map<int, std::string> shown;
    for (;;) {
        Json status = state.request({{"verb", "status"}});
        bool all = true;
        for (const auto& node : status.at("nodes")) {
            int id = node.at("id");
            if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), id) == wanted.end()) continue;
            std::string failure = node.at("failure"), where = node.at("state"), stage = node.at("stage");
            bool ready = node.at("ready").get<bool>() && where == "running";
            if (!failure.empty() || where == "crashed" || where == "off")
                throw Error(fmt::format("node {} {}: {}", id, where, failure.empty() ? "it ended by itself" : failure));
            all = all && ready;
            std::string now = ready ? (node.at("joined").get<bool>() ? "joined, ready" : "ready")
                                    : where + (stage.empty() ? "" : ", " + stage);
            if (progress && shown[id] != now)
                fmt::print(stderr, "vcluster: {:5.1f} s  node {}: {}\n", now_s() - begin, id, now);
            shown[id] = now;
        }
        if (all) return;
        if (now_s() > end) {
            std::string text = fmt::format("not ready after {} s:", timeout_s);
            for (const auto& [id, what] : shown)
                text += fmt::format("\n  node {}: {}\n{}", id, what,
                                    what.starts_with("ready") || what.starts_with("joined")
                                        ? ""
                                        : last_lines(state.node_file(id, "kernel.log"), 800));
            throw Error(text, ExitCode::timed_out);
        }
        usleep(100'000);
    }
}

void bring_up(const ClusterState& state, UpOptions options) {
    ClusterSpec& spec = options.spec;
    Fd lock = state.lock();
    if (state.supervisor() > 0)
        throw Error(fmt::format("cluster {} is up already; `vcluster --name {} down` first", state.name(), state.name()));
    if (state.exists()) {
        state.remove();  // left by something that was killed
        lock = state.lock();
    }
    double begin = now_s();
    spec.name = state.name();
    spec.directory = state.directory();
    if (spec.shared.empty()) spec.shared = spec.directory + "/shared";
    if (spec.systemd && access("/lib/systemd/systemd", X_OK) != 0)
        throw Error("--systemd needs systemd on this machine, whose files the guests use; tests/deps.sh systemd installs it");
    spec.kernel = find_kernel(spec.checkout, spec.kernel_wanted);
    spec.kernel.image = boot_image(spec.kernel);
    if (spec.load && options.build) {
        fmt::print(stderr, "vcluster: building modules for {} and krgadm\n", spec.kernel.version);
        double building = now_s();
        build(spec);
        fmt::print(stderr, "vcluster: built, {:.1f} s\n", now_s() - building);
        begin = now_s();
    }
    state.create();
    try {
        std::map<std::string, std::string> settings = guest_settings(spec);
        std::string program = spec.checkout + "/build/host/bin/vcluster-guest";
        write_initramfs(spec.directory + "/initramfs", spec.kernel, program, settings);
        spec.accelerator = options.accelerator == "auto" ? choose_accelerator(spec) : options.accelerator;
        write_file(spec.directory + "/spec.json", spec_to_json(spec).dump(2) + "\n");
        fmt::print(stderr, "vcluster: starting {} node{} with Linux {} ({})\n", spec.nodes, spec.nodes > 1 ? "s" : "",
                   spec.kernel.version, spec.accelerator == "kvm" ? "hardware virtualisation" : "software emulation");
        start_supervisor(state, spec, std::move(lock));
        wait_ready(state, {}, options.timeout_s, true);
    } catch (const Error& error) {
        std::string log = last_lines(spec.directory + "/supervisor.log", 2000);
        fmt::print(stderr, "{}", log);
        throw Error(fmt::format("{}\n(the cluster is left as it is: `vcluster --name {} log NODE`, then `down`)", error.what(),
                                state.name()),
                    error.code());
    }
    fmt::print(stderr, "vcluster: cluster {} is up, {:.1f} s\n", state.name(), now_s() - begin);
}

}  // namespace krg::vcluster
