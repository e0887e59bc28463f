// SPDX-License-Identifier: GPL-2.0
//
// See guest.hh.
#include "guest.hh"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace krg::guest {

namespace {

std::string& program() {
    static std::string name = "krg-guest";
    return name;
}

std::string& context() {
    static std::string text;
    return text;
}

}  // namespace

void set_program(const std::string& name) { program() = name; }
void set_context(const std::string& text) { context() = text; }

void fail(const std::string& what, int status) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s%s%s\n", program().c_str(), what.c_str(), context().empty() ? "" : " | ", context().c_str());
    std::fflush(stderr);
    _exit(status);
}

void fail_errno(const std::string& what) {
    const int error = errno;
    fail(what + ": " + std::strerror(error));
}

std::string error_name(int error) {
    if (error == 0) return "done";
    const char* name = strerrorname_np(error);
    return name ? name : "error " + std::to_string(error);
}

double now_s() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void sleep_ms(unsigned ms) { usleep(ms * 1000); }

std::string Random::bytes(std::size_t n) {
    std::string text(n, '\0');
    std::uint64_t pool = 0;
    for (std::size_t i = 0; i < n; i++, pool >>= 8) {
        if (i % 8 == 0) pool = engine_();
        text[i] = static_cast<char>(pool % 255 + 1);
    }
    return text;
}

Fd& Fd::operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

Fd::~Fd() {
    if (fd_ >= 0) close(fd_);
}

Fd open_file(const std::string& path, int flags, mode_t mode) {
    Fd fd(open(path.c_str(), flags | O_CLOEXEC, mode));
    if (!fd) fail_errno("cannot open " + path);
    return fd;
}

std::string read_all(int fd, off_t offset, std::size_t length) {
    std::string text(length, '\0');
    for (std::size_t at = 0; at < length;) {
        const ssize_t n = pread(fd, text.data() + at, length - at, offset + static_cast<off_t>(at));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail_errno("read");
        if (n == 0) fail("read: the file ends at " + std::to_string(offset + static_cast<off_t>(at)));
        at += static_cast<std::size_t>(n);
    }
    return text;
}

void write_all(int fd, off_t offset, const std::string& bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
        const ssize_t n = pwrite(fd, bytes.data() + at, bytes.size() - at, offset + static_cast<off_t>(at));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) fail_errno("write");
        at += static_cast<std::size_t>(n);
    }
}

std::string read_text(const std::string& path) {
    const Fd fd = open_file(path, O_RDONLY);
    struct stat st {};
    if (fstat(fd.get(), &st) != 0) fail_errno("fstat " + path);
    return read_all(fd.get(), 0, static_cast<std::size_t>(st.st_size));
}

void publish_text(const std::string& path, const std::string& text) {
    const std::string hidden = path + ".part";
    {
        const Fd fd = open_file(hidden, O_WRONLY | O_CREAT | O_TRUNC);
        write_all(fd.get(), 0, text);
    }
    if (rename(hidden.c_str(), path.c_str()) != 0) fail_errno("rename " + hidden);
}

char* map_file(int fd, std::size_t length) {
    struct stat st {};
    if (fstat(fd, &st) != 0) fail_errno("fstat");
    if (st.st_size < static_cast<off_t>(length) && ftruncate(fd, static_cast<off_t>(length)) != 0) fail_errno("ftruncate");
    void* at = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) fail_errno("mmap");
    return static_cast<char*>(at);
}

void meet(const std::string& dir, const std::string& name, unsigned me, unsigned players, double timeout_s) {
    const std::string stem = dir + "/meet." + name + ".";
    publish_text(stem + std::to_string(me), "here\n");
    const double end = now_s() + timeout_s;
    for (unsigned i = 0; i < players; i++) {
        const std::string file = stem + std::to_string(i);
        while (access(file.c_str(), F_OK) != 0) {
            if (errno != ENOENT) fail_errno(file);
            if (now_s() > end) fail("player " + std::to_string(i) + " does not come to '" + name + "'", timed_out);
            sleep_ms(20);
        }
    }
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = a + 0x9e3779b97f4a7c15ULL * (b + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

std::uint64_t hash_bytes(const std::string& bytes, std::uint64_t start) {
    std::uint64_t sum = mix(start, bytes.size());
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + i, bytes.size() - i < 8 ? bytes.size() - i : 8);
        sum = mix(sum ^ word, i);
    }
    return sum;
}

}  // namespace krg::guest
