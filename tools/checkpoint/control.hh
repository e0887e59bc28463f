// SPDX-License-Identifier: GPL-2.0
// Commands to /proc/kerrighed/PID/control: what lasts longer than the tool that asks for it.
#pragma once

#include <string>

#include "tools/lib/error.hh"

namespace krg::checkpoint {

/** The kernel refused a command. */
class ControlFailed : public Error {
public:
    ControlFailed(Exit code, const std::string& what, int number) : Error(code, what), number_(number) {}
    [[nodiscard]] int number() const { return number_; }

private:
    int number_;  // of errno
};

/** Throws krg::Error with the kernel's reason. */
void control(int pid, const std::string& command);
/** Whether it was frozen from there, and still is. */
[[nodiscard]] bool is_frozen(int pid);

}  // namespace krg::checkpoint
