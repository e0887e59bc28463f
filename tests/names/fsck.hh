// SPDX-License-Identifier: GPL-2.0
// Judges all pages of a file system together, from their bytes: what no operation can
// see by itself.
#pragma once

#include "tests/names/disk.hh"

#include <string>
#include <vector>

namespace krg::test {

/// What is wrong, a line each.
[[nodiscard]] std::vector<std::string> fsck(const Disk& disk);

}  // namespace krg::test
