// SPDX-License-Identifier: GPL-2.0
// How a tool of ours fails: one exception that carries the exit code and says what failed, and what to do about it.
// Who prints it is the tool's main().
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace krg {

/** Exit codes of every tool, documented in krgadm(8). */
enum class Exit : int {
    done = 0,
    failed = 1,
    usage = 2,
    not_running = 3,
    not_permitted = 4,
    timed_out = 5,
    no_quorum = 6,
    unsafe = 7,
    no_object = 8,
};

/** Something failed: @what says what and why, action() what to do ("" if nothing helps). */
class Error : public std::runtime_error {
public:
    Error(Exit code, const std::string& what, std::string action = "")
        : std::runtime_error(what),
          code_(code),
          action_(std::move(action)) {}

    [[nodiscard]] Exit code() const { return code_; }
    [[nodiscard]] const std::string& action() const { return action_; }

private:
    Exit code_;
    std::string action_;
};

}  // namespace krg
