// SPDX-License-Identifier: GPL-2.0
//
// Accepts the guests' connections to /shared: see shared_server.h.
#include "shared_server.h"

#include <arpa/inet.h>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace krg::vcluster {

namespace {

// A guest that is killed sends no farewell; its QEMU's socket is closed by the kernel. Every file a guest uses costs one or
// two descriptors.
void raise_descriptor_limit() {
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

SharedServer::SharedServer(const std::string& directory, int port) {
    std::filesystem::create_directories(directory);
    raise_descriptor_limit();
    files_.root.reset(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!files_.root) throw system_error("cannot open " + directory);
    listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener_.get(), 128) != 0)
        throw system_error(fmt::format("cannot serve /shared on port {}", port));
    thread_ = std::thread([this] { accept_loop(); });
}

SharedServer::~SharedServer() {
    {
        std::lock_guard hold(mutex_);
        stop_ = true;
        for (auto& guest : guests_) guest.session->hang_up();
    }
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    for (auto& guest : guests_) guest.thread.join();
}

void SharedServer::forget_ended() {
    std::lock_guard hold(mutex_);
    for (auto guest = guests_.begin(); guest != guests_.end();) {
        if (!guest->ended) {
            ++guest;
            continue;
        }
        guest->thread.join();
        guest = guests_.erase(guest);
    }
}

void SharedServer::accept_loop() {
    for (uint64_t client = 1;; ++client) {
        Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        forget_ended();
        std::lock_guard hold(mutex_);
        if (stop_) return;
        if (!connection) {
            usleep(10'000);
            continue;
        }
        int one = 1;
        setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Guest& guest = guests_.emplace_back();
        guest.session = std::make_shared<SharedSession>(std::move(connection), files_, client);
        guest.thread = std::thread([this, &guest] {
            guest.session->run();
            std::lock_guard ended(mutex_);
            guest.ended = true;
        });
    }
}

}  // namespace krg::vcluster
