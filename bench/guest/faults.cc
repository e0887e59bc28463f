// SPDX-License-Identifier: GPL-2.0
//
// Single faults, between nodes whose parts are known: who asks (always this node), who is the home, who holds the page.
#include "series.hh"

namespace krg::bench {

namespace {

constexpr unsigned warm = 20;

struct Copies {
    unsigned file;
    FreshPages& pages;
    const char* suffix;
};

double took(Scene& scene, Verb verb, const Copies& copies, std::uint64_t page, std::uint64_t round) {
    return static_cast<double>(scene.here.carry_out({verb, copies.file, page, 1, round, 0, {}}));
}

/// The page is written by `holder` and read here.
void read_fault(Scene& scene, const Copies& copies, const std::string& name, unsigned home, unsigned holder) {
    if (!scene.wanted(name)) return;
    std::uint64_t page = 0;
    measure(*scene.report, name, "ns", scene.samples, warm,
            {[&] {
                 page = copies.pages.take(home);
                 scene.node(holder).carry_out({Verb::store, copies.file, page, 1, 1, 0, {}});
             },
             [&] { return took(scene, Verb::load, copies, page, 1); }, [&] { return scene.rpc->call(2, 4096); }});
}

/// Node 3 and this one share the page, node 2 is its home and has no copy; then it is written here.
void write_upgrade(Scene& scene, const Copies& copies, const std::string& name) {
    if (!scene.wanted(name)) return;
    std::uint64_t page = 0;
    measure(*scene.report, name, "ns", scene.samples, warm,
            {[&] {
                 page = copies.pages.take(2);
                 scene.here.carry_out({Verb::store, copies.file, page, 1, 1, 0, {}});
                 scene.node(3).carry_out({Verb::load, copies.file, page, 1, 1, 0, {}});
             },
             [&] { return took(scene, Verb::store, copies, page, 2); }, [&] { return scene.rpc->call(2, 64); }});
}

/// Once round: each node stores to `page`, then to its own `others`. The mean of the three faults.
double round_trip(Scene& scene, const Copies& copies, std::uint64_t page, const std::uint64_t* own, std::uint64_t others,
                  std::uint64_t round) {
    double sum = 0;
    for (unsigned node = 1; node <= 3; node++) {
        guest::sleep_ms(2);
        sum += static_cast<double>(
            scene.node(node).carry_out({Verb::hop, copies.file, page, others, round, own[node - 1], {}}));
    }
    return sum / 3;
}

void migration(Scene& scene, const Copies& one, const Copies& two, std::uint64_t others) {
    const std::string name = "hadsm-migratory-" + std::to_string(others);
    if (!scene.wanted(name)) return;
    const Copies* const copies[] = {&one, &two};
    std::uint64_t page[2], own[2][3];
    for (unsigned which = 0; which < 2; which++) {
        page[which] = copies[which]->pages.take(1);
        for (unsigned node = 1; node <= 3; node++) {
            own[which][node - 1] = copies[which]->pages.take_run(node, others ? others : 1);
            scene.node(node).carry_out({Verb::store, copies[which]->file, own[which][node - 1], others, 1, 0, {}});
        }
    }
    std::uint64_t round = 1;
    measure(*scene.report, name, "ns", scene.samples / 4 + 1, 3,
            {[&] { round++; }, [&] { return round_trip(scene, two, page[1], own[1], others, round); },
             [&] { return round_trip(scene, one, page[0], own[0], others, round); }});
}

}  // namespace

void measure_faults(Scene& scene) {
    const Copies one{one_file, *scene.one_pages, ""}, two{two_file, *scene.two_pages, "-two"};
    for (const Copies* copies : {&one, &two}) {
        const std::string suffix = copies->suffix;
        read_fault(scene, *copies, "hadsm-read" + suffix, 2, 2);
        read_fault(scene, *copies, "hadsm-three-hop" + suffix, 2, 3);
        write_upgrade(scene, *copies, "hadsm-upgrade" + suffix);
    }
}

void measure_migration(Scene& scene) {
    const Copies one{one_file, *scene.one_pages, ""}, two{two_file, *scene.two_pages, ""};
    for (std::uint64_t others : {0, 1, 16, 256}) migration(scene, one, two, others);
}

}  // namespace krg::bench
