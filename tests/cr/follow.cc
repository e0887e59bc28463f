// SPDX-License-Identifier: GPL-2.0
//
// Programs with so much memory that most of it is elsewhere still when they go on after a migration (post-copy). Each
// does at once what must not show that: touch it in any order, fork, give it up, move it, protect it.
#include "program.hh"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::cr {

namespace {

constexpr size_t page = 4096, pages = 8192;  // 32 MiB

uint64_t stamp(size_t number, size_t word) { return (number * 512 + word + 1) * 0x9e3779b97f4a7c15ULL; }

/// Memory every page of which says which one it is, at its beginning and its end.
class Area {
public:
    Area()
        : at_(static_cast<char*>(
              must_map(mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)))) {
        for (size_t n = 0; n < pages; ++n) word(n, 0) = stamp(n, 0), word(n, 511) = stamp(n, 511);
    }
    [[nodiscard]] uint64_t& word(size_t number, size_t word) const {
        return reinterpret_cast<uint64_t*>(at_ + number * page)[word];
    }
    [[nodiscard]] char* at(size_t number) const { return at_ + number * page; }
    void is_as_left(size_t number) const {
        for (const size_t w : {size_t{0}, size_t{511}})
            same("page " + std::to_string(number) + " word " + std::to_string(w), stamp(number, w), word(number, w));
    }
    void is_zero(size_t number) const {
        for (const size_t w : {size_t{0}, size_t{511}})
            same("page " + std::to_string(number) + ", given up, word " + std::to_string(w), 0, word(number, w));
    }
    void are_as_left(size_t first, size_t end) const {
        for (size_t n = first; n < end; ++n) is_as_left(n);
    }

private:
    char* at_;
};

std::vector<size_t> shuffled(unsigned seed) {
    std::vector<size_t> all(pages);
    std::iota(all.begin(), all.end(), size_t{0});
    std::shuffle(all.begin(), all.end(), std::mt19937(seed));
    return all;
}

}  // namespace

CR_PROGRAM(follow_random, Needs::nothing, "32 MiB, read in random order, then written and read again") {
    const Area area;
    const std::vector<size_t> order = shuffled(1);
    run.operation([&] { area.word(4000, 511) ^= 1; });
    for (const size_t n : order) area.is_as_left(n);
    for (const size_t n : order) area.word(n, 7) = n;
    for (const size_t n : order) same("what was written", n, area.word(n, 7));
    area.are_as_left(0, pages);
}

CR_PROGRAM(follow_write_first, Needs::nothing, "32 MiB, each page written before it is read") {
    const Area area;
    const std::vector<size_t> order = shuffled(2);
    run.operation([&] { area.word(4001, 0) ^= 1; });
    for (const size_t n : order) area.word(n, 9) = ~n;
    for (const size_t n : order) {
        area.is_as_left(n);
        same("what was written", ~n, area.word(n, 9));
    }
}

CR_PROGRAM(follow_fork, Needs::nothing, "a child forked at once sees all 32 MiB, and neither sees what the other writes") {
    const Area area;
    run.operation([&] { area.word(4002, 0) ^= 1; });
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    const size_t mine = child ? 3 : 5;
    for (const size_t n : shuffled(child ? 3 : 4)) {
        area.is_as_left(n);
        area.word(n, 11) = mine;
    }
    for (size_t n = 0; n < pages; ++n) same("word 11", mine, area.word(n, 11));
    if (!child) _exit(0);
    int status = -1;
    must(waitpid(child, &status, 0), "waitpid");
    same("the child's status", 0, status);
}

CR_PROGRAM(follow_given_up, Needs::nothing,
           "MADV_DONTNEED and MADV_FREE of what has not been touched yet: zeros, and nothing else") {
    const Area area;
    run.operation([&] { area.word(4003, 0) ^= 1; });
    must(madvise(area.at(4096), 2048 * page, MADV_DONTNEED), "madvise(DONTNEED)");
    for (size_t n = 4096; n < 6144; n += 3) area.is_zero(n);
    area.word(5000, 3) = 5;
    area.are_as_left(0, 64);
    must(madvise(area.at(0), 64 * page, MADV_DONTNEED), "madvise(DONTNEED)");
    for (size_t n = 0; n < 64; ++n) area.is_zero(n);
    must(madvise(area.at(7000), 100 * page, MADV_FREE), "madvise(FREE)");
    for (size_t n = 7000; n < 7100; ++n)
        if (area.word(n, 0) != 0) area.is_as_left(n);
    same("what was written to a page given up", 5U, area.word(5000, 3));
    area.are_as_left(64, 4096);
    area.are_as_left(6144, 7000);
    area.are_as_left(7100, pages);
    for (size_t n = 4096; n < 6144; ++n)
        if (n != 5000) area.is_zero(n);
}

CR_PROGRAM(follow_remapped, Needs::nothing,
           "parts of 32 MiB are moved, grown, protected, locked and unmapped before they are touched") {
    const Area area;
    run.operation([&] { area.word(1000, 0) ^= 1; });
    must(mprotect(area.at(2048), 1024 * page, PROT_READ), "mprotect");
    must(munmap(area.at(4096), 16 * page), "munmap");
    auto* moved = static_cast<char*>(must_map(mremap(area.at(6144), 1024 * page, 2048 * page, MREMAP_MAYMOVE)));
    for (size_t n = 0; n < 1024; ++n) {
        const auto* words = reinterpret_cast<const uint64_t*>(moved + n * page);
        same("moved page " + std::to_string(n), stamp(6144 + n, 0), words[0]);
        same("page behind it", 0U, *reinterpret_cast<const uint64_t*>(moved + (1024 + n) * page));
    }
    must(mlock(area.at(5000), 4 * page), "mlock");
    must(mprotect(area.at(2048), 1024 * page, PROT_READ | PROT_WRITE), "mprotect");
    area.word(2050, 20) = 1;
    area.are_as_left(0, 4096);
    area.are_as_left(4112, 6144);
    area.are_as_left(7168, pages);
}

}  // namespace krg::cr
