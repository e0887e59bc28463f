// SPDX-License-Identifier: GPL-2.0
//
// What a step of the membership engine costs, in userspace: a renewal that arrives (the message every member gets from every
// other, several times a second), a tick with nothing to do, and a message that must be refused. The baseline is the least
// that anybody must do with a renewal: copy it and look at every byte once.
#include "tests/fuzz/membership_scene.hh"

#include <benchmark/benchmark.h>
#include <cstring>

namespace {

using namespace krg::fuzz;

struct Fixture {
    Bytes renewal;
    std::unique_ptr<World> world;

    Fixture() {
        world = play(Scene::three_serving, [this](u16 from, u16 to, const Bytes& data) {
            if (from == 2 && to == 1 && data.size() > 1 && data[1] == 1) renewal = data;
        });
    }
    krg_mbr_event message(const Bytes& data) const {
        krg_mbr_event ev{};
        ev.type = KRG_MBR_EV_MSG;
        ev.node = 2;
        ev.incarnation = Node::incarnation(2);
        ev.data = data.data();
        ev.len = static_cast<u32>(data.size());
        return ev;
    }
    void step(const krg_mbr_event& ev) {
        krg_mbr* engine = world->node(1).engine();
        krg_mbr_step(engine, world->now(), &ev);
        krg_mbr_action act;
        while (krg_mbr_next_action(engine, &act)) benchmark::DoNotOptimize(act);
    }
};

void baseline_copy(benchmark::State& state) {
    Fixture fixture;
    Bytes copy(fixture.renewal.size());
    for (auto _ : state) {
        std::memcpy(copy.data(), fixture.renewal.data(), copy.size());
        u32 h = 2166136261u;
        for (auto byte : copy) h = (h ^ byte) * 16777619u;
        benchmark::DoNotOptimize(h);
    }
}

void step_renewal(benchmark::State& state) {
    Fixture fixture;
    const krg_mbr_event ev = fixture.message(fixture.renewal);
    for (auto _ : state) fixture.step(ev);
}

void step_tick(benchmark::State& state) {
    Fixture fixture;
    krg_mbr_event ev{};
    ev.type = KRG_MBR_EV_TICK;
    for (auto _ : state) fixture.step(ev);
}

void step_refused(benchmark::State& state) {
    Fixture fixture;
    Bytes bad = fixture.renewal;
    bad.pop_back();
    const krg_mbr_event ev = fixture.message(bad);
    for (auto _ : state) fixture.step(ev);
}

}  // namespace

BENCHMARK(baseline_copy);
BENCHMARK(step_renewal);
BENCHMARK(step_tick);
BENCHMARK(step_refused);
BENCHMARK_MAIN();
