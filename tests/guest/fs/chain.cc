// SPDX-License-Identifier: GPL-2.0
//
// The file that all change in turn: see shared.hh.
#include "shared.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace krg::guest {

namespace {

constexpr std::uint64_t magic = 0x6b72672d6c696e6b;  // "krg-link"
constexpr std::uint64_t most_bytes = 64 << 10;

/// An exclusive lock of a whole file, of the kind that was asked for.
class Turn {
public:
    Turn(int fd, bool flock) : fd_(fd), flock_(flock) { set(F_WRLCK); }
    ~Turn() { set(F_UNLCK); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    void set(short type) const {
        for (;;) {
            struct flock whole {};
            whole.l_type = type;
            whole.l_whence = SEEK_SET;
            const int result = flock_ ? ::flock(fd_, type == F_UNLCK ? LOCK_UN : LOCK_EX) : fcntl(fd_, F_SETLKW, &whole);
            if (result == 0) return;
            if (errno != EINTR) fail_errno(flock_ ? "flock" : "fcntl(F_SETLKW)");
        }
    }
    int fd_;
    bool flock_;
};

std::uint64_t size_of(int fd) {
    struct stat st {};
    if (fstat(fd, &st) != 0) fail_errno("fstat");
    return static_cast<std::uint64_t>(st.st_size);
}

void resize(int fd, std::uint64_t size) {
    if (ftruncate(fd, static_cast<off_t>(size)) != 0) fail_errno("ftruncate to " + std::to_string(size));
}

/// Bytes as read() or as a mapping shows them.
std::string look(int fd, std::uint64_t size, bool mapped) {
    if (!mapped || size == 0) return read_all(fd, 0, size);
    void* at = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) fail_errno("mmap");
    std::string bytes(static_cast<const char*>(at), size);
    munmap(at, size);
    return bytes;
}

void put(int fd, std::uint64_t offset, const std::string& bytes, bool mapped) {
    if (!mapped) return write_all(fd, static_cast<off_t>(offset), bytes);
    const std::uint64_t begin = offset / 4096 * 4096;
    void* at = mmap(nullptr, offset - begin + bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(begin));
    if (at == MAP_FAILED) fail_errno("mmap");
    std::memcpy(static_cast<char*>(at) + (offset - begin), bytes.data(), bytes.size());
    munmap(at, offset - begin + bytes.size());
}

}  // namespace

/// The end of the file: who was here last, and what it left.
struct Chain::Link {
    std::uint64_t magic, turn, holder, size, hash;
    std::uint64_t busy;  ///< 1 while its holder is at work
};

Chain::Chain(const Table& table)
    : table_(table),
      random_(mix(table.seed, 1000 + table.me)),
      data_(table.dir + "/chain"),
      log_(table.dir + "/chain.log") {}

void Chain::check_log(const Link& link) {
    const Fd log = open_file(log_, O_RDONLY | O_CREAT, 0666);
    const std::uint64_t lines = size_of(log.get()) / sizeof(Link);
    // The log is written first, so whoever died in between has one line too many there.
    if (lines != link.turn && !(table_.deaths && lines == link.turn + 1))
        fail("the log has " + std::to_string(lines) + " lines at turn " + std::to_string(link.turn));
    if (link.turn == 0) return;
    for (const std::uint64_t turn : {link.turn, last_turn_}) {
        if (turn == 0) continue;
        Link line{};
        const std::string bytes = read_all(log.get(), static_cast<off_t>((turn - 1) * sizeof line), sizeof line);
        std::memcpy(&line, bytes.data(), sizeof line);
        const std::uint64_t expected = turn == link.turn ? link.hash : last_hash_;
        if (line.turn != turn || line.hash != expected)
            fail("line " + std::to_string(turn) + " of the log is not that of its turn");
    }
}

// On the descriptor that has the lock: closing another one of the file would give a POSIX lock back.
void Chain::change(int data, Link& link) {
    std::string bytes = look(data, link.size, random_.chance(50));
    resize(data, link.size);  // without the old link, which must not come back as data
    if (random_.chance(60)) {
        const std::uint64_t size = random_.below(most_bytes);
        resize(data, size);
        bytes.resize(size, '\0');
    }
    for (std::uint64_t i = random_.below(5); i > 0 && !bytes.empty(); i--) {
        const std::uint64_t at = random_.below(bytes.size());
        const std::string fresh = random_.bytes(std::min(bytes.size() - at, random_.below(9000) + 1));
        put(data, at, fresh, random_.chance(50));
        bytes.replace(at, fresh.size(), fresh);
    }
    link = {magic, link.turn + 1, table_.me, bytes.size(), hash_bytes(bytes), 0};
    const std::string line(reinterpret_cast<const char*>(&link), sizeof link);
    const Fd log = open_file(log_, O_WRONLY | O_APPEND);
    if (table_.deaths) resize(log.get(), (link.turn - 1) * sizeof link);
    if (::write(log.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) fail_errno("append to the log");
    write_all(data, static_cast<off_t>(bytes.size()), line);
}

void Chain::turn() {
    const Fd data = open_file(data_, O_RDWR | O_CREAT, 0666);
    const Turn alone(data.get(), table_.flock);
    const std::uint64_t size = size_of(data.get());
    Link link{};
    if (size > 0) {
        if (size < sizeof link) fail("the chain has " + std::to_string(size) + " bytes only");
        const std::string bytes = look(data.get(), size, random_.chance(50));
        std::memcpy(&link, bytes.data() + size - sizeof link, sizeof link);
        const std::string content = bytes.substr(0, size - sizeof link);
        const bool whole = link.magic == magic && !link.busy && link.size == content.size() && link.hash == hash_bytes(content);
        if (!whole && !table_.deaths)
            fail("the chain is broken: " + std::to_string(size) + " bytes, turn " + std::to_string(link.turn) + " of player " +
                 std::to_string(link.holder) + (link.busy ? ", who has not finished" : "") + ", after my turn " +
                 std::to_string(last_turn_));
        if (!whole) {
            // Its last holder died: what the log knows is where the chain goes on.
            const Fd log = open_file(log_, O_RDONLY | O_CREAT, 0666);
            link.turn = size_of(log.get()) / sizeof link;
            resize(data.get(), 0);
            link = {magic, link.turn, table_.me, 0, 0, 0};
            if (link.turn < last_turn_) fail("the chain's log has lost my turn " + std::to_string(last_turn_));
        } else {
            check_log(link);
        }
        if (link.turn < last_turn_ || (link.turn == last_turn_ && whole && link.hash != last_hash_))
            fail("the chain is at turn " + std::to_string(link.turn) + ", I have left it at " + std::to_string(last_turn_));
    } else if (last_turn_) {
        fail("the chain is empty after my turn " + std::to_string(last_turn_));
    } else {
        check_log(link);
    }
    change(data.get(), link);
    last_turn_ = link.turn;
    last_hash_ = link.hash;
    turns_++;
}

void Chain::finish(std::uint64_t turns_of_all) {
    const std::uint64_t lines = size_of(open_file(log_, O_RDONLY).get()) / sizeof(Link);
    if (lines != turns_of_all)
        fail("the chain has " + std::to_string(lines) + " links, its players took " + std::to_string(turns_of_all) + " turns");
}

}  // namespace krg::guest
