// SPDX-License-Identifier: GPL-2.0
//
// Who has locked which bytes of which file of /shared: fcntl() and flock() of all guests in one table. The two kinds do not
// see each other, as on a local file system. A lock has an owner (a process's table of files for fcntl, an open file for
// flock) in a client (a guest); owners that differ exclude each other, in one guest or in two. A request that has to wait is
// answered when it is granted or interrupted. Deadlocks are not looked for.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <sys/types.h>
#include <vector>

namespace krg::vcluster {

struct FileId {
    dev_t device = 0;
    ino_t inode = 0;
    auto operator<=>(const FileId&) const = default;
};

enum class LockType : uint8_t { none, read, write };

struct LockRequest {
    FileId file;
    bool flock = false;
    uint64_t client = 0;
    uint64_t owner = 0;
    uint32_t process = 0;  ///< for people, and for F_GETLK
    LockType type = LockType::none;
    uint64_t first = 0, last = UINT64_MAX;  ///< both included
    uint64_t handle = 0;                    ///< of the open file it was taken through
};

class LockTable {
public:
    using Answer = std::function<void(int error)>;

    /// Takes, changes or (type none) releases. `answer` is called once: with 0, with EAGAIN when it would have to wait and
    /// `wait` is false, later from another thread, or with EINTR.
    void request(const LockRequest& wanted, bool wait, uint64_t unique, Answer answer);

    /// A lock in the way of `wanted`; its type is none when there is none.
    [[nodiscard]] LockRequest conflict(const LockRequest& wanted);

    /// Ends a waiting request with EINTR; nothing when it does not wait (any more).
    void interrupt(uint64_t client, uint64_t unique);

    /// Releases the fcntl locks that were taken through an open file that is closed: nobody says that those of the open file
    /// itself (OFD) have ended, and those of a process ended before.
    void close_handle(uint64_t client, FileId file, uint64_t handle);

    /// Forgets all a client has and waits for.
    void close_client(uint64_t client);

private:
    struct Key {
        FileId file;
        bool flock;
        auto operator<=>(const Key&) const = default;
    };
    struct Waiter {
        LockRequest wanted;
        uint64_t unique;
        Answer answer;
    };
    using Answers = std::vector<std::pair<Answer, int>>;

    [[nodiscard]] const LockRequest* find_conflict(const LockRequest& wanted) const;
    void change(const LockRequest& wanted);
    void grant_waiters(Answers& answers);

    std::mutex mutex_;  // protects all below; answers are called without it
    std::map<Key, std::vector<LockRequest>> locks_;
    std::list<Waiter> waiters_;  // oldest first
};

}  // namespace krg::vcluster
