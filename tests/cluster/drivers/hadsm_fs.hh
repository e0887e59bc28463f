// SPDX-License-Identifier: GPL-2.0
//
// What the scenarios of test_hadsm_fs, test_hadsm_prefix and test_hadsm_chaos share: mounts on every node, guest programs on
// several nodes at once, histories of memory. The scenarios themselves are in hadsm_fs_*.cc, hadsm_prefix.cc and hadsm_chaos.cc.
#pragma once

#include "steps.hh"

#include <string>
#include <vector>

namespace krg::cluster_test {

constexpr const char* one_copy = "/run/krg-one";        ///< replicas=1
constexpr const char* two_copies = "/run/krg-two";      ///< replicas=2
constexpr const char* three_copies = "/run/krg-three";  ///< replicas=3

/// Every running node is a member, has the module, and these mounts. Cheap when it is so already.
void prepare(Test& test, const std::vector<const char*>& mounts = {one_copy, two_copies});
/// A fresh directory below one of the mounts, or in /shared.
[[nodiscard]] std::string fresh_dir(Test& test, const std::string& below, const std::string& name);
/// A program of build/host/bin.
[[nodiscard]] std::string program(const Test& test, const std::string& name);
/// The seed of the next program; a scenario that runs alone with the same --seed gets the same.
[[nodiscard]] std::string next_seed(Test& test);

struct Job {
    int node;
    std::vector<std::string> words;
};

/// Everything at the same time, each on its node; the results in the same order.
[[nodiscard]] std::vector<ProcessResult> at_once(Test& test, const std::vector<Job>& jobs, double timeout_s = 60);
/// The same, and each must end with status 0. The commands are printed: what is needed to repeat it.
bool all_hold(Test& test, const std::vector<Job>& jobs, const std::string& sentence, double timeout_s = 60);
/// A shell command must end with status 0, and print `out` if that is given (without the last newline).
bool holds(Test& test, int node, const std::string& script, const std::string& sentence, const char* out = nullptr,
           double timeout_s = 30);
/// A shell command must fail with these words.
void fails(Test& test, int node, const std::string& script, const std::string& words, const std::string& sentence);

/// The sum of all NAME=NUMBER of this name in a file of /proc/kerrighed; -1: there is none.
[[nodiscard]] long proc_sum(Test& test, int node, const std::string& file, const std::string& name);

/// A program beside the scenario.
class Beside {
public:
    Beside(Test& test, const Job& job, const std::string& name);
    /// Waits for words in its output; empty, or what was said instead.
    [[nodiscard]] std::string wait_for(const std::string& words, double timeout_s = 30) const;
    /// Waits until it ends by itself.
    [[nodiscard]] std::string wait_end(double timeout_s);
    [[nodiscard]] std::string output() const { return process_.output(); }
    void stop() { process_.stop(); }

private:
    Test& test_;
    BackgroundProcess process_;
};

/// Loads and stores of several players in one mapped file (krg-linearize).
struct Recording {
    std::string file, shared, seed, operations = "500", patience = "100";
    unsigned players = 3;
};
/// A new one, in a directory of its own below `mount`.
[[nodiscard]] Recording recording(Test& test, const char* mount);
/// Player `me` (from 0) on `node`.
[[nodiscard]] Job recorder(const Test& test, int node, unsigned me, const Recording& r);
/// Can one memory have answered all players so? `more`: options of `krg-linearize check`. The logs are kept if not.
void judge(Test& test, const Recording& r, const std::vector<std::string>& more, const std::string& sentence);

void scenario_names(Test& test);
void scenario_locks(Test& test);
void scenario_crash(Test& test);
void scenario_leave(Test& test);
void scenario_far(Test& test);
void scenario_take_down(Test& test);
void scenario_exerciser(Test& test);
void scenario_exerciser_shared(Test& test);
void scenario_sort(Test& test);
void scenario_sqlite(Test& test);
void scenario_git(Test& test);
void scenario_tree(Test& test);
void scenario_posix_sync(Test& test);
void scenario_shm(Test& test);
void scenario_ahead(Test& test);
void scenario_linearize(Test& test);
void scenario_linearize_crash(Test& test);
void scenario_evict(Test& test);
void scenario_devices(Test& test);
void scenario_copies_lost(Test& test);
void scenario_paused(Test& test);

}  // namespace krg::cluster_test
