// SPDX-License-Identifier: GPL-2.0
// Recovery points over a view change, and going back to one. In every new epoch, before
// anything is reported, all nodes tell the first member which point is the last one as far
// as they know; it tells all which one it is: the newest that anybody has heard the
// decision of. With that it says whether the domain goes back to it: every node gives up
// all it has, and what the point has is current. No home answers before all nodes have
// done that and the objects of the point have been counted.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

/// Somebody of this node wants the domain to go back.
void Engine::roll_back(const krg_dsm_event& ev) {
    const Errno why = !checkpointed()   ? Errno::inval
                      : lost_           ? Errno::io
                      : rollback_asked_ ? Errno::busy
                      : !point_id_      ? Errno::noent
                                        : Errno::none;
    if (why != Errno::none) {
        done(ev.object, ev.token, why);
        return;
    }
    rollback_asked_ = true;
    rollback_token_ = ev.token;
    if (!rolling_ && (!rolled_ || home_serving_)) want_rollback();  // otherwise it is on its way already
}

/// In the next epoch; if this one has just begun, in this one.
void Engine::want_rollback() {
    wanted_ = true;
    if (serving_ && state_sent_) reset(0, KRG_DSM_R_ROLLBACK);
}

// The end of an epoch

/// What cannot have been decided is given up; what may have been waits for SETTLE.
void Engine::stop_points() {
    if (round_.id && round_.step < Step::cut) drop_round();
    round_.planning = round_.telling = false;
    round_.cursor = nullptr;
    while (Mark* k = marks_.first()) erase(*k);
    mending_ = 0;
    if (taking_.id && !taking_.ended) taking_.over = true;
    if (shoot_.active) shoot_.aborted = true;
    for (Obj* o = objects_.first(); o && rolling_; o = objects_.after(o)) o->giving = false;
    giving_ = 0;
    rolling_ = rolled_ = roll_told_ = counted_ = verdict_ = settled_ = state_sent_ = false;
    settling_ = Settling{};
    for (Peer* p = peers_.first(); p; p = peers_.after(p)) p->pointed = p->stated = p->counted = p->shots = false;
    point_at_ = mend_at_ = restore_at_ = never;
    free_unsettled();
    hole_held_ = false;
    report_kept_ = nullptr;
}

// The beginning of the next

void Engine::begin_settle() {
    settled_ = !checkpointed();
    if (settled_) return;
    points_begun_ = 0;
    const OldView& v = old_view_[0];
    // Once in an epoch, which a node that is alone may begin again.
    const bool again = looked_in_ == epoch_;
    looked_in_ = epoch_;
    for (u32 i = 0; !again && v.epoch && i < v.members; i++)
        if (!stayed(v.member[i].node, v.epoch) && !v.member[i].draining && cfg_.crash_rolls_back) wanted_ = true;
    send_state();
}

/// Not while the edge still copies pages for what the last epoch wanted.
void Engine::send_state() {
    if (!checkpointed() || !serving_ || state_sent_ || shoot_.active) return;
    state_sent_ = true;
    Message m;
    m.type = Type::point_state;
    m.request = point_id_;
    m.last = point_objects_;
    m.version = {generation_, verified_};
    m.keep = wanted_;
    m.dirty = lost_;
    m.initialised = known_;
    send(member_[0].node, m);
}

/// The first member decides when all have told.
void Engine::on_point_state(NodeId from, const Message& m) {
    Peer* p = peer(from);
    if (!p) {
        reset(from, KRG_DSM_R_MEMORY);
        return;
    }
    Settling& s = settling_;
    if (member_[0].node != cfg_.self || p->stated) {
        impossible(from);
        return;
    }
    p->stated = true;
    if (m.request > s.id) {
        s.id = m.request;
        s.objects = m.last;
    }
    // Who has gone back and who has not do not fit together: not all have heard it.
    if (m.initialised && s.known && m.version.epoch != s.generation) s.differs = true;
    if (m.initialised) s.generation = m.version.epoch;
    if (s.verified < m.version.count) s.verified = m.version.count;
    s.known = s.known || m.initialised;
    s.wanted = s.wanted || m.keep;
    s.lost = s.lost || m.dirty;
    if (++s.heard < members_) return;
    for (u32 i = 0; i < members_; i++) {
        Message r;
        r.type = Type::settle;
        r.request = s.id;
        r.last = s.objects;
        r.version.epoch = s.generation;
        r.keep = s.id && !s.lost && (s.wanted || s.differs || s.generation != s.verified);
        if (KRG_DSM_MUTANT(PointOneNodeRolls) && i) r.keep = false;
        r.dirty = s.lost;
        send(member_[i].node, r);
    }
}

void Engine::on_settle(NodeId from, const Message& m) {
    if (from != member_[0].node || !state_sent_ || settled_ || rolling_) {
        impossible(from);
        return;
    }
    if (round_.id && round_.id == m.request) {
        if (round_.step < Step::commit) commit_point(m.last);
        adopt_round();
    } else if (round_.id) {
        drop_round();
    }
    point_id_ = m.request;
    point_objects_ = m.last;
    known_ = true;
    if (m.dirty) lose();
    if (m.keep) {
        begin_rollback();
        return;
    }
    if (!point_id_) wanted_ = false;  // there is nothing to go back to: what is lost is lost
    generation_ = verified_ = m.version.epoch;
    settled();
}

/// What others report belongs to the memory that they have settled on: it waits until this node has.
bool Engine::comes_unsettled(NodeId from, const Message& m) {
    const bool report = m.type == Type::report || m.type == Type::mark || m.type == Type::bits || m.type == Type::report_end;
    if (!checkpointed() || settled_ || !report) return false;
    Parked* p = heap_.make<Parked>();
    if (!p) {
        reset(from, KRG_DSM_R_MEMORY);
        return true;
    }
    p->from = from;
    p->own = true;  // its place in the order was checked when it came
    p->message = m;
    (unsettled_last_ ? unsettled_last_->next : unsettled_) = p;
    unsettled_last_ = p;
    return true;
}

void Engine::free_unsettled() {
    while (Parked* p = unsettled_) {
        unsettled_ = p->next;
        heap_.drop(p);
    }
    unsettled_last_ = nullptr;
}

/// Which history this is stands fast in this epoch.
void Engine::settled() {
    settled_ = true;
    if (unsettled_) {
        (own_last_ ? own_last_->next : own_) = unsettled_;
        own_last_ = unsettled_last_;
        unsettled_ = unsettled_last_ = nullptr;
    }
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) ready(*o);
}

/// More nodes died than a point survives: whatever is asked for is refused, for ever.
void Engine::lose() {
    lost_ = true;
    wanted_ = false;
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) fail_waiters(*o, Errno::io);
}

// Going back

void Engine::begin_rollback() {
    wanted_ = rolling_ = true;
    rollbacks_++;
    giving_ = 0;
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) {
        o->giving = o->mapped || o->edge;
        giving_ += o->giving;
        ready(*o);
    }
}

/// Whatever this node has of @o is of no account.
void Engine::give_up(Obj& o) {
    if (o.edge || !roll_told_) return;
    if (o.mapped) {
        OutAction* a = own_page() ? act(KRG_DSM_ACT_INVALIDATE) : nullptr;
        if (!a) {
            arm(o, now_ + cfg_.params.retry_us);
            return;
        }
        a->action.object = object_of(o);
        a->action.keep = 1;
        push(a);
        o.edge = static_cast<u8>(KRG_DSM_ACT_INVALIDATE);
        return;
    }
    if (o.giving) {
        o.giving = false;
        giving_--;
    }
    drop_copy(o);
    o.saved = {};
    o.fixed = o.initialised = o.offer = o.hold_owed = false;
    o.hold_until = 0;
    forget_if_empty(o);
}

/// The next piece of going back; false: nothing can be done now.
bool Engine::roll_some() {
    if (!rolling_ || restore_at_ != never || shoot_.active) return false;
    if (!roll_told_) {
        OutAction* a = act(KRG_DSM_ACT_ROLLBACK);
        if (!a) {
            restore_at_ = now_ + cfg_.params.retry_us;
            return false;
        }
        a->action.point = point_id_;
        a->action.epoch = epoch_;
        push(a);
        roll_told_ = roll_open_ = true;
        for (Obj* o = objects_.first(); o; o = objects_.after(o)) ready(*o);
        return true;
    }
    if (giving_) return false;
    restore();
    return true;
}

/// Nothing is left of before. The point's copies stay; others of them become current.
void Engine::restore() {
    u32 n = 0, copied = 0;
    const auto missing = [this](const Kept& k) {
        const Obj* o = objects_.find(k.key);
        return k.last.has && !(o && o->state == KRG_DSM_R);
    };
    for (const Kept* k = spare_copies_.first(); k; k = spare_copies_.after(k)) {
        n += missing(*k);
        copied += missing(*k) && k->last.handle;
    }
    if (!make_shoot(n, copied, true)) {
        restore_at_ = now_ + cfg_.params.retry_us;
        return;
    }
    u32 low = 0, high = n;
    for (const Kept* k = spare_copies_.first(); k; k = spare_copies_.after(k)) {
        if (!missing(*k)) continue;
        ShootItem& it = shoot_.item[k->last.handle ? low++ : --high];
        it.key = k->key;
        it.policy = k->policy;
        it.version = k->last.version;
        it.source = k->last.handle;
    }
    start_shoot();
}

void Engine::restored(bool failed) {
    for (u32 i = 0; i < shoot_.items && !failed; i++) {
        ShootItem& it = shoot_.item[i];
        Obj* o = obj(it.key, it.policy);
        failed = !o;
        if (!o) break;
        put_copy(*o, it.handle, true);
        it.handle = 0;
        o->state = KRG_DSM_R;
        o->version = o->saved = it.version;
        if (o->counter < it.version.count) o->counter = it.version.count;
        o->initialised = true;
    }
    drop_shoot(true);
    if (failed) {
        restore_at_ = now_ + cfg_.params.retry_us;
        return;
    }
    restore_bits();
    generation_ = epoch_;
    wanted_ = rolling_ = false;
    rolled_ = true;
    settled();
}

/// What was ever written is what the point has.
void Engine::restore_bits() {
    for (Chunk* c = chunks_.first(); c; c = chunks_.after(c))
        for (u64& b : c->bits) b = 0;
    for (const Kept* k = spare_copies_.first(); k; k = spare_copies_.after(k))
        if (k->last.has && !set_initialised(k->key, k->policy)) reset(0, KRG_DSM_R_MEMORY);
}

// Reports, and the end of a rebuild

/// One copy of the point is reported to its home.
void Engine::report_marks() {
    const Kept* k = report_kept_;
    if (!k) {
        gather(0);
        reporting_ = Reporting::chunks;
        return;
    }
    report_kept_ = spare_copies_.after(k);
    if (!k->last.has) return;
    Message m = about(Type::mark, *k);
    m.version = k->last.version;
    send(home(k->key, k->policy), m);
}

/// After going back a home answers only when it is known that nothing of the point is missing.
bool Engine::waits_for_verdict() {
    if (!rolled_ || verdict_) return false;
    if (counted_) return true;
    counted_ = true;
    Message m;
    m.type = Type::counted;
    m.last = marks_.count();
    send(member_[0].node, m);
    return true;
}

void Engine::on_counted(NodeId from, const Message& m) {
    Peer* p = peer(from);
    if (!p) {
        reset(from, KRG_DSM_R_MEMORY);
        return;
    }
    if (member_[0].node != cfg_.self || p->counted) {
        impossible(from);
        return;
    }
    p->counted = true;
    settling_.there += m.last;
    if (++settling_.counted < members_) return;
    for (u32 i = 0; i < members_; i++) {
        Message r;
        r.type = Type::verdict;
        r.dirty = settling_.there < point_objects_ && !KRG_DSM_MUTANT(PointNotCounted);
        send(member_[i].node, r);
    }
}

void Engine::on_verdict(NodeId from, const Message& m) {
    if (from != member_[0].node || !counted_ || verdict_) {
        impossible(from);
        return;
    }
    verdict_ = true;
    if (m.dirty) lose();
    finish_rebuild();
}

/// There is a point, and something is missing that it may have: an object without any copy; or one that would go back to
/// what it was before it was handed to a node that died.
bool Engine::point_needed() {
    if (!checkpointed() || !point_id_ || rolled_ || lost_) return false;
    if (wanted_ || lost_objects()) return true;
    for (const Note* n = notes_; n; n = n->next) {
        const Entry* e = entries_.find(n->key);
        if (n->orphan && e && !e->exclusive && (!copies(*e) || n->version > e->version)) return true;
    }
    return false;
}

/// This home answers again; all know which point is the last.
void Engine::points_rebuilt() {
    if (!checkpointed()) return;
    for (Mark* k = marks_.first(); k; k = marks_.after(k)) work_.push(k->work, k);
    if (taking_.over && !taking_.ended) end_taking(point_id_ == taking_.id ? Errno::none : Errno::again);
    if (rolled_) verified_ = generation_;
    rolled_owed_ = roll_open_;
    roll_open_ = false;
    if (rollback_asked_ && !wanted_) {
        rollback_over_ = true;
        rollback_error_ = lost_ ? Errno::io : Errno::none;
    }
}

}  // namespace krg::dsm
