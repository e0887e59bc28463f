// SPDX-License-Identifier: GPL-2.0
//
// Somebody on the cluster's wire who has no key: sends what such a machine can send, as raw Ethernet frames, to everybody on
// a link. Garbage in TIPC's and our own frame type, plaintext TIPC discovery messages that TIPC itself would answer, hello
// frames with a forged proof, and frames heard on the wire before, unchanged and under another sender's address. What the
// cluster makes of it is for the test that runs this in a guest.
//
//	krg-attack INTERFACE CLUSTER-NAME COUNT
#include "include/kerrighed/wire.h"

#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <random>
#include <stdexcept>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint16_t tipc_type = 0x88ca;
constexpr size_t listen_frames_max = 200;

class Wire {
public:
    explicit Wire(const std::string& interface) : socket_(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))) {
        ifreq request{};
        if (interface.size() >= IFNAMSIZ) throw std::runtime_error("interface name too long");
        std::memcpy(request.ifr_name, interface.c_str(), interface.size() + 1);
        if (socket_ < 0 || ioctl(socket_, SIOCGIFHWADDR, &request) != 0) throw std::runtime_error("cannot open " + interface);
        std::memcpy(address_, request.ifr_hwaddr.sa_data, ETH_ALEN);
        to_.sll_family = AF_PACKET;
        to_.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
        to_.sll_halen = ETH_ALEN;
        if (bind(socket_, reinterpret_cast<sockaddr*>(&to_), sizeof(to_)) != 0)
            throw std::runtime_error("cannot bind to " + interface);
    }
    ~Wire() { close(socket_); }
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;

    void broadcast(uint16_t type, const Bytes& payload) {
        Bytes frame(ETH_HLEN, 0xff);
        std::memcpy(&frame[ETH_ALEN], address_, ETH_ALEN);
        frame[12] = static_cast<uint8_t>(type >> 8);
        frame[13] = static_cast<uint8_t>(type);
        frame.insert(frame.end(), payload.begin(), payload.end());
        raw(frame);
    }
    void raw(const Bytes& frame) {
        if (sendto(socket_, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to_), sizeof(to_)) < 0)
            usleep(1000);  // no room in the device's queue: an attacker waits too
    }
    std::vector<Bytes> listen(int ms) {
        std::vector<Bytes> heard;
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
        while (std::chrono::steady_clock::now() < end && heard.size() < listen_frames_max) {
            pollfd wait{socket_, POLLIN, 0};
            if (poll(&wait, 1, 100) <= 0) continue;
            Bytes frame(2048);
            const ssize_t n = recv(socket_, frame.data(), frame.size(), 0);
            if (n < ETH_HLEN) continue;
            frame.resize(static_cast<size_t>(n));
            const int type = frame[12] << 8 | frame[13];
            if (type == tipc_type || type == KRG_HELLO_ETHERTYPE) heard.push_back(std::move(frame));
        }
        return heard;
    }

private:
    int socket_;
    uint8_t address_[ETH_ALEN] = {};
    sockaddr_ll to_ = {};
};

std::mt19937 rng(std::random_device{}());

Bytes garbage(size_t size) {
    Bytes out(size);
    for (auto& byte : out) byte = static_cast<uint8_t>(rng());
    return out;
}

// A plaintext TIPC discovery request (LINK_CONFIG, version 2): what TIPC nodes say to find each other.
Bytes discovery() {
    Bytes m(60, 0);
    const uint32_t words[6] =
        {htonl(2u << 29 | 13u << 25 | 10u << 21 | 40u), htonl(0), htonl(0), htonl(0x01001001), htonl(4711), htonl(0)};
    std::memcpy(m.data(), words, sizeof(words));
    return m;
}

Bytes forged_hello(const std::string& cluster, uint16_t node) {
    krg_hello h{};
    h.version = KRG_WIRE_VERSION;
    h.type = static_cast<uint8_t>(KRG_HELLO_ASK + rng() % 3);
    h.reason = static_cast<uint8_t>(rng() % 12);
    h.node = node;
    h.incarnation = (static_cast<uint64_t>(rng()) << 32 | rng()) | 1;
    std::snprintf(h.cluster, sizeof(h.cluster), "%s", cluster.c_str());
    std::snprintf(h.host, sizeof(h.host), "intruder");
    const Bytes proof = garbage(sizeof(h.proof));
    std::memcpy(h.proof, proof.data(), proof.size());
    krg_hello_wire out;
    krg_hello_put(&h, &out);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&out);
    return {bytes, bytes + sizeof(out)};
}

void attack(Wire& wire, const std::string& cluster, int count) {
    std::vector<Bytes> heard = wire.listen(4000);
    std::printf("heard %zu frames to replay\n", heard.size());
    for (int i = 0; i < count; ++i) {
        wire.broadcast(tipc_type, garbage(1 + rng() % 1400));
        wire.broadcast(tipc_type, discovery());
        wire.broadcast(KRG_HELLO_ETHERTYPE, garbage(1 + rng() % 400));
        wire.broadcast(KRG_HELLO_ETHERTYPE, forged_hello(cluster, static_cast<uint16_t>(1 + rng() % 5)));
        if (heard.empty()) continue;
        Bytes old = heard[static_cast<size_t>(i) % heard.size()];
        wire.raw(old);
        old[old.size() - 1 - rng() % (old.size() - ETH_HLEN)] ^= 1;
        wire.raw(old);
        if (i % 50 == 0) usleep(20000);
    }
    std::printf("%d rounds sent\n", count);
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 4) {
        std::fprintf(stderr, "usage: krg-attack INTERFACE CLUSTER-NAME COUNT\n");
        return 2;
    }
    Wire wire(argv[1]);
    attack(wire, argv[2], std::atoi(argv[3]));
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "krg-attack: %s\n", error.what());
    return 1;
}
