// SPDX-License-Identifier: GPL-2.0
// The open files of an image, made by system calls. Each is made once, by the restorer, before any process exists, and stands
// at a number above all that the image uses; processes inherit them and so share their offsets as before. What only the
// process itself can do to a file (owner, locks of the process, watches) is in task_files.cc.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tools/restart/plan.hh"

namespace krg::restart {

struct Options {
    int device = -1;       // open already, and bound to an image from another node
    bool at_home = false;  // the caller is the first process of the image, but for what restart makes
    bool foreground = false, pids = false, replace_tty = false, accept_changed = false;
    std::map<std::string, int> substitutes;  // @object or path: descriptor
};

class Files {
public:
    Files(const Plan& plan, const Options& options);

    /** Makes all. Throws krg::Error: which file, and why. */
    void make();
    /** Where it is; -1: it was not made, because nobody needs it here. */
    [[nodiscard]] int at(u64 object) const;
    /** Moves @fd above all numbers of the image, closed on exec. */
    int park(int fd, const std::string& what);
    void close_all();
    [[nodiscard]] const Plan& plan() const { return plan_; }
    [[nodiscard]] int base() const { return base_; }
    [[nodiscard]] bool from_another_node() const { return options_.device >= 0; }
    /** An open file was made: its flags are set, and it is parked as the object. */
    void made(const Record& file, int fd);
    /** Descriptors of memory objects that are files here, for mappings that nobody has open. */
    [[nodiscard]] const std::map<u64, int>& memories() const { return contents_; }
    /** A substitute for it, or -1. */
    [[nodiscard]] static int substitute(const Options& options, const Record& file);
    [[nodiscard]] int substitute(const Record& file) const { return substitute(options_, file); }
    /** What is in a memory object goes to a file. */
    void fill(const Record& memory, int fd);
    /** A new description of what @fd is open on. */
    [[nodiscard]] int again(const Record& file, int fd, u64 flags) const;

private:
    const Plan& plan_;
    const Options& options_;
    int base_;
    int image_ = -1;
    std::map<u64, int> parked_, contents_;
};

/** A failed system call about a file. */
[[noreturn]] void fail_file(const Record& file, const std::string& what);
/** Flags of open() that are as they were asked for then. */
[[nodiscard]] int open_flags(const Record& file);

// One for each kind; each makes the files of its kind.
void make_regular(Files& files, std::map<u64, int>& contents, const Record& file);
void make_memfd(Files& files, std::map<u64, int>& contents, const Record& file);
void make_directory(Files& files, const Record& file);
void make_device(Files& files, const Record& file);
/** One that another node serves: the kernel gives it. */
void make_forwarded(Files& files, const Record& file, int device);
void make_event(Files& files, const Record& file);
void make_inotify(Files& files, const Record& file);
void make_pipes(Files& files);
/** Called when all other files are there, the function puts back what is under way between the sockets. */
[[nodiscard]] std::function<void()> make_unix_sockets(Files& files);
/** Options that sockets of all families have. */
void set_socket_options(const Plan& plan, const Record& file, int fd);
void make_inet(Files& files, const Record& file);
/** The other end of a TCP connection, or null: it is not in the image, or @file is none. */
[[nodiscard]] const Record* inet_partner(const Plan& plan, const Record& file);
/** TCP connections, when all else is there that listens, and datagrams that were under way. */
void make_connections(Files& files);
void make_terminals(Files& files, bool replace);
/** By who leads session @sid: its controlling terminal, if one of the image was it; its foreground group, when all groups are there. */
void take_terminal(const Files& files, pid_t sid);
void set_foreground(const Plan& plan, pid_t sid);

}  // namespace krg::restart
