// SPDX-License-Identifier: GPL-2.0
//
// krg-shared-memory: what an ordinary program sees of a file on the hadsm file system. One process a node, no locks: words in
// one shared mapping are counted up in turn, side by side in one page, and compared with what read() and write() see. Prints
// what went wrong and returns 1; 2 is a usage error, 5 a check that did not come true in time.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free);

constexpr std::size_t page = 4096;
constexpr auto patience = std::chrono::seconds(90);

[[noreturn]] void fail(int status, const std::string& what) {
    std::fprintf(stderr, "krg-shared-memory: %s\n", what.c_str());
    std::exit(status);
}

constexpr off_t file_size = off_t{1} << 40;

/// An open file, and a window of it in memory.
class File {
public:
    explicit File(const char* path) : fd_(open(path, O_RDWR | O_CREAT, 0600)) {
        if (fd_ < 0) fail(1, std::string("cannot open ") + path + ": " + std::strerror(errno));
        // Whoever comes first makes it long; a hole costs nothing.
        struct stat st {};
        if (fstat(fd_, &st) != 0 || (st.st_size < file_size && ftruncate(fd_, file_size) != 0))
            fail(1, std::string("cannot make ") + path + " long: " + std::strerror(errno));
    }
    ~File() { close(fd_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    [[nodiscard]] char* map(off_t offset, std::size_t length, int flags = MAP_SHARED) const {
        void* at = mmap(nullptr, length, PROT_READ | PROT_WRITE, flags, fd_, offset);
        if (at == MAP_FAILED) fail(1, std::string("mmap: ") + std::strerror(errno));
        return static_cast<char*>(at);
    }
    [[nodiscard]] std::string read(off_t offset, std::size_t length) const {
        std::string text(length, '?');
        const ssize_t n = pread(fd_, text.data(), length, offset);
        if (n != static_cast<ssize_t>(length)) fail(1, "read: " + std::string(n < 0 ? std::strerror(errno) : "short"));
        return text;
    }
    void write(off_t offset, const std::string& text) const {
        const ssize_t n = pwrite(fd_, text.data(), text.size(), offset);
        if (n != static_cast<ssize_t>(text.size())) fail(1, "write: " + std::string(n < 0 ? std::strerror(errno) : "short"));
    }
    void sync() const {
        if (fsync(fd_) != 0) fail(1, std::string("fsync: ") + std::strerror(errno));
    }

private:
    int fd_;
};

Word* words(char* at) { return reinterpret_cast<Word*>(at); }

/// A little work between two looks, so that one processor does not spend all its time faulting.
void breathe(Clock::time_point deadline, const std::string& what) {
    if (Clock::now() > deadline) fail(5, what);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
}

/// One word, counted up by each of `players` in turn, `rounds` times.
int ping_pong(const File& file, std::uint64_t me, std::uint64_t players, std::uint64_t rounds) {
    Word& ball = *words(file.map(0, page));
    const auto deadline = Clock::now() + patience;
    std::uint64_t last = 0;
    for (std::uint64_t turn = 0; turn < rounds; turn++) {
        const std::uint64_t mine = turn * players + me;
        for (std::uint64_t seen = ball.load(); seen != mine; seen = ball.load()) {
            if (seen < last || seen > mine)
                fail(1, "the ball is at " + std::to_string(seen) + ", it was at " + std::to_string(last));
            last = seen;
            breathe(deadline, "the ball stays at " + std::to_string(seen) + ", waiting for " + std::to_string(mine));
        }
        ball.store(mine + 1);
        last = mine + 1;
    }
    while (ball.load() != players * rounds) breathe(deadline, "the last turn does not come");
    return 0;
}

/// Words side by side in one page: everybody counts its own and sees nobody's go back.
int side_by_side(const File& file, std::uint64_t me, std::uint64_t players, std::uint64_t rounds) {
    Word* word = words(file.map(page, page));
    const auto deadline = Clock::now() + patience;
    std::vector<std::uint64_t> last(players);
    for (std::uint64_t round = 1; round <= rounds; round++) {
        if (word[me].load() != round - 1)
            fail(1, "my word is " + std::to_string(word[me].load()) + ", not " + std::to_string(round - 1));
        word[me].store(round);
        for (std::uint64_t i = 0; i < players; i++) {
            const std::uint64_t seen = word[i].load();
            if (seen < last[i] || seen > rounds)
                fail(1, "word " + std::to_string(i) + " went from " + std::to_string(last[i]) + " to " + std::to_string(seen));
            last[i] = seen;
        }
        if (round % 8 == 0) breathe(deadline, "no time left at round " + std::to_string(round));
    }
    for (std::uint64_t i = 0; i < players; i++)
        while (word[i].load() != rounds)
            breathe(deadline, "word " + std::to_string(i) + " stays at " + std::to_string(word[i].load()));
    return 0;
}

/// Many words, each added to by everybody with an atomic instruction: none may be lost.
int add(const File& file, std::uint64_t pages, std::uint64_t rounds) {
    char* at = file.map(16 * page, pages * page);
    for (std::uint64_t round = 0; round < rounds; round++)
        for (std::uint64_t p = 0; p < pages; p++) words(at + p * page)[0].fetch_add(1);
    return 0;
}

int sums(const File& file, std::uint64_t pages, std::uint64_t wanted) {
    const char* at = file.map(16 * page, pages * page);
    for (std::uint64_t p = 0; p < pages; p++) {
        const std::uint64_t seen = reinterpret_cast<const Word*>(at + p * page)->load();
        if (seen != wanted)
            fail(1, "page " + std::to_string(p) + " has " + std::to_string(seen) + ", not " + std::to_string(wanted));
    }
    return 0;
}

int expect(const File& file, off_t offset, const std::string& text) {
    const char* at = file.map(offset / static_cast<off_t>(page) * static_cast<off_t>(page), 2 * page) +
                     offset % static_cast<off_t>(page);
    const std::string mapped(at, text.size());
    if (mapped != text) fail(1, "mapped: '" + mapped + "', not '" + text + "'");
    const std::string read = file.read(offset, text.size());
    if (read != text) fail(1, "read: '" + read + "', not '" + text + "'");
    return 0;
}

int zeros(const File& file, off_t offset, std::size_t length) {
    const char* at = file.map(offset, length);
    for (std::size_t i = 0; i < length; i++)
        if (at[i]) fail(1, "byte " + std::to_string(i) + " is not zero in memory");
    if (file.read(offset, length) != std::string(length, '\0')) fail(1, "read() gives something else than zeros");
    return 0;
}

/// A private mapping sees the file and keeps its own writes to itself.
int private_copy(const File& file, off_t offset, const std::string& text) {
    char* at = file.map(offset, page, MAP_PRIVATE);
    if (std::string(at, text.size()) != text) fail(1, "a private mapping does not see the file");
    std::memset(at, '#', text.size());
    if (file.read(offset, text.size()) != text) fail(1, "a private write has reached the file");
    return 0;
}

std::uint64_t number(const char* text) { return std::strtoull(text, nullptr, 0); }

int run(const std::string& what, const File& file, const std::vector<const char*>& a) {
    if (what == "ping-pong" && a.size() == 3) return ping_pong(file, number(a[0]), number(a[1]), number(a[2]));
    if (what == "side-by-side" && a.size() == 3) return side_by_side(file, number(a[0]), number(a[1]), number(a[2]));
    if (what == "add" && a.size() == 2) return add(file, number(a[0]), number(a[1]));
    if (what == "sums" && a.size() == 2) return sums(file, number(a[0]), number(a[1]));
    if (what == "write" && a.size() == 2) return file.write(static_cast<off_t>(number(a[0])), a[1]), 0;
    if (what == "store" && a.size() == 2) {
        const off_t offset = static_cast<off_t>(number(a[0]));
        std::memcpy(file.map(offset, page), a[1], std::strlen(a[1]));
        return 0;
    }
    if (what == "expect" && a.size() == 2) return expect(file, static_cast<off_t>(number(a[0])), a[1]);
    if (what == "zeros" && a.size() == 2) return zeros(file, static_cast<off_t>(number(a[0])), number(a[1]));
    if (what == "private" && a.size() == 2) return private_copy(file, static_cast<off_t>(number(a[0])), a[1]);
    if (what == "sync" && a.empty()) return file.sync(), 0;
    fail(2,
         "usage: krg-shared-memory CHECK FILE [ARGUMENTS], CHECK one of: ping-pong ME PLAYERS ROUNDS, side-by-side ME PLAYERS "
         "ROUNDS, add PAGES ROUNDS, sums PAGES WANTED, write OFFSET TEXT, store OFFSET TEXT, expect OFFSET TEXT, zeros OFFSET "
         "LENGTH, private OFFSET TEXT, sync");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return run("", File("/dev/null"), {});
    const File file(argv[2]);
    return run(argv[1], file, std::vector<const char*>(argv + 3, argv + argc));
}
