// SPDX-License-Identifier: GPL-2.0
//
// krg-memory-fill: fills files page by page with what their number says, looks at them again, and takes memory as an ordinary
// program does. For tests of what happens when memory ends.
//
//	krg-memory-fill write FILE SEED PAGES    write(); prints how many pages were written and why no more
//	krg-memory-fill store FILE SEED PAGES    the same through a mapping; SIGBUS is an end like another
//	krg-memory-fill check FILE SEED PAGES    every byte; 1: something is wrong, said which
//	krg-memory-fill hog MIB SECONDS          memory of its own, all of it written, kept for a while
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr std::size_t page = 4096;
using Words = std::uint64_t[page / sizeof(std::uint64_t)];

[[noreturn]] void fail(int status, const std::string& what) {
    std::fprintf(stderr, "krg-memory-fill: %s\n", what.c_str());
    std::exit(status);
}

void fill(std::uint64_t* words, std::uint64_t seed, std::uint64_t number) {
    std::uint64_t z = seed * 0x9e3779b97f4a7c15ull + number;
    for (std::size_t i = 0; i < page / sizeof *words; i++) {
        z = (z ^ z >> 29) * 0xbf58476d1ce4e5b9ull + i;
        words[i] = z;
    }
}

int open_file(const char* path, int flags) {
    const int fd = open(path, flags, 0600);
    if (fd < 0) fail(1, std::string(path) + ": " + std::strerror(errno));
    return fd;
}

void said(std::uint64_t pages, const char* why) {
    std::printf("pages=%llu end=%s\n", static_cast<unsigned long long>(pages), why);
}

int write_pages(const char* path, std::uint64_t seed, std::uint64_t pages) {
    const int fd = open_file(path, O_WRONLY | O_CREAT);
    // The size first: this is about pages, not about records of sizes.
    if (ftruncate(fd, static_cast<off_t>(pages * page)) != 0) fail(1, std::strerror(errno));
    Words words;
    for (std::uint64_t i = 0; i < pages; i++) {
        fill(words, seed, i);
        const ssize_t done = pwrite(fd, words, page, static_cast<off_t>(i * page));
        if (done == static_cast<ssize_t>(page)) continue;
        said(i, done < 0 ? std::strerror(errno) : "short");
        return 0;
    }
    said(pages, "all");
    return close(fd) == 0 ? 0 : 1;
}

sigjmp_buf back;
void on_bus(int) { siglongjmp(back, 1); }

int store_pages(const char* path, std::uint64_t seed, std::uint64_t pages) {
    const int fd = open_file(path, O_RDWR | O_CREAT);
    if (ftruncate(fd, static_cast<off_t>(pages * page)) != 0) fail(1, std::strerror(errno));
    void* at = mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) fail(1, std::strerror(errno));
    struct sigaction action {};
    action.sa_handler = on_bus;
    sigaction(SIGBUS, &action, nullptr);
    volatile std::uint64_t done = 0;
    if (sigsetjmp(back, 1) != 0) {
        said(done, "SIGBUS");
        return 0;
    }
    Words words;
    for (std::uint64_t i = 0; i < pages; i++) {
        fill(words, seed, i);
        std::memcpy(static_cast<char*>(at) + i * page, words, page);
        done = i + 1;
    }
    said(pages, "all");
    return 0;
}

int check_pages(const char* path, std::uint64_t seed, std::uint64_t pages) {
    const int fd = open_file(path, O_RDONLY);
    Words words, wanted;
    for (std::uint64_t i = 0; i < pages; i++) {
        fill(wanted, seed, i);
        const ssize_t done = pread(fd, words, page, static_cast<off_t>(i * page));
        if (done < 0) fail(1, "page " + std::to_string(i) + ": " + std::strerror(errno));
        if (done != static_cast<ssize_t>(page)) fail(1, "page " + std::to_string(i) + ": the file ends");
        if (std::memcmp(words, wanted, page) == 0) continue;
        std::size_t word = 0;
        while (words[word] == wanted[word]) word++;
        fail(1, "page " + std::to_string(i) + ", word " + std::to_string(word) + ": not what was written" +
                    (words[word] == 0 ? ", zero" : ""));
    }
    said(pages, "all");
    return 0;
}

int hog(std::uint64_t mib, unsigned seconds) {
    std::vector<char*> pieces;
    for (std::uint64_t i = 0; i < mib; i++) {
        void* at = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) break;
        for (std::size_t b = 0; b < 1 << 20; b += page) static_cast<char*>(at)[b] = static_cast<char>(i + b);
        pieces.push_back(static_cast<char*>(at));
    }
    std::printf("has %zu MiB\n", pieces.size());
    std::fflush(stdout);
    sleep(seconds);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string what = argc > 1 ? argv[1] : "";
    const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
    if (what == "hog" && argc == 4) return hog(number(2), static_cast<unsigned>(number(3)));
    if (argc == 5 && what == "write") return write_pages(argv[2], number(3), number(4));
    if (argc == 5 && what == "store") return store_pages(argv[2], number(3), number(4));
    if (argc == 5 && what == "check") return check_pages(argv[2], number(3), number(4));
    fail(2, "usage: krg-memory-fill write|store|check FILE SEED PAGES, or hog MIB SECONDS");
}
