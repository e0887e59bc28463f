// SPDX-License-Identifier: GPL-2.0
//
// One node: events into the engine, actions out of it, programs and the page cache. See edge.hh.
#include "tests/sim/dsm/edge.hh"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <string_view>

namespace krg::sim::dsm {

namespace {

constexpr u8 idle_action = 0;

const char* op_name(Op op) { return op == Op::read ? "read" : op == Op::write ? "write" : "update"; }
u8 mode_of(Op op) { return op == Op::read ? KRG_DSM_READ : KRG_DSM_WRITE; }

}  // namespace

std::string name_of(Value v) { return v == zeros ? "zeros" : fmt::format("n{}.w{}", writer_of(v), nth_of(v)); }

Promise promise_of(const krg_dsm_object& object) {
    return {object.policy.cls == KRG_DSM_DURABLE, object.policy.cls == KRG_DSM_CHECKPOINTED ? 1U : object.policy.replicas,
            object.container << 32 | object.index >> KRG_DSM_CHUNK_SHIFT,
            object.policy.cls == KRG_DSM_CHECKPOINTED ? object.policy.replicas : 0U};
}

Edge::Edge(NodeId id, const Setup& setup, Checker& checker, EdgeWorld& world)
    : id_(id),
      setup_(setup),
      checker_(checker),
      world_(world),
      memory_(setup.arenas),
      limit_(setup.memory_pages) {}

Edge::~Edge() {
    if (!engine_) return;
    krg_dsm_stop(engine_);
    krg_dsm_delete(engine_);
}

void Edge::contract(std::string text) {
    if (!broken_) broken_ = {"contract", fmt::format("node {}: {}", id_, text)};
}

void Edge::say(std::string line) const {
    if (world_.tracing()) world_.say(id_, std::move(line));
}

int Edge::object_of(const krg_dsm_object& object) const {
    for (std::size_t o = 0; o < setup_.objects.size(); o++)
        if (setup_.objects[o].container == object.container && setup_.objects[o].index == object.index)
            return static_cast<int>(o);
    return -1;
}

// Handles: each is the engine's or nobody's.

u64 Edge::make_handle(unsigned object, Value value) {
    std::size_t at = 0;
    while (at < s_.handles.size() && s_.handles[at].used) at++;
    if (at == s_.handles.size()) s_.handles.emplace_back();
    s_.handles[at] = {true, static_cast<u8>(object), value};
    return at + 1;
}

std::optional<Handle> Edge::take_handle(u64 handle, const char* what) {
    if (handle == 0 || handle > s_.handles.size() || !s_.handles[handle - 1].used) {
        contract(fmt::format("{} names handle {}, which the engine does not have", what, handle));
        return std::nullopt;
    }
    const Handle taken = s_.handles[handle - 1];
    s_.handles[handle - 1] = {};
    while (!s_.handles.empty() && !s_.handles.back().used) s_.handles.pop_back();
    return taken;
}

// Life

void Edge::boot(u64 life, u64 now, u64 seed) {
    const u32 writes = s_.writes;
    s_ = {};
    s_.writes = writes;
    s_.life = life;
    memory_.reset();
    krg_dsm_config cfg{};
    cfg.self = id_;
    cfg.max_nodes = nodes_max;
    cfg.domain = 0x77;
    cfg.seed = seed;
    cfg.params = setup_.params;
    cfg.memory = memory_.face();
    if (setup_.point_copies != 0) {
        cfg.cls = KRG_DSM_CHECKPOINTED;
        cfg.replicas = static_cast<u8>(setup_.point_copies);
        cfg.crash_rolls_back = setup_.crash_rolls_back ? 1 : 0;
    }
    engine_ = krg_dsm_new(&cfg, now);
    if (!engine_) return contract("krg_dsm_new() failed though there is memory");
    // When a point is cut is known to its coordinator alone.
    if (setup_.point_copies != 0)
        krg_dsm_set_trace(
            engine_,
            [](void* context, const krg_dsm_trace* t) {
                if (t->step != KRG_DSM_T_POINT) return;
                const auto* edge = static_cast<const Edge*>(context);
                const std::string_view what = t->what;
                edge->say(fmt::format("recovery point {:x} is {}", t->number, what));
                if (what == "cut") edge->checker_.point_cut(t->number);
                if (what == "decided") edge->checker_.point_decided(t->number);
            },
            this);
    outlived_ = false;
    checker_.boot(id_);
}

void Edge::crash() {
    if (!engine_) return;
    // Nothing of it is looked at any more; its memory goes back so that a leak of the living can be seen.
    krg_dsm_stop(engine_);
    krg_dsm_delete(engine_);
    engine_ = nullptr;
    const u32 writes = s_.writes;
    s_ = {};
    s_.writes = writes;
}

void Edge::stop(u64 now) {
    (void)now;
    krg_dsm_stop(engine_);
    krg_dsm_action a{};
    while (krg_dsm_next_action(engine_, &a) != 0)
        if (a.type == KRG_DSM_ACT_FREE) (void)take_handle(a.handle, "FREE at the end");
    for (std::size_t i = 0; i < s_.handles.size(); i++)
        if (s_.handles[i].used)
            contract(fmt::format("handle {} with {} of object {} never came back", i + 1, name_of(s_.handles[i].value),
                                 s_.handles[i].object));
    krg_dsm_delete(engine_);
    engine_ = nullptr;
    if (memory_.used() != 0) contract(fmt::format("the engine lost {} bytes of memory", memory_.used()));
    const u32 writes = s_.writes;
    s_ = {};
    s_.writes = writes;
}

// Events

void Edge::step(u64 now, krg_dsm_event& ev) {
    krg_dsm_stats before{}, after{};
    krg_dsm_get_stats(engine_, &before);
    krg_dsm_step(engine_, now, &ev);
    krg_dsm_action a{};
    while (!broken_ && krg_dsm_next_action(engine_, &a) != 0) act(a);
    krg_dsm_get_stats(engine_, &after);
    if (s_.room == KRG_DSM_FULL && after.injections != before.injections)
        contract("it is full, and takes in what another node evicts");
    tell_room(now);
    memory_.fail_from(0);
    look();
}

/// As the kernel's edge: the engine learns of every change.
void Edge::tell_room(u64 now) {
    const u64 used = krg_dsm_pages(engine_);
    const u8 room = limit_ == 0 || used + 1 < limit_ ? KRG_DSM_ROOM : used < limit_ ? KRG_DSM_TIGHT : KRG_DSM_FULL;
    if (room == s_.room) return;
    s_.room = room;
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_ROOM;
    ev.mode = room;
    say(fmt::format("keeps {} pages: room {}", used, room));
    krg_dsm_step(engine_, now, &ev);
    krg_dsm_action a{};
    while (!broken_ && krg_dsm_next_action(engine_, &a) != 0) act(a);
}

void Edge::unlimited(u64 now) {
    limit_ = 0;
    if (running()) tell_room(now);
}

void Edge::prepare(u64 now, u64 epoch, std::span<const krg_dsm_member> members) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_PREPARE;
    ev.epoch = epoch;
    ev.len = static_cast<u32>(members.size());
    ev.member = members.data();
    s_.epoch = epoch;
    s_.committed = false;
    prepared_ = false;
    memory_.fail_from(0);
    step(now, ev);
    if (!prepared_) contract(fmt::format("no PREPARED in the step of PREPARE of epoch {}", epoch));
}

void Edge::commit(u64 now) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_COMMIT;
    ev.epoch = s_.epoch;
    s_.committed = s_.joined = true;
    step(now, ev);
}

void Edge::receive(u64 now, NodeId from, const Packet& packet) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_MSG;
    ev.node = from;
    ev.data = packet.bytes.data();
    ev.len = static_cast<u32>(packet.bytes.size());
    if (packet.has_page) ev.handle = make_handle(packet.object, packet.value);
    step(now, ev);
}

void Edge::tick(u64 now) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_TICK;
    const bool due = deadline() <= now;
    step(now, ev);
    // Or an edge's timer would never rest.
    if (due && deadline() <= now) contract(fmt::format("the deadline is still {} after the tick at {}", deadline(), now));
}

void Edge::drain(u64 now) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_DRAIN;
    s_.draining = true;
    step(now, ev);
}

void Edge::evict(u64 now, unsigned object, bool cheap) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_EVICT;
    ev.flags = cheap ? KRG_DSM_F_CHEAP : 0;
    ev.object = setup_.objects[object];
    ev.token = s_.next_token++;
    s_.evictions.push_back({ev.token, static_cast<u8>(object)});
    if (setup_.scripted) s_.program[0].script_at++;
    step(now, ev);
}

void Edge::sync(u64 now) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_SYNC;
    ev.token = s_.next_token++;
    s_.syncs.push_back({ev.token, checker_.sync_mark(id_)});
    if (setup_.scripted) s_.program[0].script_at++;
    step(now, ev);
}

void Edge::punch(u64 now, unsigned first, u64 last, Objects objects) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_PUNCH;
    ev.object = setup_.objects[first];
    ev.last = last;
    ev.token = s_.next_token++;
    s_.punch = ev.token;
    s_.punched = objects;
    s_.punch_mark = checker_.sync_mark(id_);
    if (setup_.scripted) s_.program[0].script_at++;
    checker_.hole_begins(objects);
    step(now, ev);
}

void Edge::ahead(u64 now, unsigned first, unsigned last, bool write) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_AHEAD;
    ev.mode = write ? KRG_DSM_WRITE : KRG_DSM_READ;
    ev.object = setup_.objects[first];
    ev.last = setup_.objects[last].index;
    if (setup_.scripted) s_.program[0].script_at++;
    step(now, ev);
}

// Actions

void Edge::act(const krg_dsm_action& a) {
    switch (a.type) {
    case KRG_DSM_ACT_SEND: send(a); break;
    case KRG_DSM_ACT_GRANT: grant(a); break;
    case KRG_DSM_ACT_ERROR: refused(a); break;
    case KRG_DSM_ACT_DOWNGRADE:
    case KRG_DSM_ACT_INVALIDATE: edge_action(a); break;
    case KRG_DSM_ACT_SNAPSHOT: snapshot_action(); break;
    case KRG_DSM_ACT_DONE: done(a); break;
    case KRG_DSM_ACT_FREE: (void)take_handle(a.handle, "FREE"); break;
    case KRG_DSM_ACT_OFFER: offer(a); break;
    case KRG_DSM_ACT_ROLLBACK:
        say(fmt::format("goes back to recovery point {:x}", a.point));
        checker_.rolls(id_, a.point);
        break;
    case KRG_DSM_ACT_ROLLED:
        say(fmt::format("all have gone back to recovery point {:x}: {}", a.point, a.error));
        for (unsigned o = 0; o < setup_.objects.size(); o++) checker_.page(id_, o, s_.page[o]);
        checker_.rolled(id_, a.point, a.error != 0);
        break;
    case KRG_DSM_ACT_PREPARED:
        if (a.epoch == s_.epoch) prepared_ = true;
        world_.prepared(id_, a.epoch);
        break;
    case KRG_DSM_ACT_RECOVERED:
        say(fmt::format("recovered in epoch {}", a.epoch));
        world_.recovered(id_, a.epoch);
        break;
    case KRG_DSM_ACT_DRAINED:
        say("drained");
        world_.drained(id_);
        break;
    case KRG_DSM_ACT_RESET:
        say(fmt::format("wants the connection to n{} reset, reason {}", a.node, a.reason));
        world_.reset_wanted(id_, a.node, a.reason);
        break;
    default: contract(fmt::format("unknown action {}", a.type));
    }
}

void Edge::send(const krg_dsm_action& a) {
    auto packet = std::make_shared<Packet>();
    packet->bytes.assign(a.data, a.data + a.len);
    packet->epoch = s_.epoch;
    packet->life = s_.life;
    if (a.handle != 0 || a.cached != 0) {
        const int object = object_of(a.object);
        if (object < 0) return contract("SEND of a page of an unknown object");
        packet->has_page = true;
        packet->object = static_cast<u8>(object);
        if (a.cached != 0) {
            const Page& page = s_.page[object];
            if (!page.present) return contract(fmt::format("SEND of object {} from the page cache, where it is not", object));
            if (page.writable)
                return contract(fmt::format("SEND of object {} from the page cache while programs may write it", object));
            packet->value = page.value;
        } else {
            if (a.handle > s_.handles.size() || !s_.handles[a.handle - 1].used)
                return contract(fmt::format("SEND names handle {}, which the engine does not have", a.handle));
            packet->value = s_.handles[a.handle - 1].value;
        }
    }
    if (a.len == 0 || a.len > KRG_DSM_MESSAGE_MAX) contract(fmt::format("SEND of {} bytes", a.len));
    world_.send(id_, a.node, std::move(packet));
}

void Edge::grant(const krg_dsm_action& a) {
    const int at = object_of(a.object);
    if (at < 0) return contract("GRANT of an unknown object");
    const auto o = static_cast<unsigned>(at);
    Page& page = s_.page[o];
    if (s_.edge[o] != idle_action)
        return contract(fmt::format("GRANT of object {} while an EDGE action on it is under way", o));
    if (a.fresh != 0) {
        if (page.present) return contract(fmt::format("fresh GRANT of object {}, which is in the page cache", o));
        Value value = zeros;
        if (a.handle != 0) {
            const auto handle = take_handle(a.handle, "GRANT");
            if (!handle) return;
            if (handle->object != o)
                return contract(fmt::format("GRANT of object {} with a page of object {}", o, handle->object));
            value = handle->value;
        }
        page = {true, false, value};
    } else if (!page.present) {
        return contract(fmt::format("GRANT of object {} without a page, and there is none in the page cache", o));
    }
    if (a.mode == KRG_DSM_WRITE) page.writable = true;
    say(fmt::format("granted object {} {}{}, {}", o, a.mode == KRG_DSM_WRITE ? "X" : "S", a.fresh != 0 ? " fresh" : "",
                    name_of(page.value)));
    s_.installing[o]++;
    world_.answered(id_, o, a.mode == KRG_DSM_WRITE && a.fresh != 0);
    for (Program& p : s_.program)
        if (p.phase == Program::Phase::waiting && p.token == a.token) {
            if (p.object != o || a.mode < p.mode) return contract(fmt::format("GRANT of object {} for another request", o));
            p.phase = Program::Phase::granted;
            return;
        }
    const auto orphan = std::find_if(s_.orphans.begin(), s_.orphans.end(), [&](const auto& t) { return t.token == a.token; });
    if (orphan == s_.orphans.end())
        return contract(fmt::format("GRANT of object {} for token {}, which nobody waits with", o, a.token));
    s_.orphans.erase(orphan);
    s_.orphan_grants.push_back(static_cast<u8>(o));
}

/// A page that nobody has asked for; now and then there is no memory for it in the page cache.
void Edge::offer(const krg_dsm_action& a) {
    const int at = object_of(a.object);
    if (at < 0) return contract("OFFER of an unknown object");
    const auto o = static_cast<unsigned>(at);
    Page& page = s_.page[o];
    if (s_.edge[o] != idle_action)
        return contract(fmt::format("OFFER of object {} while an EDGE action on it is under way", o));
    if (page.present) return contract(fmt::format("OFFER of object {}, which is in the page cache", o));
    if (a.handle != 0 &&
        (a.handle > s_.handles.size() || !s_.handles[a.handle - 1].used || s_.handles[a.handle - 1].object != o))
        return contract(fmt::format("OFFER of object {} names handle {}, which is not one of it", o, a.handle));
    s_.offers = (s_.offers + 1) % 4;
    if (s_.offers == 0) return;
    krg_dsm_offer_taken(engine_);
    Value value = zeros;
    if (a.handle != 0) {
        const auto handle = take_handle(a.handle, "OFFER");
        if (!handle) return;
        value = handle->value;
    }
    page = {true, false, value};
    say(fmt::format("object {} came ahead, {}", o, name_of(value)));
}

void Edge::refused(const krg_dsm_action& a) {
    const int at = object_of(a.object);
    if (at < 0) return contract("ERROR of an unknown object");
    const auto o = static_cast<unsigned>(at);
    say(fmt::format("error {} for object {}", a.error, o));
    failed_++;
    world_.answered(id_, o, false);
    const auto again = std::find_if(s_.orphans.begin(), s_.orphans.end(),
                                    [&](const auto& t) { return t.token == a.token && t.again; });
    if (again != s_.orphans.end() && a.error == -EBUSY) {
        s_.orphans.erase(again);
        return;
    }
    const bool cause = a.error == -ENOMEM   ? memory_errors_
                       : a.error == -EBUSY  ? busy_errors_
                       : a.error == -ENOSPC ? room_errors_
                                            : a.error == -EIO;
    if (!cause) return contract(fmt::format("error {} for object {} without a cause", a.error, o));
    if (!outlived_) checker_.error(id_, o, a.error);
    for (Program& p : s_.program)
        if (p.phase == Program::Phase::waiting && p.token == a.token) {
            p.phase = Program::Phase::idle;
            return;
        }
    const auto orphan = std::find_if(s_.orphans.begin(), s_.orphans.end(), [&](const auto& t) { return t.token == a.token; });
    if (orphan == s_.orphans.end()) return contract(fmt::format("ERROR for token {}, which nobody waits with", a.token));
    s_.orphans.erase(orphan);
}

void Edge::edge_action(const krg_dsm_action& a) {
    const int at = object_of(a.object);
    if (at < 0) return contract("EDGE action on an unknown object");
    const auto o = static_cast<unsigned>(at);
    const char* what = a.type == KRG_DSM_ACT_DOWNGRADE ? "DOWNGRADE" : "INVALIDATE";
    if (s_.edge[o] != idle_action)
        return contract(fmt::format("{} of object {} while another EDGE action on it is under way", what, o));
    if (!s_.page[o].present) return contract(fmt::format("{} of object {}, which is not in the page cache", what, o));
    const auto in_batch = std::find(s_.batch.begin(), s_.batch.end(), o);
    if (s_.snapshot && a.type == KRG_DSM_ACT_INVALIDATE && in_batch != s_.batch.end() &&
        s_.source[in_batch - s_.batch.begin()] == 0)
        return contract(fmt::format("INVALIDATE of object {} while its snapshot is being taken", o));
    say(fmt::format("{} of object {} begins", what, o));
    s_.edge[o] = static_cast<u8>(a.type);
    s_.edge_keep[o] = a.keep != 0;
}

void Edge::snapshot_action() {
    if (s_.snapshot) return contract("SNAPSHOT while another is being taken");
    s_.snapshot = s_.protecting = true;
    s_.batch.clear();
    s_.source.clear();
    s_.batch_at = 0;
    krg_dsm_object object{};
    for (u32 i = 0; krg_dsm_batch_object(engine_, i, &object) == 0; i++) {
        const int o = object_of(object);
        if (o < 0) return contract("SNAPSHOT of an unknown object");
        const u64 source = krg_dsm_batch_source(engine_, i);
        s_.source.push_back(source);
        if (source != 0 && (source > s_.handles.size() || !s_.handles[source - 1].used || s_.handles[source - 1].object != o))
            return contract(fmt::format("SNAPSHOT of object {} from handle {}, which the engine does not have", o, source));
        if (source == 0 && !s_.page[o].present)
            return contract(fmt::format("SNAPSHOT of object {}, which is not in the page cache", o));
        if (source == 0 && s_.edge[o] == KRG_DSM_ACT_INVALIDATE)
            return contract(fmt::format("SNAPSHOT of object {}, which is being invalidated", o));
        s_.batch.push_back(static_cast<u8>(o));
    }
    say(fmt::format("snapshot of {} objects begins", s_.batch.size()));
    if (s_.batch.empty()) contract("SNAPSHOT of nothing");
}

void Edge::done(const krg_dsm_action& a) {
    const auto eviction = std::find_if(s_.evictions.begin(), s_.evictions.end(),
                                       [&](const auto& t) { return t.token == a.token; });
    if (eviction != s_.evictions.end()) {
        say(fmt::format("eviction of object {} done: {}", eviction->object, a.error));
        s_.evictions.erase(eviction);
        return;
    }
    if (s_.punch != 0 && a.token == s_.punch) {
        say(fmt::format("hole done: {}", a.error));
        s_.punch = 0;
        for (unsigned o = 0; o < setup_.objects.size(); o++) checker_.page(id_, o, s_.page[o]);
        if (a.error != 0)
            checker_.hole_refused(s_.punched);
        else
            checker_.hole_ends(id_, s_.punched, true, s_.punch_mark);
        if (a.error != 0 && (a.error != -ENOMEM || !memory_errors_)) contract(fmt::format("PUNCH ends with {}", a.error));
        s_.punched = 0;
        return;
    }
    if (s_.point != 0 && a.token == s_.point) return point_done(a);
    if (s_.rollback != 0 && a.token == s_.rollback) return rollback_done(a);
    const auto sync = std::find_if(s_.syncs.begin(), s_.syncs.end(), [&](const auto& t) { return t.token == a.token; });
    if (sync == s_.syncs.end()) return contract(fmt::format("DONE with token {}, which nobody waits with", a.token));
    say(fmt::format("sync done: {}", a.error));
    if (a.error == 0 && !outlived_) checker_.synced(id_, sync->mark);
    s_.syncs.erase(sync);
}

// Work of the edge

bool Edge::can_complete(unsigned object) const { return s_.edge[object] != idle_action && s_.installing[object] == 0; }

void Edge::complete(u64 now, unsigned object) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_EDGE_DONE;
    ev.object = setup_.objects[object];
    Page& page = s_.page[object];
    page.writable = false;
    if (s_.edge[object] == KRG_DSM_ACT_INVALIDATE) {
        if (s_.edge_keep[object]) ev.handle = make_handle(object, page.value);
        page = {};
    }
    s_.edge[object] = idle_action;
    s_.pinned[object] = 0;
    step(now, ev);
}

void Edge::refuse(u64 now, unsigned object, bool memory) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_EDGE_DONE;
    ev.object = setup_.objects[object];
    ev.error = memory ? -ENOMEM : -EBUSY;
    s_.edge[object] = idle_action;
    s_.pinned[object]++;
    step(now, ev);
}

bool Edge::can_snapshot() const {
    if (!s_.snapshot) return false;
    return !s_.protecting || s_.batch_at >= s_.batch.size() || s_.installing[s_.batch[s_.batch_at]] == 0;
}

/// A device does not stop for a batch: it writes a page after it was copied.
void Edge::device_write(unsigned object) {
    krg_dsm_batch_again(engine_, s_.batch_at);
    Page& page = s_.page[object];
    page.value = value_of(id_, ++s_.writes);
    say(fmt::format("a device writes object {}: {}", object, name_of(page.value)));
    checker_.wrote(id_, object, page.value);
}

/// Protects one page, copies one page, or tells that all are copied.
void Edge::snapshot_step(u64 now, bool fail) {
    if (!fail && s_.batch_at < s_.batch.size()) {
        const u8 o = s_.batch[s_.batch_at];
        Page& page = s_.page[o];
        const u64 source = s_.source[s_.batch_at];
        if (source == 0 && !page.present)
            return contract(fmt::format("object {} left the page cache while its snapshot was being taken", o));
        if (source != 0 && (source > s_.handles.size() || !s_.handles[source - 1].used))
            return contract(fmt::format("handle {} of object {} went while its snapshot was being taken", source, o));
        if (source != 0) {
            if (!s_.protecting) krg_dsm_batch_put(engine_, s_.batch_at, make_handle(o, s_.handles[source - 1].value));
        } else if (s_.protecting) {
            s_.lent[o] = page.writable;
            page.writable = false;
        } else {
            if (page.writable) return contract(fmt::format("object {} became writable while its snapshot was being taken", o));
            krg_dsm_batch_put(engine_, s_.batch_at, make_handle(o, page.value));
            if (setup_.pinned_pct != 0 && s_.lent[o] && s_.writes % 4 == 0) device_write(o);
        }
        s_.batch_at++;
        if (s_.protecting && s_.batch_at == s_.batch.size()) {
            s_.protecting = false;
            s_.batch_at = 0;
        }
        look();
        return;
    }
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_SNAPSHOT_DONE;
    ev.error = fail ? -ENOMEM : 0;
    s_.snapshot = false;
    s_.batch.clear();
    s_.source.clear();
    step(now, ev);
}

// Programs

/// What the program came for, on a page that allows it.
void Edge::access(unsigned program) {
    Program& p = s_.program[program];
    Page& page = s_.page[p.object];
    operations_++;
    if (outlived_) return contract(fmt::format("program {} uses object {} though others go on without it", program, p.object));
    if (p.op == Op::read) {
        say(fmt::format("program {} reads {} from object {}", program, name_of(page.value), p.object));
        return;
    }
    const Value before = page.value;
    page.value = value_of(id_, ++s_.writes);
    say(fmt::format("program {} {}s object {}: {} over {}", program, op_name(p.op), p.object, name_of(page.value),
                    name_of(before)));
    checker_.wrote(id_, p.object, page.value);
}

void Edge::begin(u64 now, unsigned program, Op op, unsigned object) {
    Program& p = s_.program[program];
    p.op = op;
    p.object = static_cast<u8>(object);
    p.mode = mode_of(op);
    p.script_at++;
    const Page& page = s_.page[object];
    if (page.present && (op == Op::read || page.writable)) {
        access(program);
        look();
        return;
    }
    p.phase = Program::Phase::waiting;
    if (p.mode == KRG_DSM_WRITE) checker_.wants_write(object);
    p.token = s_.next_token++;
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_REQUEST;
    ev.mode = p.mode;
    ev.object = setup_.objects[object];
    ev.token = p.token;
    step(now, ev);
}

void Edge::use(u64 now, unsigned program) {
    Program& p = s_.program[program];
    const Page& page = s_.page[p.object];
    if (!page.present || (p.op != Op::read && !page.writable))
        return contract(fmt::format("object {} was taken away before its GRANT was used", p.object));
    access(program);
    p.phase = Program::Phase::idle;
    krg_dsm_event ev{};
    // A grant that a batch made void is asked for again while it is out still: now and then, as if that had happened.
    if (p.op != Op::read && p.token % 4 == 0) {
        ev.type = KRG_DSM_EV_REQUEST;
        ev.mode = KRG_DSM_WRITE;
        ev.flags = KRG_DSM_F_AGAIN;
        ev.object = setup_.objects[p.object];
        ev.token = s_.next_token++;
        s_.orphans.push_back({ev.token, p.object, true});
        step(now, ev);
        ev = {};
    }
    s_.installing[p.object]--;
    ev.type = KRG_DSM_EV_INSTALLED;
    ev.object = setup_.objects[p.object];
    step(now, ev);
}

void Edge::use_orphan(u64 now) {
    const u8 o = s_.orphan_grants.front();
    s_.orphan_grants.erase(s_.orphan_grants.begin());
    s_.installing[o]--;
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_INSTALLED;
    ev.object = setup_.objects[o];
    step(now, ev);
}

void Edge::abandon(unsigned program) {
    Program& p = s_.program[program];
    s_.orphans.push_back({p.token, p.object, false});
    p.phase = Program::Phase::idle;
}

// What others see

void Edge::look() {
    if (outlived_ || !s_.joined) return;
    std::vector<Value> values;
    for (unsigned o = 0; o < setup_.objects.size(); o++) {
        checker_.page(id_, o, s_.page[o]);
        values.clear();
        for (const Handle& h : s_.handles)
            if (h.used && h.object == o) values.push_back(h.value);
        checker_.kept(id_, o, values);
        krg_dsm_copy copy{};
        krg_dsm_inspect(engine_, &setup_.objects[o], &copy);
        checker_.state(id_, o, copy.state, s_.epoch, copy.staged != 0);
        if (copy.state == KRG_DSM_X && copy.staged == 0 && copy.dirty == 0) {
            unsigned others = 0;
            for (u16 n : copy.retained_at) others += n != 0 ? 1 : 0;
            checker_.claims(o, others);
        }
    }
    krg_dsm_stats stats{};
    krg_dsm_get_stats(engine_, &stats);
    if (stats.checks != 0) contract("the engine met an impossible state (stats.checks)");
    if (stats.bad != 0) contract("the engine refused a message or an event as malformed (stats.bad)");
}

bool Edge::programs_wait() const {
    return !s_.orphans.empty() || !s_.orphan_grants.empty() || s_.punch != 0 ||
           std::any_of(std::begin(s_.program), std::end(s_.program),
                       [](const Program& p) { return p.phase != Program::Phase::idle; });
}

bool Edge::wants_write(Objects objects) const {
    return std::any_of(std::begin(s_.program), std::end(s_.program), [objects](const Program& p) {
        return p.phase != Program::Phase::idle && p.op != Op::read && (objects >> p.object & 1) != 0;
    });
}

bool Edge::quiet() const { return busy().empty(); }

std::string Edge::busy() const {
    for (unsigned i = 0; i < programs_max; i++) {
        const Program& p = s_.program[i];
        if (p.phase == Program::Phase::waiting)
            return fmt::format("program {} waits to {} object {}", i, op_name(p.op), p.object);
        if (p.phase == Program::Phase::granted) return fmt::format("program {} has not used its grant", i);
    }
    if (!s_.orphans.empty()) return fmt::format("a forgotten request for object {} has no answer", s_.orphans.front().object);
    if (!s_.orphan_grants.empty()) return "a grant is not used";
    if (!s_.evictions.empty()) return fmt::format("the eviction of object {} has no answer", s_.evictions.front().object);
    if (!s_.syncs.empty()) return "a sync has no answer";
    if (s_.punch != 0) return "a hole is not done";
    if (s_.point != 0) return "a recovery point has no outcome";
    if (s_.rollback != 0) return "going back to a recovery point is not done";
    if (s_.snapshot) return "a snapshot is being taken";
    for (unsigned o = 0; o < setup_.objects.size(); o++)
        if (s_.edge[o] != idle_action) return fmt::format("an EDGE action on object {} is under way", o);
    return {};
}

void Edge::hash(RunHash& h) const {
    h.mix(s_.room);
    h.mix(s_.life << 32 | s_.epoch << 2 | (s_.committed ? 1 : 0) | (s_.draining ? 2 : 0));
    h.mix(s_.writes);
    for (unsigned o = 0; o < setup_.objects.size(); o++) {
        const Page& p = s_.page[o];
        h.mix(static_cast<u64>(p.value) << 32 | static_cast<u64>(s_.edge[o]) << 16 | static_cast<u64>(s_.installing[o]) << 8 |
              static_cast<u64>(s_.pinned[o]) << 4 | (p.present ? 1 : 0) | (p.writable ? 2 : 0) | (s_.edge_keep[o] ? 4 : 0));
    }
    for (const Handle& handle : s_.handles)
        h.mix(static_cast<u64>(handle.value) << 8 | static_cast<u64>(handle.object) << 1 | (handle.used ? 1 : 0));
    for (const Program& p : s_.program)
        h.mix((p.phase == Program::Phase::waiting ? p.token : 0) << 32 | static_cast<u64>(p.script_at) << 24 |
              static_cast<u64>(p.phase) << 16 | static_cast<u64>(p.op) << 8 | p.object);
    h.mix(s_.orphans.size() << 48 | s_.orphan_grants.size() << 32 | s_.evictions.size() << 16 | s_.syncs.size() << 2 |
          s_.offers);
    h.mix(static_cast<u64>(s_.punched) << 32 | static_cast<u64>(s_.punch != 0) << 24 | static_cast<u64>(s_.batch_at) << 8 |
          (s_.snapshot ? 1 : 0) | (s_.protecting ? 2 : 0));
    for (u8 o : s_.batch) h.mix(o);
    for (u64 source : s_.source) h.mix(source);
    h.mix(static_cast<u64>(s_.point != 0) << 1 | (s_.rollback != 0 ? 1 : 0));
    if (engine_) h.mix(krg_dsm_hash(engine_));
}

}  // namespace krg::sim::dsm
