// SPDX-License-Identifier: GPL-2.0
//
// What every part of the host side uses: exit codes, the exception that carries one to main, owned file descriptors, whole
// files, running a program for its output. Nothing here knows about clusters.
#pragma once

#include "bytes.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

namespace krg::vcluster {

enum class ExitCode : int {
    done = 0,
    failed = 1,
    usage = 2,
    not_running = 3,
    not_permitted = 4,
    timed_out = 5,
    no_such_object = 8,
};

/// An error a person reads: what failed, why, what to do; and the exit status it leads to.
class Error : public std::runtime_error {
public:
    explicit Error(const std::string& text, ExitCode code = ExitCode::failed) : std::runtime_error(text), code_(code) {}
    [[nodiscard]] ExitCode code() const { return code_; }

private:
    ExitCode code_;
};

/// "cannot open X: No such file or directory", from errno.
[[nodiscard]] Error system_error(const std::string& what);

/// A file descriptor that closes itself.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~Fd() { reset(); }
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1) {
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
    }

private:
    int fd_ = -1;
};

[[nodiscard]] std::string read_file(const std::string& path);  ///< empty when it cannot be read
void write_file(const std::string& path, std::string_view text, int mode = 0600);

struct RunResult {
    int status = -1;  ///< exit status, 128 + signal
    std::string output;
};

/// Runs a program to its end; what it says goes to our stderr while it says it. Returns its exit status.
int run_shown(const std::vector<std::string>& argv, const std::string& directory);

/// Runs a program to its end; its stdout (and stderr, when `merge`) comes back, stderr else goes to ours.
RunResult run(const std::vector<std::string>& argv, bool merge = true, const std::string& directory = {});

}  // namespace krg::vcluster
