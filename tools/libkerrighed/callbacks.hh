// SPDX-License-Identifier: GPL-2.0
// Functions that are called before a process is saved and after.
#pragma once

namespace krg::library {

/** In a child made by fork: it has no thread that calls them. */
void forget_callbacks() noexcept;

}  // namespace krg::library
