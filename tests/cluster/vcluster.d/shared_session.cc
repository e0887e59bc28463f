// SPDX-License-Identifier: GPL-2.0
//
// The connection itself and everything about names and attributes of /shared: see shared_session.h. Contents of files and
// locks are in shared_io.cc.
#include "shared_session.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

namespace krg::vcluster {

namespace {

constexpr uint32_t write_max_bytes = 128 * 1024;
constexpr uint32_t request_max_bytes = write_max_bytes + 4096;

/// A descriptor's other name: reaches what an O_PATH descriptor holds, unlinked or not.
std::string by_descriptor(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

}  // namespace

std::string SharedSession::Request::take_string() {
    size_t end = rest.find('\0');
    if (end == std::string_view::npos) {
        good = false;
        return {};
    }
    std::string text(rest.substr(0, end));
    rest.remove_prefix(end + 1);
    return text;
}

std::string SharedSession::Request::take_name() {
    std::string name = take_string();
    if (name.empty() || name == "." || name == ".." || name.size() > NAME_MAX || name.find('/') != std::string::npos)
        good = false;
    return name;
}

SharedSession::SharedSession(Fd socket, SharedFiles& files, uint64_t client)
    : socket_(std::move(socket)),
      files_(files),
      client_(client),
      writer_([this] { write_loop(); }) {}

SharedSession::~SharedSession() {
    {
        std::lock_guard hold(queue_mutex_);
        stop_ = true;
    }
    queued_.notify_all();
    hang_up();
    writer_.join();
}

void SharedSession::hang_up() { shutdown(socket_.get(), SHUT_RDWR); }

bool SharedSession::read_request(std::string& bytes) {
    uint32_t size = 0;
    if (!read_exactly(socket_.get(), &size, sizeof size) || size < sizeof(fuse_in_header) || size > request_max_bytes)
        return false;
    bytes.resize(size);
    std::memcpy(bytes.data(), &size, sizeof size);
    return read_exactly(socket_.get(), bytes.data() + sizeof size, size - sizeof size);
}

void SharedSession::run() {
    std::string bytes;
    while (read_request(bytes)) {
        Request request;
        request.rest = bytes;
        request.header = request.take<fuse_in_header>();
        handle(request);
    }
    files_.locks.close_client(client_);
    inodes_.clear();
    numbers_.clear();
    open_files_.clear();
}

// A guest that is paused does not read; nobody else may wait for it.
void SharedSession::write_loop() {
    std::unique_lock hold(queue_mutex_);
    while (!stop_) {
        if (queue_.empty()) {
            queued_.wait(hold);
            continue;
        }
        std::string bytes = std::move(queue_.front());
        queue_.pop_front();
        hold.unlock();
        if (!write_all(socket_.get(), bytes.data(), bytes.size())) hang_up();
        hold.lock();
    }
}

void SharedSession::reply(uint64_t unique, int error, std::string_view payload) {
    fuse_out_header header{};
    header.len = static_cast<uint32_t>(sizeof header + payload.size());
    header.error = -error;
    header.unique = unique;
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
    bytes.append(payload);
    {
        std::lock_guard hold(queue_mutex_);
        queue_.push_back(std::move(bytes));
    }
    queued_.notify_one();
}

void SharedSession::handle(Request& request) {
    int error = 0;
    switch (request.header.opcode) {
    case FUSE_FORGET: return forget(request.header.nodeid, request.take<fuse_forget_in>().nlookup);
    case FUSE_BATCH_FORGET: {
        auto batch = request.take<fuse_batch_forget_in>();
        for (uint32_t i = 0; i < batch.count && request.good; ++i) {
            auto one = request.take<fuse_forget_one>();
            forget(one.nodeid, one.nlookup);
        }
        return;
    }
    case FUSE_INTERRUPT: return files_.locks.interrupt(client_, request.take<fuse_interrupt_in>().unique);
    case FUSE_DESTROY: return hang_up();
    default: error = handle_names(request); break;
    }
    if (error != 0) reply(request.header.unique, error);
}

int SharedSession::handle_names(Request& request) {
    switch (request.header.opcode) {
    case FUSE_INIT: return init(request);
    case FUSE_LOOKUP: return lookup(request);
    case FUSE_GETATTR: return getattr(request);
    case FUSE_SETATTR: return setattr(request);
    case FUSE_READLINK: return readlink(request);
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR: return make(request);
    case FUSE_UNLINK:
    case FUSE_RMDIR: return remove(request);
    case FUSE_RENAME:
    case FUSE_RENAME2: return rename(request);
    case FUSE_LINK: return link(request);
    case FUSE_STATFS: return statfs(request);
    default: return handle_files(request);
    }
}

// Nothing is cached for names (all lifetimes are 0), and data only as long as the file's time stays the same.
int SharedSession::init(Request& request) {
    auto in = request.take<fuse_init_in>();
    if (in.major != FUSE_KERNEL_VERSION) return EPROTO;
    if (!find(FUSE_ROOT_ID)) {
        struct stat st {};
        if (fstatat(files_.root.get(), "", &st, AT_EMPTY_PATH) != 0) return errno;
        Inode& root = inodes_[FUSE_ROOT_ID];
        root.path.reset(fcntl(files_.root.get(), F_DUPFD_CLOEXEC, 0));
        root.file = {st.st_dev, st.st_ino};
        root.lookups = 1;
        numbers_[root.file] = FUSE_ROOT_ID;
    }
    constexpr uint32_t wanted = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
                                FUSE_AUTO_INVAL_DATA | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES;
    fuse_init_out out{};
    out.major = FUSE_KERNEL_VERSION;
    out.minor = std::min<uint32_t>(in.minor, FUSE_KERNEL_MINOR_VERSION);
    out.max_readahead = std::min(in.max_readahead, write_max_bytes);
    out.flags = in.flags & wanted;
    out.max_background = 64;
    out.congestion_threshold = 48;
    out.max_write = write_max_bytes;
    out.max_pages = write_max_bytes / 4096;
    out.time_gran = 1;
    return reply_with(request, out);
}

SharedSession::Inode* SharedSession::find(uint64_t node) {
    auto found = inodes_.find(node);
    return found == inodes_.end() ? nullptr : &found->second;
}

fuse_attr SharedSession::attributes(const struct stat& st) {
    timespec mtime = files_.clock.reported({st.st_dev, st.st_ino}, st.st_mtim);
    fuse_attr attr{};
    attr.ino = st.st_ino;
    attr.size = static_cast<uint64_t>(st.st_size);
    attr.blocks = static_cast<uint64_t>(st.st_blocks);
    attr.atime = static_cast<uint64_t>(st.st_atim.tv_sec);
    attr.mtime = static_cast<uint64_t>(mtime.tv_sec);
    attr.ctime = static_cast<uint64_t>(st.st_ctim.tv_sec);
    attr.atimensec = static_cast<uint32_t>(st.st_atim.tv_nsec);
    attr.mtimensec = static_cast<uint32_t>(mtime.tv_nsec);
    attr.ctimensec = static_cast<uint32_t>(st.st_ctim.tv_nsec);
    attr.mode = st.st_mode;
    attr.nlink = static_cast<uint32_t>(st.st_nlink);
    attr.uid = st.st_uid;
    attr.gid = st.st_gid;
    attr.rdev = static_cast<uint32_t>(st.st_rdev);
    attr.blksize = static_cast<uint32_t>(st.st_blksize);
    return attr;
}

// The guest learns of a file by its name; the same file keeps its number as long as the guest remembers it.
int SharedSession::enter(int directory, const std::string& name, fuse_entry_out& entry) {
    Fd path(openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat st {};
    if (!path || fstatat(path.get(), "", &st, AT_EMPTY_PATH) != 0) return errno;
    FileId file{st.st_dev, st.st_ino};
    auto known = numbers_.find(file);
    uint64_t node = known != numbers_.end() ? known->second : next_node_++;
    Inode& inode = inodes_[node];
    if (known == numbers_.end()) {
        inode.path = std::move(path);
        inode.file = file;
        numbers_[file] = node;
    }
    ++inode.lookups;
    entry = {};
    entry.nodeid = node;
    entry.attr = attributes(st);
    return 0;
}

int SharedSession::reply_entry(const Request& request, int directory, const std::string& name) {
    fuse_entry_out entry{};
    if (int error = enter(directory, name, entry)) return error;
    return reply_with(request, entry);
}

int SharedSession::lookup(Request& request) {
    Inode* directory = find(request.header.nodeid);
    std::string name = request.take_string();
    if (!directory || !request.good) return ESTALE;
    if (name.size() > NAME_MAX) return ENAMETOOLONG;
    if (name.find('/') != std::string::npos || name == "..") return EINVAL;
    return reply_entry(request, directory->path.get(), name);
}

void SharedSession::forget(uint64_t node, uint64_t count) {
    Inode* inode = find(node);
    if (!inode || node == FUSE_ROOT_ID) return;
    inode->lookups -= std::min(inode->lookups, count);
    if (inode->lookups > 0) return;
    numbers_.erase(inode->file);
    inodes_.erase(node);
}

int SharedSession::getattr(Request& request) {
    Inode* inode = find(request.header.nodeid);
    if (!inode) return ESTALE;
    struct stat st {};
    if (fstatat(inode->path.get(), "", &st, AT_EMPTY_PATH) != 0) return errno;
    fuse_attr_out out{};
    out.attr = attributes(st);
    return reply_with(request, out);
}

int SharedSession::setattr(Request& request) {
    Inode* inode = find(request.header.nodeid);
    auto in = request.take<fuse_setattr_in>();
    if (!inode || !request.good) return ESTALE;
    int path = inode->path.get();
    std::string name = by_descriptor(path);
    struct stat st {};
    if ((in.valid & FATTR_MODE) && chmod(name.c_str(), in.mode & 07777) != 0) return errno;
    if (in.valid & (FATTR_UID | FATTR_GID)) {
        uid_t uid = in.valid & FATTR_UID ? in.uid : static_cast<uid_t>(-1);
        gid_t gid = in.valid & FATTR_GID ? in.gid : static_cast<gid_t>(-1);
        if (fchownat(path, "", uid, gid, AT_EMPTY_PATH) != 0) return errno;
    }
    if (in.valid & FATTR_SIZE) {
        if (truncate(name.c_str(), static_cast<off_t>(in.size)) != 0) return errno;
        if (fstatat(path, "", &st, AT_EMPTY_PATH) == 0) files_.clock.changed(inode->file, st.st_mtim);
    }
    if (in.valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)) {
        timespec times[2] = {{static_cast<time_t>(in.atime), static_cast<long>(in.atimensec)},
                             {static_cast<time_t>(in.mtime), static_cast<long>(in.mtimensec)}};
        if (in.valid & FATTR_ATIME_NOW)
            times[0].tv_nsec = UTIME_NOW;
        else if (!(in.valid & FATTR_ATIME))
            times[0].tv_nsec = UTIME_OMIT;
        if (in.valid & FATTR_MTIME_NOW)
            times[1].tv_nsec = UTIME_NOW;
        else if (!(in.valid & FATTR_MTIME))
            times[1].tv_nsec = UTIME_OMIT;
        if (utimensat(path, "", times, AT_EMPTY_PATH) != 0) return errno;
    }
    return getattr(request);
}

int SharedSession::readlink(Request& request) {
    Inode* inode = find(request.header.nodeid);
    if (!inode) return ESTALE;
    char target[PATH_MAX];
    ssize_t size = readlinkat(inode->path.get(), "", target, sizeof target);
    if (size < 0) return errno;
    reply(request.header.unique, 0, {target, static_cast<size_t>(size)});
    return 0;
}

// symlink, mknod and mkdir: the new object belongs to whoever made it in the guest.
int SharedSession::make(Request& request) {
    Inode* inode = find(request.header.nodeid);
    if (!inode) return ESTALE;
    int directory = inode->path.get(), status = 0;
    std::string name;
    if (request.header.opcode == FUSE_SYMLINK) {
        name = request.take_name();
        std::string target = request.take_string();
        if (!request.good) return EINVAL;
        status = symlinkat(target.c_str(), directory, name.c_str());
    } else if (request.header.opcode == FUSE_MKDIR) {
        auto in = request.take<fuse_mkdir_in>();
        name = request.take_name();
        if (!request.good) return EINVAL;
        status = mkdirat(directory, name.c_str(), in.mode & 07777);
    } else {
        auto in = request.take<fuse_mknod_in>();
        name = request.take_name();
        if (!request.good) return EINVAL;
        status = mknodat(directory, name.c_str(), in.mode, in.rdev);
    }
    if (status != 0) return errno;
    (void)!fchownat(directory, name.c_str(), request.header.uid, request.header.gid, AT_SYMLINK_NOFOLLOW);
    return reply_entry(request, directory, name);
}

int SharedSession::remove(Request& request) {
    Inode* directory = find(request.header.nodeid);
    std::string name = request.take_name();
    if (!directory) return ESTALE;
    if (!request.good) return EINVAL;
    int flags = request.header.opcode == FUSE_RMDIR ? AT_REMOVEDIR : 0;
    if (unlinkat(directory->path.get(), name.c_str(), flags) != 0) return errno;
    reply(request.header.unique, 0);
    return 0;
}

int SharedSession::rename(Request& request) {
    uint64_t new_directory = 0;
    uint32_t flags = 0;
    if (request.header.opcode == FUSE_RENAME2) {
        auto in = request.take<fuse_rename2_in>();
        new_directory = in.newdir;
        flags = in.flags;
    } else {
        new_directory = request.take<fuse_rename_in>().newdir;
    }
    std::string old_name = request.take_name(), new_name = request.take_name();
    Inode* from = find(request.header.nodeid);
    Inode* to = find(new_directory);
    if (!from || !to) return ESTALE;
    if (!request.good) return EINVAL;
    if (renameat2(from->path.get(), old_name.c_str(), to->path.get(), new_name.c_str(), flags) != 0) return errno;
    reply(request.header.unique, 0);
    return 0;
}

int SharedSession::link(Request& request) {
    Inode* inode = find(request.take<fuse_link_in>().oldnodeid);
    Inode* directory = find(request.header.nodeid);
    std::string name = request.take_name();
    if (!inode || !directory) return ESTALE;
    if (!request.good) return EINVAL;
    if (linkat(inode->path.get(), "", directory->path.get(), name.c_str(), AT_EMPTY_PATH) != 0) return errno;
    return reply_entry(request, directory->path.get(), name);
}

int SharedSession::statfs(Request& request) {
    Inode* inode = find(request.header.nodeid);
    if (!inode) return ESTALE;
    struct statfs fs {};
    if (fstatfs(inode->path.get(), &fs) != 0) return errno;
    fuse_statfs_out out{};
    out.st.blocks = fs.f_blocks;
    out.st.bfree = fs.f_bfree;
    out.st.bavail = fs.f_bavail;
    out.st.files = fs.f_files;
    out.st.ffree = fs.f_ffree;
    out.st.bsize = static_cast<uint32_t>(fs.f_bsize);
    out.st.namelen = static_cast<uint32_t>(fs.f_namelen);
    out.st.frsize = static_cast<uint32_t>(fs.f_frsize);
    return reply_with(request, out);
}

}  // namespace krg::vcluster
