// SPDX-License-Identifier: GPL-2.0
//
// Which kernel a guest boots and where its modules are: Debian's own packages, installed on this machine or unpacked in
// the cache, or the debug kernel the project builds. And the initramfs made from it.
#pragma once

#include "util.h"

#include <map>
#include <string>

namespace krg::vcluster {

struct Kernel {
    std::string version;  ///< uname -r
    std::string image;    ///< bzImage, or the ELF file in it
    std::string modules;  ///< directory with modules.dep, that is .../lib/modules/VERSION
};

/// ${KRG_CACHE:-$HOME/.cache/kerrighed}
[[nodiscard]] std::string cache_dir();

/// Finds what `wanted` (6.1, 6.12, debug, a full version) means here; downloads Debian's package when it has to.
[[nodiscard]] Kernel find_kernel(const std::string& checkout, const std::string& wanted);

/// What QEMU is to start: the image unpacked into the cache, or the image itself when it cannot be started so.
[[nodiscard]] std::string boot_image(const Kernel& kernel);

/// Writes an uncompressed cpio archive: the guest program as /init, the modules needed to reach the host, `settings` as
/// /krg.conf.
void write_initramfs(const std::string& path, const Kernel& kernel, const std::string& guest_program,
                     const std::map<std::string, std::string>& settings);

}  // namespace krg::vcluster
