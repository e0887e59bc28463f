// SPDX-License-Identifier: GPL-2.0
//
// One guest's connection to the server of /shared: its fids, its requests in order. Files are held by O_PATH descriptors,
// so a fid survives renames and unlinks as an open file does on a local file system.
#pragma once

#include "ninep_locks.h"
#include "ninep_message.h"
#include "util.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <sys/stat.h>

namespace krg::vcluster {

class NinepSession : public std::enable_shared_from_this<NinepSession> {
public:
    NinepSession(Fd socket, int root, LockTable& locks, uint64_t client);

    /// Serves until the connection ends.
    void run();

    /// Ends the connection from another thread.
    void hang_up();

private:
    struct Fid {
        Fd path;  ///< O_PATH
        Fd open;
        uint32_t uid = 0;
        FileId file;
    };

    bool read_message(std::string& message);
    void handle(NinepType type, uint16_t tag, NinepReader in);
    void send(NinepWriter& out);
    void send_error(uint16_t tag, int error);

    // One function a message; each answers by itself or returns an errno to answer with.
    int version(uint16_t tag, NinepReader& in);
    int attach(uint16_t tag, NinepReader& in);
    int walk(uint16_t tag, NinepReader& in);
    int lopen(uint16_t tag, NinepReader& in);
    int lcreate(uint16_t tag, NinepReader& in);
    int read(uint16_t tag, NinepReader& in);
    int write(uint16_t tag, NinepReader& in);
    int readdir(uint16_t tag, NinepReader& in);
    int getattr(uint16_t tag, NinepReader& in);
    int setattr(uint16_t tag, NinepReader& in);
    int statfs(uint16_t tag, NinepReader& in);
    int readlink(uint16_t tag, NinepReader& in);
    int make(NinepType type, uint16_t tag, NinepReader& in);
    int link(uint16_t tag, NinepReader& in);
    int renameat(uint16_t tag, NinepReader& in);
    int unlinkat(uint16_t tag, NinepReader& in);
    int fsync(uint16_t tag, NinepReader& in);
    int clunk(uint16_t tag, NinepReader& in);
    int lock(uint16_t tag, NinepReader& in);
    int getlock(uint16_t tag, NinepReader& in);
    int flush(uint16_t tag, NinepReader& in);

    Fid* find(uint32_t number);
    int step(const Fid& from, const std::string& name, Fid& to) const;
    [[nodiscard]] bool is_root(const struct stat& st) const;
    void done(NinepType request, uint16_t tag);

    Fd socket_;
    int root_;
    struct stat root_stat_{};
    LockTable& locks_;
    uint64_t client_;
    uint32_t message_max_ = 65536;
    std::map<uint32_t, Fid> fids_;
    std::mutex send_mutex_;  // locks are granted from other threads
};

}  // namespace krg::vcluster
