// SPDX-License-Identifier: GPL-2.0
//
// Images that krg-restore-probe restores: two processes, one of two threads, made of nothing but a page of code and known
// values (writer), and the same damaged or forged (forger). Which helper restores them is the probe's matter.
#pragma once

#include <cstdint>
#include <string>

#include "proc/core/ghost.h"
#include "tests/guest/guest.hh"

namespace krg::probe {

/// Where everything is in the image, and what its processes are called.
struct Plan {
    std::uint32_t first, second, other;   // ids: a process, its second thread, another process
    std::uint64_t thread[3] = {0, 0, 0};  // out: object ids of their thread records, in that order
};

/// The bytes of an image. Its processes judge themselves and exit with 42; the other one is stopped by SIGTSTP at first.
[[nodiscard]] std::string make_image(Plan& plan);

enum class Damage { flip, truncate, splice, forge };

/// The same image with something wrong. forge: one to three fields have other values, and every CRC is right.
[[nodiscard]] std::string damaged(std::string image, Damage damage, guest::Random& random);

}  // namespace krg::probe
