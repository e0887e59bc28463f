// SPDX-License-Identifier: GPL-2.0
// A recovery point is taken. Its coordinator, the node that was asked, has all nodes do
// one step after the other: transactions end and no new ones begin (freeze); nobody
// writes, and each node copies what has changed since the last point (shoot); everybody
// has, so that what was copied is the memory at one moment, and writes go on (cut); the
// homes see to it that enough nodes keep the copies (spare.cc); it counts (commit); the
// last point goes (forget). What a view change makes of a point under way: settle.cc.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

/// An object of the kind that this domain has.
bool Engine::suits(const krg_dsm_policy& p) const {
    if (checkpointed()) return p.cls == KRG_DSM_CHECKPOINTED && p.replicas == cfg_.replicas;
    return p.cls == KRG_DSM_DURABLE || p.cls == KRG_DSM_VOLATILE;
}

void Engine::dispatch_point(NodeId from, Message& m) {
    if (!checkpointed()) {
        stats_.bad++;
        free_handle(m.handle);
        return;
    }
    switch (m.type) {
    case Type::point: on_point(from, m); return;
    case Type::point_done: on_point_done(from, m); return;
    case Type::shot: on_shot(from, m); return;
    case Type::shot_end: on_shot_end(from, m); return;
    case Type::shot_known: on_shot_known(m); return;
    case Type::keep: on_keep(from, m); return;
    case Type::point_copy: on_point_copy(from, m); return;
    case Type::kept: on_kept(from, m); return;
    case Type::point_state: on_point_state(from, m); return;
    case Type::settle: on_settle(from, m); return;
    case Type::mark: on_mark(from, m); return;
    case Type::counted: on_counted(from, m); return;
    case Type::verdict: on_verdict(from, m); return;
    default: impossible(from);
    }
}

// The coordinator

void Engine::take_point(const krg_dsm_event& ev) {
    const Errno why = !checkpointed()           ? Errno::inval
                      : lost_                   ? Errno::io
                      : !home_serving_          ? Errno::again
                      : taking_.id || round_.id ? Errno::busy
                                                : Errno::none;
    if (why != Errno::none) {
        points_failed_ += checkpointed();
        done(ev.object, ev.token, why);
        return;
    }
    op_ = new_op();
    taking_ = Taking{};
    // Never used again, and above all that were taken: who is asked to take part has been told of those before.
    taking_.id = epoch_ << 40 | (++points_begun_ & 0xffffff) << 16 | cfg_.self;
    taking_.token = ev.token;
    point_at_ = cfg_.params.point_us ? now_ + cfg_.params.point_us : never;
    order(Step::freeze);
}

/// All members do this next.
void Engine::order(Step step) {
    taking_.step = step;
    taking_.left = 0;
    for (Peer* p = peers_.first(); p; p = peers_.after(p)) p->pointed = false;
    for (u32 i = 0; i < members_; i++) {
        Message m;
        m.type = Type::point;
        m.request = taking_.id;
        m.step = step;
        m.last = taking_.objects;
        if (!peer(member_[i].node))
            reset(0, KRG_DSM_R_MEMORY);
        else if (send(member_[i].node, m))
            taking_.left++;
    }
}

void Engine::on_point_done(NodeId from, const Message& m) {
    Peer* p = peer(from);
    if (!taking_.id || taking_.over || taking_.ended || m.request != taking_.id || m.step != taking_.step || !p || p->pointed)
        return;
    p->pointed = true;
    if (m.error != Errno::none && taking_.step < Step::commit) {
        fail_point(m.error);
        return;
    }
    if (taking_.step == Step::cut) taking_.objects += m.last;
    const bool early = (taking_.step == Step::cut && KRG_DSM_MUTANT(PointCommitEarly)) ||
                       (taking_.step == Step::shoot && KRG_DSM_MUTANT(PointCutEarly));
    if (--taking_.left && !early) return;
    switch (taking_.step) {
    case Step::freeze: order(Step::shoot); return;
    case Step::shoot:
        trace_number(KRG_DSM_T_POINT, m.op, taking_.id, "cut");
        order(Step::cut);
        return;
    case Step::cut:
        // Decided: from the moment that one node hears of it.
        trace_number(KRG_DSM_T_POINT, m.op, taking_.id, "decided");
        point_at_ = never;
        order(Step::commit);
        return;
    case Step::commit:
        trace_number(KRG_DSM_T_POINT, m.op, taking_.id, "taken");
        order(Step::forget);
        end_taking(Errno::none);
        return;
    default: return;
    }
}

/// Nothing comes of it: everything is as before.
void Engine::fail_point(Errno e) {
    order(Step::abort);
    end_taking(e);
}

void Engine::end_taking(Errno e) {
    (e == Errno::none ? points_taken_ : points_failed_)++;
    taking_.ended = true;
    taking_.error = e;
    point_at_ = never;
}

/// Tells whoever asked for a point, or for going back to one, and the edge when that is done; when there is memory for it.
bool Engine::tell_points() {
    if (rolled_owed_) {
        OutAction* a = act(KRG_DSM_ACT_ROLLED);
        if (!a) return false;
        rolled_owed_ = false;
        a->action.point = point_id_;
        a->action.epoch = epoch_;
        a->action.error = static_cast<s32>(lost_ ? Errno::io : Errno::none);
        push(a);
        return true;
    }
    if (taking_.ended) {
        if (!answer(KRG_DSM_ACT_DONE, {}, taking_.token, taking_.error, taking_.id)) return false;
        taking_ = Taking{};
        return true;
    }
    if (!rollback_over_) return false;
    if (!answer(KRG_DSM_ACT_DONE, {}, rollback_token_, rollback_error_, point_id_)) return false;
    rollback_over_ = rollback_asked_ = false;
    return true;
}

void Engine::point_tick() {
    if (now_ >= point_at_) {
        point_at_ = never;
        if (taking_.id && !taking_.over && !taking_.ended) fail_point(Errno::timedout);
    }
    if (now_ >= restore_at_) restore_at_ = never;  // roll_some() goes on
    if (now_ >= mend_at_) {
        mend_at_ = never;
        for (Mark* k = marks_.first(); k; k = marks_.after(k)) work_.push(k->work, k);
    }
}

// Every member

void Engine::answer_point(Errno e, u64 objects) {
    if (round_.answered) return;
    round_.answered = true;
    Message m;
    m.type = Type::point_done;
    m.request = round_.id;
    m.step = round_.step;
    m.error = e;
    m.last = objects;
    send(static_cast<NodeId>(round_.id & 0xffff), m);
}

void Engine::on_point(NodeId from, const Message& m) {
    if ((m.request & 0xffff) != from) {
        impossible(from);
        return;
    }
    if (m.step == Step::freeze) {
        freeze(from, m);
        return;
    }
    if (round_.id != m.request) return;  // refused here, or given up
    if (m.step == Step::abort && round_.step < Step::commit) {
        drop_round();
        return;
    }
    if (m.step != static_cast<Step>(static_cast<u32>(round_.step) + 1) || !round_.answered) {
        if (!KRG_DSM_MUTANT(PointCutEarly) && !KRG_DSM_MUTANT(PointCommitEarly)) impossible(from);
        if (m.step != Step::cut && m.step != Step::commit) return;
    }
    round_.step = m.step;
    round_.answered = false;
    switch (m.step) {
    case Step::shoot:
        writes_held_ = true;
        shoot();
        return;
    case Step::cut: cut(); return;
    case Step::commit:
        commit_point(m.last);
        answer_point(Errno::none);
        return;
    case Step::forget: adopt_round(); return;
    default: return;
    }
}

/// No transaction begins from now on; told when none is under way here.
void Engine::freeze(NodeId from, const Message& m) {
    const Errno why = lost_                                      ? Errno::io
                      : !home_serving_ || m.request <= point_id_ ? Errno::again
                      : round_.id                                ? Errno::busy
                                                                 : Errno::none;
    if (why != Errno::none) {
        Message r;
        r.type = Type::point_done;
        r.request = m.request;
        r.step = m.step;
        r.error = why;
        send(from, r);
        return;
    }
    const u64 count = m.request >> 16 & 0xffffff;
    if (points_begun_ < count) points_begun_ = count;
    round_ = Round{};
    round_.id = m.request;
    round_.step = Step::freeze;
    for (Entry* e = entries_.first(); e; e = entries_.after(e)) {
        // A frozen copy is of no more use to anybody when it is released.
        e->counted = e->phase != Phase::idle && e->phase != Phase::releasing;
        round_.busy += e->counted;
    }
    point_quiet();
}

void Engine::transaction_over(Entry& e) {
    e.counted = false;
    if (round_.busy) round_.busy--;
    point_quiet();
}

/// Transactions are over, a hole that this node wanted is made, and the last point has its copies: copies do not move any more.
void Engine::point_quiet() {
    if (!round_.id || round_.step != Step::freeze || round_.busy || mending() || (punch_ && punch_->asked)) return;
    answer_point(Errno::none);
}

/// Has this node something of the object that may not be in the last point?
bool Engine::for_point(const Obj& o) const {
    const bool copy = o.state == KRG_DSM_S || o.state == KRG_DSM_X || o.state == KRG_DSM_R;
    return copy && !o.version.zero() && o.version != o.saved;
}

/// Copies what may have changed. No page is on its way out of the page cache then: edge_done() comes back here.
void Engine::shoot() {
    if (round_.step != Step::shoot || round_.shooting || shoot_.active) return;
    u32 n = 0, copied = 0;
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) {
        if (o->edge) return;
        if (!for_point(*o)) continue;
        n++;
        copied += o->mapped || o->handle;
        if (!keep(o->key, o->policy)) {
            answer_point(Errno::nomem);
            return;
        }
    }
    round_.shooting = true;
    if (!make_shoot(n, copied, false)) {
        answer_point(Errno::nomem);
        return;
    }
    u32 low = 0, high = n;
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) {
        if (!for_point(*o)) continue;
        ShootItem& it = shoot_.item[o->mapped || o->handle ? low++ : --high];
        it.key = o->key;
        it.policy = o->policy;
        it.version = o->version;
        it.source = o->mapped ? 0 : o->handle;
        o->in_batch = o->mapped || o->handle;
        o->fixed = o->fixed || o->state == KRG_DSM_X;
    }
    start_shoot();
}

/// Room for so many pages, and the promise to give those back that the edge makes.
bool Engine::make_shoot(u32 items, u32 copied, bool restores) {
    shoot_ = Shoot{};
    shoot_.item = items ? static_cast<ShootItem*>(heap_.take(items * sizeof(ShootItem))) : nullptr;
    u32 pages = 0;
    while ((shoot_.item || !items) && pages < copied && own_page()) pages++;
    if (pages < copied || (items && !shoot_.item)) {
        while (pages--) disown_page();
        heap_.give(shoot_.item, items * sizeof(ShootItem));
        shoot_ = Shoot{};
        return false;
    }
    for (u32 i = 0; i < items; i++) new (&shoot_.item[i]) ShootItem;
    shoot_.items = items;
    shoot_.copied = copied;
    shoot_.restores = restores;
    return true;
}

void Engine::start_shoot() {
    shoot_.active = true;
    OutAction* a = shoot_.copied ? act(KRG_DSM_ACT_SNAPSHOT) : nullptr;
    if (a) {
        trace_number(KRG_DSM_T_SNAPSHOT, op_, shoot_.copied, shoot_.restores ? "rollback" : "point");
        push(a);
    } else {
        shoot_done(static_cast<s32>(shoot_.copied ? Errno::nomem : Errno::none));
    }
}

void Engine::drop_shoot(bool handles) {
    for (u32 i = 0; handles && i < shoot_.copied; i++) free_handle(shoot_.item[i].handle);
    heap_.give(shoot_.item, shoot_.items * sizeof(ShootItem));
    shoot_ = Shoot{};
}

/// The edge has copied.
void Engine::shoot_done(s32 error) {
    bool failed = error != 0 || shoot_.aborted;
    for (u32 i = 0; i < shoot_.copied; i++) {
        if (shoot_.item[i].handle) continue;
        disown_page();
        failed = true;
    }
    if (!shoot_.restores)
        for (u32 i = 0; i < shoot_.copied; i++)
            if (Obj* o = objects_.find(shoot_.item[i].key)) {
                o->in_batch = false;
                ready(*o);
            }
    shoot_.active = false;
    if (!writes_held_) unblock();
    const bool aborted = shoot_.aborted, restores = shoot_.restores;
    if (aborted) {
        drop_shoot(true);
        send_state();
        shoot();
    } else if (restores) {
        restored(failed);
    } else {
        shots_taken(failed ? Errno::nomem : shoot_.busy ? Errno::busy : Errno::none);
    }
}

void Engine::shots_taken(Errno e) {
    const bool failed = e != Errno::none;
    for (u32 i = 0; i < shoot_.items && !failed; i++) {
        const ShootItem& it = shoot_.item[i];
        Kept* k = spare_copies_.find(it.key);
        if (!k) continue;  // made before, and kept as long as it is marked
        k->shot = Slot{true, it.version, it.handle};
        k->shot_version = it.version;
    }
    drop_shoot(failed);
    if (failed) {
        answer_point(e);
        return;
    }
    round_.telling = true;
    round_.cursor = spare_copies_.first();
}

/// The homes hear of each, one at a time, and of the end; false: nothing to tell.
bool Engine::tell_shots() {
    if (!round_.telling) return false;
    if (const Kept* k = round_.cursor) {
        round_.cursor = spare_copies_.after(k);
        if (!k->shot.has) return true;
        Message m = about(Type::shot, *k);
        m.request = round_.id;
        m.version = k->shot.version;
        const NodeId to = home(k->key, k->policy);
        if (Peer* p = peer(to)) p->shots = true;
        send(to, m);
        return true;
    }
    round_.telling = false;
    for (Peer* p = peers_.first(); p; p = peers_.after(p)) {
        if (!p->shots) continue;
        p->shots = false;
        Message m;
        m.type = Type::shot_end;
        m.request = round_.id;
        if (send(static_cast<NodeId>(p->key.index), m)) round_.unknown++;
    }
    if (!round_.unknown) answer_point(Errno::none);
    return true;
}

/// Nobody writes anywhere, and all that is in the point is copied: programs go on. What is in it is decided here and now.
void Engine::cut() {
    if (round_.error == Errno::none && lost_objects()) round_.error = Errno::io;
    for (Mark* k = marks_.first(); k; k = marks_.after(k)) {
        k->gone = k->has && !k->changed && !initialised(k->key);
        if (k->changed || k->gone) work_.push(k->work, k);
        round_.objects += k->changed || (k->has && !k->gone);
    }
    round_.planning = true;
    release_held();
}

/// Whoever wanted to write while pages were copied tries again.
void Engine::unblock() {
    while (Obj* o = blocked_.first()) {
        blocked_.remove(o->blocked);
        ready(*o);
    }
}

/// Programs may write again, and homes work off what came meanwhile.
void Engine::release_held() {
    writes_held_ = false;
    unblock();
    if (!serving_) return;
    for (Entry* e = entries_.first(); e; e = entries_.after(e)) ready_entries_.push(e->ready, e);
    if (hole_held_) {
        hole_held_ = false;
        begin_hole();
    }
    punch_more();
}

/// It counts. What was copied and is not kept goes.
void Engine::commit_point(u64 objects) {
    round_.step = Step::commit;
    point_id_ = round_.id;
    point_objects_ = objects;
    for (Kept* k = spare_copies_.first(); k; k = spare_copies_.after(k)) {
        if (k->shot_version.zero()) continue;
        if (Obj* o = objects_.find(k->key)) o->saved = k->shot_version;
        k->shot_version = {};
        free_slot(k->shot);
    }
}

/// All know that it counts: what it replaces goes.
void Engine::adopt_round() {
    for (Kept* k = spare_copies_.first(); k;) {
        Kept* after = spare_copies_.after(k);
        if (k->changes) {
            free_slot(k->last);
            k->last = k->next;
            k->next = Slot{};
            k->changes = false;
        }
        forget_if_empty(*k);
        k = after;
    }
    for (Mark* k = marks_.first(); k;) {
        Mark* after = marks_.after(k);
        if (k->gone) {
            erase(*k);
        } else if (k->changed) {
            k->has = true;
            k->version = k->next_version;
            k->keepers.clear();
            for (u32 i = 0; i < k->nexts; i++) k->keepers.add(k->next[i]);
            k->changed = false;
            k->shooters.clear();
            k->nexts = 0;
        }
        k = after;
    }
    round_ = Round{};
}

/// Nothing comes of it.
void Engine::drop_round() {
    const bool held = homes_held();
    if (shoot_.active && !shoot_.restores) shoot_.aborted = true;
    for (Kept* k = spare_copies_.first(); k;) {
        Kept* after = spare_copies_.after(k);
        free_slot(k->next);
        free_slot(k->shot);
        k->shot_version = {};
        k->changes = false;
        forget_if_empty(*k);
        k = after;
    }
    for (Mark* k = marks_.first(); k;) {
        Mark* after = marks_.after(k);
        if (k->changed || k->gone) work_.remove(k->work);
        k->changed = k->gone = false;
        k->shooters.clear();
        k->nexts = 0;
        if (!k->has) erase(*k);
        k = after;
    }
    round_ = Round{};
    for (Entry* e = entries_.first(); e; e = entries_.after(e)) e->counted = false;
    if (held) release_held();
}

u64 Engine::snapshot_source(u32 i) const { return shoot_.active && i < shoot_.copied ? shoot_.item[i].source : 0; }

// Looking in

void Engine::point(krg_dsm_point& p) const {
    p = {};
    p.id = point_id_;
    p.objects = point_objects_;
    for (const Kept* k = spare_copies_.first(); k; k = spare_copies_.after(k)) {
        p.copies += k->last.has;
        p.copies_next += k->next.has;
    }
    for (const Mark* k = marks_.first(); k; k = marks_.after(k)) p.lacking += k->has && good_keepers(*k) < point_copies();
    p.taken = points_taken_;
    p.failed = points_failed_;
    p.rollbacks = rollbacks_;
    p.generation = generation_;
    p.under_way = round_.id != 0 || taking_.id != 0;
    p.rolling = rolling_ || (rolled_ && !home_serving_);
    p.lost = lost_;
}

void Engine::hash_points(u64& h) const {
    if (!checkpointed()) return;
    const auto slot = [](const Slot& s) { return s.has ? mix(s.version.epoch, s.version.count) : 1; };
    const auto set = [](const IdSet& s, u64 salt) {
        u64 x = salt;
        for (u32 i = 0; i < s.count(); i++) x = mix(x, s.at(i));
        return x;
    };
    for (const Obj* o = objects_.first(); o; o = objects_.after(o))
        h += mix(hash_of(o->key) ^ o->fixed ^ static_cast<u64>(o->giving) << 1, mix(o->saved.epoch, o->saved.count)) * 23;
    for (const Kept* k = spare_copies_.first(); k; k = spare_copies_.after(k))
        h += mix(mix(hash_of(k->key) ^ k->changes, slot(k->last)), mix(slot(k->next), slot(k->shot))) * 29;
    for (const Mark* k = marks_.first(); k; k = marks_.after(k)) {
        u64 x = mix(hash_of(k->key), mix(k->version.epoch, k->version.count));
        x = mix(x, mix(k->next_version.epoch, k->next_version.count));
        x = mix(x, k->has | k->waiting << 1 | k->changed << 2 | k->gone << 3 | static_cast<u64>(k->work.linked()) << 4 |
                       static_cast<u64>(k->dropping) << 8);
        x = mix(x, set(k->keepers, 1) ^ set(k->shooters, 2));
        for (u32 i = 0; i < k->nexts; i++) x = mix(x, k->next[i]);
        h += x * 31;
    }
    // Ids of points count up without end: only whether they are the same matters.
    const auto flags = [](std::initializer_list<bool> all) {
        u64 x = 1;
        for (const bool b : all) x = x << 1 | b;
        return x;
    };
    u64 x = flags({round_.answered,
                   round_.shooting,
                   round_.telling,
                   round_.planning,
                   taking_.over,
                   taking_.ended,
                   shoot_.active,
                   shoot_.aborted,
                   shoot_.restores,
                   settling_.known,
                   settling_.differs,
                   settling_.wanted,
                   settling_.lost,
                   rollback_asked_,
                   rollback_over_,
                   writes_held_,
                   wanted_,
                   known_,
                   lost_,
                   state_sent_,
                   settled_,
                   rolling_,
                   roll_told_,
                   rolled_,
                   rolled_owed_,
                   roll_open_,
                   verified_ == generation_,
                   counted_,
                   verdict_,
                   round_.id != 0,
                   taking_.id != 0,
                   taking_.id == point_id_,
                   round_.id == point_id_});
    x = mix(x, static_cast<u64>(round_.step) | static_cast<u64>(taking_.step) << 4 | static_cast<u64>(round_.busy) << 8 |
                   static_cast<u64>(round_.unknown) << 24 | static_cast<u64>(taking_.left) << 40);
    x = mix(x, round_.waiting | mending_ << 16 | giving_ << 32 | static_cast<u64>(settling_.heard) << 48);
    x = mix(x, mix(point_id_, generation_) ^ mix(settling_.counted, settling_.there) ^ settling_.id);
    for (const Peer* p = peers_.first(); p; p = peers_.after(p))
        x += mix(hash_of(p->key), p->pointed | p->stated << 1 | p->counted << 2 | p->shots << 3);
    for (const Parked* p = unsettled_; p; p = p->next)
        x = mix(x, mix(hash_of(p->message.key), static_cast<u64>(p->message.type) | static_cast<u64>(p->from) << 8));
    h += x * 37;
}

}  // namespace krg::dsm
