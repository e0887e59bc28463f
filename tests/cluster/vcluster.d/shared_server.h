// SPDX-License-Identifier: GPL-2.0
//
// The file server behind /shared: 9P2000.L over TCP in the cluster's network namespace, one thread per guest. QEMU's own 9p
// server answers every lock request with success and virtiofsd refuses blocking ones; here guests really exclude each other.
#pragma once

#include "ninep_locks.h"
#include "util.h"

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace krg::vcluster {

class NinepSession;

class SharedServer {
public:
    /// Serves `directory` (made when it is missing) to whoever connects to `port` of the loopback interface.
    SharedServer(const std::string& directory, int port);
    ~SharedServer();
    SharedServer(const SharedServer&) = delete;
    SharedServer& operator=(const SharedServer&) = delete;

private:
    struct Guest {
        std::shared_ptr<NinepSession> session;
        std::thread thread;
        bool ended = false;
    };

    void accept_loop();
    void forget_ended();

    Fd root_, listener_;
    LockTable locks_;
    std::mutex mutex_;  // protects guests_ and stop_
    std::list<Guest> guests_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace krg::vcluster
