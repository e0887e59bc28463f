// SPDX-License-Identifier: GPL-2.0
//
// Programs that write their memory all the time, so that what was sent of it before they move (pre-copy) is never all that
// there is. Each knows the last value of every page from somewhere else.
#include "program.hh"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace krg::cr {

namespace {

constexpr size_t page = 4096;

struct Pages {
    size_t count;
    uint64_t* at;
    std::vector<uint64_t> last;

    explicit Pages(size_t n)
        : count(n),
          at(static_cast<uint64_t*>(
              must_map(mmap(nullptr, n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)))),
          last(n) {
        for (size_t i = 0; i < n; ++i) write(i, i + 1);
    }
    uint64_t& word(size_t n, size_t i) const { return at[n * page / 8 + i]; }
    void write(size_t n, uint64_t value) {
        last[n] = value;
        word(n, 0) = value;
        word(n, 300) = ~value;
    }
    void check() const {
        for (size_t n = 0; n < count; ++n) {
            same("the beginning of page " + std::to_string(n), last[n], word(n, 0));
            same("the middle of page " + std::to_string(n), ~last[n], word(n, 300));
        }
    }
};

/// Writes @some pages at random, rests for @rest, again and again.
void write_and_move(Run& run, size_t count, size_t some, std::chrono::milliseconds rest) {
    Pages pages(count);
    std::atomic<bool> enough = false;
    std::thread writer([&] {
        std::mt19937 random(11);
        for (uint64_t value = 1u << 20; !enough;) {
            for (size_t n = 0; n < some; ++n) pages.write(random() % count, ++value);
            if (rest.count()) std::this_thread::sleep_for(rest);
        }
    });
    run.operation();
    enough = true;
    writer.join();
    run.disturb([&] { pages.word(count / 2, 300) ^= 4; });
    pages.check();
}

}  // namespace

CR_PROGRAM(ahead_writes, Needs::nothing, "32 MiB, some pages of which are written all the time") {
    write_and_move(run, 8192, 20, std::chrono::milliseconds(5));
}

CR_PROGRAM(ahead_writes_all, Needs::nothing, "16 MiB that is written faster than it can be sent") {
    write_and_move(run, 4096, 4096, std::chrono::milliseconds(0));
}

CR_PROGRAM(ahead_maps, Needs::nothing, "mappings come, go, move and change their protection while it runs") {
    Pages pages(4096);
    std::atomic<bool> enough = false;
    std::thread mapper([&] {
        std::mt19937 random(13);
        for (uint64_t value = 1u << 20; !enough; std::this_thread::sleep_for(std::chrono::milliseconds(3))) {
            const size_t first = random() % (pages.count - 64);
            char* at = reinterpret_cast<char*>(&pages.word(first, 0));
            switch (random() % 4) {
            case 0:
                must(madvise(at, 32 * page, MADV_DONTNEED), "madvise");
                for (size_t n = first; n < first + 32; ++n) pages.write(n, ++value);
                break;
            case 1:
                must(mprotect(at, 32 * page, PROT_READ), "mprotect");
                must(mprotect(at, 32 * page, PROT_READ | PROT_WRITE), "mprotect");
                for (size_t n = first; n < first + 32; n += 2) pages.write(n, ++value);
                break;
            case 2:
                must_map(mmap(at, 32 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
                for (size_t n = first; n < first + 32; ++n) pages.write(n, ++value);
                break;
            default: {
                void* other = must_map(mmap(nullptr, 64 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
                *static_cast<char*>(other) = 1;
                must(munmap(other, 64 * page), "munmap");
            }
            }
        }
    });
    run.operation();
    enough = true;
    mapper.join();
    run.disturb([&] { pages.word(77, 0) ^= 4; });
    pages.check();
}

}  // namespace krg::cr
