// SPDX-License-Identifier: GPL-2.0
//
// Open files of /shared: contents, directories, locks. See shared_session.h.
#include "shared_session.h"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

namespace krg::vcluster {

namespace {

constexpr uint32_t io_max_bytes = 1 << 20;

// What of a guest's open flags is passed on. Nothing here may wait for the other end of a pipe.
int usable_flags(uint32_t flags) {
    constexpr int passed = O_ACCMODE | O_TRUNC | O_APPEND | O_DSYNC | O_SYNC | O_DIRECTORY | O_EXCL;
    return (static_cast<int>(flags) & passed) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
}

// The kernel sends a cached write page by page; what is appended must arrive in one piece. A file open only for
// writing cannot be mapped, so nothing is lost by not caching it.
uint32_t open_flags_for(uint32_t flags) { return (flags & O_APPEND) && (flags & O_ACCMODE) == O_WRONLY ? FOPEN_DIRECT_IO : 0; }

Fd open_again(int path, int flags) { return Fd(::open(fmt::format("/proc/self/fd/{}", path).c_str(), flags)); }

}  // namespace

int SharedSession::handle_files(Request& request) {
    switch (request.header.opcode) {
    case FUSE_OPEN:
    case FUSE_OPENDIR: return open(request);
    case FUSE_CREATE: return create(request);
    case FUSE_READ: return read(request);
    case FUSE_WRITE: return write(request);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR: return release(request);
    case FUSE_FLUSH: return flush(request);
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR: return fsync(request);
    case FUSE_READDIR: return readdir(request);
    case FUSE_FALLOCATE: return fallocate(request);
    case FUSE_LSEEK: return lseek(request);
    case FUSE_GETLK: return getlock(request);
    case FUSE_SETLK:
    case FUSE_SETLKW: return setlock(request);
    default: return ENOSYS;  // extended attributes, ioctl, poll: the guest's kernel does without
    }
}

SharedSession::OpenFile* SharedSession::find_open(uint64_t handle) {
    auto found = open_files_.find(handle);
    return found == open_files_.end() ? nullptr : &found->second;
}

uint64_t SharedSession::add_open(Fd fd, FileId file, bool append) {
    uint64_t handle = next_handle_++;
    OpenFile& opened = open_files_[handle];
    opened.fd = std::move(fd);
    opened.file = file;
    opened.append = append;
    return handle;
}

void SharedSession::note_change(const OpenFile& file) {
    struct stat st {};
    if (fstat(file.fd.get(), &st) == 0) files_.clock.changed(file.file, st.st_mtim);
}

int SharedSession::open(Request& request) {
    Inode* inode = find(request.header.nodeid);
    auto in = request.take<fuse_open_in>();
    if (!inode || !request.good) return ESTALE;
    bool directory = request.header.opcode == FUSE_OPENDIR;
    Fd fd = open_again(inode->path.get(), directory ? O_RDONLY | O_DIRECTORY | O_CLOEXEC
                                                    : usable_flags(in.flags & ~static_cast<uint32_t>(O_EXCL)));
    if (!fd) return errno;
    fuse_open_out out{};
    out.fh = add_open(std::move(fd), inode->file, (in.flags & O_APPEND) != 0);
    if (!directory) out.open_flags = open_flags_for(in.flags);
    if (in.flags & O_TRUNC) note_change(open_files_[out.fh]);
    return reply_with(request, out);
}

int SharedSession::create(Request& request) {
    Inode* directory = find(request.header.nodeid);
    auto in = request.take<fuse_create_in>();
    std::string name = request.take_name();
    if (!directory) return ESTALE;
    if (!request.good) return EINVAL;
    int path = directory->path.get();
    // Whether the file is new decides who owns it.
    Fd fd(openat(path, name.c_str(), usable_flags(in.flags) | O_CREAT | O_EXCL | O_NOFOLLOW, in.mode & 07777));
    if (fd)
        (void)!fchown(fd.get(), request.header.uid, request.header.gid);
    else if (errno == EEXIST && !(in.flags & O_EXCL))
        fd.reset(openat(path, name.c_str(), usable_flags(in.flags) | O_NOFOLLOW));
    if (!fd) return errno;
    fuse_entry_out entry{};
    if (int error = enter(path, name, entry)) return error;
    fuse_open_out out{};
    out.fh = add_open(std::move(fd), inodes_[entry.nodeid].file, (in.flags & O_APPEND) != 0);
    out.open_flags = open_flags_for(in.flags);
    if (in.flags & O_TRUNC) note_change(open_files_[out.fh]);
    return reply_with(request, entry, {reinterpret_cast<const char*>(&out), sizeof out});
}

int SharedSession::read(Request& request) {
    auto in = request.take<fuse_read_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good || in.size > io_max_bytes) return EBADF;
    std::string data(in.size, '\0');
    ssize_t got = pread(file->fd.get(), data.data(), data.size(), static_cast<off_t>(in.offset));
    // A page of a mapping is read through whatever file is open, even one open only for writing.
    if (got < 0 && errno == EBADF) {
        Fd again = open_again(file->fd.get(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (again) got = pread(again.get(), data.data(), data.size(), static_cast<off_t>(in.offset));
    }
    if (got < 0) return errno;
    reply(request.header.unique, 0, std::string_view(data).substr(0, static_cast<size_t>(got)));
    return 0;
}

int SharedSession::write(Request& request) {
    auto in = request.take<fuse_write_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good || in.size > request.rest.size()) return EBADF;
    int fd = file->fd.get();
    // A page written back has its place; a descriptor with O_APPEND would put it at the end.
    if ((in.write_flags & FUSE_WRITE_CACHE) && file->append) {
        if (!file->plain) file->plain = open_again(fd, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
        fd = file->plain.get();
    }
    ssize_t put = pwrite(fd, request.rest.data(), in.size, static_cast<off_t>(in.offset));
    if (put < 0) return errno;
    note_change(*file);
    fuse_write_out out{};
    out.size = static_cast<uint32_t>(put);
    return reply_with(request, out);
}

int SharedSession::release(Request& request) {
    auto in = request.take<fuse_release_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good) return EBADF;
    if (in.release_flags & FUSE_RELEASE_FLOCK_UNLOCK) {
        LockRequest unlock{file->file, true, client_, in.lock_owner};
        files_.locks.request(unlock, false, 0, [](int) {});
    }
    files_.locks.close_handle(client_, file->file, in.fh);
    open_files_.erase(in.fh);
    reply(request.header.unique, 0);
    return 0;
}

// Sent at every close(): that ends the process's fcntl locks on the file.
int SharedSession::flush(Request& request) {
    auto in = request.take<fuse_flush_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good) return EBADF;
    LockRequest unlock{file->file, false, client_, in.lock_owner};
    files_.locks.request(unlock, false, 0, [](int) {});
    reply(request.header.unique, 0);
    return 0;
}

int SharedSession::fsync(Request& request) {
    auto in = request.take<fuse_fsync_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good) return EBADF;
    if ((in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(file->fd.get()) : ::fsync(file->fd.get())) != 0) return errno;
    reply(request.header.unique, 0);
    return 0;
}

int SharedSession::readdir(Request& request) {
    auto in = request.take<fuse_read_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good || in.size > io_max_bytes) return EBADF;
    if (::lseek(file->fd.get(), static_cast<off_t>(in.offset), SEEK_SET) < 0) return errno;
    std::string out;
    alignas(dirent64) char buffer[16384];
    for (bool full = false; !full;) {
        ssize_t got = getdents64(file->fd.get(), buffer, sizeof buffer);
        if (got < 0) return errno;
        if (got == 0) break;
        for (ssize_t at = 0; at < got;) {
            auto* entry = reinterpret_cast<dirent64*>(buffer + at);
            std::string_view name = entry->d_name;
            fuse_dirent one{entry->d_ino, static_cast<uint64_t>(entry->d_off), static_cast<uint32_t>(name.size()),
                            entry->d_type};
            size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name.size());
            full = out.size() + size > in.size;
            if (full) break;
            size_t begin = out.size();
            out.append(reinterpret_cast<const char*>(&one), FUSE_NAME_OFFSET).append(name);
            out.resize(begin + size);
            at += entry->d_reclen;
        }
    }
    reply(request.header.unique, 0, out);
    return 0;
}

int SharedSession::fallocate(Request& request) {
    auto in = request.take<fuse_fallocate_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good) return EBADF;
    if (::fallocate(file->fd.get(), static_cast<int>(in.mode), static_cast<off_t>(in.offset), static_cast<off_t>(in.length)) !=
        0)
        return errno;
    note_change(*file);
    reply(request.header.unique, 0);
    return 0;
}

int SharedSession::lseek(Request& request) {
    auto in = request.take<fuse_lseek_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good) return EBADF;
    off_t found = ::lseek(file->fd.get(), static_cast<off_t>(in.offset), static_cast<int>(in.whence));
    if (found < 0) return errno;
    fuse_lseek_out out{};
    out.offset = static_cast<uint64_t>(found);
    return reply_with(request, out);
}

LockRequest SharedSession::lock_of(const fuse_lk_in& in, const Request& request, FileId file, uint64_t client) {
    LockRequest wanted{file, (in.lk_flags & FUSE_LK_FLOCK) != 0, client, in.owner};
    wanted.process = in.lk.pid != 0 ? in.lk.pid : request.header.pid;
    wanted.type = in.lk.type == F_RDLCK ? LockType::read : in.lk.type == F_WRLCK ? LockType::write : LockType::none;
    wanted.first = in.lk.start;
    wanted.last = in.lk.end;
    wanted.handle = in.fh;
    return wanted;
}

int SharedSession::getlock(Request& request) {
    auto in = request.take<fuse_lk_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good) return EBADF;
    LockRequest found = files_.locks.conflict(lock_of(in, request, file->file, client_));
    fuse_lk_out out{};
    out.lk = in.lk;
    out.lk.type = F_UNLCK;
    if (found.type != LockType::none) {
        out.lk.type = found.type == LockType::write ? F_WRLCK : F_RDLCK;
        out.lk.start = found.first;
        out.lk.end = found.last;
        out.lk.pid = found.process;
    }
    return reply_with(request, out);
}

int SharedSession::setlock(Request& request) {
    auto in = request.take<fuse_lk_in>();
    OpenFile* file = find_open(in.fh);
    if (!file || !request.good) return EBADF;
    if (in.lk.start > in.lk.end) return EINVAL;
    uint64_t unique = request.header.unique;
    files_.locks.request(lock_of(in, request, file->file, client_), request.header.opcode == FUSE_SETLKW, unique,
                         [self = weak_from_this(), unique](int error) {
                             // The guest may be gone when its turn comes.
                             if (auto session = self.lock()) session->reply(unique, error);
                         });
    return 0;
}

}  // namespace krg::vcluster
