// SPDX-License-Identifier: GPL-2.0
//
// A virtual cluster as a driver sees it: vcluster's verbs as functions, and krgadm's answers as values. What is checked
// with them is in the drivers.
#pragma once

#include "process.hh"

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace krg::cluster_test {

using Json = nlohmann::json;
using NodeIds = std::set<int>;

struct ClusterOptions {
    std::string top;   ///< of the source tree
    std::string name;  ///< of the virtual cluster
    std::string kernel = "6.1";
    int nodes = 3, links = 1, cpus = 1;
    int memory_mb = 0;  ///< 0: what the kernel needs
    bool load = true;
    bool build = true;    ///< what the guests need, first
    double patience = 1;  ///< every time limit is multiplied by it
    std::string folder;   ///< where logs of background programs go
};

/// `krgadm --json cluster status` of one node.
struct NodeStatus {
    bool answered = false;
    int exit_status = -1;
    std::string state;  ///< "no answer" when it did not
    std::uint64_t epoch = 0;
    NodeIds members;
    std::string cluster_id, incarnation, health, last_reason, last_error;
    bool quorum = false;
    std::int64_t lease_left_ms = 0, lease_ms = 0;

    [[nodiscard]] std::string text() const;
};

/// A step of vcluster itself failed: nothing a test could go on after.
class ClusterError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class Cluster {
public:
    explicit Cluster(ClusterOptions options);
    ~Cluster();
    Cluster(const Cluster&) = delete;
    Cluster& operator=(const Cluster&) = delete;

    void up();
    void down();  ///< also when it is not up
    [[nodiscard]] bool is_up() const { return up_; }
    [[nodiscard]] bool has_debug_kernel() const { return options_.kernel == "debug"; }
    [[nodiscard]] const ClusterOptions& options() const { return options_; }

    [[nodiscard]] ProcessResult exec(int node, const std::vector<std::string>& command, double timeout_s = 60) const;
    [[nodiscard]] ProcessResult shell(int node, const std::string& script, double timeout_s = 60) const;
    [[nodiscard]] ProcessResult krgadm(int node, std::vector<std::string> arguments, double timeout_s = 90) const;
    [[nodiscard]] NodeStatus status(int node) const;
    /// Of several nodes, asked at the same time.
    [[nodiscard]] std::map<int, NodeStatus> status(const NodeIds& nodes) const;
    /// The command line that runs `command` on a node, for a BackgroundProcess.
    [[nodiscard]] std::vector<std::string> exec_words(int node, const std::vector<std::string>& command) const;

    void crash(int node);
    void boot(int node);  ///< returns when it answers; shows how far it is meanwhile
    void pause(int node);
    void resume(int node);
    void cut(int from, int to, bool one_way = false, int link = 0);
    /// Cuts every path between the two groups.
    void split(const NodeIds& one, const NodeIds& other);
    void delay(int one, int other, int ms);  ///< in both directions
    void heal();
    [[nodiscard]] Json machines() const;  ///< vcluster status --json
    [[nodiscard]] NodeIds machines_in_state(const std::string& state) const;
    [[nodiscard]] std::string log(int node) const;

    [[nodiscard]] double limit(double seconds) const { return seconds * options_.patience; }

private:
    ProcessResult run(const std::vector<std::string>& words, double timeout_s, bool show = false) const;
    void must(const std::vector<std::string>& words, double timeout_s = 60, bool show = false) const;
    [[nodiscard]] std::vector<std::string> words(const std::vector<std::string>& more) const;

    ClusterOptions options_;
    bool up_ = false;
};

/// Asks `pending` until it returns an empty text; that text says what is missing still. Returns the last one: empty when
/// it came true in time. Says every few seconds what it waits for.
[[nodiscard]] std::string wait_until(const std::string& what, double timeout_s, const std::function<std::string()>& pending);

/// "1, 2, 4".
[[nodiscard]] std::string to_text(const NodeIds& ids);

}  // namespace krg::cluster_test
