// SPDX-License-Identifier: GPL-2.0
// The command line of krgadm as one function, so that tests can run whole commands.
#pragma once

#include <string>
#include <vector>

#include "tools/krgadm/context.hh"

namespace krg {

/** Runs krgadm with @arguments (without the program's name) and returns its exit code. */
int run_krgadm(const std::vector<std::string>& arguments, Context& context);

}  // namespace krg
