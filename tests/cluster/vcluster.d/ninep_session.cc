// SPDX-License-Identifier: GPL-2.0
//
// 9P2000.L requests on a directory of the host: see ninep_session.h. Sizes and names from the guest are checked: a name has no
// slash, a message fits the agreed size, a fid exists. The version of every qid is 0, which tells the Linux client
// not to keep a file's data for read() and write(): another guest may have changed it.
#include "ninep_session.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

namespace krg::vcluster {

namespace {

constexpr uint32_t message_limit = 1 << 20;
constexpr uint32_t io_header_bytes = 24;  // what Rread and Twrite add to their data
constexpr uint64_t getattr_basic = 0x7ff;
constexpr int walk_max = 16;
constexpr uint32_t remove_directory_flag = 0x200;

/// A descriptor's other name: opens again what an O_PATH descriptor holds, unlinked or not.
std::string by_descriptor(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

int result_of(long status) { return status < 0 ? errno : 0; }

bool usable_name(const std::string& name) {
    return !name.empty() && name != "." && name != ".." && name.size() <= NAME_MAX && name.find('/') == std::string::npos &&
           name.find('\0') == std::string::npos;
}

void put_qid(NinepWriter& out, const struct stat& st) {
    uint8_t type = S_ISDIR(st.st_mode) ? 0x80 : S_ISLNK(st.st_mode) ? 0x02 : 0;
    out.u8(type).u32(0).u64(st.st_ino ^ (static_cast<uint64_t>(st.st_dev) << 48));
}

int stat_of(int fd, struct stat& st) { return result_of(fstatat(fd, "", &st, AT_EMPTY_PATH)); }

}  // namespace

NinepSession::NinepSession(Fd socket, int root, LockTable& locks, uint64_t client)
    : socket_(std::move(socket)), root_(root), locks_(locks), client_(client) {
    (void)stat_of(root_, root_stat_);
}

void NinepSession::hang_up() { shutdown(socket_.get(), SHUT_RDWR); }

bool NinepSession::read_message(std::string& message) {
    uint32_t size = 0;
    if (!read_exactly(socket_.get(), &size, sizeof size) || size < 7 || size > message_limit) return false;
    message.resize(size - sizeof size);
    return read_exactly(socket_.get(), message.data(), message.size());
}

void NinepSession::run() {
    std::string message;
    while (read_message(message)) {
        NinepReader in(message);
        auto type = static_cast<NinepType>(in.u8());
        uint16_t tag = in.u16();
        handle(type, tag, in);
    }
    fids_.clear();
    locks_.close_client(client_);
}

void NinepSession::send(NinepWriter& out) {
    std::string& bytes = out.finish();
    std::lock_guard hold(send_mutex_);
    if (!write_all(socket_.get(), bytes.data(), bytes.size())) hang_up();
}

void NinepSession::send_error(uint16_t tag, int error) {
    NinepWriter out(NinepType::rlerror, tag);
    out.u32(static_cast<uint32_t>(error));
    send(out);
}

void NinepSession::done(NinepType request, uint16_t tag) {
    NinepWriter out(reply_to(request), tag);
    send(out);
}

void NinepSession::handle(NinepType type, uint16_t tag, NinepReader in) {
    int error = EOPNOTSUPP;
    switch (type) {
    case NinepType::tversion: error = version(tag, in); break;
    case NinepType::tattach: error = attach(tag, in); break;
    case NinepType::twalk: error = walk(tag, in); break;
    case NinepType::tlopen: error = lopen(tag, in); break;
    case NinepType::tlcreate: error = lcreate(tag, in); break;
    case NinepType::tread: error = read(tag, in); break;
    case NinepType::twrite: error = write(tag, in); break;
    case NinepType::treaddir: error = readdir(tag, in); break;
    case NinepType::tgetattr: error = getattr(tag, in); break;
    case NinepType::tsetattr: error = setattr(tag, in); break;
    case NinepType::tstatfs: error = statfs(tag, in); break;
    case NinepType::treadlink: error = readlink(tag, in); break;
    case NinepType::tmkdir:
    case NinepType::tsymlink:
    case NinepType::tmknod: error = make(type, tag, in); break;
    case NinepType::tlink: error = link(tag, in); break;
    case NinepType::trenameat: error = renameat(tag, in); break;
    case NinepType::tunlinkat: error = unlinkat(tag, in); break;
    case NinepType::tfsync: error = fsync(tag, in); break;
    case NinepType::tclunk: error = clunk(tag, in); break;
    case NinepType::tlock: error = lock(tag, in); break;
    case NinepType::tgetlock: error = getlock(tag, in); break;
    case NinepType::tflush: error = flush(tag, in); break;
    default: break;  // authentication, extended attributes, rename and remove by fid: not needed by Linux
    }
    if (error != 0) send_error(tag, error);
}

NinepSession::Fid* NinepSession::find(uint32_t number) {
    auto found = fids_.find(number);
    return found == fids_.end() ? nullptr : &found->second;
}

bool NinepSession::is_root(const struct stat& st) const {
    return st.st_ino == root_stat_.st_ino && st.st_dev == root_stat_.st_dev;
}

int NinepSession::version(uint16_t tag, NinepReader& in) {
    uint32_t wanted = in.u32();
    std::string version = in.string();
    if (!in.good() || wanted < 4096) return EINVAL;
    fids_.clear();
    message_max_ = std::min(wanted, message_limit);
    NinepWriter out(reply_to(NinepType::tversion), tag);
    out.u32(message_max_).string(version == "9P2000.L" ? version : "unknown");
    send(out);
    return 0;
}

int NinepSession::attach(uint16_t tag, NinepReader& in) {
    uint32_t number = in.u32();
    (void)in.u32();
    (void)in.string();
    (void)in.string();
    uint32_t uid = in.u32();
    if (!in.good()) return EINVAL;
    if (find(number)) return EBADF;
    Fid fid;
    fid.path.reset(fcntl(root_, F_DUPFD_CLOEXEC, 0));
    if (!fid.path) return errno;
    fid.uid = uid;
    fid.file = {root_stat_.st_dev, root_stat_.st_ino};
    NinepWriter out(reply_to(NinepType::tattach), tag);
    put_qid(out, root_stat_);
    fids_[number] = std::move(fid);
    send(out);
    return 0;
}

// One component further; ".." of the root is the root.
int NinepSession::step(const Fid& from, const std::string& name, Fid& to) const {
    struct stat st{};
    if (int error = stat_of(from.path.get(), st)) return error;
    bool stay = name == "." || (name == ".." && is_root(st));
    if (!stay && name != ".." && !usable_name(name)) return EINVAL;
    int fd = stay ? fcntl(from.path.get(), F_DUPFD_CLOEXEC, 0)
                  : openat(from.path.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno;
    to.path.reset(fd);
    to.uid = from.uid;
    if (int error = stat_of(fd, st)) return error;
    to.file = {st.st_dev, st.st_ino};
    return 0;
}

int NinepSession::walk(uint16_t tag, NinepReader& in) {
    uint32_t number = in.u32(), new_number = in.u32();
    int count = in.u16();
    Fid* from = find(number);
    if (!in.good() || count > walk_max) return EINVAL;
    if (!from || (new_number != number && find(new_number))) return EBADF;
    Fid current;
    current.path.reset(fcntl(from->path.get(), F_DUPFD_CLOEXEC, 0));
    current.uid = from->uid;
    current.file = from->file;
    if (!current.path) return errno;
    NinepWriter qids(NinepType::twalk, 0);
    size_t header = qids.size();
    int walked = 0;
    for (; walked < count; ++walked) {
        Fid next;
        std::string name = in.string();
        struct stat st{};
        int error = in.good() ? step(current, name, next) : EINVAL;
        if (error == 0) error = stat_of(next.path.get(), st);
        if (error != 0 && walked == 0) return error;
        if (error != 0) break;
        put_qid(qids, st);
        current = std::move(next);
    }
    if (walked == count) fids_[new_number] = std::move(current);
    NinepWriter out(reply_to(NinepType::twalk), tag);
    out.u16(static_cast<uint16_t>(walked)).bytes(std::string_view(qids.finish()).substr(header));
    send(out);
    return 0;
}

int NinepSession::lopen(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    uint32_t flags = in.u32();
    if (!fid || !in.good()) return EBADF;
    struct stat st{};
    if (int error = stat_of(fid->path.get(), st)) return error;
    if (S_ISLNK(st.st_mode)) return ELOOP;
    // The protocol's flags are Linux's own numbers. Nothing here may wait for the other end of a pipe.
    int wanted = static_cast<int>(flags) & (O_ACCMODE | O_TRUNC | O_APPEND | O_DSYNC | O_SYNC | O_DIRECTORY);
    fid->open.reset(::open(by_descriptor(fid->path.get()).c_str(), wanted | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fid->open) return errno;
    NinepWriter out(reply_to(NinepType::tlopen), tag);
    put_qid(out, st);
    out.u32(0);
    send(out);
    return 0;
}

int NinepSession::lcreate(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    std::string name = in.string();
    uint32_t flags = in.u32(), mode = in.u32(), gid = in.u32();
    if (!fid) return EBADF;
    if (!in.good() || !usable_name(name)) return EINVAL;
    int wanted = static_cast<int>(flags) & (O_ACCMODE | O_TRUNC | O_APPEND | O_DSYNC | O_SYNC | O_EXCL);
    Fd created(openat(fid->path.get(), name.c_str(), wanted | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, mode & 07777));
    if (!created) return errno;
    (void)!fchown(created.get(), fid->uid, gid);
    Fd path(::open(by_descriptor(created.get()).c_str(), O_PATH | O_CLOEXEC));
    struct stat st{};
    if (!path) return errno;
    if (int error = stat_of(path.get(), st)) return error;
    fid->path = std::move(path);
    fid->open = std::move(created);
    fid->file = {st.st_dev, st.st_ino};
    NinepWriter out(reply_to(NinepType::tlcreate), tag);
    put_qid(out, st);
    out.u32(0);
    send(out);
    return 0;
}

int NinepSession::read(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    uint64_t offset = in.u64();
    uint32_t count = in.u32();
    if (!fid || !fid->open || !in.good()) return EBADF;
    count = std::min(count, message_max_ - io_header_bytes);
    std::string data(count, '\0');
    ssize_t got = pread(fid->open.get(), data.data(), count, static_cast<off_t>(offset));
    if (got < 0) return errno;
    NinepWriter out(reply_to(NinepType::tread), tag);
    out.u32(static_cast<uint32_t>(got)).bytes(std::string_view(data).substr(0, static_cast<size_t>(got)));
    send(out);
    return 0;
}

int NinepSession::write(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    uint64_t offset = in.u64();
    std::string_view data = in.bytes(in.u32());
    if (!fid || !fid->open || !in.good()) return EBADF;
    ssize_t put = pwrite(fid->open.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0) return errno;
    NinepWriter out(reply_to(NinepType::twrite), tag);
    out.u32(static_cast<uint32_t>(put));
    send(out);
    return 0;
}

int NinepSession::readdir(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    uint64_t offset = in.u64();
    uint32_t count = std::min(in.u32(), message_max_ - io_header_bytes);
    if (!fid || !fid->open || !in.good()) return EBADF;
    if (lseek(fid->open.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return errno;
    NinepWriter entries(NinepType::treaddir, 0);
    const size_t header = entries.size();
    alignas(dirent64) char buffer[32768];
    for (bool full = false; !full;) {
        ssize_t got = getdents64(fid->open.get(), buffer, sizeof buffer);
        if (got < 0) return errno;
        if (got == 0) break;
        for (ssize_t at = 0; at < got && !full;) {
            auto* entry = reinterpret_cast<dirent64*>(buffer + at);
            std::string_view name = entry->d_name;
            full = entries.size() - header + 13 + 8 + 1 + 2 + name.size() > count;
            if (full) break;
            struct stat st{};
            st.st_ino = entry->d_ino;
            st.st_dev = fid->file.device;
            st.st_mode = DTTOIF(entry->d_type);
            put_qid(entries, st);
            entries.u64(static_cast<uint64_t>(entry->d_off)).u8(entry->d_type).string(name);
            at += entry->d_reclen;
        }
    }
    std::string_view data = std::string_view(entries.finish()).substr(header);
    NinepWriter out(reply_to(NinepType::treaddir), tag);
    out.u32(static_cast<uint32_t>(data.size())).bytes(data);
    send(out);
    return 0;
}

int NinepSession::getattr(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    if (!fid || !in.good()) return EBADF;
    struct stat st{};
    if (int error = stat_of(fid->path.get(), st)) return error;
    NinepWriter out(reply_to(NinepType::tgetattr), tag);
    out.u64(getattr_basic);
    put_qid(out, st);
    out.u32(st.st_mode).u32(st.st_uid).u32(st.st_gid).u64(st.st_nlink).u64(st.st_rdev);
    out.u64(static_cast<uint64_t>(st.st_size)).u64(static_cast<uint64_t>(st.st_blksize)).u64(static_cast<uint64_t>(st.st_blocks));
    for (const timespec& time : {st.st_atim, st.st_mtim, st.st_ctim, timespec{}})
        out.u64(static_cast<uint64_t>(time.tv_sec)).u64(static_cast<uint64_t>(time.tv_nsec));
    out.u64(0).u64(0);  // generation, data version
    send(out);
    return 0;
}

int NinepSession::setattr(uint16_t tag, NinepReader& in) {
    enum : uint32_t { mode_bit = 1, uid_bit = 2, gid_bit = 4, size_bit = 8, atime_bit = 0x10, mtime_bit = 0x20, atime_set_bit = 0x80, mtime_set_bit = 0x100 };
    Fid* fid = find(in.u32());
    uint32_t valid = in.u32(), mode = in.u32(), uid = in.u32(), gid = in.u32();
    uint64_t size = in.u64();
    timespec times[2];
    for (timespec& time : times) {
        time.tv_sec = static_cast<time_t>(in.u64());
        time.tv_nsec = static_cast<long>(in.u64());
    }
    if (!fid || !in.good()) return EBADF;
    int path = fid->path.get();
    std::string name = by_descriptor(path);
    struct stat st{};
    if (int error = stat_of(path, st)) return error;
    if ((valid & mode_bit) && chmod(name.c_str(), mode & 07777) != 0) return errno;
    if (valid & (uid_bit | gid_bit)) {
        uid_t new_uid = valid & uid_bit ? uid : static_cast<uid_t>(-1);
        gid_t new_gid = valid & gid_bit ? gid : static_cast<gid_t>(-1);
        if (fchownat(path, "", new_uid, new_gid, AT_EMPTY_PATH) != 0) return errno;
    }
    if ((valid & size_bit) && truncate(name.c_str(), static_cast<off_t>(size)) != 0) return errno;
    if (valid & (atime_bit | mtime_bit)) {
        if (!(valid & atime_bit)) times[0].tv_nsec = UTIME_OMIT;
        else if (!(valid & atime_set_bit)) times[0].tv_nsec = UTIME_NOW;
        if (!(valid & mtime_bit)) times[1].tv_nsec = UTIME_OMIT;
        else if (!(valid & mtime_set_bit)) times[1].tv_nsec = UTIME_NOW;
        if (utimensat(path, "", times, AT_EMPTY_PATH) != 0) return errno;
    }
    done(NinepType::tsetattr, tag);
    return 0;
}

int NinepSession::statfs(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    if (!fid || !in.good()) return EBADF;
    struct statfs fs{};
    if (fstatfs(fid->path.get(), &fs) != 0) return errno;
    uint64_t id = 0;
    std::memcpy(&id, &fs.f_fsid, std::min(sizeof id, sizeof fs.f_fsid));
    NinepWriter out(reply_to(NinepType::tstatfs), tag);
    out.u32(static_cast<uint32_t>(fs.f_type)).u32(static_cast<uint32_t>(fs.f_bsize)).u64(fs.f_blocks).u64(fs.f_bfree).u64(fs.f_bavail);
    out.u64(fs.f_files).u64(fs.f_ffree).u64(id).u32(static_cast<uint32_t>(fs.f_namelen));
    send(out);
    return 0;
}

int NinepSession::readlink(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    if (!fid || !in.good()) return EBADF;
    char target[PATH_MAX];
    ssize_t size = readlinkat(fid->path.get(), "", target, sizeof target);
    if (size < 0) return errno;
    NinepWriter out(reply_to(NinepType::treadlink), tag);
    out.string({target, static_cast<size_t>(size)});
    send(out);
    return 0;
}

// mkdir, symlink and mknod differ only in what they make.
int NinepSession::make(NinepType type, uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    std::string name = in.string();
    if (!fid) return EBADF;
    if (!usable_name(name)) return EINVAL;
    int directory = fid->path.get(), status = 0;
    uint32_t gid = 0;
    if (type == NinepType::tsymlink) {
        std::string target = in.string();
        gid = in.u32();
        if (!in.good()) return EINVAL;
        status = symlinkat(target.c_str(), directory, name.c_str());
    } else {
        uint32_t mode = in.u32(), major_number = 0, minor_number = 0;
        if (type == NinepType::tmknod) {
            major_number = in.u32();
            minor_number = in.u32();
        }
        gid = in.u32();
        if (!in.good()) return EINVAL;
        status = type == NinepType::tmkdir ? mkdirat(directory, name.c_str(), mode & 07777)
                                           : mknodat(directory, name.c_str(), mode, makedev(major_number, minor_number));
    }
    if (status != 0) return errno;
    (void)!fchownat(directory, name.c_str(), fid->uid, gid, AT_SYMLINK_NOFOLLOW);
    struct stat st{};
    if (fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    NinepWriter out(reply_to(type), tag);
    put_qid(out, st);
    send(out);
    return 0;
}

int NinepSession::link(uint16_t tag, NinepReader& in) {
    Fid* directory = find(in.u32());
    Fid* fid = find(in.u32());
    std::string name = in.string();
    if (!directory || !fid) return EBADF;
    if (!in.good() || !usable_name(name)) return EINVAL;
    if (linkat(fid->path.get(), "", directory->path.get(), name.c_str(), AT_EMPTY_PATH) != 0) return errno;
    done(NinepType::tlink, tag);
    return 0;
}

int NinepSession::renameat(uint16_t tag, NinepReader& in) {
    Fid* from = find(in.u32());
    std::string old_name = in.string();
    Fid* to = find(in.u32());
    std::string new_name = in.string();
    if (!from || !to) return EBADF;
    if (!in.good() || !usable_name(old_name) || !usable_name(new_name)) return EINVAL;
    if (::renameat(from->path.get(), old_name.c_str(), to->path.get(), new_name.c_str()) != 0) return errno;
    done(NinepType::trenameat, tag);
    return 0;
}

int NinepSession::unlinkat(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    std::string name = in.string();
    uint32_t flags = in.u32();
    if (!fid) return EBADF;
    if (!in.good() || !usable_name(name)) return EINVAL;
    if (::unlinkat(fid->path.get(), name.c_str(), flags & remove_directory_flag ? AT_REMOVEDIR : 0) != 0) return errno;
    done(NinepType::tunlinkat, tag);
    return 0;
}

int NinepSession::fsync(uint16_t tag, NinepReader& in) {
    Fid* fid = find(in.u32());
    if (!fid || !fid->open) return EBADF;
    if (::fsync(fid->open.get()) != 0) return errno;
    done(NinepType::tfsync, tag);
    return 0;
}

int NinepSession::clunk(uint16_t tag, NinepReader& in) {
    uint32_t number = in.u32();
    Fid* fid = find(number);
    if (!fid) return EBADF;
    bool was_open = static_cast<bool>(fid->open);
    fids_.erase(number);
    if (was_open) locks_.close_fid(client_, number);
    done(NinepType::tclunk, tag);
    return 0;
}

int NinepSession::lock(uint16_t tag, NinepReader& in) {
    uint32_t number = in.u32();
    Fid* fid = find(number);
    uint8_t type = in.u8();
    uint32_t flags = in.u32();
    uint64_t start = in.u64(), length = in.u64();
    uint32_t process = in.u32();
    (void)in.string();
    if (!fid || !fid->open) return EBADF;
    if (!in.good() || type > 2 || start + length < start) return EINVAL;
    LockRequest wanted{fid->file, client_, number, process, static_cast<LockType>(type), start,
                       length == 0 ? UINT64_MAX : start + length, (flags & 1) != 0};
    // The answer may come from another thread, when this session is gone.
    locks_.request(wanted, tag, [self = weak_from_this(), tag](LockStatus status) {
        auto session = self.lock();
        if (!session) return;
        NinepWriter out(reply_to(NinepType::tlock), tag);
        out.u8(static_cast<uint8_t>(status));
        session->send(out);
    });
    return 0;
}

int NinepSession::getlock(uint16_t tag, NinepReader& in) {
    uint32_t number = in.u32();
    Fid* fid = find(number);
    uint8_t type = in.u8();
    uint64_t start = in.u64(), length = in.u64();
    uint32_t process = in.u32();
    std::string who = in.string();
    if (!fid) return EBADF;
    if (!in.good() || type > 2 || start + length < start) return EINVAL;
    LockRequest found = locks_.conflict({fid->file, client_, number, process, static_cast<LockType>(type), start,
                                         length == 0 ? UINT64_MAX : start + length, false});
    NinepWriter out(reply_to(NinepType::tgetlock), tag);
    if (found.type == LockType::none) out.u8(2).u64(start).u64(length).u32(process).string(who);
    else
        out.u8(static_cast<uint8_t>(found.type)).u64(found.begin).u64(found.end == UINT64_MAX ? 0 : found.end - found.begin)
            .u32(found.process).string("guest" + std::to_string(found.client));
    send(out);
    return 0;
}

int NinepSession::flush(uint16_t tag, NinepReader& in) {
    uint16_t old_tag = in.u16();
    // Only a lock can still be unanswered: everything else is done in order.
    (void)locks_.cancel(client_, old_tag);
    done(NinepType::tflush, tag);
    return 0;
}

}  // namespace krg::vcluster
