// SPDX-License-Identifier: GPL-2.0
// What an image asks for, as restart needs it: records by object and owner, processes as a tree. Nothing of the system is
// looked at here and nothing is built.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tools/lib/image.hh"

namespace krg::restart {

using image::Item;

struct Record : Item {
    std::string bytes;  // its data
};

/** Pages of a memory object; their bytes stay in the image. */
struct Run {
    u64 at = 0, pages = 0, source = 0, codec = 0;
    u64 offset = 0;  // of the data in the image
    u32 length = 0;
};

struct Task {
    const Record* record = nullptr;
    pid_t pid = 0;
    pid_t sid = 0, pgid = 0;             // 0: the caller's
    Task* parent = nullptr;              // of the set
    std::vector<const Record*> threads;  // the leader is the first
    std::vector<Task*> children;
    std::vector<const Record*> zombies;  // children that have ended
    u64 files = 0, fs = 0;               // of the leader
};

class Plan {
public:
    /** Throws krg::Error. */
    explicit Plan(const std::string& path);

    [[nodiscard]] const Record& object(u64 id) const;
    [[nodiscard]] const Record& image() const { return *image_; }
    [[nodiscard]] const std::vector<const Record*>& of(u64 owner) const;
    [[nodiscard]] std::vector<const Record*> of(u64 owner, u16 type) const;
    [[nodiscard]] std::vector<const Record*> all(u16 type) const;
    [[nodiscard]] const std::deque<Record>& records() const { return records_; }
    [[nodiscard]] const std::vector<Run>& runs(u64 memory) const;
    [[nodiscard]] const std::deque<Task>& tasks() const { return tasks_; }
    [[nodiscard]] const std::vector<const Task*>& roots() const { return roots_; }
    [[nodiscard]] const image::Summary& summary() const { return summary_; }
    [[nodiscard]] const std::string& path() const { return path_; }
    /** Above every number that a descriptor has, or an epoll watch was added by. */
    [[nodiscard]] int first_free_number() const;
    /** Is it a file of /proc about one of the processes? It can be opened when they are there. */
    [[nodiscard]] bool is_about_process(const Record& file) const;
    /** The root directory that a record of directories asks for; empty: the node's own. */
    [[nodiscard]] std::string root_of(const Record& fs) const;
    /** --pids: what is in the session or the group of a root joins the caller's. */
    void replace_pids();

private:
    void add_tasks();

    std::string path_;
    std::deque<Record> records_;
    const Record* image_ = nullptr;
    std::map<u64, const Record*> objects_;
    std::map<u64, std::vector<const Record*>> owned_;
    std::map<u64, std::vector<Run>> runs_;
    std::deque<Task> tasks_;
    std::vector<const Task*> roots_;
    image::Summary summary_;
};

/** Is it the record of an open file? */
[[nodiscard]] bool is_file(u16 type);
/** How a file is named in messages: its path, or what it is, and its id in the image. */
[[nodiscard]] std::string name_of(const Record& file);
[[nodiscard]] inline bool has(const Item& item, u16 field, u64 bits) { return (item.number(field) & bits) != 0; }

}  // namespace krg::restart
