// SPDX-License-Identifier: GPL-2.0
//
// Moves, views and queues. See world.hh.
#include "tests/sim/dsm/world.hh"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>

#include "tests/sim/world/rng.hh"

namespace krg::sim::dsm {

World::World(const Setup& setup, Trace* trace) : setup_(setup), trace_(trace) {
    std::vector<Promise> promises;
    for (const krg_dsm_object& o : setup_.objects) promises.push_back(promise_of(o));
    checker_ = Checker(setup_.nodes, promises);
    checker_.overlook(setup_.overlook);
    edge_.emplace_back(nullptr);
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        edge_.push_back(std::make_unique<Edge>(n, setup_, checker_, *this));
        edge_[n]->allow_errors(setup_.no_memory_ppm != 0, setup_.pinned_pct != 0, setup_.memory_pages != 0);
        boot(n);
    }
    count_copies();
}

void World::say(NodeId node, std::string line) {
    if (trace_) trace_->add(s_.now, node, Detail::short_log, ' ', std::move(line));
}

void World::fail(std::string rule, std::string text) {
    if (!broken_) broken_ = {std::move(rule), std::move(text)};
}

bool World::member(NodeId node) const {
    return std::any_of(s_.members.begin(), s_.members.end(), [&](const krg_dsm_member& m) { return m.node == node; });
}

// The bytes of a message that have a say in anything: without the id of its operation, which is for traces.
static std::vector<u8> without_op(std::vector<u8> bytes) {
    if (bytes.size() >= KRG_DSM_OP_AT + KRG_DSM_OP_BYTES)
        bytes.erase(bytes.begin() + KRG_DSM_OP_AT, bytes.begin() + KRG_DSM_OP_AT + KRG_DSM_OP_BYTES);
    return bytes;
}

// The network

void World::send(NodeId from, NodeId to, std::shared_ptr<const Packet> packet) {
    if (to < 1 || to > setup_.nodes || to == from) return fail("contract", fmt::format("node {} sends to node {}", from, to));
    counts_.messages++;
    counts_.pages += packet->has_page ? 1 : 0;
    if (trace_) {
        char text[160] = "";
        krg_dsm_describe(packet->bytes.data(), static_cast<u32>(packet->bytes.size()), text, sizeof text);
        say(from, fmt::format("  -> n{}: {}{}", to, text, packet->has_page ? " with " + name_of(packet->value) : ""));
    }
    if (!edge_[to]->running() || packet->epoch < s_.carries[from][to]) {
        counts_.lost_messages++;
        return;
    }
    s_.queue[from][to].push_back(std::move(packet));
}

void World::drop(NodeId from, NodeId to) {
    counts_.lost_messages += s_.queue[from][to].size();
    s_.queue[from][to].clear();
}

void World::reset(NodeId a, NodeId b) {
    drop(a, b);
    drop(b, a);
    s_.carries[a][b] = s_.carries[b][a] = s_.epoch + 1;
    s_.wanted = true;
}

void World::reset_wanted(NodeId from, NodeId to, u16 reason) {
    counts_.resets_wanted++;
    if (reason == KRG_DSM_R_PROTOCOL)
        return fail("contract", fmt::format("node {} wants a reset because node {} broke the protocol", from, to));
    if (to != 0) {
        if (to >= 1 && to <= setup_.nodes && to != from) reset(from, to);
        return;
    }
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (n != from) reset(from, n);
}

// Views

bool World::proposable() const {
    if (!s_.wanted) return false;
    for (const krg_dsm_member& m : s_.members)
        if (edge_[m.node]->running() && !s_.doomed[m.node] && m.since == s_.since[m.node]) return true;
    return s_.members.empty();
}

void World::propose() {
    s_.epoch++;
    s_.wanted = false;
    std::vector<krg_dsm_member> members;
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        if (!edge_[n]->running() || s_.doomed[n]) continue;
        if (s_.drained[n] && s_.leaving[n]) continue;
        if (s_.joining[n]) {
            s_.joining[n] = false;
            s_.since[n] = s_.epoch;
        }
        members.push_back({n, static_cast<u16>(s_.leaving[n] ? 1 : 0), 0, s_.since[n]});
    }
    s_.members = std::move(members);
    s_.prepared.fill(false);
    s_.committed.fill(false);
    counts_.views++;
    if (trace_) {
        std::string text;
        for (const krg_dsm_member& m : s_.members) text += fmt::format(" n{}{}", m.node, m.draining ? "(leaving)" : "");
        say(0, fmt::format("view {}:{}", s_.epoch, text));
    }
}

void World::prepared(NodeId node, u64 epoch) {
    if (epoch == s_.epoch) s_.prepared[node] = true;
}

void World::recovered(NodeId node, u64 epoch) {
    counts_.recoveries++;
    s_.anchored[node] = epoch;
}

void World::drained(NodeId node) {
    s_.drained[node] = true;
    s_.wanted = true;
}

void World::end_of(NodeId node) {
    for (NodeId n = 1; n <= setup_.nodes; n++) drop(n, node);
    s_.doomed[node] = s_.leaving[node] = s_.drained[node] = s_.joining[node] = false;
    s_.anchored[node] = 0;
    s_.wanted = s_.wanted || member(node);
}

/// @p over: all who go on have prepared a view without it.
void World::kill(NodeId node, bool over) {
    u32 frozen = 0;
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        if (n == node || !edge_[n]->running()) continue;
        for (unsigned o = 0; o < setup_.objects.size(); o++) {
            krg_dsm_copy copy{};
            krg_dsm_inspect(edge_[n]->engine(), &setup_.objects[o], &copy);
            if (copy.state == KRG_DSM_F) frozen |= 1U << o;
        }
    }
    if (edge_[node]->at().punch != 0) s_.holes.push_back({edge_[node]->at().punched, over ? 0 : s_.epoch});
    checker_.crash(node, frozen);
    if (setup_.crash_rolls_back && s_.anchored[node] != 0 && !s_.leaving[node]) checker_.must_roll();
    orphan_holes(false);
    add_stats(node);
    edge_[node]->crash();
    end_of(node);
    if (std::none_of(s_.anchored.begin(), s_.anchored.end(), [](u64 epoch) { return epoch != 0; })) checker_.nobody_knows();
}

/// A home gives a hole up when it prepares the next view.
void World::orphan_holes(bool all) {
    std::erase_if(s_.holes, [&](const WorldState::Orphan& hole) {
        if (!all && hole.epoch >= s_.epoch) return false;
        if (!all && hole.epoch != 0 && std::none_of(s_.committed.begin(), s_.committed.end(), [](bool c) { return c; }))
            return false;
        checker_.hole_ends(0, hole.objects, false, 0);
        return true;
    });
}

Objects World::range_of(const Move& m) const {
    Objects objects = 0;
    const krg_dsm_object& first = setup_.objects[m.b];
    for (std::size_t o = 0; o < setup_.objects.size(); o++) {
        const krg_dsm_object& x = setup_.objects[o];
        const bool in = x.container == first.container && x.index >= first.index &&
                        (m.c != 0 || x.index <= setup_.objects[m.x].index);
        objects |= in ? 1U << o : 0;
    }
    return objects;
}

/// Every index from one object to the other is an object, and all are in one chunk.
bool World::adjacent(const Move& m) const {
    if (m.x < m.b) return false;
    const krg_dsm_object& first = setup_.objects[m.b];
    for (u32 o = m.b; o <= m.x; o++) {
        const krg_dsm_object& x = setup_.objects[o];
        if (x.container != first.container || x.index != first.index + (o - m.b)) return false;
    }
    return first.index >> KRG_DSM_CHUNK_SHIFT == setup_.objects[m.x].index >> KRG_DSM_CHUNK_SHIFT;
}

// Fairness: whoever waits at the home has its turn before others have theirs again

/// A request comes to its home.
void World::comes_home(NodeId from, const Packet& packet) {
    char text[160] = "";
    krg_dsm_describe(packet.bytes.data(), static_cast<u32>(packet.bytes.size()), text, sizeof text);
    unsigned long long epoch = 0, seq = 0, container = 0, index = 0;
    if (std::sscanf(text, "GET e%llu#%llu %llu:%llu ", &epoch, &seq, &container, &index) != 4) return;
    for (std::size_t o = 0; o < setup_.objects.size(); o++)
        if (setup_.objects[o].container == container && setup_.objects[o].index == index && s_.overtaken[from][o] < 0)
            s_.overtaken[from][o] = 0;
}

void World::answered(NodeId node, unsigned object, bool moved) {
    s_.overtaken[node][object] = -1;
    // A request that comes twice, or is refused without a word to the program, is not what is counted here.
    if (!moved || setup_.duplicate_ppm != 0 || setup_.no_memory_ppm != 0) return;
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        int& count = s_.overtaken[n][object];
        if (count < 0) continue;
        counts_.overtakers = std::max<u64>(counts_.overtakers, static_cast<u64>(++count));
        if (count > static_cast<int>(2 * setup_.nodes))
            fail("fairness",
                 fmt::format("node {} waits for object {} at its home, and others got it {} times since", n, object, count));
    }
}

/// Where nobody may write: a hole is being made.
Objects World::holes() const {
    Objects objects = 0;
    for (NodeId n = 1; n <= setup_.nodes; n++) objects |= edge_[n]->at().punched;
    for (const auto& hole : s_.holes) objects |= hole.objects;
    return objects;
}

/// It has left in order.
void World::remove(NodeId node) {
    say(node, "has left");
    counts_.leaves++;
    checker_.left(node);
    add_stats(node);
    edge_[node]->stop(s_.now);
    end_of(node);
    for (NodeId n = 1; n <= setup_.nodes; n++) drop(node, n);
}

void World::boot(NodeId node) {
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        drop(n, node);
        drop(node, n);
        s_.carries[node][n] = s_.carries[n][node] = s_.epoch + 1;
    }
    s_.carries[node][node] = 0;
    s_.joining[node] = s_.wanted = true;
    s_.since[node] = 0;
    const u64 life = s_.next_life++;
    edge_[node]->boot(life, s_.now, derive(setup_.seed, "engine", life));
}

void World::commit(NodeId node) {
    s_.committed[node] = true;
    counts_.commits++;
    // Who is not in this view has stopped by now: its lease has run out, or it has left.
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        if (!edge_[n]->running() || member(n) || s_.joining[n]) continue;
        if (s_.doomed[n])
            kill(n, true);
        else if (s_.leaving[n])
            remove(n);
    }
    orphan_holes(false);
    edge_[node]->commit(s_.now);
}

bool World::expendable(NodeId node) const {
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (n != node && edge_[n]->running() && !s_.doomed[n] && !s_.leaving[n] && member(n) &&
            (s_.anchored[n] != 0 || (setup_.all_may_die && edge_[n]->at().epoch != 0)))
            return true;
    return false;
}

// Moves

bool World::enabled(const Move& m) const {
    const auto up = [&](unsigned n) { return n >= 1 && n <= setup_.nodes && edge_[n]->running(); };
    const auto object = [&](unsigned o) { return o < setup_.objects.size(); };
    if (m.kind != MoveKind::time && m.kind != MoveKind::propose && (m.a < 1 || m.a > setup_.nodes)) return false;
    const auto& s = up(m.a) ? edge_[m.a]->at() : EdgeState{};
    switch (m.kind) {
    case MoveKind::deliver:
    case MoveKind::duplicate: return up(m.b) && !s_.queue[m.a][m.b].empty();
    case MoveKind::complete: return up(m.a) && object(m.b) && edge_[m.a]->can_complete(m.b);
    case MoveKind::refuse: return up(m.a) && object(m.b) && edge_[m.a]->can_complete(m.b) && s.pinned[m.b] < 2;
    case MoveKind::snapshot:
    case MoveKind::snapshot_fail: return up(m.a) && edge_[m.a]->can_snapshot();
    case MoveKind::begin:
        return up(m.a) && m.b < setup_.programs && object(m.x) && m.c < static_cast<u8>(Op::count_) && s.epoch != 0 &&
               !s_.leaving[m.a] && s.program[m.b].phase == Program::Phase::idle &&
               (static_cast<Op>(m.c) == Op::read || (holes() >> m.x & 1) == 0);
    case MoveKind::punch: {
        if (!up(m.a) || !object(m.b) || !object(m.x) || s.epoch == 0 || s_.leaving[m.a] || s.punch != 0) return false;
        const krg_dsm_object &from = setup_.objects[m.b], &to = setup_.objects[m.x];
        if (from.container != to.container || from.index > to.index) return false;
        const Objects objects = range_of(m);
        return std::none_of(edge_.begin() + 1, edge_.end(), [&](const auto& e) { return e->wants_write(objects); });
    }
    case MoveKind::ahead: return up(m.a) && object(m.b) && object(m.x) && s.epoch != 0 && !s_.leaving[m.a] && adjacent(m);
    case MoveKind::use: return up(m.a) && m.b < setup_.programs && s.program[m.b].phase == Program::Phase::granted;
    case MoveKind::orphan: return up(m.a) && !s.orphan_grants.empty();
    case MoveKind::abandon: return up(m.a) && m.b < setup_.programs && s.program[m.b].phase == Program::Phase::waiting;
    case MoveKind::evict:
        return up(m.a) && object(m.b) && s.epoch != 0 && s.evictions.size() < 2 &&
               std::none_of(s.evictions.begin(), s.evictions.end(), [&](const auto& e) { return e.object == m.b; });
    case MoveKind::sync: return up(m.a) && s.epoch != 0 && s.syncs.size() < 2;
    case MoveKind::point: return up(m.a) && setup_.point_copies != 0 && s.epoch != 0 && s.point == 0;
    case MoveKind::rollback: return up(m.a) && setup_.point_copies != 0 && s.epoch != 0 && s.rollback == 0;
    case MoveKind::tick: return up(m.a) && edge_[m.a]->deadline() <= s_.now;
    case MoveKind::time: return m.x != 0;
    case MoveKind::propose: return proposable();
    case MoveKind::prepare: return up(m.a) && member(m.a) && !s_.prepared[m.a] && !s_.doomed[m.a] && !s_.joining[m.a];
    case MoveKind::commit:
        return up(m.a) && member(m.a) && !s_.committed[m.a] && s_.prepared[m.a] && !s_.doomed[m.a] && !s_.joining[m.a] &&
               std::all_of(s_.members.begin(), s_.members.end(), [&](const auto& x) { return s_.prepared[x.node]; });
    case MoveKind::crash: return up(m.a) && expendable(static_cast<NodeId>(m.a));
    case MoveKind::expel: return up(m.a) && !s_.doomed[m.a] && member(m.a) && expendable(m.a);
    case MoveKind::boot: return !up(m.a);
    case MoveKind::reset: return up(m.a) && up(m.b) && m.a != m.b;
    case MoveKind::leave: return up(m.a) && member(m.a) && !s_.leaving[m.a] && expendable(m.a) && s_.anchored[m.a] != 0;
    case MoveKind::drain:
        return up(m.a) && s_.leaving[m.a] && s_.committed[m.a] && !s.draining && !edge_[m.a]->programs_wait() &&
               std::any_of(s_.members.begin(), s_.members.end(), [&](const auto& x) { return x.node == m.a && x.draining; });
    case MoveKind::count_: break;
    }
    return false;
}

void World::perform(const Move& m) {
    switch (m.kind) {
    case MoveKind::deliver: {
        const auto packet = s_.queue[m.a][m.b].front();
        s_.queue[m.a][m.b].pop_front();
        comes_home(m.a, *packet);
        edge_[m.b]->receive(s_.now, m.a, *packet);
        break;
    }
    case MoveKind::duplicate: {
        auto& queue = s_.queue[m.a][m.b];
        counts_.duplicates++;
        queue.insert(queue.begin() + static_cast<std::ptrdiff_t>(1 + m.x % queue.size()), queue.front());
        break;
    }
    case MoveKind::complete: edge_[m.a]->complete(s_.now, m.b); break;
    case MoveKind::refuse:
        counts_.pins++;
        edge_[m.a]->refuse(s_.now, m.b, m.c != 0);
        break;
    case MoveKind::snapshot: edge_[m.a]->snapshot_step(s_.now, false); break;
    case MoveKind::snapshot_fail: edge_[m.a]->snapshot_step(s_.now, true); break;
    case MoveKind::begin: edge_[m.a]->begin(s_.now, m.b, static_cast<Op>(m.c), m.x); break;
    case MoveKind::use: edge_[m.a]->use(s_.now, m.b); break;
    case MoveKind::orphan: edge_[m.a]->use_orphan(s_.now); break;
    case MoveKind::abandon: edge_[m.a]->abandon(m.b); break;
    case MoveKind::evict: edge_[m.a]->evict(s_.now, m.b, m.c != 0); break;
    case MoveKind::sync: edge_[m.a]->sync(s_.now); break;
    case MoveKind::point: edge_[m.a]->point(s_.now); break;
    case MoveKind::rollback: edge_[m.a]->rollback(s_.now); break;
    case MoveKind::punch:
        counts_.holes++;
        edge_[m.a]->punch(s_.now, m.b, m.c != 0 ? ~u64{0} : setup_.objects[m.x].index, range_of(m));
        break;
    case MoveKind::ahead: edge_[m.a]->ahead(s_.now, m.b, m.x, m.c != 0); break;
    case MoveKind::tick: edge_[m.a]->tick(s_.now); break;
    case MoveKind::time: s_.now += m.x; break;
    case MoveKind::propose: propose(); break;
    case MoveKind::prepare:
        // Connections to who is not in the view, or in another life, are gone.
        for (NodeId n = 1; n <= setup_.nodes; n++)
            if (!member(n) || !edge_[n]->running()) drop(n, m.a);
        s_.drained[m.a] = false;
        s_.forget_overtaken();
        edge_[m.a]->prepare(s_.now, s_.epoch, s_.members);
        break;
    case MoveKind::commit: commit(m.a); break;
    case MoveKind::crash:
        counts_.crashes++;
        s_.crashes++;
        kill(m.a, false);
        break;
    case MoveKind::expel:
        counts_.expulsions++;
        s_.crashes++;
        s_.doomed[m.a] = s_.wanted = true;
        break;
    case MoveKind::boot:
        counts_.boots++;
        boot(m.a);
        break;
    case MoveKind::reset:
        counts_.resets++;
        s_.resets++;
        reset(m.a, m.b);
        break;
    case MoveKind::leave:
        s_.leaves++;
        s_.leaving[m.a] = s_.wanted = true;
        break;
    case MoveKind::drain: edge_[m.a]->drain(s_.now); break;
    case MoveKind::count_: break;
    }
}

/// How many members can take copies, by the most pessimistic view anybody may be working in.
void World::count_copies() {
    unsigned now = 0;
    for (const krg_dsm_member& m : s_.members) now += m.draining ? 0 : 1;
    bool all = true;
    for (const krg_dsm_member& m : s_.members) all = all && s_.committed[m.node];
    // While a view is coming or going both count; a larger one only when all have it.
    const unsigned able = s_.members.empty() ? setup_.nodes : all ? now : std::min(now, able_ == 0 ? now : able_);
    if (able == able_) return;
    able_ = able;
    checker_.able(std::max(able, 1U));
}

bool World::apply(const Move& m) {
    if (broken_) return false;
    counts_.events++;
    if (trace_) say(0, describe(m, setup_));
    Edge* edge = m.a >= 1 && m.a <= setup_.nodes ? edge_[m.a].get() : nullptr;
    if (m.kind == MoveKind::deliver) edge = edge_[m.b].get();
    if (m.starve != 0 && edge) {
        counts_.starved++;
        edge->no_memory_from(m.starve);
    }
    perform(m);
    if (edge) edge->no_memory_from(0);
    count_copies();
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (edge_[n]->broken()) fail(edge_[n]->broken().rule, edge_[n]->broken().text);
    checker_.judge();
    if (checker_.broken()) fail(checker_.broken().rule, checker_.broken().text);
    if (calm()) checker_.calm();
    return !broken_;
}

bool World::in_flight() const {
    for (NodeId a = 1; a <= setup_.nodes; a++)
        for (NodeId b = 1; b <= setup_.nodes; b++)
            if (!s_.queue[a][b].empty()) return true;
    return false;
}

bool World::calm() const {
    if (s_.wanted || in_flight()) return false;
    for (const krg_dsm_member& m : s_.members) {
        if (!edge_[m.node]->running() || !s_.committed[m.node]) return false;
        krg_dsm_stats stats{};
        krg_dsm_get_stats(edge_[m.node]->engine(), &stats);
        if (stats.recovering != 0) return false;
        krg_dsm_point point{};
        krg_dsm_get_point(edge_[m.node]->engine(), &point);
        if (point.lacking != 0 || point.under_way != 0 || point.rolling != 0) return false;
    }
    return true;
}

void World::heal() {
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        edge_[n]->no_memory_from(0);
        edge_[n]->unlimited(s_.now);
    }
}

void World::add_stats(NodeId node) {
    if (!edge_[node]->running()) return;
    krg_dsm_stats s{};
    krg_dsm_get_stats(edge_[node]->engine(), &s);
    counts_.batches += s.batches;
    counts_.batch_objects += s.batch_objects;
    counts_.direct += s.batches_direct;
    counts_.forwards += s.forwards;
    counts_.invalidations += s.invalidations;
    counts_.evictions += s.evictions;
    counts_.injections += s.injections;
    counts_.no_room += s.injections_refused + s.writes_refused;
    counts_.copies_made += s.copies_made;
    counts_.lost += s.lost;
    counts_.ahead_asked += s.ahead_asked;
    counts_.ahead_got += s.ahead_got;
    counts_.ahead_skipped += s.ahead_skipped;
}

Counts World::counts() const {
    World& self = const_cast<World&>(*this);
    const Counts before = counts_;
    for (NodeId n = 1; n <= setup_.nodes; n++) self.add_stats(n);
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        self.counts_.operations += edge_[n]->operations();
        self.counts_.failed_operations += edge_[n]->failed_operations();
        self.counts_.points += edge_[n]->points_taken();
        self.counts_.points_failed += edge_[n]->points_failed();
    }
    self.counts_.bits_lost = checker_.bits_lost();
    self.counts_.rollbacks = checker_.rollbacks();
    const Counts out = counts_;
    self.counts_ = before;
    return out;
}

void World::hash(RunHash& h, bool time) const {
    if (time) h.mix(s_.now);
    h.mix(s_.epoch << 8 | (s_.wanted ? 1 : 0));
    h.mix(static_cast<u64>(s_.crashes) << 32 | static_cast<u64>(s_.resets) << 16 | s_.leaves);
    for (const krg_dsm_member& m : s_.members) h.mix(m.since << 32 | static_cast<u64>(m.node) << 8 | m.draining);
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        h.mix(static_cast<u64>(s_.prepared[n]) | static_cast<u64>(s_.committed[n]) << 1 | static_cast<u64>(s_.doomed[n]) << 2 |
              static_cast<u64>(s_.leaving[n]) << 3 | static_cast<u64>(s_.drained[n]) << 4 |
              static_cast<u64>(s_.joining[n]) << 5 | static_cast<u64>(edge_[n]->running()) << 6);
        for (NodeId to = 1; to <= setup_.nodes; to++) {
            h.mix(s_.carries[n][to] << 32 | s_.queue[n][to].size());
            for (const auto& packet : s_.queue[n][to]) {
                h.mix(without_op(packet->bytes));
                h.mix(static_cast<u64>(packet->value) << 1 | (packet->has_page ? 1 : 0));
            }
        }
        edge_[n]->hash(h);
    }
    for (const auto& hole : s_.holes) h.mix(static_cast<u64>(hole.objects) << 32 | (hole.epoch - s_.epoch));
    checker_.hash(h);
}

std::unique_ptr<World::Saved> World::save(u32 nodes) const {
    auto saved = std::make_unique<Saved>();
    saved->world = s_;
    saved->checker = checker_;
    saved->counts = counts_;
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        if ((nodes >> n & 1) == 0) continue;
        saved->node[n] = {true, edge_[n]->at(), edge_[n]->engine(), edge_[n]->memory().save()};
    }
    return saved;
}

void World::restore(const Saved& saved) {
    s_ = saved.world;
    checker_ = saved.checker;
    counts_ = saved.counts;
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        const auto& node = saved.node[n];
        if (!node.saved) continue;
        edge_[n]->memory().restore(node.memory);
        edge_[n]->set(node.state, node.engine);
    }
}

std::string describe(const Move& m, const Setup& setup) {
    static constexpr const char* ops[] = {"read", "write", "update"};
    const std::string starve = m.starve != 0 ? fmt::format(", without memory from call {} on", m.starve) : "";
    const auto text = [&]() -> std::string {
        switch (m.kind) {
        case MoveKind::deliver: return fmt::format("deliver n{} -> n{}", m.a, m.b);
        case MoveKind::duplicate: return fmt::format("duplicate n{} -> n{}, {} places later", m.a, m.b, m.x);
        case MoveKind::complete: return fmt::format("n{}: EDGE action on object {} is done", m.a, m.b);
        case MoveKind::refuse: return fmt::format("n{}: object {} {}", m.a, m.b, m.c != 0 ? "finds no memory" : "is pinned");
        case MoveKind::snapshot: return fmt::format("n{}: snapshot goes on", m.a);
        case MoveKind::snapshot_fail: return fmt::format("n{}: snapshot fails", m.a);
        case MoveKind::begin:
            return fmt::format("n{}: program {} wants to {} object {}", m.a, m.b, m.c < 3 ? ops[m.c] : "?", m.x);
        case MoveKind::use: return fmt::format("n{}: program {} uses its grant", m.a, m.b);
        case MoveKind::orphan: return fmt::format("n{}: an unwanted grant is given back", m.a);
        case MoveKind::abandon: return fmt::format("n{}: program {} goes away", m.a, m.b);
        case MoveKind::evict: return fmt::format("n{}: evict object {}{}", m.a, m.b, m.c != 0 ? " if it is cheap" : "");
        case MoveKind::sync: return fmt::format("n{}: sync", m.a);
        case MoveKind::point: return fmt::format("n{}: take a recovery point", m.a);
        case MoveKind::rollback: return fmt::format("n{}: go back to the last recovery point", m.a);
        case MoveKind::punch:
            return fmt::format("n{}: hole from object {} to {}", m.a, m.b, m.c != 0 ? "the end" : fmt::to_string(m.x));
        case MoveKind::ahead:
            return fmt::format("n{}: objects {} to {} ahead{}", m.a, m.b, m.x, m.c != 0 ? ", to be written" : "");
        case MoveKind::tick: return fmt::format("n{}: tick", m.a);
        case MoveKind::time: return fmt::format("-- {} us", m.x);
        case MoveKind::propose: return "a new view is proposed";
        case MoveKind::prepare: return fmt::format("n{}: PREPARE", m.a);
        case MoveKind::commit: return fmt::format("n{}: COMMIT", m.a);
        case MoveKind::crash: return fmt::format("CRASH n{}", m.a);
        case MoveKind::expel: return fmt::format("EXPEL n{}", m.a);
        case MoveKind::boot: return fmt::format("BOOT n{}", m.a);
        case MoveKind::reset: return fmt::format("RESET n{} - n{}", m.a, m.b);
        case MoveKind::leave: return fmt::format("LEAVE n{}", m.a);
        case MoveKind::drain: return fmt::format("n{}: DRAIN", m.a);
        case MoveKind::count_: break;
        }
        return "?";
    }();
    (void)setup;
    return text + starve;
}

}  // namespace krg::sim::dsm
