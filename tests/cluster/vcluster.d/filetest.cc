// SPDX-License-Identifier: GPL-2.0
//
// Ordinary file programs for test_vcluster: each verb is one, run on two guests at once in /shared. Exit status 0: what was
// expected happened; 1: not, with a line saying what; 3: a lock was refused.
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr int refused = 3;
constexpr size_t map_bytes = 3 * 4096;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "filetest: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(1);
}

void expect(bool good, const std::string& what) {
    if (good) return;
    std::fprintf(stderr, "filetest: not so: %s\n", what.c_str());
    std::exit(1);
}

int open_file(const char* path, int flags = O_RDWR | O_CREAT) {
    int fd = open(path, flags, 0644);
    if (fd < 0) fail(std::string("open ") + path);
    return fd;
}

int fcntl_lock(int fd, int command, short type, off_t start = 0, off_t length = 0) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = start;
    lock.l_len = length;
    return fcntl(fd, command, &lock);
}

void nap_ms(long ms) {
    timespec ts{ms / 1000, ms % 1000 * 1000000};
    nanosleep(&ts, nullptr);
}

// Adds one to a number in a file, many times, each time under a lock: nothing may get lost.
int count(const char* path, int times, bool with_flock) {
    int fd = open_file(path);
    for (int i = 0; i < times; ++i) {
        if ((with_flock ? flock(fd, LOCK_EX) : fcntl_lock(fd, F_SETLKW, F_WRLCK)) != 0) fail("lock");
        char text[32] = {};
        if (pread(fd, text, sizeof text - 1, 0) < 0) fail("read");
        int length = std::snprintf(text, sizeof text, "%10ld\n", std::strtol(text, nullptr, 10) + 1);
        if (pwrite(fd, text, static_cast<size_t>(length), 0) != length) fail("write");
        if ((with_flock ? flock(fd, LOCK_UN) : fcntl_lock(fd, F_SETLK, F_UNLCK)) != 0) fail("unlock");
    }
    return 0;
}

// The same through a shared mapping: what a lock protects is seen by the next one who gets it.
int count_mapped(const char* path, int times) {
    for (int i = 0; i < times; ++i) {
        int fd = open_file(path);
        if (fcntl_lock(fd, F_SETLKW, F_WRLCK) != 0) fail("lock");
        struct stat st {};
        if (fstat(fd, &st) != 0 || (st.st_size < 4096 && ftruncate(fd, 4096) != 0)) fail("size");
        void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED) fail("mmap");
        *static_cast<uint64_t*>(memory) += 1;
        if (msync(memory, 4096, MS_SYNC) != 0 || munmap(memory, 4096) != 0) fail("msync");
        close(fd);  // ends the lock
    }
    return 0;
}

int show_mapped_count(const char* path) {
    uint64_t value = 0;
    int fd = open_file(path, O_RDONLY);
    if (pread(fd, &value, sizeof value, 0) != sizeof value) fail("read");
    std::printf("%llu\n", static_cast<unsigned long long>(value));
    return 0;
}

int try_lock(const char* path, bool with_flock, bool shared) {
    int fd = open_file(path);
    int status = with_flock ? flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB)
                            : fcntl_lock(fd, F_SETLK, shared ? F_RDLCK : F_WRLCK);
    if (status == 0) return 0;
    if (errno == EAGAIN || errno == EACCES) return refused;
    fail("lock");
}

// Takes a lock, says so, keeps it until its input ends.
int hold(const char* path, bool with_flock, bool shared) {
    int fd = open_file(path);
    int status = with_flock ? flock(fd, shared ? LOCK_SH : LOCK_EX) : fcntl_lock(fd, F_SETLKW, shared ? F_RDLCK : F_WRLCK);
    if (status != 0) fail("lock");
    std::puts("held");
    std::fflush(stdout);
    for (char c; read(0, &c, 1) > 0;) {}
    return 0;
}

// A parent keeps its fcntl lock when a child closes the file, and loses it when it closes any descriptor of it.
int fork_keeps_lock(const char* path) {
    int fd = open_file(path);
    if (fcntl_lock(fd, F_SETLK, F_WRLCK) != 0) fail("lock");
    pid_t child = fork();
    if (child == 0) {
        close(fd);
        _exit(0);
    }
    waitpid(child, nullptr, 0);
    std::puts("held");
    std::fflush(stdout);
    for (char c; read(0, &c, 1) > 0 && c != '\n';) {}
    close(open_file(path));
    std::puts("closed");
    std::fflush(stdout);
    for (char c; read(0, &c, 1) > 0;) {}
    return 0;
}

// Two ranges of one file, and who is asked with F_GETLK.
int ranges(const char* path, const char* what) {
    int fd = open_file(path);
    if (std::strcmp(what, "hold") == 0) {
        if (fcntl_lock(fd, F_SETLK, F_WRLCK, 100, 100) != 0) fail("lock 100..199");
        std::puts("held");
        std::fflush(stdout);
        for (char c; read(0, &c, 1) > 0;) {}
        return 0;
    }
    expect(fcntl_lock(fd, F_SETLK, F_WRLCK, 0, 100) == 0, "0..99 is free");
    expect(fcntl_lock(fd, F_SETLK, F_WRLCK, 200, 0) == 0, "200 to the end is free");
    expect(fcntl_lock(fd, F_SETLK, F_RDLCK, 150, 1) != 0 && (errno == EAGAIN || errno == EACCES), "150 is taken");
    struct flock asked {};
    asked.l_type = F_RDLCK;
    asked.l_start = 120;
    asked.l_len = 10;
    expect(fcntl(fd, F_GETLK, &asked) == 0 && asked.l_type == F_WRLCK && asked.l_start == 100 && asked.l_len == 100,
           "F_GETLK names 100..199");
    return 0;
}

// A signal ends the wait for a lock.
int wait_interrupted(const char* path) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGALRM, &action, nullptr);
    int fd = open_file(path);
    alarm(1);
    int status = fcntl_lock(fd, F_SETLKW, F_WRLCK);
    expect(status != 0 && errno == EINTR, "F_SETLKW ends with EINTR");
    return 0;
}

// A file without a name is still a file.
int unlinked(const char* path) {
    int fd = open_file(path, O_RDWR | O_CREAT | O_EXCL);
    if (unlink(path) != 0) fail("unlink");
    char text[16] = {};
    struct stat st {};
    expect(write(fd, "without a name", 14) == 14, "write to an unlinked file");
    expect(pread(fd, text, 14, 0) == 14 && std::strcmp(text, "without a name") == 0, "read it back");
    expect(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 14, "fstat: no link, 14 bytes");
    expect(ftruncate(fd, 5000) == 0 && fstat(fd, &st) == 0 && st.st_size == 5000, "ftruncate");
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    expect(memory != MAP_FAILED, "mmap");
    std::memcpy(memory, "mapped", 6);
    expect(msync(memory, 4096, MS_SYNC) == 0 && pread(fd, text, 14, 0) == 14 && std::memcmp(text, "mapped", 6) == 0,
           "a mapping of it");
    expect(fchmod(fd, 0600) == 0 && fsync(fd) == 0, "fchmod and fsync");
    expect(access(path, F_OK) != 0, "its name is gone");
    return 0;
}

// Another guest removes the name meanwhile.
int hold_open(const char* path) {
    int fd = open_file(path, O_RDWR);
    std::puts("open");
    std::fflush(stdout);
    for (char c; read(0, &c, 1) > 0;) {}
    char text[16] = {};
    struct stat st {};
    expect(fstat(fd, &st) == 0 && st.st_nlink == 0, "fstat after the other guest's unlink");
    expect(pread(fd, text, 8, 0) == 8 && std::strcmp(text, "content\n") == 0, "read after the other guest's unlink");
    expect(pwrite(fd, "still", 5, 0) == 5 && pread(fd, text, 5, 0) == 5, "write after the other guest's unlink");
    return 0;
}

int map_write(const char* path, const char* text) {
    int fd = open_file(path);
    if (ftruncate(fd, map_bytes) != 0) fail("ftruncate");
    auto* memory = static_cast<char*>(mmap(nullptr, map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (memory == MAP_FAILED) fail("mmap");
    for (size_t at = 0; at < map_bytes; at += 4096) std::strcpy(memory + at, text);
    if (msync(memory, map_bytes, MS_SYNC) != 0) fail("msync");
    return 0;
}

int map_read(const char* path) {
    int fd = open_file(path, O_RDONLY);
    auto* memory = static_cast<char*>(mmap(nullptr, map_bytes, PROT_READ, MAP_SHARED, fd, 0));
    if (memory == MAP_FAILED) fail("mmap");
    for (size_t at = 0; at < map_bytes; at += 4096) std::puts(memory + at);
    return 0;
}

// Keeps a mapping while the other guest writes; sees it at the latest when it asks for the file's state.
int map_watch(const char* path, const char* text) {
    int fd = open_file(path, O_RDWR);
    auto* memory = static_cast<volatile char*>(mmap(nullptr, map_bytes, PROT_READ, MAP_SHARED, fd, 0));
    if (memory == MAP_FAILED) fail("mmap");
    std::printf("mapped %c\n", memory[0]);
    std::fflush(stdout);
    struct stat st {};
    for (int i = 0; i < 300; ++i, nap_ms(50)) {
        if (fstat(fd, &st) != 0) fail("fstat");
        if (memory[0] == text[0]) return 0;
    }
    expect(false, "the mapping shows what the other guest wrote");
    return 1;
}

int append(const char* path, int times, const char* tag) {
    int fd = open_file(path, O_WRONLY | O_CREAT | O_APPEND);
    std::string line = std::string(tag) + std::string(60, '.') + "\n";
    for (int i = 0; i < times; ++i) {
        if (write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) fail("append");
    }
    return 0;
}

// Makes DIR/0, DIR/1, ... exclusively; prints how many of them it was the one to make.
int create_exclusively(const char* directory, int times) {
    int won = 0;
    for (int i = 0; i < times; ++i) {
        int fd = open((std::string(directory) + "/" + std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0 && errno != EEXIST) fail("create");
        won += fd >= 0 ? 1 : 0;
        if (fd >= 0) close(fd);
    }
    std::printf("%d\n", won);
    return 0;
}

// Prints the monotonic and real clocks 10 times a second until its input ends.
int clocks(int times) {
    for (int i = 0; i < times; ++i, nap_ms(100)) {
        timespec monotonic{}, real{};
        clock_gettime(CLOCK_MONOTONIC, &monotonic);
        clock_gettime(CLOCK_REALTIME, &real);
        std::printf("%.3f %.3f\n", static_cast<double>(monotonic.tv_sec) + static_cast<double>(monotonic.tv_nsec) / 1e9,
                    static_cast<double>(real.tv_sec) + static_cast<double>(real.tv_nsec) / 1e9);
        std::fflush(stdout);
    }
    return 0;
}

// A fixed amount of computing; prints how long it took.
int compute(long millions) {
    timespec begin{}, end{};
    clock_gettime(CLOCK_MONOTONIC, &begin);
    volatile uint64_t x = 1;
    for (long i = 0; i < millions * 1'000'000; ++i) x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    clock_gettime(CLOCK_MONOTONIC, &end);
    std::printf("%.3f\n",
                static_cast<double>(end.tv_sec - begin.tv_sec) + static_cast<double>(end.tv_nsec - begin.tv_nsec) / 1e9);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::string verb = argc > 1 ? argv[1] : "";
    const char* path = argc > 2 ? argv[2] : "";
    const char* third = argc > 3 ? argv[3] : "";
    if (verb == "count-fcntl") return count(path, std::atoi(third), false);
    if (verb == "count-flock") return count(path, std::atoi(third), true);
    if (verb == "count-mapped") return count_mapped(path, std::atoi(third));
    if (verb == "show-mapped") return show_mapped_count(path);
    if (verb == "try-fcntl") return try_lock(path, false, std::strcmp(third, "shared") == 0);
    if (verb == "try-flock") return try_lock(path, true, std::strcmp(third, "shared") == 0);
    if (verb == "hold-fcntl") return hold(path, false, std::strcmp(third, "shared") == 0);
    if (verb == "hold-flock") return hold(path, true, std::strcmp(third, "shared") == 0);
    if (verb == "fork-keeps-lock") return fork_keeps_lock(path);
    if (verb == "ranges") return ranges(path, third);
    if (verb == "wait-interrupted") return wait_interrupted(path);
    if (verb == "unlinked") return unlinked(path);
    if (verb == "hold-open") return hold_open(path);
    if (verb == "map-write") return map_write(path, third);
    if (verb == "map-read") return map_read(path);
    if (verb == "map-watch") return map_watch(path, third);
    if (verb == "append") return append(path, std::atoi(third), argc > 4 ? argv[4] : "x");
    if (verb == "create") return create_exclusively(path, std::atoi(third));
    if (verb == "clocks") return clocks(std::atoi(path));
    if (verb == "compute") return compute(std::atol(path));
    std::fprintf(stderr, "usage: vcluster-filetest VERB ARGUMENTS (see the source)\n");
    return 2;
}
