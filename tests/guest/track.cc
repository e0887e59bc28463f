// SPDX-License-Identifier: GPL-2.0
//
// krg-track: a process that writes some of its memory when it is told to, in the ways that could escape who notes writes, and
// knows what must be in each page. Runs in guests.
//
//	krg-track PIDFILE OUTFILE COMMANDS MIB	on SIGUSR1 does what COMMANDS says, and makes OUTFILE.done; until SIGTERM,
//						then PASS or FAIL in OUTFILE
//
// Commands: touch PERMILLE, remap, protect, grow, discard, move, stack.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr std::size_t page = 4096;

std::string outfile;

[[noreturn]] void fail(const std::string& why) {
    std::ofstream(outfile, std::ios::app) << why << "\nFAIL\n";
    std::exit(1);
}

void write_file(const std::string& path, const std::string& text) {
    std::ofstream(path + ".new") << text << '\n';
    if (std::rename((path + ".new").c_str(), path.c_str()) != 0) fail("cannot write " + path);
}

std::uint64_t mix(std::uint64_t x) {
    x ^= x >> 31, x *= 0x9e3779b97f4a7c15, x ^= x >> 29, x *= 0xbf58476d1ce4e5b9;
    return x ^ x >> 32;
}

/// Pages at one address, and which generation each has: 0 are zeros.
struct Area {
    std::uint64_t* at;
    std::vector<std::uint32_t> generation;

    explicit Area(std::size_t pages) : at(nullptr), generation(pages) {
        void* got = mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (got == MAP_FAILED) fail("mmap");
        at = static_cast<std::uint64_t*>(got);
    }
    [[nodiscard]] std::size_t pages() const { return generation.size(); }
    [[nodiscard]] char* where(std::size_t n) const { return reinterpret_cast<char*>(at) + n * page; }
    [[nodiscard]] std::uint64_t word(std::size_t n, std::size_t i) const {
        return generation[n] ? mix(std::uint64_t{generation[n]} << 40 ^ n << 12 ^ i) : 0;
    }
    void write(std::size_t n) {
        generation[n]++;
        auto* words = reinterpret_cast<std::uint64_t*>(where(n));
        for (std::size_t i = 0; i < page / 8; i++) words[i] = word(n, i);
    }
    void check(const char* name) const {
        for (std::size_t n = 0; n < pages(); n++) {
            const auto* words = reinterpret_cast<const std::uint64_t*>(where(n));
            for (std::size_t i = 0; i < page / 8; i++)
                if (words[i] != word(n, i))
                    fail(std::string(name) + ": page " + std::to_string(n) + " is not as it was written");
        }
    }
};

std::vector<Area> areas;
std::mt19937 random_numbers(7);

std::size_t any(std::size_t below) { return random_numbers() % below; }

void touch(unsigned permille) {
    Area& area = areas[0];
    // What protect() left.
    if (mprotect(area.at, area.pages() * page, PROT_READ | PROT_WRITE) != 0) fail("mprotect");
    for (std::size_t n = 0; n < area.pages() * permille / 1000; n++) area.write(any(area.pages()));
}

/// Other memory at the same place: half of it is written, the rest is new.
void remap() {
    Area& area = areas[0];
    const std::size_t first = area.pages() / 4, count = 64;
    if (munmap(area.where(first), count * page) != 0 || mmap(area.where(first), count * page, PROT_READ | PROT_WRITE,
                                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        fail("remap");
    for (std::size_t n = first; n < first + count; n++) {
        area.generation[n] = 0;
        if (n % 2) area.write(n);
    }
}

/// Pages that may be written because their mapping's protection changed, not because somebody wrote them.
void protect() {
    Area& area = areas[0];
    const std::size_t first = area.pages() / 2, count = 64;
    for (int round = 0; round < 2; round++) {
        if (mprotect(area.where(first), count * page, PROT_READ) != 0) fail("mprotect");
        if (mprotect(area.where(first), count * page, PROT_READ | PROT_WRITE) != 0) fail("mprotect");
        for (std::size_t n = first; n < first + count; n += 3) area.write(n);
    }
    if (mprotect(area.where(first), count * page, PROT_READ) != 0) fail("mprotect");
}

/// A mapping beside others, which the kernel joins with them, and more heap.
void grow() {
    areas.emplace_back(32);
    for (std::size_t n = 0; n < 32; n += 2) areas.back().write(n);
    if (sbrk(16 * page) == reinterpret_cast<void*>(-1)) fail("sbrk");
}

void discard() {
    Area& area = areas[0];
    const std::size_t first = area.pages() / 8, count = 32;
    if (madvise(area.where(first), count * page, MADV_DONTNEED) != 0) fail("madvise");
    for (std::size_t n = first; n < first + count; n++) area.generation[n] = 0;
    area.write(first + 5);
}

/// Pages that nobody wrote, at an address where others were.
void move() {
    Area& area = areas[0];
    const std::size_t from = area.pages() - 64, to = area.pages() - 32, count = 32;
    if (mremap(area.where(from), count * page, count * page, MREMAP_MAYMOVE | MREMAP_FIXED, area.where(to)) != area.where(to))
        fail("mremap");
    if (mmap(area.where(from), count * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        fail("mmap");
    // Contents came along, made for the pages they were in.
    for (std::size_t n = 0; n < count; n++) {
        auto* words = reinterpret_cast<std::uint64_t*>(area.where(to + n));
        for (std::size_t i = 0; i < page / 8; i++)
            if (words[i] != area.word(from + n, i)) fail("move: another page came");
        area.generation[from + n] = 0;
        area.write(to + n);
    }
}

void deep(int depth) {
    volatile char room[page];
    for (char volatile& c : room) c = static_cast<char>(depth);
    if (depth) deep(depth - 1);
    if (room[17] != static_cast<char>(depth)) fail("stack");
}

void obey(const std::string& path) {
    std::ifstream in(path);
    std::string word;
    while (in >> word) {
        unsigned permille = 0;
        if (word == "touch" && in >> permille)
            touch(permille);
        else if (word == "remap")
            remap();
        else if (word == "protect")
            protect();
        else if (word == "grow")
            grow();
        else if (word == "discard")
            discard();
        else if (word == "move")
            move();
        else if (word == "stack")
            deep(40);
        else
            fail("unknown command " + word);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) return 2;
    outfile = argv[2];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    areas.reserve(1000);
    areas.emplace_back(static_cast<std::size_t>(std::atoi(argv[4])) * 256);
    for (std::size_t n = 0; n < areas[0].pages(); n++)
        if (n % 16 != 3) areas[0].write(n);
    write_file(argv[1], std::to_string(getpid()));
    for (int number = 0; sigwait(&set, &number) == 0 && number != SIGTERM;) {
        obey(argv[3]);
        write_file(outfile + ".done", "done");
    }
    for (const Area& area : areas) area.check("memory");
    std::ofstream(outfile, std::ios::app) << "PASS\n";
    return 0;
}
