// SPDX-License-Identifier: GPL-2.0
// With whose rights a file is opened for a process that comes from another node. The helper there is root, and what has a
// name on one node may be somebody else's file on another.
#pragma once

#include <string>

#include "tools/restart/files.hh"

namespace krg::restart {

/** While there is one, names are looked up with the file system ids and groups of who has @file; root's: as it is. */
class AsHolder {
public:
    AsHolder(const Plan& plan, const Record& file);
    ~AsHolder();
    AsHolder(const AsHolder&) = delete;
    AsHolder& operator=(const AsHolder&) = delete;

private:
    bool changed_ = false;
    uid_t uid_ = 0;
    gid_t gid_ = 0;
    std::string groups_;
};

/**
 * A descriptor of what @file names, or -1 and errno. For an image from another node: who has it may open it, or it is the
 * same owner's, with the same permissions, and its name has no symbolic link in it.
 */
[[nodiscard]] int open_named(const Files& files, const Record& file, const std::string& path, int flags);

}  // namespace krg::restart
