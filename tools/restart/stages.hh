// SPDX-License-Identifier: GPL-2.0
// How the processes that are being built wait for each other, and how a failure in one of them becomes the restorer's: one
// page that all share. Every wait ends: who dies takes the others along, and the restorer looks after them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tools/lib/error.hh"
#include "tools/restart/last_stage.hh"
#include "tools/restart/script.hh"

namespace krg::restart {

/** What all have done before anybody goes on. */
enum class Stage : std::uint32_t {
    begun = 0,
    born,     // every process exists, sessions are led
    led,      // groups have their leaders
    grouped,  // everybody is in his group
    zombies,  // who is to have ended has
    made,     // descriptors, directories, timers
    stages,
};

struct Shared {
    std::atomic<std::uint32_t> stage;
    std::atomic<std::uint32_t> arrived[static_cast<size_t>(Stage::stages)];
    std::atomic<std::uint32_t> failed;  // 0, 1 being written, 2 there
    std::int32_t exit, restorer;
    char what[1024], action[256];
    LastFailure last;
};

class Stages {
public:
    /** @away: where the page must not be. */
    explicit Stages(const std::vector<Range>& away);
    ~Stages();
    Stages(const Stages&) = delete;
    Stages& operator=(const Stages&) = delete;

    // ---- by the processes ----
    /** Says that this one has done it, and waits until all have. Ends the process when one failed. */
    void reach(Stage stage);
    /** The first failure holds. */
    void fail(const Error& error);

    // ---- by the restorer ----
    /** Waits until @count have reached @stage, then lets them go on. Throws krg::Error; @watch does when somebody died. */
    void wait(Stage stage, std::uint32_t count, const std::function<void()>& watch);
    /** Throws what a process failed with, if one did. */
    void check() const;
    [[nodiscard]] LastFailure* last() const { return &shared_->last; }

private:
    Shared* shared_;
};

}  // namespace krg::restart
