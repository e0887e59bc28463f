// SPDX-License-Identifier: GPL-2.0
//
// vcluster and krgadm as child processes: see cluster.hh.
#include "cluster.hh"

#include <algorithm>
#include <fmt/format.h>
#include <future>

namespace krg::cluster_test {

namespace {

constexpr double poll_every_s = 0.3;
constexpr double say_every_s = 5;

NodeStatus parse_status(const ProcessResult& result) {
    NodeStatus status;
    status.exit_status = result.status;
    status.state = "no answer";
    Json json = Json::parse(result.out, nullptr, false);
    if (json.is_discarded() || !json.contains("state")) {
        status.last_error = result.timed_out ? "no answer in time" : result.err;
        return status;
    }
    status.answered = true;
    status.state = json.at("state").get<std::string>();
    status.epoch = json.at("epoch").get<std::uint64_t>();
    for (const auto& id : json.at("members")) status.members.insert(id.get<int>());
    status.cluster_id = json.at("cluster_id").get<std::string>();
    status.incarnation = json.at("incarnation").get<std::string>();
    status.quorum = json.at("quorum").get<bool>();
    status.lease_ms = json.at("lease_ms").get<std::int64_t>();
    status.lease_left_ms = json.at("lease_left_ms").get<std::int64_t>();
    status.last_reason = json.at("last_reason").get<std::string>();
    status.last_error = json.at("last_error").get<std::string>();
    status.health = json.at("health").get<std::string>();
    return status;
}

}  // namespace

std::string to_text(const NodeIds& ids) { return fmt::format("{}", fmt::join(ids, ", ")); }

std::string NodeStatus::text() const {
    if (!answered) return fmt::format("no answer (krgadm exit status {}) {}", exit_status, last_error);
    std::string text = fmt::format("{} epoch {} members [{}] quorum {} lease {} ms incarnation {}", state, epoch,
                                   to_text(members), quorum ? "yes" : "no", lease_left_ms, incarnation);
    if (last_reason != "none") text += fmt::format(" reason {} ({})", last_reason, last_error);
    return text;
}

Cluster::Cluster(ClusterOptions options) : options_(std::move(options)) {
    if (options_.memory_mb == 0) options_.memory_mb = has_debug_kernel() ? 768 : 384;
}

Cluster::~Cluster() {
    try {
        down();
    } catch (const std::exception& error) {
        fmt::print(stderr, "cannot take cluster {} down: {}\n", options_.name, error.what());
    }
}

std::vector<std::string> Cluster::words(const std::vector<std::string>& more) const {
    std::vector<std::string> all{options_.top + "/tests/cluster/vcluster"};
    if (!options_.build) all = {options_.top + "/build/host/bin/vcluster", "--checkout", options_.top};
    all.insert(all.end(), {"--name", options_.name});
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

ProcessResult Cluster::run(const std::vector<std::string>& more, double timeout_s, bool show) const {
    return run_process(words(more), {timeout_s, {}, show});
}

void Cluster::must(const std::vector<std::string>& more, double timeout_s, bool show) const {
    ProcessResult result = run(more, limit(timeout_s), show);
    if (!result.done()) throw ClusterError(fmt::format("{}: {}", shown(words(more)), result.evidence()));
}

void Cluster::up() {
    std::vector<std::string> command{"up",
                                     "--nodes",
                                     std::to_string(options_.nodes),
                                     "--kernel",
                                     options_.kernel,
                                     "--links",
                                     std::to_string(options_.links),
                                     "--cpus",
                                     std::to_string(options_.cpus),
                                     "--mem",
                                     std::to_string(options_.memory_mb),
                                     "--timeout",
                                     fmt::format("{:.0f}", limit(240))};
    if (!options_.load) command.emplace_back("--no-load");
    if (!options_.build) command.emplace_back("--no-build");
    up_ = true;  // also when it fails half way
    // Building, when nothing is built yet, takes its time before the guests get theirs.
    ProcessResult result = run(command, limit(240) + 900, true);
    if (!result.done()) throw ClusterError(fmt::format("{}: exit status {}", shown(words(command)), result.status));
}

void Cluster::down() {
    if (!up_) return;
    forget_interrupt();
    up_ = false;
    ProcessResult result = run({"down"}, 90);
    if (!result.done() && result.status != 3) throw ClusterError(fmt::format("vcluster down: {}", result.evidence()));
}

std::vector<std::string> Cluster::exec_words(int node, const std::vector<std::string>& command) const {
    std::vector<std::string> all = words({"exec", std::to_string(node), "--no-stdin", "--"});
    all.insert(all.end(), command.begin(), command.end());
    return all;
}

ProcessResult Cluster::exec(int node, const std::vector<std::string>& command, double timeout_s) const {
    return run_process(exec_words(node, command), {limit(timeout_s), {}, false});
}

ProcessResult Cluster::shell(int node, const std::string& script, double timeout_s) const {
    return exec(node, {"sh", "-c", script}, timeout_s);
}

ProcessResult Cluster::krgadm(int node, std::vector<std::string> arguments, double timeout_s) const {
    arguments.insert(arguments.begin(), "krgadm");
    return exec(node, arguments, timeout_s);
}

NodeStatus Cluster::status(int node) const { return parse_status(krgadm(node, {"--json", "cluster", "status"}, 20)); }

std::map<int, NodeStatus> Cluster::status(const NodeIds& nodes) const {
    std::map<int, std::future<NodeStatus>> answers;
    for (int node : nodes) answers.emplace(node, std::async(std::launch::async, [this, node] { return status(node); }));
    std::map<int, NodeStatus> all;
    for (auto& [node, answer] : answers) all.emplace(node, answer.get());
    return all;
}

void Cluster::crash(int node) { must({"crash", std::to_string(node)}); }

void Cluster::boot(int node) {
    must({"boot", std::to_string(node), "--timeout", fmt::format("{:.0f}", limit(180))}, 200, true);
}

void Cluster::pause(int node) { must({"pause", std::to_string(node)}); }
void Cluster::resume(int node) { must({"resume", std::to_string(node)}); }

void Cluster::cut(int from, int to, bool one_way, int link) {
    std::vector<std::string> command{"cut", std::to_string(from), std::to_string(to)};
    if (one_way) command.emplace_back("--one-way");
    if (link != 0) command.insert(command.end(), {"--link", std::to_string(link)});
    must(command);
}

void Cluster::split(const NodeIds& one, const NodeIds& other) {
    for (int a : one)
        for (int b : other) cut(a, b);
}

void Cluster::delay(int one, int other, int ms) {
    must({"delay", std::to_string(one), std::to_string(other), std::to_string(ms)});
}

void Cluster::heal() { must({"heal"}); }

Json Cluster::machines() const {
    ProcessResult result = run({"status", "--json"}, limit(30));
    Json json = Json::parse(result.out, nullptr, false);
    if (!result.done() || json.is_discarded()) throw ClusterError(fmt::format("vcluster status: {}", result.evidence()));
    return json;
}

NodeIds Cluster::machines_in_state(const std::string& state) const {
    NodeIds ids;
    const Json all = machines();
    for (const auto& node : all.at("nodes"))
        if (node.at("state") == state) ids.insert(node.at("id").get<int>());
    return ids;
}

std::string Cluster::log(int node) const { return run({"log", std::to_string(node)}, limit(30)).out; }

std::string wait_until(const std::string& what, double timeout_s, const std::function<std::string()>& pending) {
    const double begin = monotonic_s();
    double said = begin;
    for (;;) {
        std::string missing = pending();
        const double now = monotonic_s();
        if (missing.empty()) return {};
        if (now - begin > timeout_s) return fmt::format("after {:.0f} s, {}:\n{}", now - begin, what, missing);
        if (now - said >= say_every_s) {
            std::replace(missing.begin(), missing.end(), '\n', ';');
            fmt::print("# {:.0f} s, waiting: {} ({})\n", now - begin, what, missing);
            std::fflush(stdout);
            said = now;
        }
        sleep_s(poll_every_s);
    }
}

}  // namespace krg::cluster_test
