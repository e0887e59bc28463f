// SPDX-License-Identifier: GPL-2.0
//
// A cluster's traces on the host: its state directory, the supervisor's process, requests to it over a socket. Everything
// `down` has to remove is listed here.
#pragma once

#include "machine.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace krg::vcluster {

using Json = nlohmann::json;

/// Where a cluster keeps its files: ${XDG_RUNTIME_DIR:-/tmp}/krg-vcluster-UID/NAME.
class ClusterState {
public:
    explicit ClusterState(const std::string& name);

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::string& directory() const { return directory_; }
    [[nodiscard]] std::string socket_path() const { return directory_ + "/control"; }
    [[nodiscard]] std::string node_file(int node, const char* file) const;

    /// Keeps other `up` and `down` of this name away until the descriptor is closed or we are killed.
    [[nodiscard]] Fd lock() const;

    void create() const;
    [[nodiscard]] bool exists() const;

    /// Number of the supervisor, 0 when none lives. Its start time is compared: a recycled number is not it.
    [[nodiscard]] pid_t supervisor() const;
    void record_supervisor(pid_t pid) const;

    /// Ends whatever is left of a cluster and removes its files. Works from any state.
    void remove() const;

    /// Asks the supervisor; throws its error, or not_running when there is none. A descriptor it sent goes to *passed.
    Json request(const Json& question, Fd* passed = nullptr) const;

private:
    void end_supervisor() const;

    std::string name_, base_, directory_;
};

/// Sends one line, with a descriptor when fd >= 0.
bool send_line(int socket, const std::string& line, int fd = -1);

[[nodiscard]] Json spec_to_json(const ClusterSpec& spec);

}  // namespace krg::vcluster
