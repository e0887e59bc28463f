// SPDX-License-Identifier: GPL-2.0
//
// The nine operations that Kerrighed measured of its objects, at the level of faults: its get is our load, its grab our store,
// its remove a hole of one page. Its objects had any size; ours are pages, so with 4 bytes only as much is touched, the page
// travels all the same. Its manager is our home. One copy of each page; four nodes.
#include "series.hh"

#include <iterator>

namespace krg::bench {

namespace {

constexpr unsigned warm = 5;

struct Operation {
    const char* name;
    char kind;            // g: get, w: grab, r: remove
    unsigned writer;      // who writes the page first; 0: nobody
    unsigned readers[3];  // who reads it then
};

constexpr Operation operations[] = {
    {"get-first-touch", 'g', 0, {}},
    {"get-from-one", 'g', 2, {}},
    {"get-from-two", 'g', 2, {3}},
    {"grab-first-touch", 'w', 0, {}},
    {"grab-one-local", 'w', 0, {1}},
    {"grab-one-remote", 'w', 2, {}},
    {"grab-local-and-three", 'w', 2, {1, 3, 4}},
    {"remove-local", 'r', 1, {}},
    {"remove-three-remote", 'r', 2, {3, 4}},
};
static_assert(std::size(operations) == 9);

Verb verb_of(char kind, bool whole) {
    if (kind == 'r') return Verb::punch;
    if (kind == 'w') return whole ? Verb::copy_in : Verb::store;
    return whole ? Verb::copy_out : Verb::load;
}

void measure_one(Scene& scene, const Operation& operation, unsigned home, bool whole) {
    const std::string name = std::string("hadsm-op-") + operation.name + (home == 1 ? "-local" : "-distant") +
                             (whole ? "-4096" : "-4");
    if (!scene.wanted(name)) return;
    std::uint64_t page = 0;
    measure(*scene.report, name, "ns", scene.samples / 4 + 1, warm,
            {[&] {
                 page = scene.one_pages->take(home);
                 if (operation.writer) scene.node(operation.writer).carry_out({Verb::copy_in, one_file, page, 1, 1, 0, {}});
                 for (unsigned reader : operation.readers)
                     if (reader) scene.node(reader).carry_out({Verb::load, one_file, page, 1, 0, 0, {}});
             },
             [&] {
                 const std::uint64_t round = operation.kind == 'w' ? 2 : operation.writer ? 1 : 0;
                 return static_cast<double>(
                     scene.here.carry_out({verb_of(operation.kind, whole), one_file, page, 1, round, 0, {}}));
             },
             [&] { return scene.rpc->call(2, whole ? 4096 : 64); }});
}

}  // namespace

void measure_operations(Scene& scene) {
    if (scene.others.size() < 3) return;
    for (const Operation& operation : operations) {
        measure_one(scene, operation, 1, false);
        measure_one(scene, operation, 2, false);
        measure_one(scene, operation, 2, true);
    }
}

}  // namespace krg::bench
