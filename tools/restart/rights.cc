// SPDX-License-Identifier: GPL-2.0
#include "tools/restart/rights.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/openat2.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/lib/error.hh"

namespace krg::restart {

namespace {

/** Whose thread's credentials: of who has the file open, else of anybody; one who is not root before root. */
const Record* holder(const Plan& plan, const Record& file) {
    const Record *has_it = nullptr, *any = nullptr;
    const auto lesser = [](const Record* one, const Record* other) {
        return !one || (one->number(KRG_GHOST_CREDS_FSUID) == 0 && other->number(KRG_GHOST_CREDS_FSUID) != 0) ? other : one;
    };
    for (const Task& task : plan.tasks()) {
        const std::vector<const Record*>& fds = plan.of(task.files);
        const bool has = std::any_of(fds.begin(), fds.end(), [&](const Record* fd) {
            return fd->type == KRG_GHOST_FD && fd->number(KRG_GHOST_FD_FILE) == file.object;
        });
        for (const Record* thread : task.threads) {
            const Record* creds = &plan.object(thread->number(KRG_GHOST_THREAD_CREDS));
            any = lesser(any, creds);
            if (has) has_it = lesser(has_it, creds);
        }
    }
    return has_it ? has_it : any;
}

std::string groups_of_caller() {
    std::string list(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)) * sizeof(gid_t), 0);
    if (!list.empty() && getgroups(static_cast<int>(list.size() / sizeof(gid_t)), reinterpret_cast<gid_t*>(list.data())) < 0)
        list.clear();
    return list;
}

bool set_groups(const std::string& list) { return syscall(SYS_setgroups, list.size() / sizeof(gid_t), list.data()) == 0; }

constexpr auto nobody = static_cast<uid_t>(-1);

bool set_ids(uid_t uid, gid_t gid) {
    setfsgid(gid);
    setfsuid(uid);
    return static_cast<gid_t>(setfsgid(nobody)) == gid && static_cast<uid_t>(setfsuid(nobody)) == uid;
}

}  // namespace

AsHolder::AsHolder(const Plan& plan, const Record& file) {
    const Record* creds = holder(plan, file);
    if (!creds || creds->number(KRG_GHOST_CREDS_FSUID) == 0) return;
    uid_ = static_cast<uid_t>(setfsuid(nobody));
    gid_ = static_cast<gid_t>(setfsgid(nobody));
    groups_ = groups_of_caller();
    changed_ = true;
    if (set_groups(creds->bytes) && set_ids(static_cast<uid_t>(creds->number(KRG_GHOST_CREDS_FSUID)),
                                            static_cast<gid_t>(creds->number(KRG_GHOST_CREDS_FSGID))))
        return;
    const int why = errno;
    (void)set_ids(uid_, gid_);
    (void)set_groups(groups_);
    throw Error(Exit::not_permitted, fmt::format("{}: cannot be opened as who has it: {}", name_of(file), std::strerror(why)));
}

AsHolder::~AsHolder() {
    if (!changed_) return;
    const int why = errno;
    (void)set_ids(uid_, gid_);
    (void)set_groups(groups_);
    errno = why;
}

namespace {

/** It was opened with rights that its process has no more, if it is the same. */
int open_same(const Record& file, const std::string& path, int flags) {
    open_how how{};
    how.flags = static_cast<u64>(flags);
    how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const auto fd = static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof(how)));
    if (fd < 0) return -1;
    struct stat st {};
    if (file.type == KRG_GHOST_FILE_REGULAR && fstat(fd, &st) == 0 && st.st_uid == file.number(KRG_GHOST_FILE_REGULAR_UID) &&
        st.st_gid == file.number(KRG_GHOST_FILE_REGULAR_GID) &&
        (st.st_mode & 07777) == file.number(KRG_GHOST_FILE_REGULAR_MODE))
        return fd;
    close(fd);
    errno = EACCES;
    return -1;
}

}  // namespace

int open_named(const Files& files, const Record& file, const std::string& path, int flags) {
    flags |= O_CLOEXEC | O_NOCTTY;
    if (!files.from_another_node()) return open(path.c_str(), flags);
    {
        const AsHolder as(files.plan(), file);
        const int fd = open(path.c_str(), flags);
        if (fd >= 0 || (errno != EACCES && errno != EPERM)) return fd;
    }
    return open_same(file, path, flags);
}

}  // namespace krg::restart
