// SPDX-License-Identifier: GPL-2.0
//
// The moves, what each does, and the rules. See world.hh.
#include "tests/sim/handover/world.hh"

#include <fmt/format.h>

namespace krg::sim::handover {

namespace {

constexpr s32 again = -11, not_connected = -107, timed_out = -110, reset = -104, no_entry = -2, no_process = -3;
constexpr u32 exit_code = 0x2a00, killed = 9;
constexpr u64 root_pid = 1;

u8 source_of(u8 attempt) { return 2 * attempt; }
u8 target_of(u8 attempt) { return 2 * attempt + 1; }

}  // namespace

World::World(const Setup& setup) : setup_(setup) {
    const u8 first = setup.path[0];
    s_.copy[first] = CopyState::running;
    s_.child_at = first;
    s_.crashes = setup.crashes, s_.expels = setup.expels, s_.losses = setup.losses, s_.repeats = setup.repeats;
    s_.timeouts = setup.timeouts, s_.errors = setup.errors, s_.refusals = setup.refusals, s_.deaths = setup.deaths;
    s_.ends = setup.ends, s_.early = setup.early;
    if (first == setup.home) return;
    s_.root = {1, 99, 0, 0, setup.home, first};
    s_.child = {1, 99, 1, root_pid, setup.home, first};
    s_.has_shadow = true;
    krg_away_init(&s_.shadow, 1, first);
    s_.actor[shadow_actor] = {setup.home, true, false, false, 0};
    krg_guest_begin(&s_.guest[attempts_max].news);
    s_.guest[attempts_max].generation = 1;
    s_.actor[first_guest] = {first, true, false, false, KRG_GUEST_REST};
}

u8 World::runner(const krg_record& record) const {
    if (record.home == 0) return setup_.home;
    return static_cast<u8>(krg_record_runner(&record, &s_.root, setup_.home));
}

u8 World::running() const {
    for (u8 n = 1; n <= nodes_max; n++)
        if (s_.copy[n] == CopyState::running) return n;
    return 0;
}

bool World::is_waiting(u8 attempt) const {
    const Actor& actor = s_.actor[target_of(attempt)];
    return actor.lives && !actor.pending && !actor.calling;
}

u32 World::news(u8 number) const {
    const Attempt& a = s_.attempt[number];
    u32 bits = 0;
    if (a.aborted) bits |= KRG_TARGET_ABORTED;
    if (s_.gone[a.to][a.from]) bits |= KRG_TARGET_ALONE;
    if (s_.out[a.to]) bits |= KRG_TARGET_OUT;
    return bits;
}

void World::fail(const std::string& rule, const std::string& text) {
    if (!rule_.empty()) return;
    rule_ = rule;
    text_ = text;
}

// ---- what may happen

void World::progress(std::vector<Move>& all) const {
    const auto add = [&](MoveKind kind, unsigned a = 0, unsigned b = 0, unsigned variant = 0) {
        all.push_back({kind, static_cast<u8>(a), static_cast<u8>(b), static_cast<u8>(variant)});
    };
    bool sources = false;
    for (u8 i = 0; i < s_.attempts; i++) sources |= s_.actor[source_of(i)].lives;
    const bool more = s_.hop + 1U < setup_.path.size() && s_.attempts < setup_.path.size();
    if (more && !sources && !s_.ended && in(setup_.path[s_.hop]) && in(setup_.path[s_.hop + 1]) &&
        s_.copy[setup_.path[s_.hop]] == CopyState::running)
        add(MoveKind::attempt);
    for (u8 i = 0; i < s_.attempts; i++) {
        const Attempt& a = s_.attempt[i];
        const Actor& source = s_.actor[source_of(i)];
        const bool waits = source.lives && !source.pending && !source.calling;
        const bool free = in(a.to) && a.open;
        if (free && waits && in(a.from))
            add(MoveKind::build, i, 0, 0);
        else if (free && !in(a.from))
            add(MoveKind::build, i, 0, 1);
        if (waits && (!in(a.to) || !in(a.from) || !a.open)) add(MoveKind::refuse, i);
        if (is_waiting(i) && a.woken) add(MoveKind::wake, i);
    }
    for (u8 who = 0; who < actors; who++)
        if (s_.actor[who].lives && s_.actor[who].pending) add(MoveKind::act, who, 0, s_.out[s_.actor[who].node] ? 2 : 0);
    for (u8 i = 0; i < messages_max; i++)
        if (s_.mail[i].what != Letter::none) add(MoveKind::deliver, i);
    for (u8 n = 1; n <= nodes_max; n++)
        for (u8 x = 1; x <= nodes_max; x++)
            if (in(n) && !in(x) && !s_.gone[n][x]) add(MoveKind::view, n, x);
    if (!all.empty()) return;
    // Time passes when nothing else can happen.
    for (u8 i = 0; i < s_.attempts; i++)
        if (is_waiting(i)) add(MoveKind::wake, i);
}

void World::faults(std::vector<Move>& all) const {
    const auto add = [&](MoveKind kind, unsigned a = 0, unsigned b = 0, unsigned variant = 0) {
        all.push_back({kind, static_cast<u8>(a), static_cast<u8>(b), static_cast<u8>(variant)});
    };
    for (u8 i = 0; i < s_.attempts; i++) {
        const Attempt& a = s_.attempt[i];
        const Actor& source = s_.actor[source_of(i)];
        const bool waits = source.lives && !source.pending && !source.calling;
        const bool free = in(a.to) && a.open;
        if (free && waits && in(a.from) && s_.timeouts) add(MoveKind::build, i, 0, 1);
        if (waits && s_.refusals) add(MoveKind::refuse, i);
        if (is_waiting(i) && s_.deaths && a.held) add(MoveKind::helper, i);
        if (is_waiting(i) && s_.early && !a.woken) add(MoveKind::wake, i, 0, 1);
    }
    for (u8 who = 0; who < actors; who++) {
        if (!s_.actor[who].lives || !s_.actor[who].pending || !s_.errors || s_.out[s_.actor[who].node]) continue;
        if (is_write(who)) add(MoveKind::act, who, 0, 1);
        add(MoveKind::act, who, 0, 2);
    }
    for (u8 i = 0; i < messages_max; i++) {
        if (s_.mail[i].what == Letter::none) continue;
        if (s_.losses) add(MoveKind::lose, i), add(MoveKind::deliver, i, 0, 1);
        if (s_.repeats) add(MoveKind::deliver, i, 0, 2);
        if (s_.timeouts && s_.mail[i].caller != 0xff) add(MoveKind::give_up, i);
    }
    for (u8 n = 1; n <= nodes_max; n++) {
        bool writes = false;
        for (u8 who = 0; who < actors; who++) writes |= s_.actor[who].node == n && is_write(who);
        for (u8 variant = 0; variant <= static_cast<u8>(writes) && in(n); variant++) {
            if (s_.crashes) add(MoveKind::crash, n, 0, variant);
            if (s_.expels) add(MoveKind::expel, n, 0, variant);
        }
    }
    if (s_.ends && running() && in(running())) add(MoveKind::end);
}

std::vector<Move> World::moves() const {
    std::vector<Move> all;
    progress(all);
    faults(all);
    return all;
}

// ---- engines

void World::source_next(u8 number, krg_source_event event, s32 error, const krg_record* record) {
    Attempt& a = s_.attempt[number];
    Actor& actor = s_.actor[source_of(number)];
    const krg_source_do todo = krg_source_step(&a.source, event, error, record);
    actor.action = static_cast<u8>(todo);
    actor.calling = false;
    actor.pending = todo != KRG_SOURCE_END;
    actor.lives = todo != KRG_SOURCE_END;
}

void World::target_next(u8 number, krg_target_event event, u32 heard, s32 error, const krg_record* record) {
    Attempt& a = s_.attempt[number];
    Actor& actor = s_.actor[target_of(number)];
    const krg_target_do todo = krg_target_step(&a.target, event, heard, error, record);
    actor.action = static_cast<u8>(todo);
    actor.calling = false;
    actor.pending = todo != KRG_TARGET_WAIT && todo != KRG_TARGET_END;
    actor.lives = todo != KRG_TARGET_END;
}

void World::shadow_next(krg_away_event event, u64 generation, u16 runner, u32 code, s32 error) {
    Actor& actor = s_.actor[shadow_actor];
    if (!s_.has_shadow || s_.shadow_ended) return;
    const krg_away_do todo = krg_away_step(&s_.shadow, event, generation, runner, code, error);
    actor.pending = todo == KRG_AWAY_LOOK;
    if (todo != KRG_AWAY_END) return;
    actor.lives = false;
    s_.shadow_ended = true;
    if (event == KRG_AWAY_OUT || s_.ended) return;
    const u8 at = this->runner(s_.root);
    bool there = s_.copy[at] != CopyState::none;
    for (const Attempt& a : s_.attempt) there |= a.held && a.to == at;
    if (in(at) && there)
        fail("false-end", fmt::format("the shadow ends with code {:#x}, but the process is on node {}", s_.shadow.code, at));
}

void World::guest_next(u8 who, s32 error) {
    Actor& actor = s_.actor[who];
    Guest& guest = s_.guest[who - guest_actor];
    const bool wanted = !s_.out[actor.node] && !s_.gone[actor.node][setup_.home];
    const krg_guest_do todo = krg_guest_step(&guest.news, wanted, guest.ended, error);
    actor.action = static_cast<u8>(todo);
    actor.calling = false;
    actor.pending = todo != KRG_GUEST_END && todo != KRG_GUEST_REST;
    actor.lives = todo != KRG_GUEST_END;
}

u8 World::guest_on(u8 node) const {
    for (u8 who = guest_actor; who < actors; who++)
        if (s_.actor[who].lives && s_.actor[who].node == node) return who;
    return 0xff;
}

// ---- messages

void World::post(u8 caller, Letter what, u8 to, u8 attempt, u64 generation, u32 code) {
    Actor& actor = s_.actor[caller];
    actor.pending = false;
    actor.calling = true;
    if (s_.out[actor.node]) return answer(caller, not_connected);
    for (Message& m : s_.mail) {
        if (m.what != Letter::none) continue;
        m = {what, actor.node, to, attempt, caller, generation, code};
        return;
    }
    answer(caller, timed_out);
}

void World::answer(u8 caller, s32 error) {
    if (caller == 0xff || !s_.actor[caller].lives || !s_.actor[caller].calling) return;
    if (caller >= guest_actor)
        guest_next(caller, error);
    else if (caller % 2 == 0)
        source_next(caller / 2, KRG_SOURCE_DONE, error);
    else
        target_next(caller / 2, KRG_TARGET_DONE, news(caller / 2), error);
}

/// What the receiver does; its answer.
s32 World::handle(const Message& m) {
    Attempt& a = s_.attempt[m.attempt];
    const bool known = s_.actor[target_of(m.attempt)].lives;
    switch (m.what) {
    case Letter::go: a.woken |= known; return known ? 0 : no_entry;
    case Letter::abort:
        if (!known && !a.open) return no_entry;
        a.open = false;
        a.aborted = true;
        a.woken = true;
        return 0;
    case Letter::ask: return s_.actor[source_of(m.attempt)].lives ? 0 : no_entry;
    case Letter::moved:
        if (!s_.has_shadow || s_.shadow_ended) return no_process;
        shadow_next(KRG_AWAY_MOVED, m.generation, static_cast<u16>(m.code), !s_.gone[m.to][m.code], 0);
        return 0;
    case Letter::ended:
        if (!s_.has_shadow || s_.shadow_ended) return no_process;
        shadow_next(KRG_AWAY_ENDED, m.generation, 0, m.code, 0);
        return 0;
    default: return no_entry;
    }
}

void World::deliver(u8 index, u8 variant) {
    const Message m = s_.mail[index];
    s_.mail[index].what = Letter::none;
    if (variant == 1) s_.losses--;
    if (variant == 2) {
        s_.repeats--;
        s_.mail[index] = m;
        s_.mail[index].caller = 0xff;
    }
    const bool arrives = in(m.to) && !s_.gone[m.to][m.from];
    const s32 error = arrives ? handle(m) : reset;
    answer(m.caller, variant == 1 ? timed_out : error);
}

// ---- actors

bool World::is_write(u8 who) const {
    const Actor& actor = s_.actor[who];
    if (!actor.lives || !actor.pending) return false;
    if (who >= guest_actor) return actor.action == KRG_GUEST_WRITE;
    if (who == shadow_actor || who % 2 == 1) return false;
    return actor.action == KRG_SOURCE_WRITE || actor.action == KRG_SOURCE_WRITE_MEMBERS || actor.action == KRG_SOURCE_PUT_BACK;
}

/// The write that is under way.
void World::take_place(u8 who) {
    if (who >= guest_actor) {
        s_.root = {s_.guest[who - guest_actor].generation, s_.root.move, s_.code, 0, setup_.home, 0};
        return;
    }
    const Attempt& a = s_.attempt[who / 2];
    if (s_.actor[who].action == KRG_SOURCE_WRITE)
        s_.root = {a.generation, a.source.move, 0, 0, setup_.home, a.to};
    else if (s_.actor[who].action == KRG_SOURCE_WRITE_MEMBERS)
        s_.child = {a.before_child.generation + 1, a.source.move, a.generation, root_pid, setup_.home, a.to};
    else
        s_.child = a.before_child;
}

void World::act_source(u8 number, u8 variant) {
    Attempt& a = s_.attempt[number];
    const s32 error = variant == 0 ? 0 : s_.out[a.from] ? not_connected : again;
    switch (s_.actor[source_of(number)].action) {
    case KRG_SOURCE_ARM:
        if (error == again) return source_next(number, KRG_SOURCE_DONE, no_process);
        if (a.from == setup_.home) {
            s_.has_shadow = true;
            s_.shadow_ended = false;
            krg_away_init(&s_.shadow, a.generation, a.to);
            s_.actor[shadow_actor] = {a.from, true, false, false, 0};
        }
        return source_next(number, KRG_SOURCE_DONE, 0);
    case KRG_SOURCE_WRITE:
    case KRG_SOURCE_WRITE_MEMBERS:
    case KRG_SOURCE_PUT_BACK:
        if (variant != 2) take_place(source_of(number));
        return source_next(number, KRG_SOURCE_DONE, error);
    case KRG_SOURCE_READ: return source_next(number, KRG_SOURCE_DONE, error, &s_.root);
    case KRG_SOURCE_THAW:
        s_.copy[a.from] = s_.out[a.from] && a.from != setup_.home ? CopyState::none : CopyState::running;
        if (a.from == setup_.home) s_.has_shadow = false, s_.actor[shadow_actor] = {};
        return source_next(number, KRG_SOURCE_DONE, 0);
    case KRG_SOURCE_LEAVE:
        s_.copy[a.from] = CopyState::none;
        s_.hop++;
        if (const u8 guest = guest_on(a.from); guest != 0xff) s_.actor[guest] = {};
        if (a.from == setup_.home && s_.gone[a.from][a.to]) shadow_next(KRG_AWAY_LOST, 0, 0, 0, 0);
        if (a.from == setup_.home && s_.out[a.from]) shadow_next(KRG_AWAY_OUT, 0, 0, 0, 0);
        return source_next(number, KRG_SOURCE_DONE, 0);
    case KRG_SOURCE_GO: return post(source_of(number), Letter::go, a.to, number);
    case KRG_SOURCE_SAY:
        if (s_.gone[a.from][setup_.home]) return source_next(number, KRG_SOURCE_DONE, no_process);
        return post(source_of(number), Letter::moved, setup_.home, number, a.generation, a.to);
    case KRG_SOURCE_ABORT: return post(source_of(number), Letter::abort, a.to, number);
    default: return source_next(number, KRG_SOURCE_DONE, 0);
    }
}

void World::act_target(u8 number, u8 variant) {
    Attempt& a = s_.attempt[number];
    Actor& actor = s_.actor[target_of(number)];
    const s32 error = variant == 0 ? 0 : s_.out[a.to] ? not_connected : again;
    switch (actor.action) {
    case KRG_TARGET_READ:
        a.sampled = error == 0 && !a.sampled;
        if (a.sampled) {
            a.sample = s_.root;
            return;
        }
        return target_next(number, KRG_TARGET_DONE, news(number), error, &a.sample);
    case KRG_TARGET_ASK: return post(target_of(number), Letter::ask, a.from, number);
    case KRG_TARGET_ADOPT:
        if (error == 0) {
            krg_guest_begin(&s_.guest[number].news);
            s_.guest[number].generation = a.generation;
            s_.actor[guest_actor + number] = {a.to, true, false, false, KRG_GUEST_REST};
        }
        return target_next(number, KRG_TARGET_DONE, news(number), error);
    case KRG_TARGET_RUN:
        if (s_.copy[a.to] == CopyState::running) fail("two-run", "two copies run on one node");
        s_.copy[a.to] = s_.out[a.to] ? CopyState::none : CopyState::running;
        a.held = false;
        if (a.child) s_.child_at = a.to;
        actor = {};
        return;
    case KRG_TARGET_KILL:
        a.held = false;
        actor = {};
        return;
    default:  // TELL_LOST
        actor = {};
        return process_ended(a.to, killed);
    }
}

void World::act_shadow(u8 variant) {
    const u8 at = runner(s_.root);
    const s32 error = variant == 0 ? 0 : s_.out[setup_.home] ? not_connected : again;
    const u32 code = at ? !s_.gone[setup_.home][at] : static_cast<u32>(s_.root.decision);
    s_.actor[shadow_actor].pending = false;
    shadow_next(KRG_AWAY_READ, s_.root.generation, at, code, error);
}

void World::act_guest(u8 who, u8 variant) {
    const s32 error = variant == 0 ? 0 : s_.out[s_.actor[who].node] ? not_connected : again;
    const u64 generation = s_.guest[who - guest_actor].generation;
    switch (s_.actor[who].action) {
    case KRG_GUEST_WRITE:
        if (variant != 2) take_place(who);
        return guest_next(who, error);
    case KRG_GUEST_TELL: return post(who, Letter::ended, setup_.home, 0, generation, s_.code);
    default: return guest_next(who, 0);
    }
}

void World::act(u8 who, u8 variant) {
    if (variant != 0 && !s_.out[s_.actor[who].node]) s_.errors--;
    if (who == shadow_actor) return act_shadow(variant);
    if (who >= guest_actor) return act_guest(who, variant);
    return who % 2 == 0 ? act_source(who / 2, variant) : act_target(who / 2, variant);
}

void World::begin(u8 number) {
    Attempt& a = s_.attempt[number];
    if (setup_.leaves_at == number) s_.child_at = setup_.path[s_.hop];
    a.from = setup_.path[s_.hop];
    a.to = setup_.path[s_.hop + 1U];
    a.open = true;
    a.child = setup_.tree && number < setup_.leaves_at;
    a.generation = s_.root.generation + 1;
    a.before_child = s_.child;
    krg_source_init(&a.source, number + 1U, a.child, a.from != setup_.home);
    s_.copy[a.from] = CopyState::frozen;
    s_.actor[source_of(number)] = {a.from, true, false, false, 0};
}

void World::build(u8 number, bool heard) {
    Attempt& a = s_.attempt[number];
    a.open = false;
    a.held = true;
    krg_target_init(&a.target, number + 1U, a.generation, a.to);
    s_.actor[target_of(number)].node = a.to;
    target_next(number, KRG_TARGET_BUILT, news(number), 0);
    if (heard) return source_next(number, KRG_SOURCE_BUILT, 0);
    const Actor& source = s_.actor[source_of(number)];
    if (!source.lives || !in(a.from)) return;
    s_.timeouts--;
    source_next(number, KRG_SOURCE_FAILED, timed_out);
}

void World::process_ended(u8 node, u32 code) {
    s_.copy[node] = CopyState::none;
    s_.ended = true;
    s_.code = code;
    const u8 guest = guest_on(node);
    if (guest == 0xff) return;
    s_.guest[guest - guest_actor].ended = true;
    // What it is about to tell comes first.
    if (!s_.actor[guest].pending && !s_.actor[guest].calling) guest_next(guest, 0);
}

// ---- nodes

void World::stop(u8 node, bool crash, bool took_place) {
    (crash ? s_.crashes : s_.expels)--;
    for (u8 who = 0; who < actors; who++)
        if (s_.actor[who].node == node && is_write(who) && took_place) take_place(who);
    if (!crash) {
        s_.out[node] = true;
        if (s_.copy[node] == CopyState::running && node != setup_.home) s_.copy[node] = CopyState::none;
        if (node == setup_.home) shadow_next(KRG_AWAY_OUT, 0, 0, 0, 0);
        for (u8 i = 0; i < s_.attempts; i++) s_.attempt[i].woken |= s_.attempt[i].to == node;
        return;
    }
    s_.crashed[node] = true;
    s_.copy[node] = CopyState::none;
    for (Attempt& a : s_.attempt) a.held = a.held && a.to != node;
    if (node == setup_.home) s_.has_shadow = false;
    for (Actor& actor : s_.actor)
        if (actor.node == node) actor = {};
}

void World::learn(u8 node, u8 lost) {
    s_.gone[node][lost] = true;
    for (u8 i = 0; i < s_.attempts; i++) {
        Attempt& a = s_.attempt[i];
        if (a.to != node || a.from != lost) continue;
        a.open = false;
        a.woken = true;
    }
    if (node == setup_.home) shadow_next(KRG_AWAY_LOST, 0, 0, s_.shadow.runner != lost, 0);
    // Nobody is left who waits for its end.
    const u8 guest = guest_on(node);
    if (lost == setup_.home && guest != 0xff && !s_.guest[guest - guest_actor].ended) s_.actor[guest] = {};
}

bool World::apply(const Move& m) {
    const bool looks = m.kind == MoveKind::act && m.a < shadow_actor && m.a % 2 == 1 && s_.actor[m.a].action == KRG_TARGET_READ;
    if (m.kind == MoveKind::wake && !s_.attempt[m.a].woken && m.variant == 0)
        s_.calm++;
    else if (!looks)
        s_.calm = 0;
    switch (m.kind) {
    case MoveKind::attempt: begin(s_.attempts++); break;
    case MoveKind::build: build(m.a, m.variant == 0); break;
    case MoveKind::refuse: {
        const Attempt& a = s_.attempt[m.a];
        if (in(a.to) && in(a.from) && a.open) s_.refusals--;
        source_next(m.a, KRG_SOURCE_FAILED, -1);
        break;
    }
    case MoveKind::act: act(m.a, m.variant); break;
    case MoveKind::wake:
        if (m.variant) s_.early--;
        s_.attempt[m.a].woken = false;
        target_next(m.a, KRG_TARGET_NEWS, news(m.a), 0);
        break;
    case MoveKind::deliver: deliver(m.a, m.variant); break;
    case MoveKind::lose:
    case MoveKind::give_up: {
        const u8 caller = s_.mail[m.a].caller;
        if (m.kind == MoveKind::lose) s_.losses--, s_.mail[m.a].what = Letter::none;
        if (m.kind == MoveKind::give_up) s_.timeouts--, s_.mail[m.a].caller = 0xff;
        answer(caller, timed_out);
        break;
    }
    case MoveKind::crash:
    case MoveKind::expel: stop(m.a, m.kind == MoveKind::crash, m.variant != 0); break;
    case MoveKind::view: learn(m.a, m.b); break;
    case MoveKind::helper:
        s_.deaths--;
        s_.attempt[m.a].held = false;
        s_.attempt[m.a].woken = true;
        target_next(m.a, KRG_TARGET_DIED, news(m.a), 0);
        break;
    case MoveKind::end:
        s_.ends--;
        process_ended(running(), exit_code);
        break;
    }
    check();
    return rule_.empty();
}

// ---- rules

void World::check() {
    unsigned n = 0;
    for (const CopyState copy : s_.copy) n += copy == CopyState::running;
    if (n > 1) fail("two-run", "two copies run");
    if (s_.calm > 40) fail("liveness", "somebody waits for ever");
    if (s_.ended || !setup_.tree || !s_.root.runner) return;
    const bool together = s_.attempts <= setup_.leaves_at;
    const u8 child = runner(s_.child), wanted = together ? runner(s_.root) : s_.child_at;
    if (child != wanted)
        fail("torn", fmt::format("the child runs on node {} by the directory, which should say {}", child, wanted));
}

bool World::check_end() {
    std::vector<Move> left;
    progress(left);
    if (!left.empty()) return true;
    const u8 at = runner(s_.root), home = setup_.home;
    for (u8 who = 0; who < actors; who++)
        if (s_.actor[who].lives && (who < shadow_actor || s_.actor[who].pending || s_.actor[who].calling))
            fail("liveness", fmt::format("actor {} waits for an answer", who));
    for (u8 n = 1; n <= nodes_max; n++)
        if (s_.copy[n] == CopyState::frozen) fail("left-over", fmt::format("it is frozen on node {}", n));
    for (const Attempt& a : s_.attempt)
        if (a.held) fail("left-over", fmt::format("a copy is held on node {}", a.to));
    const bool alive = !s_.ended && in(at);
    if (alive && s_.copy[at] != CopyState::running) fail("lost", fmt::format("node {} should run it, and nobody does", at));
    if (running() && in(running()) && !alive) fail("astray", "it runs where the directory does not say so");
    if (!in(home)) return rule_.empty();
    if (s_.ended && in(at) && at != home) fail("stale", fmt::format("the directory has it on node {}, but it has ended", at));
    if (alive && at != home && (!s_.has_shadow || s_.shadow_ended || s_.shadow.runner != at))
        fail("shadow", fmt::format("there is no shadow, or not of node {}", at));
    if (!alive && s_.has_shadow && !s_.shadow_ended) fail("shadow", "the shadow of what has ended is left");
    // As far as somebody could still say so.
    const bool said = s_.root.runner == 0 && s_.root.home != 0;
    if (s_.ended && s_.has_shadow && said && s_.shadow.code != s_.code)
        fail("code", fmt::format("it ended with {:#x}, its shadow with {:#x}", s_.code, s_.shadow.code));
    return rule_.empty();
}

u64 World::hash() const {
    RunHash h;
    const auto mix = [&](auto... values) { (h.mix(static_cast<u64>(values)), ...); };
    const auto record = [&](const krg_record& r) { mix(r.generation, r.move, r.decision, r.root, r.home, r.runner); };
    for (u8 n = 1; n <= nodes_max; n++) {
        mix(s_.copy[n], s_.crashed[n], s_.out[n]);
        for (u8 x = 1; x <= nodes_max; x++) mix(s_.gone[n][x]);
    }
    record(s_.root), record(s_.child);
    for (const Actor& a : s_.actor) mix(a.node, a.lives, a.pending, a.calling, a.action);
    for (u8 i = 0; i < s_.attempts; i++) {
        const Attempt& a = s_.attempt[i];
        mix(a.from, a.to, a.open, a.woken, a.aborted, a.child, a.held, a.sampled, a.generation);
        record(a.before_child), record(a.sample);
        mix(a.source.state, a.source.tries, a.source.error, a.source.left);
        mix(a.target.state, a.target.waits, a.target.news, a.target.alone, a.target.disowned, a.target.died);
    }
    for (const Message& m : s_.mail)
        if (m.what != Letter::none) mix(m.what, m.from, m.to, m.attempt, m.caller, m.generation, m.code);
    mix(s_.shadow.generation, s_.shadow.code, s_.shadow.runner, s_.shadow.looking, s_.shadow.ended);
    for (const Guest& g : s_.guest) mix(g.ended, g.generation, g.news.state);
    mix(s_.has_shadow, s_.shadow_ended, s_.ended, s_.attempts, s_.child_at, s_.hop, s_.calm, s_.code);
    mix(s_.crashes, s_.expels, s_.losses, s_.repeats, s_.timeouts, s_.errors, s_.refusals, s_.deaths, s_.ends, s_.early);
    return h.value();
}

std::string World::describe(const Move& m) const {
    constexpr const char* letters[] = {"", "GO", "ABORT", "ASK", "MOVED", "ENDED"};
    constexpr const char* source[] = {"arm",   "write members", "write",           "read",       "put back", "pause", "thaw",
                                      "leave", "tell GO",       "say where it is", "tell ABORT", "end"};
    constexpr const char* target[] = {"wait", "read", "ask", "adopt", "run", "kill", "tell lost", "end"};
    constexpr const char* guest[] = {"rest", "write nobody", "tell of the end", "pause", "end"};
    constexpr const char* outcome[] = {"", ", with an error, but it took place", ", with an error"};
    switch (m.kind) {
    case MoveKind::attempt:
        return fmt::format("attempt {}: from node {} to {}", s_.attempts, setup_.path[s_.hop], setup_.path[s_.hop + 1U]);
    case MoveKind::build: return fmt::format("attempt {}: built{}", m.a, m.variant ? ", the source does not hear of it" : "");
    case MoveKind::refuse: return fmt::format("attempt {}: the source hears that it failed", m.a);
    case MoveKind::act: {
        const u8 action = s_.actor[m.a].action;
        const std::string who = m.a == shadow_actor  ? "shadow: look"
                                : m.a >= guest_actor ? fmt::format("guest on node {}: {}", s_.actor[m.a].node, guest[action])
                                : m.a % 2 == 0       ? fmt::format("source {}: {}", m.a / 2, source[action])
                                                     : fmt::format("target {}: {}", m.a / 2, target[action]);
        return who + outcome[m.variant];
    }
    case MoveKind::wake: return fmt::format("target {}: {}", m.a, s_.attempt[m.a].woken ? "has news" : "a second has passed");
    case MoveKind::deliver:
    case MoveKind::lose:
    case MoveKind::give_up: {
        const Message& mail = s_.mail[m.a];
        return fmt::format("{} from node {} to {}: {}", letters[static_cast<u8>(mail.what)], mail.from, mail.to,
                           m.kind == MoveKind::lose      ? "lost"
                           : m.kind == MoveKind::give_up ? "not waited for any more"
                           : m.variant == 0              ? "delivered"
                           : m.variant == 1              ? "delivered, the answer is lost"
                                                         : "delivered, and once more later");
    }
    case MoveKind::crash: return fmt::format("node {} crashes{}", m.a, m.variant ? ", what it wrote took place" : "");
    case MoveKind::expel: return fmt::format("node {} is expelled{}", m.a, m.variant ? ", what it wrote took place" : "");
    case MoveKind::view: return fmt::format("node {} sees a view without {}", m.a, m.b);
    case MoveKind::helper: return fmt::format("attempt {}: what was built dies", m.a);
    case MoveKind::end: return "the process ends";
    }
    return {};
}

}  // namespace krg::sim::handover
