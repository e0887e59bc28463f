// SPDX-License-Identifier: GPL-2.0
//
// Who this guest is: host name, names of the others, machine id, the cluster's configuration file and key, and the addresses
// of its network cards. A card's MAC address says which one it is (52:54:00:4b:LINK:NODE), whatever order they were found in.
#include "parts.h"

#include "../agent_protocol.h"

#include <arpa/inet.h>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace krg::vcluster::guest {

namespace {

std::string hosts_file(const Settings& settings) {
    std::string text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    for (int id = 1; id <= settings.number("max_nodes"); ++id)
        text += "10.77.0." + std::to_string(id) + "\tnode" + std::to_string(id) + "\n";
    return text;
}

// Sixteen bytes, different for every cluster name and node, the same after a reboot.
std::string machine_id(const Settings& settings) {
    uint64_t hash = 1469598103934665603ULL;
    for (char c : settings.get("name") + "/" + std::to_string(settings.node()))
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    char text[40];
    std::snprintf(text, sizeof text, "%016llx4b72670000%06x", static_cast<unsigned long long>(hash), settings.node());
    return text;
}

std::string link_names(const Settings& settings) { return settings.number("links") > 1 ? "eth1 eth2" : "eth1"; }

void write_cluster_configuration(const Settings& settings) {
    make_dirs("/etc/kerrighed");
    std::string text = "# Written by vcluster when this guest started.\n[cluster]\nname = " + settings.get("name") +
                       "\nkey_file = /etc/kerrighed/key\n";
    if (settings.number("lease_ms") > 0) text += "lease_ms = " + settings.get("lease_ms") + "\n";
    text += "[node]\nid = " + std::to_string(settings.node()) + "\nlinks = " + link_names(settings) + "\n";
    write_file("/etc/kerrighed/kerrighed.conf", text);
    write_file("/etc/kerrighed/key", settings.get("key") + "\n", 0600);
}

// systemctl, which the usual poweroff and reboot are, needs systemd; these tell our process 1.
void write_power_tools(const Settings& settings) {
    if (settings.enabled("systemd")) return;
    auto tool = [](const char* name, const char* number) {
        std::string path = std::string("/sbin/") + name;
        unlink(path.c_str());
        write_file(path, std::string("#!/bin/sh\nsync\nexec kill -s ") + number + " 1\n", 0755);
    };
    tool("poweroff", "USR2");
    tool("halt", "USR2");
    tool("reboot", "INT");
}

bool configure(int sock, const char* name, const std::string& address) {
    ifreq req{};
    std::strncpy(req.ifr_name, name, IFNAMSIZ - 1);
    if (!address.empty()) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        inet_pton(AF_INET, address.c_str(), &in.sin_addr);
        std::memcpy(&req.ifr_addr, &in, sizeof in);
        if (ioctl(sock, SIOCSIFADDR, &req) != 0) return false;
        inet_pton(AF_INET, "255.255.255.0", &in.sin_addr);
        std::memcpy(&req.ifr_netmask, &in, sizeof in);
        if (ioctl(sock, SIOCSIFNETMASK, &req) != 0) return false;
    }
    if (ioctl(sock, SIOCGIFFLAGS, &req) != 0) return false;
    req.ifr_flags = static_cast<short>(req.ifr_flags | IFF_UP | IFF_RUNNING);
    return ioctl(sock, SIOCSIFFLAGS, &req) == 0;
}

bool rename_card(int sock, const std::string& from, const std::string& to) {
    ifreq req{};
    std::strncpy(req.ifr_name, from.c_str(), IFNAMSIZ - 1);
    std::strncpy(req.ifr_newname, to.c_str(), IFNAMSIZ - 1);
    return ioctl(sock, SIOCSIFNAME, &req) == 0;
}

// Two passes: a name may be taken by a card that gets another one.
void name_cards(int sock) {
    for (bool final_pass : {false, true}) {
        DIR* dir = opendir("/sys/class/net");
        while (dirent* entry = dir ? readdir(dir) : nullptr) {
            std::string name = entry->d_name;
            unsigned link = 0;
            std::string mac = read_file("/sys/class/net/" + name + "/address");
            if (std::sscanf(mac.c_str(), "52:54:00:4b:%x:", &link) != 1) continue;
            rename_card(sock, name, (final_pass ? "eth" : "krgtmp") + std::to_string(link));
        }
        if (dir) closedir(dir);
    }
}

}  // namespace

void write_identity(const Settings& settings) {
    std::string name = "node" + std::to_string(settings.node());
    sethostname(name.c_str(), name.size());
    write_file("/etc/hostname", name + "\n");
    write_file("/etc/hosts", hosts_file(settings));
    unlink("/etc/resolv.conf");
    write_file("/etc/resolv.conf", "# No name server: nothing leaves the machine.\n");
    unlink("/etc/machine-id");
    write_file("/etc/machine-id", machine_id(settings) + "\n", 0444);
    write_file("/etc/fstab", "# Mounted by vcluster.\n");
    // On a disk, what the guest's user made of it since the first start stays.
    const std::string written = "/var/lib/vcluster-configured";
    if (!settings.enabled("disk") || access(written.c_str(), F_OK) != 0) write_cluster_configuration(settings);
    if (settings.enabled("disk")) write_file(written, "");
    write_power_tools(settings);
    write_file("/proc/sys/kernel/poweroff_cmd", "/sbin/poweroff");
}

void configure_network(const Settings& settings) {
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0) boot_failure("open a socket");
    name_cards(sock);
    configure(sock, "lo", "");
    if (!configure(sock, "eth0", guest_address)) boot_failure("configure eth0");
    for (int link = 1; link <= settings.number("links"); ++link) {
        std::string name = "eth" + std::to_string(link);
        std::string address = "10." + std::to_string(76 + link) + ".0." + std::to_string(settings.node());
        if (!configure(sock, name.c_str(), address)) boot_failure("configure " + name);
    }
    close(sock);
}

}  // namespace krg::vcluster::guest
