// SPDX-License-Identifier: GPL-2.0
//
// Processor shares for machines: see cpu_share.h.
#include "cpu_share.h"

#include "util.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fmt/format.h>
#include <sys/stat.h>

namespace krg::vcluster {

namespace fs = std::filesystem;

namespace {

// A short period: a lease or a round trip must not see the gaps.
constexpr long period_us = 10'000;
// On a busy host this thread wakes late, and the process has used too much by then: that is taken back, but not in gaps
// of more than this many periods.
constexpr double debt_periods = 10;

std::string group_prefix(const std::string& name) { return fmt::format("krg-vcluster-{}-{}-", getuid(), name); }

bool write_value(const std::string& path, const std::string& value) {
    FILE* file = std::fopen(path.c_str(), "we");
    if (!file) return false;
    bool good = std::fputs(value.c_str(), file) >= 0;
    return std::fclose(file) == 0 && good;
}

std::string v2_root() {
    std::string mounts = read_file("/proc/self/mountinfo");
    for (size_t at = 0; at < mounts.size();) {
        size_t end = std::min(mounts.find('\n', at), mounts.size());
        std::string line = mounts.substr(at, end - at);
        at = end + 1;
        if (line.find(" - cgroup2 ") == std::string::npos) continue;
        size_t field = 0;
        for (int i = 0; i < 4; ++i) field = line.find(' ', field) + 1;
        return line.substr(field, line.find(' ', field) - field);
    }
    return {};
}

constexpr const char* v1_root = "/sys/fs/cgroup/cpu";

}  // namespace

CpuShare::CpuShare(const std::string& name, int node, int percent) : percent_(percent) {
    if (percent <= 0) return;
    group_name_ = group_prefix(name) + std::to_string(node);
    method_ = "signals";
    const char* wanted = std::getenv("KRG_CPU_SHARE");  // for the test of the way a host without control groups goes
    if (wanted && std::string_view(wanted) == "signals") return;
    std::string v2 = v2_root();
    if (!v2.empty() && use_group(v2, true)) return;
    (void)use_group(v1_root, false);
}

CpuShare::~CpuShare() {
    detach();
    if (!group_.empty()) rmdir(group_.c_str());
}

bool CpuShare::use_group(const std::string& root, bool v2) {
    if (v2 && read_file(root + "/cgroup.controllers").find("cpu ") == std::string::npos &&
        !read_file(root + "/cgroup.controllers").ends_with("cpu\n"))
        return false;
    if (v2) (void)write_value(root + "/cgroup.subtree_control", "+cpu");
    std::string group = root + "/" + group_name_;
    if (mkdir(group.c_str(), 0755) != 0 && errno != EEXIST) return false;
    long quota_us = period_us * percent_ / 100;
    bool good = v2 ? write_value(group + "/cpu.max", fmt::format("{} {}", quota_us, period_us))
                   : write_value(group + "/cpu.cfs_period_us", std::to_string(period_us)) &&
                         write_value(group + "/cpu.cfs_quota_us", std::to_string(quota_us));
    if (!good || access((group + "/cgroup.procs").c_str(), W_OK) != 0) {
        rmdir(group.c_str());
        return false;
    }
    group_ = group;
    procs_file_ = group + "/cgroup.procs";
    method_ = v2 ? "cgroup2" : "cgroup1";
    return true;
}

void CpuShare::attach(pid_t pid) {
    detach();
    if (percent_ <= 0 || !group_.empty()) return;
    stop_ = false;
    thread_ = std::thread([this, pid] { cycle(pid); });
}

void CpuShare::detach() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
}

// Compares the processor time used with the time allowed so far, and stops the process while it is ahead.
void CpuShare::cycle(pid_t pid) {
    clockid_t clock = 0;
    if (clock_getcpuclockid(pid, &clock) != 0) return;
    auto used_s = [clock] {
        timespec ts{};
        clock_gettime(clock, &ts);
        return static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) / 1e9;
    };
    double share = percent_ / 100.0, allowed = used_s(), before = now_s();
    bool stopped = false;
    while (!stop_) {
        timespec nap{0, period_us * 1000 / 4};
        nanosleep(&nap, nullptr);
        double now = now_s(), used = used_s();
        // Time not used is not saved up for later beyond one period.
        const double period_s = share * 1e-6 * period_us;
        allowed = std::max(allowed + (now - before) * share, used - debt_periods * period_s);
        allowed = std::min(allowed, used + period_s);
        before = now;
        bool stop_now = used > allowed || paused_;
        if (stop_now != stopped) kill(pid, stop_now ? SIGSTOP : SIGCONT);
        stopped = stop_now;
    }
    if (stopped && !paused_) kill(pid, SIGCONT);
}

void CpuShare::remove_groups(const std::string& name) {
    for (const std::string& root : {v2_root(), std::string(v1_root)}) {
        std::error_code error;
        if (root.empty()) continue;
        for (const auto& entry : fs::directory_iterator(root, error)) {
            std::string base = entry.path().filename();
            std::string prefix = group_prefix(name);
            if (!base.starts_with(prefix) || base.find_first_not_of("0123456789", prefix.size()) != std::string::npos) continue;
            for (int i = 0; i < 50 && rmdir(entry.path().c_str()) != 0 && errno == EBUSY; ++i) usleep(20'000);
        }
    }
}

}  // namespace krg::vcluster
