// SPDX-License-Identifier: GPL-2.0
//
// Who has locked which bytes of which file of /shared: fcntl() and flock() of all guests in one table.
//
// A guest's own kernel decides between its processes before it asks here, so locks of one client never conflict with each
// other; locks of different clients do. The Linux client sends flock() as a lock of the whole file and says nothing of it,
// hence the rules of whose lock an unlock ends:
//   - a lock belongs to the process that asked (fcntl) through an open file (fid);
//   - an unlock by that process ends it, through whatever fid: that is fcntl's rule, also when the process closes the file;
//   - the end of the fid ends every lock made through it: that is flock's rule, and all of fcntl's processes have closed it;
//   - an unlock of the whole file with the blocking flag through the same fid ends it too: only flock(LOCK_UN) is sent so
//     for a lock another process took through the inherited descriptor;
//   - any other unlock, such as the one sent when a child closes what it inherited, leaves it alone.
//
// A request that has to wait is answered when it is granted, or with "blocked" after hold_s: the client then sleeps
// where signals reach it, and asks again.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace krg::vcluster {

struct FileId {
    dev_t device = 0;
    ino_t inode = 0;
    auto operator<=>(const FileId&) const = default;
};

enum class LockType : uint8_t { read = 0, write = 1, none = 2 };
enum class LockStatus : uint8_t { success = 0, blocked = 1, error = 2 };

struct LockRequest {
    FileId file;
    uint64_t client = 0;  ///< connection
    uint32_t fid = 0;
    uint32_t process = 0;
    LockType type = LockType::none;
    uint64_t begin = 0, end = UINT64_MAX;  ///< end is one past the last byte; UINT64_MAX: to the end of the file
    bool wait = false;
    [[nodiscard]] bool whole_file() const { return begin == 0 && end == UINT64_MAX; }
};

class LockTable {
public:
    using Answer = std::function<void(LockStatus)>;

    LockTable();
    ~LockTable();
    LockTable(const LockTable&) = delete;
    LockTable& operator=(const LockTable&) = delete;

    /// Takes or releases; `answer` is called once, now or later (from another thread), unless the request is cancelled.
    void request(const LockRequest& wanted, uint16_t tag, Answer answer);

    /// A lock of another client in the way of `wanted`; its type is none when there is none.
    [[nodiscard]] LockRequest conflict(const LockRequest& wanted);

    /// Forgets a waiting request; true when there was one (it is not answered any more).
    bool cancel(uint64_t client, uint16_t tag);

    void close_fid(uint64_t client, uint32_t fid);
    void close_client(uint64_t client);

private:
    struct Waiter {
        LockRequest wanted;
        uint16_t tag;
        double until_s;
        Answer answer;
    };
    using Locks = std::vector<LockRequest>;
    using Answers = std::vector<std::pair<Answer, LockStatus>>;

    [[nodiscard]] const LockRequest* find_conflict(const LockRequest& wanted) const;
    void take(const LockRequest& wanted);
    void release(const LockRequest& unlock);
    static void cut(Locks& locks, size_t index, uint64_t begin, uint64_t end);
    void grant_waiters(Answers& answers);
    void expire_loop();
    static void deliver(Answers& answers);

    std::mutex mutex_;  // protects all below; answers are called without it
    std::condition_variable changed_;
    std::map<FileId, Locks> locks_;
    std::list<Waiter> waiters_;  // oldest first
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace krg::vcluster
