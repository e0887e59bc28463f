// SPDX-License-Identifier: GPL-2.0
// Order and places of files; what has a name or contents of its own. Pipes, sockets and terminals are in files of their own.
#include "tools/restart/files.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/krg_proc.h>
#include <linux/memfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/restart/rights.hh"

namespace krg::restart {

namespace {

constexpr u64 page = 4096;
constexpr u64 removed = 1;
constexpr u64 kept_flags = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |
                           O_PATH;

/** A file without a name in the folder where it had one. */
int nameless(const Record& file) {
    const std::string path = file.text(KRG_GHOST_FILE_REGULAR_PATH);
    const std::string folder = path.substr(0, std::max<size_t>(path.rfind('/'), 1));
    int fd = open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    std::string name = folder + "/.krg-restart-XXXXXX";
    fd = mkostemp(name.data(), O_CLOEXEC);
    if (fd < 0) fail_file(file, "cannot make a file in " + folder);
    if (unlink(name.c_str()) != 0) fail_file(file, "cannot unlink " + name);
    return fd;
}

void seek(const Record& file, int fd, u64 offset) {
    if (open_flags(file) & O_PATH) return;
    if (lseek(fd, static_cast<off_t>(offset), SEEK_SET) < 0) fail_file(file, "cannot seek");
}

}  // namespace

void fail_file(const Record& file, const std::string& what) {
    const int why = errno;
    throw Error(why == EACCES || why == EPERM ? Exit::not_permitted : Exit::failed,
                fmt::format("{}: {}: {}", name_of(file), what, std::strerror(why)),
                why == ENOENT ? "put the file back, or use --substitute-file" : "");
}

int open_flags(const Record& file) { return static_cast<int>(file.number(KRG_GHOST_FILE_REGULAR_FLAGS) & kept_flags); }

Files::Files(const Plan& plan, const Options& options)
    : plan_(plan),
      options_(options),
      base_(std::max(plan.first_free_number(), 64)) {}

int Files::park(int fd, const std::string& what) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    const int parked = fcntl(fd, F_DUPFD_CLOEXEC, base_);
    const int why = errno;
    close(fd);
    if (parked >= 0) return parked;
    throw Error(Exit::failed, fmt::format("{}: no descriptor from {} on is free: {}", what, base_, std::strerror(why)),
                "raise the limit of open files (ulimit -n)");
}

int Files::at(u64 object) const {
    const auto found = parked_.find(object);
    return found == parked_.end() ? -1 : found->second;
}

void Files::made(const Record& file, int fd) {
    const int parked = park(fd, name_of(file));
    const u64 flags = file.number(KRG_GHOST_FILE_REGULAR_FLAGS);
    // O_ASYNC needs an owner first: the process sets it.
    const u64 settable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;
    const int now = fcntl(parked, F_GETFL);
    if (!(flags & O_PATH) && (static_cast<u64>(now) & settable) != (flags & settable) &&
        fcntl(parked, F_SETFL, static_cast<int>(flags & settable)) != 0)
        fail_file(file, "cannot set its flags");
    parked_[file.object] = parked;
}

int Files::substitute(const Options& options, const Record& file) {
    for (const std::string& key : {fmt::format("@{}", file.object), file.text(KRG_GHOST_FILE_REGULAR_PATH)}) {
        const auto found = options.substitutes.find(key);
        if (found != options.substitutes.end()) return found->second;
    }
    return -1;
}

int Files::again(const Record& file, int fd, u64 flags) const {
    const int other = open(fmt::format("/proc/self/fd/{}", fd).c_str(), static_cast<int>(flags) | O_CLOEXEC | O_NOCTTY);
    if (other < 0) fail_file(file, "cannot open it another time");
    return other;
}

void Files::fill(const Record& memory, int fd) {
    const std::string what = fmt::format("memory @{}", memory.object);
    const auto fail = [&](const std::string& step) {
        throw Error(Exit::failed, fmt::format("{}: {}: {}", what, step, std::strerror(errno)), "is there room?");
    };
    if (ftruncate(fd, static_cast<off_t>(memory.number(KRG_GHOST_MEMORY_SIZE))) != 0) fail("cannot give it its size");
    if (image_ < 0) image_ = park(open(plan_.path().c_str(), O_RDONLY | O_CLOEXEC), plan_.path());
    std::string buffer;
    for (const Run& run : plan_.runs(memory.object)) {
        if (run.source == KRG_GHOST_SOURCE_ZERO) continue;
        if (run.source != KRG_GHOST_SOURCE_HERE || run.codec != KRG_GHOST_CODEC_PLAIN)
            throw Error(Exit::unsafe, what + ": its pages are packed or in another image: not supported");
        buffer.resize(run.length);
        if (pread(image_, buffer.data(), run.length, static_cast<off_t>(run.offset)) != static_cast<ssize_t>(run.length))
            fail("cannot read its pages from the image");
        // The last page may reach beyond the end of the object.
        const u64 size = memory.number(KRG_GHOST_MEMORY_SIZE);
        const u64 length = std::min<u64>(run.pages * page, run.at < size ? size - run.at : 0);
        for (u64 done = 0; done < length;) {
            const ssize_t n = pwrite(fd, buffer.data() + done, length - done, static_cast<off_t>(run.at + done));
            if (n <= 0) fail("cannot write its pages");
            done += static_cast<u64>(n);
        }
    }
}

void Files::make() {
    make_pipes(*this);
    const auto under_way = make_unix_sockets(*this);
    make_terminals(*this, options_.replace_tty);
    for (const Record& file : plan_.records()) {
        if (!is_file(file.type) || at(file.object) >= 0 || plan_.is_about_process(file)) continue;
        if (const int other = substitute(file); other >= 0) {
            const int fd = dup(other);
            if (fd < 0) fail_file(file, fmt::format("--substitute-file: descriptor {}", other));
            parked_[file.object] = park(fd, name_of(file));
            continue;
        }
        switch (file.type) {
        case KRG_GHOST_FILE_REGULAR: make_regular(*this, contents_, file); break;
        case KRG_GHOST_FILE_MEMFD: make_memfd(*this, contents_, file); break;
        case KRG_GHOST_FILE_DIRECTORY: make_directory(*this, file); break;
        case KRG_GHOST_FILE_DEVICE: make_device(*this, file); break;
        case KRG_GHOST_FILE_FORWARDED: make_forwarded(*this, file, options_.device); break;
        case KRG_GHOST_FILE_INET: make_inet(*this, file); break;
        case KRG_GHOST_FILE_EVENTFD:
        case KRG_GHOST_FILE_TIMERFD:
        case KRG_GHOST_FILE_SIGNALFD:
        case KRG_GHOST_FILE_EPOLL: make_event(*this, file); break;
        default: break;
        }
    }
    make_connections(*this);
    under_way();
    // What happens to files until now is none of the watchers' business.
    for (const Record* file : plan_.all(KRG_GHOST_FILE_INOTIFY))
        if (at(file->object) < 0) make_inotify(*this, *file);
    if (image_ >= 0) close(image_);
    image_ = -1;
}

void Files::close_all() {
    for (auto* list : {&parked_, &contents_}) {
        for (const auto& [object, fd] : *list) close(fd);
        list->clear();
    }
}

void make_regular(Files& files, std::map<u64, int>& contents, const Record& file) {
    const std::string path = file.text(KRG_GHOST_FILE_REGULAR_PATH);
    int fd = -1;
    if (file.number(KRG_GHOST_FILE_REGULAR_CONTENTS)) {
        const Record& memory = files.plan().object(file.number(KRG_GHOST_FILE_REGULAR_CONTENTS));
        auto found = contents.find(memory.object);
        if (found == contents.end()) {
            fd = nameless(file);
            files.fill(memory, fd);
            if (fchmod(fd, static_cast<mode_t>(file.number(KRG_GHOST_FILE_REGULAR_MODE))) != 0)
                fail_file(file, "cannot set its mode");
            struct stat st {};
            const auto uid = static_cast<uid_t>(file.number(KRG_GHOST_FILE_REGULAR_UID));
            const auto gid = static_cast<gid_t>(file.number(KRG_GHOST_FILE_REGULAR_GID));
            if (fstat(fd, &st) == 0 && (st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) != 0)
                fail_file(file, "cannot set its owner");
            found = contents.emplace(memory.object, files.park(fd, name_of(file))).first;
        }
        // O_TMPFILE leaves O_DIRECTORY behind, which was about the folder.
        fd = files.again(file, found->second, static_cast<u64>(open_flags(file) & ~O_DIRECTORY));
    } else {
        fd = open_named(files, file, path, open_flags(file) & ~O_DIRECTORY);
        if (fd < 0) fail_file(file, "cannot open it");
    }
    seek(file, fd, file.number(KRG_GHOST_FILE_REGULAR_OFFSET));
    files.made(file, fd);
}

void make_memfd(Files& files, std::map<u64, int>& contents, const Record& file) {
    const Record& memory = files.plan().object(file.number(KRG_GHOST_FILE_MEMFD_MEMORY));
    const u64 seals = memory.number(KRG_GHOST_MEMORY_SEALS);
    auto found = contents.find(memory.object);
    if (found == contents.end()) {
        const u64 huge = memory.number(KRG_GHOST_MEMORY_HUGE);
        unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
        if (huge) flags |= MFD_HUGETLB | static_cast<unsigned>(huge << MFD_HUGE_SHIFT);
        const int fd = memfd_create(memory.text(KRG_GHOST_MEMORY_NAME).c_str(), flags);
        if (fd < 0) fail_file(file, "memfd_create");
        files.fill(memory, fd);
        if (memory.number(KRG_GHOST_MEMORY_MODE) && fchmod(fd, static_cast<mode_t>(memory.number(KRG_GHOST_MEMORY_MODE))) != 0)
            fail_file(file, "cannot set its mode");
        if (seals && fcntl(fd, F_ADD_SEALS, static_cast<int>(seals)) != 0) fail_file(file, "cannot seal it");
        found = contents.emplace(memory.object, files.park(fd, name_of(file))).first;
    }
    const int fd = files.again(file, found->second, static_cast<u64>(open_flags(file)));
    seek(file, fd, file.number(KRG_GHOST_FILE_MEMFD_OFFSET));
    files.made(file, fd);
}

void make_directory(Files& files, const Record& file) {
    const std::string path = file.text(KRG_GHOST_FILE_DIRECTORY_PATH);
    const bool gone = has(file, KRG_GHOST_FILE_DIRECTORY_STATE, removed);
    if (gone && mkdir(path.c_str(), static_cast<mode_t>(file.number(KRG_GHOST_FILE_DIRECTORY_MODE))) != 0)
        fail_file(file, "cannot make it again, to remove it");
    const int fd = open_named(files, file, path, open_flags(file) | O_DIRECTORY);
    const int why = errno;
    if (gone) rmdir(path.c_str());
    errno = why;
    if (fd < 0) fail_file(file, "cannot open it");
    if (!gone) seek(file, fd, file.number(KRG_GHOST_FILE_DIRECTORY_OFFSET));
    files.made(file, fd);
}

void make_forwarded(Files& files, const Record& file, int device) {
    krg_proc_restore_forwarded arg{};
    arg.object = file.object;
    if (ioctl(device, KRG_PROC_RESTORE_FORWARDED, &arg) != 0) fail_file(file, "the node that has it does not serve it");
    files.made(file, arg.fd);
}

void make_device(Files& files, const Record& file) {
    const int fd = open_named(files, file, file.text(KRG_GHOST_FILE_DEVICE_PATH), open_flags(file));
    if (fd < 0) fail_file(file, "cannot open it");
    struct stat st {};
    if (fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode) || major(st.st_rdev) != file.number(KRG_GHOST_FILE_DEVICE_MAJOR) ||
        minor(st.st_rdev) != file.number(KRG_GHOST_FILE_DEVICE_MINOR)) {
        close(fd);
        throw Error(Exit::failed, name_of(file) + " is another device here", "use --substitute-file");
    }
    files.made(file, fd);
}

}  // namespace krg::restart
