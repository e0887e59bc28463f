// SPDX-License-Identifier: GPL-2.0
// Small images on disk, for tests of restart, and children in which its parts are tried.
#pragma once

#include <functional>
#include <string>

#include "tests/ghost/image.hh"

namespace krg::restart::testing {

using ghost::testing::Maker;
using ghost::testing::Put;

/** An image with what every process needs; more records are added through `maker`. */
class Saved {
public:
    Saved();
    ~Saved();
    Saved(const Saved&) = delete;
    Saved& operator=(const Saved&) = delete;

    u64 group(pid_t pgid, u64 session) { return maker.add(KRG_GHOST_GROUP, {{1, pgid}, {2, session}}); }
    u64 session(pid_t sid, bool outside = false) {
        return outside ? maker.add(KRG_GHOST_SESSION, {{1, sid}, {2, 1}}) : maker.add(KRG_GHOST_SESSION, {{1, sid}});
    }
    /** A process with one thread and a descriptor table of its own, or `table`. */
    u64 task(pid_t pid, u64 group, u64 parent = 0, u64 table = 0);
    u64 regular(const std::string& path, int flags, u64 offset);
    void descriptor(u64 table, int number, u64 file, bool close_on_exec = false);
    /** Where it was written. */
    std::string write();

    Maker maker;
    std::string folder;  // removed at the end

private:
    u64 creds_ = 0;
};

/** What it returns or throws in a child, "" if it went well. */
std::string in_child(const std::function<std::string()>& body);
/** Ids that nobody has. */
pid_t free_pid(int n);

}  // namespace krg::restart::testing
