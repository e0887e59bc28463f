// SPDX-License-Identifier: GPL-2.0
// Waiting with an end, and saying so on the error stream when it takes longer than two seconds.
#pragma once

#include <functional>
#include <string>

#include "tools/krgadm/commands.hh"

namespace krg {

/**
 * Calls @done until it returns true. Throws Error(timed_out) "timed out after N s: @what" with @action when @limit is
 * over; whatever @done throws passes.
 */
void wait_until(Context& context, const std::string& what, Seconds limit, const std::string& action,
                const std::function<bool()>& done);

}  // namespace krg
