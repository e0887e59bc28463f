// SPDX-License-Identifier: GPL-2.0
// The holder: what homes demand of a copy that is here. One command per object at a
// time, since a home has one transaction per object. A command waits until a grant
// under way was used, until a fresh write grant was held for its minimum time, and
// until what must be durable is.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

void Engine::on_command(NodeId from, const Message& m) {
    Obj* o = objects_.find(m.key);
    if (!o && m.type == Type::invalidate) {
        Message r = about(Type::invalidated, m);
        r.request = m.request;
        r.answer = m.answer;
        send(m.answer ? m.answer : from, r);
        return;
    }
    if (!o || o->command.type != Type::none) {
        impossible(from);
        return;
    }
    // A version that the home names has been used by others: its batch was complete.
    if (!m.version.zero() && (o->state == KRG_DSM_I || o->state == KRG_DSM_R)) settle_staged(*o, m.version);
    Command& c = o->command;
    c = {};
    c.type = m.type;
    c.mode = m.mode;
    c.keep = m.keep;
    c.home = from;
    c.node = m.node;
    c.answer = m.answer;
    c.request = m.request;
    c.op = m.op;
    c.version = m.version;
    c.rset = m.rset;
    c.ahead = m.ahead;
    if (c.ahead && !can_spare(*o)) {
        decline(*o);
        return;
    }
    if (c.type == Type::forward && o->state == KRG_DSM_X && now_ < o->hold_until) stats_.held++;
    ready(*o);
}

void Engine::end_command(Obj& o) {
    o.command = {};
    ready(o);
}

void Engine::run_command(Obj& o) {
    if (o.command.type == Type::none || o.edge) return;
    if (o.in_batch && checkpointed()) return;  // the edge still copies it: shoot_done() comes back here
    op_ = o.command.op;
    if (o.installing || (o.unused && o.waiters)) return;  // a grant is used once before it is taken back
    switch (o.command.type) {
    case Type::forward: run_forward(o); return;
    case Type::invalidate: run_invalidate(o); return;
    case Type::copy: run_copy(o); return;
    case Type::set_rset: run_set_rset(o); return;
    default: impossible(0);
    }
}

/// Has the edge take the page out of programs' hands: write-protected, or unmapped and handed over.
bool Engine::quieten(Obj& o, bool unmap) {
    if (!o.mapped) o.command.quiet = true;
    if (o.command.quiet) return true;
    if (unmap && !own_page()) {
        arm(o, now_ + cfg_.params.retry_us);
        return false;
    }
    OutAction* a = act(unmap ? KRG_DSM_ACT_INVALIDATE : KRG_DSM_ACT_DOWNGRADE);
    if (!a) {
        if (unmap) disown_page();
        arm(o, now_ + cfg_.params.retry_us);
        return false;
    }
    a->action.object = object_of(o);
    a->action.keep = 1;
    push(a);
    o.edge = static_cast<u8>(unmap ? KRG_DSM_ACT_INVALIDATE : KRG_DSM_ACT_DOWNGRADE);
    return false;
}

void Engine::edge_done(const krg_dsm_event& ev) {
    Obj* o = objects_.find(Key{ev.object.container, ev.object.index});
    if (!o || !o->edge) {
        stats_.bad++;
        return;
    }
    const bool unmap = o->edge == KRG_DSM_ACT_INVALIDATE;
    o->edge = 0;
    if (unmap && (ev.error || !ev.handle)) disown_page();
    if (ev.error && o->command.ahead) {
        decline(*o);
    } else if (ev.error) {
        const bool pinned = ev.error == static_cast<s32>(Errno::busy);
        if (!pinned || !give_up_pinned(*o)) arm(*o, now_ + cfg_.params.retry_us);
    } else {
        if (unmap) {
            o->mapped = false;
            mapped_--;
            put_copy(*o, ev.handle, true);
        }
        // The command may be another than the one this was for: a view change came in between.
        const Type t = o->command.type;
        if (t == Type::forward ? unmap || o->command.mode == KRG_DSM_READ : t == Type::invalidate && unmap)
            o->command.quiet = true;
        ready(*o);
    }
    start_batch();
    if (round_.id) shoot();
}

/// A page pinned for I/O cannot leave. Others wait for it, but not for ever.
bool Engine::give_up_pinned(Obj& o) {
    Command& c = o.command;
    const bool may = c.type == Type::invalidate || (c.type == Type::forward && c.node);
    if (!may || !cfg_.params.pin_us) return false;
    if (!c.pinned_since) c.pinned_since = now_ ? now_ : 1;
    if (now_ - c.pinned_since < cfg_.params.pin_us) return false;
    stats_.pinned++;
    Message m = about(Type::pinned, o);
    m.request = c.request;
    m.op = c.op;
    m.answer = c.answer;
    send(c.answer ? c.answer : c.home, m);
    end_command(o);
    return true;
}

/// The only object of its writer that is not durable, and nobody but the receiver needs to know
/// before the receiver does: writer and receiver are all the copies that are asked for.
bool Engine::direct(const Obj& o) const {
    return o.initialised && !snapshot_ && !staging_ && !transit_ && dirty_.count() == 1 && o.command.mode == KRG_DSM_WRITE &&
           o.rset.within(o.command.node) && copies_needed(o.policy) <= 2;
}

/// What the object holds may be seen by others: it is durable, or will be by going there.
bool Engine::may_leave(Obj& o) {
    if (!durable(o.policy) || KRG_DSM_MUTANT(UseBeforeStaged)) return true;
    if (o.in_batch) {
        if (Batch* b = snapshot_ ? snapshot_ : staging_) b->waited = true;
        return false;
    }
    if (!o.dirty || direct(o)) return true;
    batch_wanted_ = batch_waited_ = true;
    start_batch();
    return false;
}

/// After a view change: every object that has fewer backups than it could has been given more, and committed.
/// Until then nothing that this node wrote may be seen by more nodes than have seen it.
bool Engine::widened() {
    if (!widening_) return true;
    for (const Obj* o = dirty_.first(); o; o = dirty_.after(o->dirty_link))
        if (o->rset.count + 1u < copies_needed(o->policy)) return false;
    if (snapshot_ || staging_) return false;
    if (!dirty_.empty()) {
        batch_wanted_ = true;
        start_batch();
        return false;
    }
    widening_ = false;
    return true;
}

void Engine::run_forward(Obj& o) {
    const bool write = o.command.mode == KRG_DSM_WRITE;
    if (durable(o.policy) && !widened()) {
        arm(o, now_ + cfg_.params.retry_us);
        return;
    }
    if (o.state == KRG_DSM_X) {
        if (now_ < o.hold_until) {
            arm(o, o.hold_until);
            return;
        }
        if (o.device && snapshot_) {  // a view change has dropped the batch, and the edge still copies
            arm(o, now_ + cfg_.params.retry_us);
            return;
        }
        // Asked again once the page is quiet: until then programs may have written others. What a device still writes is dirty
        // again after every batch: whether it has stopped only the edge knows.
        if (((!o.device || o.in_batch) && !may_leave(o)) || !quieten(o, write) || !may_leave(o)) return;
    } else if (write || (o.state != KRG_DSM_S && o.state != KRG_DSM_R)) {
        const NodeId from = o.command.home;
        end_command(o);
        impossible(from);
        return;
    }
    hand_over(o);
}

void Engine::send_page(Obj& o, NodeId to, Message& m) {
    stats_.forwards++;
    send(to, m, o.handle, o.mapped ? &o : nullptr);
}

/// The page is quiet and may be seen: it goes to the requester.
void Engine::hand_over(Obj& o) {
    const Command c = o.command;
    const bool straight = o.state == KRG_DSM_X && durable(o.policy) && o.dirty;
    if (straight) {
        // Until the receiver has confirmed, only this node is sure to have it: commits wait for that.
        o.version = {epoch_, ++o.counter};
        o.in_transit = true;
        transit_++;
        clear_dirty(o);
        stats_.batches_direct++;
    }
    Message m;
    m.type = c.node ? Type::data : Type::demoted;
    m.key = o.key;
    m.policy = o.policy;
    m.request = c.request;
    m.mode = c.mode;
    m.version = o.version;
    m.payload = Payload::page;
    m.initialised = o.initialised;
    m.dirty = straight;
    m.lazy = c.ahead;
    if (o.state == KRG_DSM_X) {
        taken_away(o.key);
        if (c.mode == KRG_DSM_READ) stats_.downgrades++;
        trace_object(c.mode == KRG_DSM_READ ? KRG_DSM_T_DOWNGRADE : KRG_DSM_T_INVALIDATE, c.op, o.key, c.node, 0, o.version);
    }
    if (c.mode == KRG_DSM_WRITE) {
        m.rset = c.rset;
        stats_.hand_overs++;
        send_page(o, c.node, m);
        o.unused = false;
        o.rset = {};
        const bool backup = c.rset.has(cfg_.self) && !straight;
        if (backup && !o.version.zero()) {
            o.state = KRG_DSM_R;
        } else if (backup) {
            drop_copy(o);  // came ahead and was never written: the committed version is zeros, which everybody has
        } else {
            o.state = KRG_DSM_F;
            o.handed_to = c.node;
            o.handed_in = epoch_;
            if (KRG_DSM_MUTANT(FrozenForgotten)) drop_copy(o);
        }
    } else {
        if (o.state == KRG_DSM_X) {
            o.state = KRG_DSM_S;
            o.rset = {};
        }
        if (c.node)
            send_page(o, c.node, m);
        else
            send(c.home, m);
    }
    end_command(o);
}

void Engine::run_invalidate(Obj& o) {
    const Command c = o.command;
    if (o.state == KRG_DSM_X) {
        end_command(o);
        impossible(c.home);
        return;
    }
    if (o.state == KRG_DSM_S && !quieten(o, true)) return;
    stats_.invalidations++;
    if (o.state == KRG_DSM_S) taken_away(o.key);
    trace_object(KRG_DSM_T_INVALIDATE, c.op, o.key, c.node, 0, o.version);
    const bool has = o.state == KRG_DSM_S || o.state == KRG_DSM_R;
    bool keep = c.keep && has;
    if (has && c.node) {
        Message d = about(Type::data, o);
        d.request = c.request;
        d.mode = KRG_DSM_WRITE;
        d.version = o.version;
        d.payload = Payload::follows;
        d.initialised = o.initialised;
        send_page(o, c.node, d);
    }
    if (keep && !KRG_DSM_MUTANT(DropRetained)) {
        o.state = KRG_DSM_R;
        o.unused = false;
    } else if (has && c.node && !keep && !KRG_DSM_MUTANT(FrozenForgotten)) {
        o.state = KRG_DSM_F;
        o.handed_to = c.node;
        o.handed_in = epoch_;
        o.unused = false;
    } else {
        drop_copy(o);
    }
    Message r = about(Type::invalidated, o);
    r.request = c.request;
    r.keep = keep;
    r.answer = c.answer;
    send(c.answer ? c.answer : c.home, r);
    end_command(o);
}

void Engine::run_copy(Obj& o) {
    const Command c = o.command;
    if (o.state != KRG_DSM_S && o.state != KRG_DSM_R) {
        end_command(o);
        impossible(c.home);
        return;
    }
    if (durable(o.policy) && !widened()) {
        arm(o, now_ + cfg_.params.retry_us);
        return;
    }
    Message m = about(Type::retain, o);
    m.version = o.version;
    m.initialised = o.initialised;
    m.keep = c.keep;
    stats_.copies_made++;
    send_page(o, c.node, m);
    end_command(o);
}

/// A commit that reaches all of the new set makes it the set.
void Engine::run_set_rset(Obj& o) {
    Command& c = o.command;
    if (o.state != KRG_DSM_X) {
        const NodeId from = c.home;
        end_command(o);
        impossible(from);
        return;
    }
    if (!c.quiet) {
        c.quiet = true;
        const Rset old = o.rset;
        o.rset = c.rset;
        c.rset = old;  // until then: what a view change goes back to
        if (durable(o.policy)) set_dirty(o);
    }
    if (!c.keep && durable(o.policy)) {
        batch_wanted_ = true;
        start_batch();
        return;
    }
    Message m = about(Type::rset_set, o);
    m.version = o.version;
    m.rset = o.rset;
    send(c.home, m);
    end_command(o);
}

/// What was in transit is known to have arrived, or to be here only.
void Engine::arrived(Obj& o) {
    if (!o.in_transit) return;
    o.in_transit = false;
    transit_--;
    sync_check();
    start_batch();
}

void Engine::on_release(NodeId from, const Message& m) {
    Obj* o = objects_.find(m.key);
    if (o && o->state == KRG_DSM_F) {
        if (m.keep)
            o->state = KRG_DSM_R;
        else
            drop_copy(*o);
        arrived(*o);
        ready(*o);
    }
    Message r = about(Type::released, m);
    r.request = m.request;
    send(from, r);
}

/// The receiver never had it, and nobody saw what it might have written.
void Engine::on_restore(const Message& m) {
    Obj* o = objects_.find(m.key);
    // Meanwhile a batch may have brought a newer version to be kept.
    if (o && m.keep && o->state == KRG_DSM_R) return;
    if (!o || o->state != KRG_DSM_F) {
        impossible(0);
        return;
    }
    ready(*o);
    o->state = m.keep ? KRG_DSM_R : KRG_DSM_X;
    if (!m.keep) {
        o->rset = m.rset;
        if (durable(o->policy)) {
            set_dirty(*o);
            if (o->in_transit) wait_longer();
        }
    }
    arrived(*o);
}

/// A copy for safety, or so that others have room; made by another holder.
void Engine::on_retain(NodeId, Message& m) {
    Message r = about(Type::retained, m);
    r.error = take_in(m);
    send(home(m.key, m.policy), r);
}

Errno Engine::take_in(Message& m) {
    Obj* o = objects_.find(m.key);
    if (m.keep && room_ == Room::full && !(o && o->handle) && !KRG_DSM_MUTANT(InjectionWithoutRoom)) {
        stats_.injections_refused++;
        free_handle(m.handle);
        return Errno::nospc;
    }
    if (!o) o = obj(m.key, m.policy);
    if (!o) {
        free_handle(m.handle);
        return Errno::nomem;
    }
    if ((o->state == KRG_DSM_I || o->state == KRG_DSM_R) && m.version > o->version) {
        drop_copy(*o);
        put_copy(*o, m.handle, true);
        o->state = KRG_DSM_R;
        o->version = m.version;
        if (o->counter < m.version.count) o->counter = m.version.count;
        o->initialised = m.initialised;
        settle_staged(*o, m.version);
        if (m.keep) stats_.injections++;
        return Errno::none;
    }
    free_handle(m.handle);
    ready(*o);
    return o->version == m.version ? Errno::none : Errno::busy;
}

/// Versions up to @upto that wait beside the copy: committed if one is newer than what is here.
void Engine::settle_staged(Obj& o, Version upto) {
    for (Staged* s = o.staged; s;) {
        Staged* next = s->next;
        if (s->version <= upto) take_staged(*s);
        s = next;
    }
}

}  // namespace krg::dsm
