// SPDX-License-Identifier: GPL-2.0
//
// The first fault that waits for a node that has crashed. Node 3 holds memory, written and committed to one other node. Here a
// page of it is read every few milliseconds, one whose home is node 3, until such a fault takes as long as only a new view can.
#include "series.hh"

namespace krg::bench {

namespace {

constexpr double waited_ns = 400e6;  // well below a lease, well above any fault that is served
constexpr unsigned pause_ms = 5;
constexpr unsigned patience_s = 150;

}  // namespace

void measure_recovery(Scene& scene) {
    if (!scene.wanted("hadsm-recovery")) return;
    const std::uint64_t pages = std::uint64_t{scene.mib} << 20 >> 12;
    const unsigned file = scene.open(scene.two_dir + "/held", pages);
    const Homes homes("two", 2, scene.here.file(file).inode());
    std::vector<std::uint64_t> candidates;
    for (std::uint64_t page = 0; page < pages; page++)
        if (homes.home(page) == 3) candidates.push_back(page);
    guest::Random random(scene.mib);
    for (std::size_t i = candidates.size(); i > 1; i--) std::swap(candidates[i - 1], candidates[random.below(i)]);

    constexpr std::uint64_t piece = 2048;
    const std::uint64_t begin = now_ns();
    for (std::uint64_t first = 0; first < pages; first += piece) {
        scene.node(3).carry_out({Verb::store, file, first, std::min(piece, pages - first), 1, 0, {}});
        std::printf("node 3 has written %llu of %u MiB, %.0f s\n",
                    static_cast<unsigned long long>((first + std::min(piece, pages - first)) >> 8), scene.mib,
                    static_cast<double>(now_ns() - begin) / 1e9);
        std::fflush(stdout);
    }
    scene.node(3).carry_out({Verb::sync, file, 0, 1, 0, 0, {}});
    std::printf("ready\n");
    std::fflush(stdout);

    const std::uint64_t end = now_ns() + patience_s * 1'000'000'000ULL;
    for (std::uint64_t page : candidates) {
        const double ns = static_cast<double>(scene.here.carry_out({Verb::load, file, page, 1, 1, 0, {}}));
        if (ns > waited_ns) {
            std::printf("served %.0f\n", ns);
            std::fflush(stdout);
            return;
        }
        if (now_ns() > end) break;
        guest::sleep_ms(pause_ms);
    }
    guest::fail("no fault had to wait: did node 3 crash?", guest::timed_out);
}

}  // namespace krg::bench
