// SPDX-License-Identifier: GPL-2.0
//
// Programs run from a driver: to their end with a time limit, or in the background. Nothing here knows about clusters.
#pragma once

#include <stdexcept>
#include <string>
#include <sys/types.h>
#include <vector>

namespace krg::cluster_test {

/// Thrown out of every wait once the driver was told to stop (Ctrl-C, SIGTERM): what is up is taken down on the way out.
class Interrupted : public std::runtime_error {
public:
    Interrupted() : std::runtime_error("interrupted") {}
};

/// From now on SIGINT, SIGTERM and SIGHUP make waits throw Interrupted.
void catch_interrupts();
/// Clean-up has to wait for programs too: waits do not throw until the next signal.
void forget_interrupt();
/// Throws Interrupted if one of the signals came.
void check_interrupt();

[[nodiscard]] double monotonic_s();
/// Sleeps, but not through an interrupt.
void sleep_s(double seconds);

struct ProcessResult {
    int status = -1;  ///< exit status, 128 + signal; -1 when it ran into its time limit
    bool timed_out = false;
    std::string out, err;

    [[nodiscard]] bool done() const { return status == 0; }
    /// Exit status and output as evidence for a failure.
    [[nodiscard]] std::string evidence() const;
};

struct ProcessOptions {
    double timeout_s = 60;
    std::string input;
    bool show = false;  ///< pass its output on as it comes, besides keeping it
};

/// Runs a program, killed with all it started when its time is over. Safe to call from several threads.
[[nodiscard]] ProcessResult run_process(const std::vector<std::string>& argv, const ProcessOptions& options = {});

/// A program that runs beside the driver, its stdout and stderr in a file; ended with the object.
class BackgroundProcess {
public:
    BackgroundProcess(const std::vector<std::string>& argv, std::string output_path);
    ~BackgroundProcess() { stop(); }
    BackgroundProcess(const BackgroundProcess&) = delete;
    BackgroundProcess& operator=(const BackgroundProcess&) = delete;

    [[nodiscard]] std::string output() const;
    [[nodiscard]] bool running();
    void stop();

private:
    std::string output_path_;
    pid_t pid_ = -1;
};

/// A command as a shell would take it.
[[nodiscard]] std::string shown(const std::vector<std::string>& argv);

/// The last `count` lines of a text.
[[nodiscard]] std::string last_lines(const std::string& text, int count);

}  // namespace krg::cluster_test
