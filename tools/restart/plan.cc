// SPDX-License-Identifier: GPL-2.0
// From records to a plan.
#include "tools/restart/plan.hh"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "tools/lib/error.hh"

namespace krg::restart {

namespace {

pid_t id_of(const Item& item, u16 field) { return static_cast<pid_t>(item.number(field)); }

}  // namespace

bool is_file(u16 type) {
    return type >= KRG_GHOST_FILE_REGULAR && type <= KRG_GHOST_FILE_FORWARDED && type != KRG_GHOST_EPOLL_WATCH &&
           type != KRG_GHOST_INOTIFY_WATCH && type != KRG_GHOST_UNIX_PEER && type != KRG_GHOST_UNIX_MESSAGE &&
           type != KRG_GHOST_TCP && type != KRG_GHOST_INET_DATA;
}

std::string name_of(const Record& file) {
    std::string path;
    switch (file.type) {
    case KRG_GHOST_FILE_REGULAR:
    case KRG_GHOST_FILE_DIRECTORY:
    case KRG_GHOST_FILE_DEVICE: path = file.text(KRG_GHOST_FILE_REGULAR_PATH); break;
    case KRG_GHOST_FILE_PIPE: path = file.text(KRG_GHOST_FILE_PIPE_PATH); break;
    case KRG_GHOST_FILE_FORWARDED: path = file.text(KRG_GHOST_FILE_FORWARDED_PATH); break;
    default: break;
    }
    return path.empty() ? fmt::format("{} @{}", file.name, file.object) : fmt::format("{} (@{})", path, file.object);
}

Plan::Plan(const std::string& path) : path_(path) {
    const auto page_run = [](const Item& item) { return item.type == KRG_GHOST_PAGES; };
    const auto record = [&](const Item& item) {
        if (item.skipped) return;
        if (page_run(item)) {
            // Those of mappings are the kernel's.
            const auto owner = objects_.find(item.owner);
            if (owner == objects_.end() || owner->second->type != KRG_GHOST_MEMORY) return;
            runs_[item.owner].push_back({item.number(KRG_GHOST_PAGES_AT), item.number(KRG_GHOST_PAGES_COUNT),
                                         item.number(KRG_GHOST_PAGES_SOURCE), item.number(KRG_GHOST_PAGES_CODEC), 0,
                                         item.data});
            return;
        }
        records_.push_back({item, {}});
        const Record& kept = records_.back();
        if (item.object) objects_[item.object] = &kept;
        if (item.owner) owned_[item.owner].push_back(&kept);
        if (item.type == KRG_GHOST_IMAGE) image_ = &kept;
    };
    const auto pass = [&](const Item& item) {
        if (!page_run(item)) return false;
        const auto runs = runs_.find(item.owner);
        if (runs != runs_.end()) runs->second.back().offset = item.data_offset;
        return true;
    };
    const auto data = [&](const Item&, const std::vector<u8>& bytes) {
        records_.back().bytes.assign(bytes.begin(), bytes.end());
    };
    summary_ = image::read(path, {record, data, pass});
    if (!image_)
        throw Error(Exit::failed, path + " has no image record", "use another copy or an earlier version of this image");
    add_tasks();
}

void Plan::add_tasks() {
    std::map<u64, Task*> by_object;
    for (const Record& record : records_) {
        if (record.type != KRG_GHOST_TASK) continue;
        const Record& group = object(record.number(KRG_GHOST_TASK_GROUP));
        Task task;
        task.record = &record;
        task.pid = id_of(record, KRG_GHOST_TASK_PID);
        task.pgid = id_of(group, KRG_GHOST_GROUP_PGID);
        task.sid = id_of(object(group.number(KRG_GHOST_GROUP_SESSION)), KRG_GHOST_SESSION_SID);
        task.threads = of(record.object, KRG_GHOST_THREAD);
        task.files = task.threads.at(0)->number(KRG_GHOST_THREAD_FILES);
        task.fs = task.threads[0]->number(KRG_GHOST_THREAD_FS);
        const auto parent = by_object.find(record.number(KRG_GHOST_TASK_PARENT));
        if (parent != by_object.end()) task.parent = parent->second;
        tasks_.push_back(task);
        Task* kept = &tasks_.back();
        by_object[record.object] = kept;
        if (kept->parent)
            kept->parent->children.push_back(kept);
        else
            roots_.push_back(kept);
    }
    for (const Record* zombie : all(KRG_GHOST_ZOMBIE))
        by_object.at(zombie->number(KRG_GHOST_ZOMBIE_PARENT))->zombies.push_back(zombie);
    // A session that goes on elsewhere cannot be had twice: its members join the caller's.
    std::set<pid_t> led;
    for (const Task& task : tasks_) led.insert(task.pid);
    for (Task& task : tasks_) {
        const Record& group = object(task.record->number(KRG_GHOST_TASK_GROUP));
        if (!has(object(group.number(KRG_GHOST_GROUP_SESSION)), KRG_GHOST_SESSION_OUTSIDE, 1)) continue;
        task.sid = 0;
        if (!led.contains(task.pgid)) task.pgid = 0;
    }
}

const Record& Plan::object(u64 id) const {
    const auto found = objects_.find(id);
    if (found == objects_.end()) throw Error(Exit::failed, fmt::format("{}: nothing defines object {}", path_, id));
    return *found->second;
}

const std::vector<const Record*>& Plan::of(u64 owner) const {
    static const std::vector<const Record*> none;
    const auto found = owned_.find(owner);
    return found == owned_.end() ? none : found->second;
}

std::vector<const Record*> Plan::of(u64 owner, u16 type) const {
    std::vector<const Record*> found;
    for (const Record* record : of(owner))
        if (record->type == type) found.push_back(record);
    return found;
}

std::vector<const Record*> Plan::all(u16 type) const {
    std::vector<const Record*> found;
    for (const Record& record : records_)
        if (record.type == type) found.push_back(&record);
    return found;
}

const std::vector<Run>& Plan::runs(u64 memory) const {
    static const std::vector<Run> none;
    const auto found = runs_.find(memory);
    return found == runs_.end() ? none : found->second;
}

bool Plan::is_about_process(const Record& file) const {
    if (file.type != KRG_GHOST_FILE_REGULAR && file.type != KRG_GHOST_FILE_DIRECTORY) return false;
    const std::string path = file.text(KRG_GHOST_FILE_REGULAR_PATH), proc = "/proc/";
    return path.rfind(proc, 0) == 0 && std::any_of(tasks_.begin(), tasks_.end(), [&](const Task& task) {
               const std::string own = fmt::format("{}{}", proc, task.pid);
               return path == own || path.rfind(own + "/", 0) == 0;
           });
}

std::string Plan::root_of(const Record& fs) const {
    const u64 root = fs.number(KRG_GHOST_FS_ROOT);
    const std::string path = root ? object(root).text(KRG_GHOST_FILE_DIRECTORY_PATH) : "";
    return path == "/" ? "" : path;
}

int Plan::first_free_number() const {
    u64 most = 2;
    for (const Record* fd : all(KRG_GHOST_FD)) most = std::max(most, fd->number(KRG_GHOST_FD_NUMBER));
    for (const Record* watch : all(KRG_GHOST_EPOLL_WATCH)) most = std::max(most, watch->number(KRG_GHOST_EPOLL_WATCH_NUMBER));
    return static_cast<int>(most) + 1;
}

void Plan::replace_pids() {
    for (const Task* root : roots_) {
        const pid_t sid = root->sid, pgid = root->pgid;
        for (Task& task : tasks_) {
            if (task.sid == sid) task.sid = 0;
            if (task.pgid == pgid) task.pgid = 0;
        }
    }
}

}  // namespace krg::restart
