// SPDX-License-Identifier: GPL-2.0
//
// Modification times of /shared that differ whenever the data does. A guest drops what it has cached of a file when the
// file's time has changed; the host's clock for files ticks only every few milliseconds, and two writes in one tick must
// still be told apart. The second and later ones of a tick are reported a few nanoseconds later than they are.
#pragma once

#include "shared_locks.h"

#include <ctime>
#include <map>
#include <mutex>

namespace krg::vcluster {

class SharedClock {
public:
    /// The file was changed, and its modification time is now `mtime`.
    void changed(FileId file, timespec mtime);
    /// What to report for a file whose modification time is `mtime`.
    [[nodiscard]] timespec reported(FileId file, timespec mtime);

private:
    struct Last {
        timespec mtime{};
        long more_ns = 0;
    };
    std::mutex mutex_;  // protects last_
    std::map<FileId, Last> last_;
};

}  // namespace krg::vcluster
