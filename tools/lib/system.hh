// SPDX-License-Identifier: GPL-2.0
// What a tool asks of the machine outside netlink: modules, network devices, a file in /run. An interface, so that tests
// can watch the TIPC set-up without a machine.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/lib/netlink.hh"

namespace krg {

/** The text of a file, or why there is none. */
struct FileText {
    int error = 0;  // errno
    std::string text;
};

class System {
public:
    virtual ~System() = default;

    virtual std::unique_ptr<Transport> open(const std::string& family) = 0;
    /** Loads a module by name; false when that is not possible. */
    virtual bool load_module(const std::string& name) = 0;
    /** Would load_module() find it? */
    virtual bool module_available(const std::string& name) = 0;
    /** Unloads a module nobody uses; false when somebody does. */
    virtual bool unload_module(const std::string& name) = 0;
    /** The six bytes of a device's hardware address; nothing if there is no such device. */
    virtual std::optional<Bytes> mac(const std::string& link) = 0;
    /** Brings a device up if it is down; false when that fails. */
    virtual bool bring_up(const std::string& link) = 0;
    /** Waits until TIPC has its own address; 0 when it does not get one in time. */
    virtual std::uint32_t tipc_address(std::chrono::milliseconds timeout) = 0;
    /** May this process change what needs CAP_SYS_ADMIN? */
    virtual bool may_administer() = 0;
    /** Random bytes. */
    virtual Bytes random(std::size_t size) = 0;
    /** The note kept in /run, "" if there is none. */
    virtual std::string read_note(const std::string& name) = 0;
    virtual void write_note(const std::string& name, const std::string& text) = 0;
    /** What /proc/kerrighed/@name says; with a @question, what it answers to that. */
    virtual FileText proc(const std::string& name, const std::string& question) = 0;
    /** An extended attribute of a file. */
    virtual FileText attribute(const std::string& path, const std::string& name) = 0;
};

/** This machine. */
std::unique_ptr<System> this_machine();

/** The name this machine gives itself, without its domain. */
std::string host_name();

}  // namespace krg
