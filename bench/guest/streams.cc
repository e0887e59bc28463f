// SPDX-License-Identifier: GPL-2.0
//
// Much memory at once: a file of another node's memory read from its beginning to its end, through a mapping beside bulk
// messages and with read() beside NFS; and memory that is held here beside tmpfs.
#include "series.hh"

#include <algorithm>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

namespace krg::bench {

namespace {

constexpr std::size_t words = page_bytes / sizeof(std::uint64_t);
constexpr unsigned bulk_messages = 32, bulk_rounds = 8;

std::uint64_t pages_of(const Scene& scene) { return std::uint64_t{scene.mib} << 20 >> 12; }

/// Reads every word of every page.
double sum_all(const Memory& memory, std::uint64_t pages, std::uint64_t round) {
    const std::uint64_t begin = now_ns();
    std::uint64_t wrong = 0;
    for (std::uint64_t page = 0; page < pages; page++) {
        const volatile std::uint64_t* at = memory.at(page);
        const std::uint64_t wanted = stamp(round, page);
        for (std::size_t i = 0; i < words; i++) wrong |= at[i] ^ wanted;
    }
    const std::uint64_t end = now_ns();
    if (wrong) guest::fail("the file is not what was written");
    return static_cast<double>(end - begin);
}

void sequential(Scene& scene) {
    const std::string name = "hadsm-sequential";
    if (!scene.wanted(name)) return;
    const std::uint64_t pages = pages_of(scene);
    const unsigned file = scene.open(scene.one_dir + "/sequential", pages);
    std::uint64_t round = 0;
    measure(*scene.report, name, "bytes/s", scene.rounds, 0,
            {[&] {
                 std::printf("%s: node 2 writes %u MiB\n", name.c_str(), scene.mib);
                 std::fflush(stdout);
                 scene.node(2).carry_out({Verb::copy_in, file, 0, pages, ++round, 0, {}});
             },
             [&] { return static_cast<double>(pages * page_bytes) * 1e9 / sum_all(scene.here.file(file), pages, round); },
             [&] { return scene.rpc->stream(2, bulk_messages, bulk_rounds); }});
}

constexpr std::uint64_t run_pages = 256;

void set_ahead_pages(unsigned pages) {
    std::ofstream file("/sys/module/hadsm/parameters/ahead_pages");
    file << pages << '\n';
    if (!file.flush()) guest::fail_errno("/sys/module/hadsm/parameters/ahead_pages");
}

/// Nanoseconds a page: a word is stored in each page of a run that nobody has touched, whose home is another node.
double store_run(Scene& scene, unsigned ahead_pages) {
    const Memory& memory = scene.here.file(two_file);
    const std::uint64_t first = scene.two_pages->take_run(2, run_pages);
    set_ahead_pages(ahead_pages);
    const std::uint64_t begin = now_ns();
    for (std::uint64_t page = first; page < first + run_pages; page++) *memory.at(page) = stamp(1, page);
    return static_cast<double>(now_ns() - begin) / run_pages;
}

void first_writes(Scene& scene) {
    const std::string name = "hadsm-first-run-two";
    if (!scene.wanted(name)) return;
    constexpr unsigned usual = 256;
    measure(*scene.report, name, "ns", scene.rounds, 1,
            {[] {}, [&] { return store_run(scene, usual); }, [&] { return store_run(scene, 0); }});
    set_ahead_pages(usual);
}

/// The same file on both file systems: what every page of it must be.
struct Contents {
    std::vector<std::uint64_t> rounds;
    unsigned files[2];
};

/// Opens, reads all and closes, as cp would.
double read_file(const std::string& path, const Contents& contents) {
    constexpr std::size_t piece = 32;
    static std::uint64_t buffer[piece * words];
    const std::uint64_t pages = contents.rounds.size(), begin = now_ns();
    const guest::Fd fd = guest::open_file(path, O_RDONLY);
    for (std::uint64_t page = 0; page < pages;) {
        const std::size_t wanted = std::min<std::uint64_t>(piece, pages - page) * page_bytes;
        const ssize_t got = pread(fd.get(), buffer, wanted, static_cast<off_t>(page * page_bytes));
        if (got <= 0 || got % static_cast<ssize_t>(page_bytes)) guest::fail_errno("read " + path);
        for (std::size_t i = 0; i < static_cast<std::size_t>(got) / page_bytes; i++, page++)
            if (buffer[i * words] != stamp(contents.rounds[page], page))
                guest::fail(path + ": page " + std::to_string(page) + " is not what was written");
    }
    return static_cast<double>(now_ns() - begin);
}

void drop_caches() {
    std::ofstream file("/proc/sys/vm/drop_caches");
    file << "1\n";
}

/// Node 2 writes `count` pages of both files with write().
void rewrite(Scene& scene, Contents& contents, std::uint64_t first, std::uint64_t count) {
    const std::uint64_t round = contents.rounds[first] + 1;
    for (unsigned file : contents.files) scene.node(2).carry_out({Verb::write, file, first, count, round, 0, {}});
    for (std::uint64_t page = first; page < first + count; page++) contents.rounds[page] = round;
}

void against_nfs(Scene& scene, const std::string& name, Contents& contents, bool cold) {
    if (!scene.wanted(name)) return;
    const std::uint64_t pages = contents.rounds.size();
    std::uint64_t turn = 0;
    measure(*scene.report, name, "ns", scene.rounds, cold ? 0 : 1,
            {[&] {
                 std::printf("%s: node 2 writes\n", name.c_str());
                 std::fflush(stdout);
                 if (cold)
                     rewrite(scene, contents, 0, pages);
                 else
                     rewrite(scene, contents, ++turn * 997 % pages, 1);
                 if (cold) drop_caches();
             },
             [&] { return read_file(scene.one_dir + "/file", contents); },
             [&] { return read_file(scene.nfs_client + "/file", contents); }});
}

}  // namespace

void measure_streams(Scene& scene) {
    sequential(scene);
    first_writes(scene);
    if (scene.nfs_client.empty() || !(scene.wanted("hadsm-nfs-cold") || scene.wanted("hadsm-nfs-again"))) return;
    Contents contents;
    contents.rounds.resize(pages_of(scene));
    // The server's own copy: this node sees it through NFS only.
    contents.files[0] = scene.open(scene.one_dir + "/file", contents.rounds.size());
    contents.files[1] = scene.open(scene.nfs_server + "/file", contents.rounds.size());
    rewrite(scene, contents, 0, contents.rounds.size());
    against_nfs(scene, "hadsm-nfs-cold", contents, true);
    against_nfs(scene, "hadsm-nfs-again", contents, false);
}

}  // namespace krg::bench
