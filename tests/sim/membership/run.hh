// SPDX-License-Identifier: GPL-2.0
//
// One run: a cluster forms, faults strike for a minute or more (safety phase), then everything heals, or all but a stable
// cut, and exactly the right view must serve within a bounded time (liveness phase). One seed, one run, bit for bit.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <set>

#include "tests/sim/membership/checker.hh"
#include "tests/sim/membership/process.hh"
#include "tests/sim/run/faults.hh"

namespace krg::sim {

/// Whatever lives on top of membership for a whole run, in the place of the stand-in of service.hh.
class Tenant {
public:
    virtual ~Tenant() = default;
    /// Violations go to @p judge.
    virtual void begin(World& world, Checker& judge) = 0;
    [[nodiscard]] virtual std::unique_ptr<Client> client(Host& host, MembershipProcess& process) = 0;
    /// All is well and stays so: programs end. Called again and again while time passes; empty: done, otherwise what is not.
    [[nodiscard]] virtual std::string end() = 0;
    virtual void hash(RunHash& hash) = 0;
};

struct RunOptions {
    u64 seed = 1;
    Knobs knobs{};
    std::optional<std::set<u64>> only_faults;  ///< indices; nothing: all
    u64 until = 0;                             ///< end of the safety phase in seconds; 0: as the knob says
    Trace* trace = nullptr;
    Tenant* tenant = nullptr;
};

struct RunResult {
    std::optional<Violation> violation;
    u64 hash = 0;
    Time virtual_time = 0;
    u64 events = 0, views = 0, commits = 0, operations = 0, refused_operations = 0;
    u64 proposals = 0, ballots = 0, suspends = 0, resumes = 0;
    u64 faults = 0;
    u64 recoveries = 0;   ///< an operator had to bring the cluster back: its quorum was dead
    u64 converge_ms = 0;  ///< slowest convergence of the liveness phase
    u64 converge_bound_ms = 0;
    NetworkCounts network;
    std::array<u64, fault_kinds> by_kind{};
    std::vector<u64> happened;
};

/// Rules of the liveness phase, beside those of checker.hh: a demand that was not met in time.
inline constexpr const char* rule_converge = "converge";       ///< healed, but not one view with exactly the right members
inline constexpr const char* rule_stable = "stable";           ///< a view changed though nothing happened
inline constexpr const char* rule_clique = "maximum-clique";   ///< a stable cut did not leave the maximum clique
inline constexpr const char* rule_regather = "regather";       ///< a cluster that fell apart took a living member back empty
inline constexpr const char* rule_silent = "minority-silent";  ///< somebody serves without a quorum
[[nodiscard]] bool is_liveness(const std::string& rule);

[[nodiscard]] RunResult run(const RunOptions& options);

}  // namespace krg::sim
