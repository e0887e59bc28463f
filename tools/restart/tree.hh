// SPDX-License-Identifier: GPL-2.0
// Processes with their ids, parents, sessions and groups. What each becomes is task.hh.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include <sys/types.h>

#include "tools/restart/plan.hh"
#include "tools/restart/stages.hh"

namespace krg::restart {

/** Ids of processes, sessions, groups and threads that the image needs and that somebody has here. */
[[nodiscard]] std::vector<pid_t> busy_ids(const Plan& plan);
/** All ids that have to be free. */
[[nodiscard]] std::set<pid_t> needed_ids(const Plan& plan);
/** What cannot be rebuilt about sessions, a line each. */
[[nodiscard]] std::vector<std::string> impossible_sessions(const Plan& plan);

class Tree {
public:
    /**
     * @become: what each process does when all exist and are in their groups; it does not return but by an exception.
     * @stays: the restorer goes on to be the parent of the image's first processes.
     * @before_children: what each process that has children does before it makes any.
     * @terminal: what who leads a session does: when it has begun, before it has children in it, and when all groups are there.
     */
    Tree(const Plan& plan, Stages& stages, bool stays, std::function<void(const Task&)> become,
         std::function<void(const Task&)> before_children = {}, std::function<void(const Task&, bool grouped)> terminal = {});
    ~Tree();
    Tree(const Tree&) = delete;
    Tree& operator=(const Tree&) = delete;

    /** Makes all and takes them to their last stage. Throws krg::Error. */
    void build();
    /** Throws when a process ended that should not have. */
    void watch();
    /** Ends all that was made and waits until their ids are free. */
    void destroy();
    /** From now on they are on their own. */
    void release() { released_ = true; }

private:
    pid_t make(pid_t pid, int exit_signal, const std::function<void()>& body, bool orphan = false);
    void live(const Task& task);
    void born_in(const Task& parent, bool before);
    void add_zombie(const Record& zombie);
    void add_orphans(const Task& leader);
    [[nodiscard]] bool minds_its_parent(const Task& task) const;
    void make_adopted(const Task& root);
    void in_dead_session(pid_t sid, const std::vector<const Task*>& members);
    void join_group(pid_t pid, pid_t pgid);
    [[nodiscard]] bool leads(pid_t pid) const;
    [[nodiscard]] bool is_group(pid_t pgid) const;
    [[nodiscard]] std::vector<pid_t> dead_leaders(const Task& task) const;

    const Plan& plan_;
    Stages& stages_;
    std::function<void(const Task&)> become_, before_children_;
    std::function<void(const Task&, bool)> terminal_;
    bool stays_;
    std::vector<pid_t> children_;  // the restorer's
    std::vector<int> adopted_;     // pidfds of those that have another parent
    pid_t restorer_;
    bool released_ = false;
};

}  // namespace krg::restart
