// SPDX-License-Identifier: GPL-2.0
//
// krg-device: devices and programs that use pages of a shared file without asking page tables. A device reads into the first
// half of every page (O_DIRECT) while programs of other nodes write the second halves; a slow one keeps its page for long.
//
//	krg-device hold FILE SECONDS                 a device reads into the first page, and takes so long
//	krg-device source SOURCE PAGES ROUNDS        makes what `read` reads
//	krg-device read FILE SOURCE PAGES ROUNDS     directly into the mapped FILE, and looks what is there after each round
//	krg-device poke FILE PAGES WHO SECONDS       counts up words in second halves; WHO from 0 to 7
//	krg-device check FILE PAGES ROUNDS           as `read` must have left it
//	krg-device counted FILE PAGES WHO            the sum of what `poke` has counted
#include "guest.hh"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace krg::guest;

namespace {

constexpr std::size_t page = 4096, half = page / 2;
using Word = std::atomic<std::uint64_t>;

std::string half_of(std::uint64_t round, std::uint64_t number) {
    std::string bytes(half, '\0');
    for (std::size_t i = 0; i < half; i += sizeof(std::uint64_t)) {
        const std::uint64_t word = mix(mix(round + 1, number), i);
        std::memcpy(bytes.data() + i, &word, sizeof word);
    }
    return bytes;
}

void expect(const char* at, std::uint64_t pages, std::uint64_t round) {
    for (std::uint64_t n = 0; n < pages; n++)
        if (std::memcmp(at + n * page, half_of(round, n).data(), half) != 0)
            fail("round " + std::to_string(round) + ": page " + std::to_string(n) + " is not what the device has read");
}

/// A file whose contents come slowly: a FUSE file system of one file, served by a thread of this program. While a direct
/// read waits for it, the kernel keeps the pages that it reads into.
class SlowFile {
public:
    SlowFile(std::string bytes, unsigned seconds)
        : bytes_(std::move(bytes)),
          seconds_(seconds),
          fuse_(open_file("/dev/fuse", O_RDWR)) {
        const Fd at = open_file(path, O_WRONLY | O_CREAT);
        const std::string options = "fd=" + std::to_string(fuse_.get()) + ",rootmode=100000,user_id=0,group_id=0";
        if (mount("krg-device", path, "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) fail_errno("mounting a slow file");
        std::thread([this] { serve(); }).detach();
    }
    ~SlowFile() { umount2(path, MNT_DETACH); }
    SlowFile(const SlowFile&) = delete;
    SlowFile& operator=(const SlowFile&) = delete;

    static constexpr const char* path = "/run/krg-slow-file";

private:
    void serve() {
        alignas(fuse_in_header) static char request[1 << 16];
        while (read(fuse_.get(), request, sizeof request) > 0 || errno == EINTR || errno == EAGAIN)
            answer(*reinterpret_cast<const fuse_in_header*>(request));
    }

    void answer(const fuse_in_header& in) {
        switch (in.opcode) {
        case FUSE_INIT: {
            fuse_init_out out{};
            out.major = FUSE_KERNEL_VERSION, out.minor = 31, out.max_write = 1 << 15;
            return reply(in, 0, &out, sizeof out);
        }
        case FUSE_GETATTR: {
            fuse_attr_out out{};
            out.attr.ino = FUSE_ROOT_ID, out.attr.mode = S_IFREG | 0600, out.attr.nlink = 1, out.attr.size = bytes_.size();
            return reply(in, 0, &out, sizeof out);
        }
        case FUSE_OPEN: {
            fuse_open_out out{};
            return reply(in, 0, &out, sizeof out);
        }
        case FUSE_READ: sleep_ms(seconds_ * 1000); return reply(in, 0, bytes_.data(), bytes_.size());
        case FUSE_FLUSH:
        case FUSE_RELEASE: return reply(in, 0, nullptr, 0);
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT: return;  // nobody waits for an answer
        default: return reply(in, -ENOSYS, nullptr, 0);
        }
    }

    void reply(const fuse_in_header& in, int error, const void* bytes, std::size_t length) {
        fuse_out_header out{static_cast<std::uint32_t>(sizeof out + length), error, in.unique};
        const iovec parts[] = {{&out, sizeof out}, {const_cast<void*>(bytes), length}};
        (void)!writev(fuse_.get(), parts, length != 0 ? 2 : 1);
    }

    std::string bytes_;
    unsigned seconds_;
    Fd fuse_;
};

void hold(const char* file, unsigned seconds) {
    const Fd fd = open_file(file, O_RDWR | O_CREAT);
    char* at = map_file(fd.get(), page);
    const SlowFile slow(half_of(0, 0), seconds);
    const Fd from = open_file(SlowFile::path, O_RDONLY | O_DIRECT);
    std::printf("held\n");
    std::fflush(stdout);
    if (pread(from.get(), at, half, 0) != static_cast<ssize_t>(half)) fail_errno("reading the slow file");
    std::printf("released\n");
    expect(at, 1, 0);
}

void make_source(const char* path, std::uint64_t pages, std::uint64_t rounds) {
    const Fd fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
    for (std::uint64_t r = 0; r < rounds; r++)
        for (std::uint64_t n = 0; n < pages; n++)
            write_all(fd.get(), static_cast<off_t>((r * pages + n) * half), half_of(r, n));
}

void read_directly(const char* file, const char* source, std::uint64_t pages, std::uint64_t rounds) {
    const Fd fd = open_file(file, O_RDWR | O_CREAT), from = open_file(source, O_RDONLY | O_DIRECT);
    char* at = map_file(fd.get(), pages * page);
    std::vector<iovec> pieces;
    for (std::uint64_t n = 0; n < pages; n++) pieces.push_back({at + n * page, half});
    for (std::uint64_t r = 0; r < rounds; r++) {
        const ssize_t done = preadv(from.get(), pieces.data(), static_cast<int>(pages), static_cast<off_t>(r * pages * half));
        if (done != static_cast<ssize_t>(pages * half)) fail_errno("round " + std::to_string(r) + ": reading directly");
        expect(at, pages, r);
    }
    std::printf("rounds=%llu\n", static_cast<unsigned long long>(rounds));
}

Word& word_of(char* at, std::uint64_t number, unsigned who) {
    return *reinterpret_cast<Word*>(at + number * page + half + who * sizeof(Word));
}

void poke(const char* file, std::uint64_t pages, unsigned who, unsigned seconds) {
    const Fd fd = open_file(file, O_RDWR | O_CREAT);
    char* at = map_file(fd.get(), pages * page);
    std::vector<std::uint64_t> mine(pages);
    Random random(who + 1);
    std::uint64_t count = 0;
    for (const double end = now_s() + seconds; now_s() < end; count++) {
        const std::uint64_t n = random.below(pages);
        const std::uint64_t was = word_of(at, n, who).fetch_add(1);
        if (was != mine[n]++)
            fail("page " + std::to_string(n) + ": " + std::to_string(was) + " where I had counted " +
                 std::to_string(mine[n] - 1));
        sleep_ms(1);
    }
    std::printf("counted=%llu\n", static_cast<unsigned long long>(count));
}

void check(const char* file, std::uint64_t pages, std::uint64_t rounds) {
    const Fd fd = open_file(file, O_RDONLY);
    expect(read_all(fd.get(), 0, pages * page).data(), pages, rounds - 1);
}

void counted(const char* file, std::uint64_t pages, unsigned who) {
    const Fd fd = open_file(file, O_RDONLY);
    std::string bytes = read_all(fd.get(), 0, pages * page);
    std::uint64_t sum = 0;
    for (std::uint64_t n = 0; n < pages; n++) sum += word_of(bytes.data(), n, who).load();
    std::printf("counted=%llu\n", static_cast<unsigned long long>(sum));
}

}  // namespace

int main(int argc, char** argv) {
    set_program("krg-device");
    const std::string what = argc > 1 ? argv[1] : "";
    const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
    const auto small = [&](int i) { return static_cast<unsigned>(number(i)); };
    if (what == "hold" && argc == 4)
        hold(argv[2], small(3));
    else if (what == "source" && argc == 5)
        make_source(argv[2], number(3), number(4));
    else if (what == "read" && argc == 6 && number(4) <= 1024)
        read_directly(argv[2], argv[3], number(4), number(5));
    else if (what == "poke" && argc == 6 && number(4) < 8)
        poke(argv[2], number(3), small(4), small(5));
    else if (what == "check" && argc == 5)
        check(argv[2], number(3), number(4));
    else if (what == "counted" && argc == 5 && number(4) < 8)
        counted(argv[2], number(3), small(4));
    else
        fail("usage: krg-device hold|source|read|poke|check|counted ... (see its source)", krg::guest::usage);
}
