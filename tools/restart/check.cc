// SPDX-License-Identifier: GPL-2.0
#include "tools/restart/check.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/restart/sysv.hh"
#include "tools/restart/task.hh"
#include "tools/restart/tree.hh"

namespace krg::restart {

namespace {

using Kind = Refusal::Kind;
constexpr s64 second = 1'000'000'000;
constexpr u64 has_no_name = 3;

class Checker {
public:
    Checker(const Plan& plan, const Options& options) : plan_(plan), options_(options), own_(own_capabilities()) {}

    std::vector<Refusal> run() {
        image();
        for (const Record& record : plan_.records()) {
            if (is_file(record.type)) file(record);
            other(record);
        }
        tasks();
        ids();
        for (const Record* creds : plan_.all(KRG_GHOST_CREDS)) rights(*creds);
        limits();
        clocks();
        return std::move(found_);
    }

private:
    void add(Kind kind, const std::string& what) { found_.push_back({kind, what}); }
    bool can(int capability) const { return (own_.effective >> capability & 1) != 0; }

    void image() {
        const Record& image = plan_.image();
        utsname name{};
        uname(&name);
        const std::string kernel = image.text(KRG_GHOST_IMAGE_KERNEL);
        if (image.number(KRG_GHOST_IMAGE_PURPOSE) == 1)
            add(Kind::cannot, plan_.path() + ": a manifest: name one of its members");
        if (plan_.tasks().empty()) add(Kind::cannot, plan_.path() + ": has no process");
        if (kernel != name.release)
            add(Kind::cannot, fmt::format("kernel: the image is of {}, this is {}", kernel, name.release));
        if (image.number(KRG_GHOST_IMAGE_PARENT)) add(Kind::cannot, "image: is an increment: not supported");
    }

    void regular(const Record& file) {
        if (file.number(KRG_GHOST_FILE_REGULAR_CONTENTS)) return;
        const std::string path = file.text(KRG_GHOST_FILE_REGULAR_PATH);
        if (has(file, KRG_GHOST_FILE_REGULAR_STATE, has_no_name))
            return add(Kind::cannot, name_of(file) + ": was removed, and the image has not what was in it");
        struct stat st {};
        if (stat(path.c_str(), &st) != 0) return add(Kind::changed, fmt::format("{}: {}", name_of(file), std::strerror(errno)));
        if (!S_ISREG(st.st_mode)) return add(Kind::changed, name_of(file) + ": is no regular file any more");
        if (options_.accept_changed) return;
        const s64 mtime = st.st_mtim.tv_sec * second + st.st_mtim.tv_nsec;
        if (static_cast<u64>(st.st_size) != file.number(KRG_GHOST_FILE_REGULAR_SIZE))
            add(Kind::changed,
                fmt::format("{}: has {} bytes, had {}", name_of(file), st.st_size, file.number(KRG_GHOST_FILE_REGULAR_SIZE)));
        // What a node has cached of a time may not be the file server's: only one later than the checkpoint says something.
        else if (mtime != static_cast<s64>(file.number(KRG_GHOST_FILE_REGULAR_MTIME)) &&
                 mtime > static_cast<s64>(plan_.image().number(KRG_GHOST_IMAGE_TIME)))
            add(Kind::changed, name_of(file) + ": was changed since");
    }

    void file(const Record& file) {
        if (Files::substitute(options_, file) >= 0 || plan_.is_about_process(file)) return;
        struct stat st {};
        switch (file.type) {
        case KRG_GHOST_FILE_REGULAR: return regular(file);
        case KRG_GHOST_FILE_DIRECTORY:
            if (has(file, KRG_GHOST_FILE_DIRECTORY_STATE, 1)) return;
            if (stat(file.text(KRG_GHOST_FILE_DIRECTORY_PATH).c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
                add(Kind::changed, name_of(file) + ": there is no such directory");
            return;
        case KRG_GHOST_FILE_PIPE:
            if (const std::string path = file.text(KRG_GHOST_FILE_PIPE_PATH);
                !path.empty() && (stat(path.c_str(), &st) != 0 || !S_ISFIFO(st.st_mode)))
                add(Kind::changed, name_of(file) + ": there is no such fifo");
            return;
        case KRG_GHOST_FILE_FORWARDED:
            if (options_.device >= 0) return;  // it comes with its process
            return add(Kind::cannot, name_of(file) + ": is served by another node: use --substitute-file");
        case KRG_GHOST_FILE_INOTIFY:
            if (!file.bytes.empty()) add(Kind::cannot, name_of(file) + ": has events that were not yet read: not supported");
            return;
        case KRG_GHOST_FILE_TTY: return terminal(file);
        case KRG_GHOST_FILE_INET:
            if (file.number(KRG_GHOST_FILE_INET_TYPE) == 1 && file.number(KRG_GHOST_FILE_INET_STATE) == 2 &&
                !inet_partner(plan_, file))
                add(Kind::cannot, name_of(file) + ": an established TCP connection with an end outside: not supported");
            return;
        case KRG_GHOST_FILE_UNIX:
            if (has(file, KRG_GHOST_FILE_UNIX_OPTIONS, 1) && !plan_.of(file.object, KRG_GHOST_UNIX_MESSAGE).empty())
                add(Kind::cannot, name_of(file) + ": has messages with credentials that were not yet read: not supported");
            return;
        default: return;
        }
    }

    void terminal(const Record& file) {
        const u64 tty = file.number(KRG_GHOST_FILE_TTY_TTY);
        for (const Record* other : plan_.all(KRG_GHOST_FILE_TTY))
            if (other->number(KRG_GHOST_FILE_TTY_TTY) == tty && has(*other, KRG_GHOST_FILE_TTY_MASTER, 1)) return;
        if (!options_.replace_tty)
            add(Kind::cannot, fmt::format("{}: terminal /dev/pts/{} is another one's: use --replace-tty", name_of(file),
                                          plan_.object(tty).number(KRG_GHOST_TTY_INDEX)));
    }

    void other(const Record& record) {
        switch (record.type) {
        case KRG_GHOST_SECCOMP: return seccomp(record);
        case KRG_GHOST_SYSV_SHM:
        case KRG_GHOST_SYSV_SEM:
        case KRG_GHOST_SYSV_QUEUE: return sysv(record);
        case KRG_GHOST_FS:
            if (const std::string root = plan_.root_of(record); !root.empty() && !can(CAP_SYS_CHROOT))
                add(Kind::rights, fmt::format("root directory {}: a process runs below chroot: needs CAP_SYS_CHROOT", root));
            return;
        case KRG_GHOST_CREDS: {
            std::string label;
            std::getline(std::ifstream("/proc/thread-self/attr/current"), label, '\0');
            while (!label.empty() && label.back() == '\n') label.pop_back();
            const std::string wanted = record.text(KRG_GHOST_CREDS_LABEL);
            if (!wanted.empty() && wanted != label)
                add(Kind::rights, fmt::format("security label: a process has '{}', the caller '{}'", wanted, label));
            return;
        }
        default: return;
        }
    }

    void seccomp(const Record& record) {
        if (!has(plan_.object(record.owner), KRG_GHOST_THREAD_FLAGS, 1) && record.number(KRG_GHOST_SECCOMP_MODE) == 2 &&
            !can(CAP_SYS_ADMIN))
            add(Kind::rights, "seccomp: a process has filters without no_new_privs, which needs CAP_SYS_ADMIN");
    }

    void sysv(const Record& record) {
        const u16 first = sysv_first_field(record.type);
        const u64 uid = record.number(static_cast<u16>(first + 5)), gid = record.number(static_cast<u16>(first + 6));
        if (const std::string what = sysv_in_the_way(record); !what.empty()) add(Kind::busy, what);
        if (!can(CAP_CHECKPOINT_RESTORE) && !can(CAP_SYS_ADMIN))
            add(Kind::rights, "SysV: who chooses the ids of objects needs CAP_CHECKPOINT_RESTORE");
        if ((uid != geteuid() && !can(CAP_SETUID)) || (gid != getegid() && !can(CAP_SETGID)))
            add(Kind::rights, fmt::format("SysV: an object was made by user {}, group {}", uid, gid));
    }

    void tasks() {
        std::set<u64> mms, tables, handlers, clocks;
        for (const Task& task : plan_.tasks()) {
            const u64 mm = task.record->number(KRG_GHOST_TASK_MM);
            if (!mms.insert(mm).second)
                add(Kind::cannot, fmt::format("process {}: shares its address space with another: not supported", task.pid));
            if (!handlers.insert(task.record->number(KRG_GHOST_TASK_SIGHAND)).second)
                add(Kind::cannot, fmt::format("process {}: shares signal handlers with another: not supported", task.pid));
            if (!tables.insert(task.files).second || !tables.insert(task.fs).second)
                add(Kind::cannot,
                    fmt::format("process {}: shares descriptors or directories with another: not supported", task.pid));
            for (const Record* thread : task.threads) {
                if (thread->number(KRG_GHOST_THREAD_FILES) != task.files || thread->number(KRG_GHOST_THREAD_FS) != task.fs)
                    add(Kind::cannot, fmt::format("thread {}: has descriptors or directories of its own: not supported",
                                                  thread->number(KRG_GHOST_THREAD_TID)));
                if (has(*thread, KRG_GHOST_THREAD_FLAGS, 4))
                    add(Kind::cannot, fmt::format("thread {}: has ended before its process: not supported",
                                                  thread->number(KRG_GHOST_THREAD_TID)));
            }
            clocks.insert(task.record->number(KRG_GHOST_TASK_TIME));
            vdso(task, mm);
        }
        if (clocks.size() > 1) add(Kind::cannot, "clocks: processes are in several time namespaces: not supported");
        for (const std::string& line : impossible_sessions(plan_)) add(Kind::cannot, line);
    }

    void vdso(const Task& task, u64 mm) {
        const std::vector<Range> theirs = special_mappings(plan_, mm), own = own_special_mappings();
        if (theirs.empty()) return;
        const bool same = std::equal(theirs.begin(), theirs.end(), own.begin(), own.end(),
                                     [](const Range& a, const Range& b) { return a.end - a.begin == b.end - b.begin; });
        if (!same) add(Kind::cannot, fmt::format("process {}: the vdso of this kernel is another one", task.pid));
    }

    void ids() {
        const Task* own = options_.at_home && !plan_.tasks().empty() ? &plan_.tasks().front() : nullptr;
        for (const pid_t id : busy_ids(plan_))
            if (!own || (id != own->pid && id != own->sid && id != own->pgid))
                add(Kind::busy, fmt::format("id {}: a process, thread, group or session has it here", id));
        pid_t most = 0;
        std::ifstream("/proc/sys/kernel/pid_max") >> most;
        for (const pid_t id : needed_ids(plan_))
            if (most && id >= most)
                add(Kind::cannot, fmt::format("id {}: is above this node's /proc/sys/kernel/pid_max, {}", id, most));
    }

    /** Not more than the caller could give himself. The kernel judges again when it is asked. */
    void rights(const Record& creds) {
        const auto id = [&](int field) { return creds.number(static_cast<u16>(KRG_GHOST_CREDS_UID + field)); };
        const u64 uids[] = {getuid(), geteuid()}, gids[] = {getgid(), getegid()};
        for (int i = 0; i < 4; i++) {
            const u64 uid = id(i), gid = id(4 + i);
            if (std::find(std::begin(uids), std::end(uids), uid) == std::end(uids) && !can(CAP_SETUID))
                return add(Kind::rights, fmt::format("credentials: a process is of user {}, the caller of {}", uid, uids[0]));
            if (std::find(std::begin(gids), std::end(gids), gid) == std::end(gids) && !can(CAP_SETGID))
                return add(Kind::rights, fmt::format("credentials: a process is of group {}, the caller of {}", gid, gids[0]));
        }
        // What restart was installed with is not the caller's to give on.
        const u64 mine = geteuid() == 0 || getuid() == 0 ? own_.permitted
                                                         : own_.permitted & ~(u64{1} << CAP_CHECKPOINT_RESTORE);
        if (creds.number(KRG_GHOST_CREDS_PERMITTED) & ~mine)
            add(Kind::rights, fmt::format("capabilities: a process has {:#x}, the caller {:#x}",
                                          creds.number(KRG_GHOST_CREDS_PERMITTED), mine));
        if (creds.number(KRG_GHOST_CREDS_BOUNDING) & ~own_.bounding)
            add(Kind::rights, "capabilities: the bounding set of a process is larger than the caller's");
        if (creds.number(KRG_GHOST_CREDS_BOUNDING) != own_.bounding && !can(CAP_SETPCAP))
            add(Kind::rights, "capabilities: the bounding set of a process is not the caller's, who may not drop from it");
        std::string groups(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)) * sizeof(gid_t), 0);
        if (!groups.empty() &&
            getgroups(static_cast<int>(groups.size() / sizeof(gid_t)), reinterpret_cast<gid_t*>(groups.data())) < 0)
            groups.clear();
        if (creds.bytes != groups && !can(CAP_SETGID))
            add(Kind::rights, "credentials: the groups of a process are not the caller's");
    }

    void limits() {
        for (const Record* record : plan_.all(KRG_GHOST_RLIMIT)) {
            const auto resource = static_cast<__rlimit_resource>(record->number(KRG_GHOST_RLIMIT_RESOURCE));
            rlimit now{};
            getrlimit(resource, &now);
            if (record->number(KRG_GHOST_RLIMIT_HARD) > now.rlim_max && !can(CAP_SYS_RESOURCE))
                add(Kind::rights,
                    fmt::format("resource limit {}: a process has more than the caller", static_cast<int>(resource)));
        }
    }

    void clocks() {
        const ClockShift shift = clock_shift(plan_);
        if ((shift.monotonic || shift.boottime) && !can(CAP_SYS_ADMIN))
            add(Kind::rights,
                "clocks: this machine started later, and a time namespace, which keeps CLOCK_MONOTONIC from going back, "
                "needs CAP_SYS_ADMIN");
    }

    const Plan& plan_;
    const Options& options_;
    Capabilities own_;
    std::vector<Refusal> found_;
};

s64 now_of(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return now.tv_sec * second + now.tv_nsec;
}

}  // namespace

ClockShift clock_shift(const Plan& plan) {
    ClockShift shift;
    for (const Record* time : plan.all(KRG_GHOST_TIME)) {
        shift.monotonic = std::max<s64>(0, static_cast<s64>(time->number(KRG_GHOST_TIME_MONOTONIC)) - now_of(CLOCK_MONOTONIC));
        shift.boottime = std::max<s64>(0, static_cast<s64>(time->number(KRG_GHOST_TIME_BOOTTIME)) - now_of(CLOCK_BOOTTIME));
    }
    return shift;
}

std::vector<Refusal> refusals(const Plan& plan, const Options& options) { return Checker(plan, options).run(); }

void refuse(const std::vector<Refusal>& refusals) {
    if (refusals.empty()) return;
    std::string text = "cannot be restarted here, nothing was changed";
    const auto any = [&](Kind kind) {
        return std::any_of(refusals.begin(), refusals.end(), [&](const Refusal& refusal) { return refusal.kind == kind; });
    };
    for (const Refusal& refusal : refusals) text += "\n  " + refusal.what;
    if (any(Kind::cannot)) throw Error(Exit::unsafe, text);
    if (any(Kind::rights)) throw Error(Exit::not_permitted, text, "restart it as who it belongs to, or as root");
    if (any(Kind::busy)) throw Error(Exit::failed, text, "end or remove what has them, or wait until it has ended");
    throw Error(Exit::failed, text, "put the files back, or say --accept-changed or --substitute-file");
}

}  // namespace krg::restart
