// SPDX-License-Identifier: GPL-2.0
//
// The file server behind /shared. Guests mount it with their kernel's FUSE client; a small process in the guest carries the
// requests here over TCP (guest/shared.cc). Why not 9p or virtiofs: see Documentation/vcluster.md, section /shared.
#pragma once

#include "shared_session.h"

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace krg::vcluster {

class SharedServer {
public:
    /// Serves `directory` (made when it is missing) to whoever connects to `port` of the loopback interface.
    SharedServer(const std::string& directory, int port);
    ~SharedServer();
    SharedServer(const SharedServer&) = delete;
    SharedServer& operator=(const SharedServer&) = delete;

private:
    struct Guest {
        std::shared_ptr<SharedSession> session;
        std::thread thread;
        bool ended = false;
    };

    void accept_loop();
    void forget_ended();

    SharedFiles files_;
    Fd listener_;
    std::mutex mutex_;  // protects guests_ and stop_
    std::list<Guest> guests_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace krg::vcluster
