// SPDX-License-Identifier: GPL-2.0
// krg-wiretap DEVICE SECONDS: counts the TIPC frames that pass a device, encrypted and not, in both directions, and prints
// one line of JSON. Listens to all protocols: see Documentation/control.md for why not to TIPC's alone.
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr unsigned encrypted_version = 7;  // TIPC's protocol version of an encrypted frame; a plain one has 2

int open_tap(const char* device) {
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(device));
    if (fd < 0 || address.sll_ifindex == 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return -1;
    return fd;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: krg-wiretap DEVICE SECONDS\n";
        return 2;
    }
    const int fd = open_tap(argv[1]);
    if (fd < 0) {
        std::cerr << "krg-wiretap: cannot listen on " << argv[1] << '\n';
        return 1;
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::strtol(argv[2], nullptr, 10));
    std::uint64_t encrypted = 0;
    std::uint64_t plaintext = 0;
    while (std::chrono::steady_clock::now() < end) {
        pollfd entry{fd, POLLIN, 0};
        if (poll(&entry, 1, 100) <= 0) continue;
        std::array<std::uint8_t, 64> frame{};
        const ssize_t length = recv(fd, frame.data(), frame.size(), 0);
        if (length < ETH_HLEN + 4 || frame[12] != 0x88 || frame[13] != 0xca) continue;
        (frame[ETH_HLEN] >> 5 == encrypted_version ? encrypted : plaintext)++;
    }
    close(fd);
    std::cout << "{\"encrypted\":" << encrypted << ",\"plaintext\":" << plaintext << "}\n";
    return 0;
}
