// SPDX-License-Identifier: GPL-2.0
//
// The file server behind /shared: 9P2000.L over TCP in the cluster's network namespace, one thread per guest. QEMU's own 9p
// server answers every lock request with success and virtiofsd refuses blocking ones; here guests really exclude each other.
#pragma once

#include "util.h"

#include <string>

namespace krg::vcluster {

class SharedServer {
public:
    /// Serves `directory` (made when it is missing) to whoever connects to port().
    explicit SharedServer(const std::string& directory);
    ~SharedServer();
    SharedServer(const SharedServer&) = delete;
    SharedServer& operator=(const SharedServer&) = delete;

    [[nodiscard]] int port() const { return port_; }

private:
    int port_ = 0;
};

}  // namespace krg::vcluster
