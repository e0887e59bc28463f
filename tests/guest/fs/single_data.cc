// SPDX-License-Identifier: GPL-2.0
//
// Steps that are about the bytes of open files, also of those without a name: see single.hh.
#include "single.hh"

#include <algorithm>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

namespace krg::guest {

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::size_t window_bytes = 16 * page;

sigjmp_buf after_fault;

void on_bus_error(int) { siglongjmp(after_fault, 1); }

/// Whether reading this byte gives SIGBUS.
bool faults(const char* at) {
    struct sigaction action {
    }, before{};
    action.sa_handler = on_bus_error;
    sigaction(SIGBUS, &action, &before);
    volatile bool fault = true;
    if (sigsetjmp(after_fault, 1) == 0) {
        [[maybe_unused]] const char byte = *static_cast<const volatile char*>(at);
        fault = false;
    }
    sigaction(SIGBUS, &before, nullptr);
    return fault;
}

/// A mapping of some pages, gone at the end of a step.
class Mapping {
public:
    Mapping(int fd, std::uint64_t offset, std::size_t length, int flags)
        : at_(mmap(nullptr, length, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset))),
          length_(length) {}
    ~Mapping() {
        if (*this) munmap(at_, length_);
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    explicit operator bool() const { return at_ != MAP_FAILED; }
    [[nodiscard]] char* at() const { return static_cast<char*>(at_); }

private:
    void* at_;
    std::size_t length_;
};

std::string where(std::uint64_t offset, std::uint64_t length) {
    return " " + std::to_string(length) + " bytes at " + std::to_string(offset);
}

}  // namespace

void Single::read() {
    const Handle* h = handle();
    if (!h) return;
    const std::uint64_t at = random_.chance(70) ? random_.below(h->inode->bytes.size() + 1) : offset(),
                        n = random_.below(20000) + 1;
    say("pread" + where(at, n));
    std::string bytes(n, '?');
    const ssize_t got = pread(h->fd.get(), bytes.data(), n, static_cast<off_t>(at));
    if (!same(0, got)) return;
    bytes.resize(static_cast<std::size_t>(got));
    compare_bytes(h->inode->bytes.read(at, n), bytes, at);
}

void Single::write() {
    const Handle* h = handle();
    if (!h || h->append) return;
    const std::uint64_t at = offset();
    const std::string bytes = random_.bytes(random_.below(random_.chance(20) ? 30000 : 5000) + 1);
    say("pwrite" + where(at, bytes.size()));
    const ssize_t put = pwrite(h->fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
    same(0, put);
    if (static_cast<std::size_t>(put) != bytes.size()) wrong("a write of " + std::to_string(put) + " bytes");
    h->inode->bytes.write(at, bytes);
    h->inode->mtime.reset();
}

void Single::append() {
    const Handle* h = handle();
    if (!h || !h->append) return;
    if (h->inode->bytes.size() > 4 * options_.bytes) return;
    const std::string bytes = random_.bytes(random_.below(3000) + 1);
    say("append" + where(h->inode->bytes.size(), bytes.size()));
    const ssize_t put = ::write(h->fd.get(), bytes.data(), bytes.size());
    same(0, put);
    if (static_cast<std::size_t>(put) != bytes.size()) wrong("a write of " + std::to_string(put) + " bytes");
    h->inode->bytes.write(h->inode->bytes.size(), bytes);
    h->inode->mtime.reset();
}

void Single::truncate() {
    const std::uint64_t size = random_.chance(15) ? 0 : offset();
    if (random_.chance(40)) {
        const std::string path = existing(Kind::file);
        InodePtr inode;
        int expected = model_.lookup(path, true, inode);
        if (!expected && inode->kind == Kind::directory) expected = EISDIR;
        say("truncate " + path + " to " + std::to_string(size));
        if (!same(expected, ::truncate(full(path).c_str(), static_cast<off_t>(size)))) return;
        inode->bytes.resize(size);
        inode->mtime.reset();
        return;
    }
    const Handle* h = handle();
    if (!h) return;
    say("ftruncate to " + std::to_string(size));
    same(0, ftruncate(h->fd.get(), static_cast<off_t>(size)));
    h->inode->bytes.resize(size);
    h->inode->mtime.reset();
}

void Single::punch() {
    const Handle* h = handle();
    if (!h) return;
    const std::uint64_t at = offset(), n = random_.below(random_.chance(30) ? 60000 : 9000) + 1;
    say("punch" + where(at, n));
    same(0, fallocate(h->fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at), static_cast<off_t>(n)));
    h->inode->bytes.punch(at, n);
    h->inode->mtime.reset();
}

void Single::allocate() {
    const Handle* h = handle();
    if (!h) return;
    const std::uint64_t at = random_.below(options_.bytes), n = random_.below(20000) + 1;
    const bool keep_size = random_.chance(50);
    say("fallocate" + where(at, n) + (keep_size ? " KEEP_SIZE" : ""));
    same(0, fallocate(h->fd.get(), keep_size ? FALLOC_FL_KEEP_SIZE : 0, static_cast<off_t>(at), static_cast<off_t>(n)));
    if (!keep_size && at + n > h->inode->bytes.size()) h->inode->bytes.resize(at + n);
    h->inode->mtime.reset();
}

void Single::map_read() {
    const Handle* h = handle();
    if (!h || h->inode->bytes.size() == 0) return;
    const std::uint64_t size = h->inode->bytes.size(), first = random_.below((size + page - 1) / page);
    const std::uint64_t pages = std::min<std::uint64_t>(random_.below(4) + 1, (size + page - 1) / page - first);
    say("read through a mapping" + where(first * page, pages * page));
    const Mapping map(h->fd.get(), first * page, pages * page, MAP_SHARED);
    if (!map) wrong("mmap: " + error_name(errno));
    // Behind the end of the file its last page has zeros.
    std::string expected = h->inode->bytes.read(first * page, pages * page);
    expected.resize(pages * page, '\0');
    compare_bytes(expected, std::string(map.at(), pages * page), first * page);
}

void Single::map_write() {
    const Handle* h = handle();
    if (!h || h->inode->bytes.size() == 0) return;
    const std::uint64_t size = h->inode->bytes.size(), at = random_.below(size), begin = at / page * page;
    const std::string bytes = random_.bytes(std::min(size - at, random_.below(9000) + 1));
    say("write through a mapping" + where(at, bytes.size()));
    const Mapping map(h->fd.get(), begin, at - begin + bytes.size(), MAP_SHARED);
    if (!map) wrong("mmap: " + error_name(errno));
    std::memcpy(map.at() + (at - begin), bytes.data(), bytes.size());
    h->inode->bytes.write(at, bytes);
    h->inode->mtime.reset();
    const std::uint64_t from = at > 100 ? at - 100 : 0;
    const std::string expected = h->inode->bytes.read(from, bytes.size() + 200);
    compare_bytes(expected, read_all(h->fd.get(), static_cast<off_t>(from), expected.size()), from);
    if (random_.chance(20)) same(0, msync(map.at(), at - begin + bytes.size(), MS_SYNC));
}

void Single::map_private() {
    const Handle* h = handle();
    if (!h || h->inode->bytes.size() == 0) return;
    const std::uint64_t size = h->inode->bytes.size(), begin = random_.below(size) / page * page;
    const std::string before = h->inode->bytes.read(begin, page);
    say("a private mapping" + where(begin, before.size()));
    const Mapping map(h->fd.get(), begin, page, MAP_PRIVATE);
    if (!map) wrong("mmap: " + error_name(errno));
    compare_bytes(before, std::string(map.at(), before.size()), begin);
    std::memset(map.at(), '#', before.size());
    compare_bytes(before, read_all(h->fd.get(), static_cast<off_t>(begin), before.size()), begin);
}

void Single::map_behind() {
    const Handle* h = handle();
    if (!h) return;
    const std::uint64_t behind = (h->inode->bytes.size() + page - 1) / page * page;
    say("a load behind the end" + where(behind, 1));
    const Mapping map(h->fd.get(), behind, page, MAP_SHARED);
    if (!map) wrong("mmap: " + error_name(errno));
    if (!faults(map.at())) wrong("a load from the page behind the end of the file gives no SIGBUS");
}

// A mapping that outlives truncations, holes and names.
void Single::use_window() {
    Handle* h = handle();
    if (!h) return;
    if (!h->window) {
        void* at = mmap(nullptr, window_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd.get(), 0);
        if (at == MAP_FAILED) wrong("mmap: " + error_name(errno));
        h->window = static_cast<char*>(at);
    }
    const std::uint64_t size = std::min<std::uint64_t>(h->inode->bytes.size(), window_bytes);
    if (size == 0) {
        if (!faults(h->window)) wrong("a load from a file without bytes gives no SIGBUS");
        return;
    }
    const std::uint64_t at = random_.below(size), n = std::min(size - at, random_.below(6000) + 1);
    const bool store = random_.chance(50);
    say(std::string(store ? "store" : "load") + " through an old mapping" + where(at, n));
    if (store) {
        const std::string bytes = random_.bytes(n);
        std::memcpy(h->window + at, bytes.data(), n);
        h->inode->bytes.write(at, bytes);
        h->inode->mtime.reset();
    }
    compare_bytes(h->inode->bytes.read(at, n), std::string(h->window + at, n), at);
}

// Holes need not be told, but data must not be taken for a hole.
void Single::seek_data() {
    const Handle* h = handle();
    if (!h) return;
    const std::uint64_t size = h->inode->bytes.size(), from = random_.below(size + 2);
    say("seek data from " + std::to_string(from));
    const off_t at = lseek(h->fd.get(), static_cast<off_t>(from), SEEK_DATA);
    const int error = at < 0 ? errno : 0;
    const auto first = from < size ? h->inode->bytes.first_data(from) : std::nullopt;
    if (error && (error != ENXIO || first)) wrong("SEEK_DATA: " + error_name(error));
    if (!error && from >= size) wrong("SEEK_DATA finds something behind the end");
    if (!error && (at < static_cast<off_t>(from) || at >= static_cast<off_t>(size)))
        wrong("SEEK_DATA finds " + std::to_string(at));
    if (!error && first && static_cast<std::uint64_t>(at) > *first)
        wrong("SEEK_DATA finds " + std::to_string(at) + ", there is data at " + std::to_string(*first));
    const off_t hole = lseek(h->fd.get(), static_cast<off_t>(from), SEEK_HOLE);
    if (from < size && (hole < static_cast<off_t>(from) || hole > static_cast<off_t>(size)))
        wrong("SEEK_HOLE finds " + std::to_string(hole));
}

void Single::copy() {
    const Handle* from = handle();
    const Handle* to = handle();
    if (!from || !to || from->inode == to->inode || to->append) return;
    const std::uint64_t at = random_.below(from->inode->bytes.size() + 1), n = random_.below(9000) + 1,
                        into = random_.below(options_.bytes);
    say("sendfile" + where(at, n) + " to " + std::to_string(into));
    off_t in = static_cast<off_t>(at);
    if (lseek(to->fd.get(), static_cast<off_t>(into), SEEK_SET) < 0) wrong("lseek: " + error_name(errno));
    const ssize_t sent = sendfile(to->fd.get(), from->fd.get(), &in, n);
    same(0, sent);
    const std::string bytes = from->inode->bytes.read(at, n);
    if (static_cast<std::size_t>(sent) > bytes.size() || (sent == 0 && !bytes.empty()))
        wrong("sendfile sent " + std::to_string(sent) + " bytes");
    if (sent == 0) return;
    to->inode->bytes.write(into, bytes.substr(0, static_cast<std::size_t>(sent)));
    to->inode->mtime.reset();
}

void Single::sync() {
    const Handle* h = handle();
    if (!h) return;
    say("fsync");
    same(0, random_.chance(50) ? fsync(h->fd.get()) : fdatasync(h->fd.get()));
}

void Single::drop(std::size_t at) {
    if (handles_[at].window) munmap(handles_[at].window, window_bytes);
    handles_.erase(handles_.begin() + static_cast<std::ptrdiff_t>(at));
}

void Single::close_one() {
    if (!handles_.empty()) drop(random_.below(handles_.size()));
}

void Single::stat_open() {
    const Handle* h = handle();
    if (!h) return;
    say("fstat");
    struct stat st {};
    if (same(0, fstat(h->fd.get(), &st))) compare_stat(*h->inode, st);
}

}  // namespace krg::guest
