// SPDX-License-Identifier: GPL-2.0
//
// One guest's connection to /shared: its FUSE requests, executed on a directory of the host in the order they come. An inode
// the guest knows is an O_PATH descriptor here, so it survives renames and unlinks. Only locks are answered out of order.
#pragma once

#include "shared_clock.h"
#include "shared_locks.h"
#include "util.h"

#include <condition_variable>
#include <cstring>
#include <deque>
#include <linux/fuse.h>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <thread>

namespace krg::vcluster {

/// What all guests share.
struct SharedFiles {
    Fd root;
    LockTable locks;
    SharedClock clock;
};

class SharedSession : public std::enable_shared_from_this<SharedSession> {
public:
    SharedSession(Fd socket, SharedFiles& files, uint64_t client);
    ~SharedSession();

    /// Serves until the connection ends.
    void run();

    /// Ends the connection from another thread.
    void hang_up();

private:
    struct Inode {
        Fd path;  ///< O_PATH
        FileId file;
        uint64_t lookups = 0;
    };
    struct OpenFile {
        Fd fd;
        Fd plain;  ///< the same without O_APPEND, for pages written back from a mapping
        FileId file;
        bool append = false;
    };

    /// A request being executed: header, then arguments taken from the front of what is left.
    struct Request {
        fuse_in_header header{};
        std::string_view rest;
        bool good = true;

        template<typename T>
        T take() {
            T value{};
            if (rest.size() < sizeof value)
                good = false;
            else {
                std::memcpy(&value, rest.data(), sizeof value);
                rest.remove_prefix(sizeof value);
            }
            return value;
        }
        std::string take_string();
        std::string take_name();  ///< like take_string; not good when it is no name of a directory entry
    };

    bool read_request(std::string& bytes);
    void handle(Request& request);
    int handle_names(Request& request);
    int handle_files(Request& request);
    void write_loop();
    void reply(uint64_t unique, int error, std::string_view payload = {});
    template<typename T>
    int reply_with(const Request& request, const T& value, std::string_view more = {}) {
        std::string payload(reinterpret_cast<const char*>(&value), sizeof value);
        payload.append(more);
        reply(request.header.unique, 0, payload);
        return 0;
    }

    // One function a request: it answers by itself and returns 0, or returns the errno to answer with.
    int init(Request& request);
    int lookup(Request& request);
    void forget(uint64_t node, uint64_t count);
    int getattr(Request& request);
    int setattr(Request& request);
    int readlink(Request& request);
    int make(Request& request);
    int remove(Request& request);
    int rename(Request& request);
    int link(Request& request);
    int open(Request& request);
    int create(Request& request);
    int read(Request& request);
    int write(Request& request);
    int release(Request& request);
    int flush(Request& request);
    int fsync(Request& request);
    int readdir(Request& request);
    int statfs(Request& request);
    int fallocate(Request& request);
    int lseek(Request& request);
    int getlock(Request& request);
    int setlock(Request& request);

    Inode* find(uint64_t node);
    OpenFile* find_open(uint64_t handle);
    int enter(int directory, const std::string& name, fuse_entry_out& entry);
    int reply_entry(const Request& request, int directory, const std::string& name);
    [[nodiscard]] fuse_attr attributes(const struct stat& st);
    void note_change(const OpenFile& file);
    uint64_t add_open(Fd fd, FileId file, bool append);
    static LockRequest lock_of(const fuse_lk_in& in, const Request& request, FileId file, uint64_t client);

    Fd socket_;
    SharedFiles& files_;
    uint64_t client_;
    std::map<uint64_t, Inode> inodes_;
    std::map<FileId, uint64_t> numbers_;
    std::map<uint64_t, OpenFile> open_files_;
    uint64_t next_node_ = FUSE_ROOT_ID + 1, next_handle_ = 1;

    std::mutex queue_mutex_;  // protects queue_ and stop_: answers to locks come from other guests' threads
    std::condition_variable queued_;
    std::deque<std::string> queue_;
    bool stop_ = false;
    std::thread writer_;
};

}  // namespace krg::vcluster
