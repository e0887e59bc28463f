// SPDX-License-Identifier: GPL-2.0
//
// What needs no other node: pages that are held here for writing, beside the same on tmpfs. With two copies of each page what is
// written is copied to another node every 100 ms, which write-protects it.
#include "series.hh"

namespace krg::bench {

namespace {

constexpr std::uint64_t pages = 64;
constexpr std::size_t words = page_bytes / sizeof(std::uint64_t);
constexpr unsigned warm = 3;

/// Nanoseconds of an addition to a word, all pages in turn.
double add_all(const Memory& memory, std::uint64_t first, unsigned times) {
    const std::uint64_t begin = now_ns();
    for (unsigned i = 0; i < times; i++)
        for (std::uint64_t page = first; page < first + pages; page++) {
            volatile std::uint64_t* word = memory.at(page) + i % words;
            *word = *word + 1;
        }
    return static_cast<double>(now_ns() - begin) / (static_cast<double>(times) * pages);
}

void local(Scene& scene, const std::string& name, const Memory& memory, FreshPages& fresh, const Memory& tmpfs,
           unsigned times) {
    if (!scene.wanted(name)) return;
    const std::uint64_t first = fresh.take_run(1, pages);
    measure(*scene.report, name, "ns", scene.samples / 4 + 1, warm,
            {[] {}, [&] { return add_all(memory, first, times); }, [&] { return add_all(tmpfs, 0, times); }});
}

}  // namespace

void measure_local(Scene& scene) {
    const Memory tmpfs("/dev/shm/krg-memory-bench", pages);
    local(scene, "hadsm-local", scene.here.file(one_file), *scene.one_pages, tmpfs, 4000);
    local(scene, "hadsm-local-two", scene.here.file(two_file), *scene.two_pages, tmpfs, 100000);
}

}  // namespace krg::bench
