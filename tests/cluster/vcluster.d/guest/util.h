// SPDX-License-Identifier: GPL-2.0
//
// Small helpers of the guest program: files, messages to the kernel log and to the host, the settings the host put into
// the initramfs. No policy. The guest program is linked statically and runs before there is a root file system.
#pragma once

#include "../bytes.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace krg::vcluster::guest {

/// What the host decided about this machine: key=value lines of /krg.conf in the initramfs, and krg.* of the command line.
class Settings {
public:
    /// Reads `path` and, when present, /proc/cmdline. False when `path` cannot be read.
    bool load(const char* path);
    [[nodiscard]] const std::string& get(std::string_view key) const;
    [[nodiscard]] int number(std::string_view key) const;
    [[nodiscard]] bool enabled(std::string_view key) const { return number(key) != 0; }
    [[nodiscard]] int node() const { return number("node"); }

private:
    std::map<std::string, std::string, std::less<>> values_;
};

/// One line into the kernel log (priority info), where `vcluster log` shows it.
void log_line(std::string_view text);

/// Opens the virtio-serial port called `name` for reading and writing; -1 when there is none.
int open_port(std::string_view name);

/// One line to the supervisor on the host over the control port.
void tell_host(std::string_view line);

/// Closes the control port in this process: only one may have it open, and a helper that lives on would keep it.
void forget_host();

/// Next line from the supervisor, waiting at most `timeout_s`; empty at the end of that time.
std::string hear_host(int timeout_s);

/// Reports `what` with errno to the host and the kernel log and powers the machine off: nothing works without it.
[[noreturn]] void boot_failure(std::string_view what);

bool write_file(const std::string& path, std::string_view text, int mode = 0644);
std::string read_file(const std::string& path);
void make_dirs(const std::string& path);
bool copy_file(const char* from, const char* to, int mode);

/// Runs a program and waits for it; its exit status, or 128 + signal. Its output is returned in *output when wanted.
int run(const std::vector<std::string>& argv, std::string* output = nullptr, int timeout_s = 120);

}  // namespace krg::vcluster::guest
