// SPDX-License-Identifier: GPL-2.0
// A machine for tests: network devices, notes, and a TIPC that keeps the rules of the kernel's (net id and identity once,
// key only after the identity) and remembers what went wrong (a bearer without a key).
#pragma once

#include <cerrno>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tools/lib/system.hh"

namespace krg::test {

struct FakeTipc {
    bool loaded = false;
    std::uint32_t net_id = 4711;
    Bytes identity = Bytes(16);
    Bytes key;
    std::vector<std::string> bearers;
    std::map<std::string, std::uint64_t> tolerance_ms;
    std::set<std::string> refused_bearers;  // enabling these fails
    int keys_set = 0;
    bool sent_plaintext = false;  // a bearer ran without a key
    bool in_use = false;          // the module cannot be unloaded
};

class FakeMachine : public System {
public:
    FakeTipc tipc;
    std::map<std::string, Bytes> links{{"eth1", {0x52, 0x54, 0, 0, 0, 1}}, {"eth2", {0x52, 0x54, 0, 0, 0, 2}}};
    std::map<std::string, std::string> notes;
    std::map<std::string, FileText> files;  // "name" or "name:question" of /proc/kerrighed, "path@attribute"
    std::vector<std::string> loaded, unloaded;
    bool can_load = true;
    bool administrator = true;
    std::uint8_t next_random = 1;

    std::unique_ptr<Transport> open(const std::string& family) override;
    bool load_module(const std::string& name) override;
    bool module_available(const std::string&) override { return can_load; }
    bool unload_module(const std::string& name) override;
    std::optional<Bytes> mac(const std::string& link) override;
    bool bring_up(const std::string& link) override { return links.count(link) == 1; }
    std::uint32_t tipc_address(std::chrono::milliseconds) override { return tipc.bearers.empty() ? 0 : 0x1234; }
    bool may_administer() override { return administrator; }
    Bytes random(std::size_t size) override { return Bytes(size, next_random++); }
    std::string read_note(const std::string& name) override { return notes[name]; }
    void write_note(const std::string& name, const std::string& text) override { notes[name] = text; }
    FileText proc(const std::string& name, const std::string& question) override {
        const auto found = files.find(question.empty() ? name : name + ":" + question);
        if (found == files.end()) return {ENOENT, ""};
        return found->second;
    }
    FileText attribute(const std::string& path, const std::string& name) override {
        const auto found = files.find(path + "@" + name);
        return found == files.end() ? FileText{ENODATA, ""} : found->second;
    }
};

}  // namespace krg::test
