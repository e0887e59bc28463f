// SPDX-License-Identifier: GPL-2.0
// The requester: what programs of this node ask for, the way to the home and back,
// and giving everything up before leaving.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

krg_dsm_object Engine::object_of(const Obj& o) const {
    krg_dsm_object object{};
    object.container = o.key.container;
    object.index = o.key.index;
    object.policy = o.policy;
    return object;
}

Obj* Engine::obj(const Key& key, const krg_dsm_policy& policy) {
    Obj* o = objects_.find(key);
    if (!o && (o = objects_.add(heap_, key))) o->policy = policy;
    return o;
}

Obj* Engine::obj(const krg_dsm_object& object) { return obj(Key{object.container, object.index}, object.policy); }

/// Answers a token. False: not now; it works when pump() calls, and once in each event.
bool Engine::answer(u32 type, const krg_dsm_object& object, u64 token, Errno e, u64 point) {
    OutAction* a = act(type);
    if (!a && last_resort_.type) return false;
    krg_dsm_action& x = a ? a->action : last_resort_;
    x.type = type;
    x.object = object;
    x.token = token;
    x.point = point;
    x.error = static_cast<s32>(e);
    if (a) push(a);
    return true;
}

/// False: no memory to say it now.
bool Engine::error(const krg_dsm_object& object, u64 token, Errno e) {
    if (!answer(KRG_DSM_ACT_ERROR, object, token, e)) return false;
    stats_.errors++;
    return true;
}

/// The end of what was asked for in this event with a token of its own.
void Engine::done(const krg_dsm_object& object, u64 token, Errno e) {
    if (!answer(KRG_DSM_ACT_DONE, object, token, e)) stats_.checks++;
}

void Engine::request(const krg_dsm_event& ev) {
    stats_.requests++;
    const bool sane = (ev.mode == KRG_DSM_READ || ev.mode == KRG_DSM_WRITE) && suits(ev.object.policy) && !lost_;
    Obj* o = sane ? obj(ev.object) : nullptr;
    Waiter* w = o ? heap_.make<Waiter>() : nullptr;
    if (!w) {
        if (!error(ev.object, ev.token, sane ? Errno::nomem : Errno::io)) stats_.checks++;
        if (o) forget_if_empty(*o);
        return;
    }
    w->token = ev.token;
    w->mode = static_cast<u8>(ev.mode);
    w->missed = o->asked != 0;
    w->urgent = ev.flags & KRG_DSM_F_URGENT;
    w->again = ev.flags & KRG_DSM_F_AGAIN;
    if (!o->waiters && !o->asked) o->op = new_op();
    trace_object(KRG_DSM_T_REQUEST, o->op, o->key, 0, w->mode);
    (o->last_waiter ? o->last_waiter->next : o->waiters) = w;
    o->last_waiter = w;
    ready(*o);
}

/// Everything that can be done for an object now.
void Engine::run(Obj& o) {
    evict_answer(o);
    if (rolling_) {
        give_up(o);
        return;
    }
    if (lost_) fail_waiters(o, Errno::io);
    if (!serving_) return;  // copies and requests stay; between two views nothing is given and nothing taken
    grant_local(o);
    offer(o);
    run_command(o);
    ask(o);
    if (o.evicting && !o.evict_asked) {
        Message m = about(Type::evict, o);
        m.keep = o.evict_cheap;
        m.op = new_op();
        o.evict_asked = send(home(o.key, o.policy), m);
    }
    forget_if_empty(o);
}

/// Serves programs from the copy that is here, in their order as far as it suffices.
void Engine::grant_local(Obj& o) {
    if (o.edge) return;
    // A home's command goes first, but not before a grant that is out is used: who lost that to a batch gets another.
    const bool held_back = o.command.type != Type::none && !o.unused;
    if (o.in_batch && !o.mapped) return;  // the batch still sends this very page
    Waiter* before = nullptr;
    for (Waiter* w = o.waiters; w;) {
        Waiter* next = w->next;
        const bool write = w->mode == KRG_DSM_WRITE;
        const bool readable = o.state == KRG_DSM_S || o.state == KRG_DSM_X ||
                              (KRG_DSM_MUTANT(RetainedReadable) && o.state == KRG_DSM_R);
        const bool vain = w->again && (!write || o.state != KRG_DSM_X || !o.installing);
        if (!vain && (!(write ? o.state == KRG_DSM_X : readable) || (held_back && !w->again))) {
            before = w;
            w = next;
            continue;
        }
        if (!vain && write &&
            ((durable(o.policy) && snapshot_ && !KRG_DSM_MUTANT(GrantDuringSnapshot)) || writes_held_ || shoot_.active)) {
            // A write between the protection of one page and another would tear the batch.
            blocked_.push(o.blocked, &o);
            return;
        }
        if (!vain && write && !announced(o)) {
            // A request that a view change left behind is answered first: it has another id.
            if (!o.init_acks && !o.asked) announce(o);
            return;
        }
        if (vain ? !error(object_of(o), w->token, Errno::busy) : !grant_one(o, *w)) {
            arm(o, now_ + cfg_.params.retry_us);
            return;
        }
        (before ? before->next : o.waiters) = next;
        if (!next) o.last_waiter = before;
        heap_.drop(w);
        w = next;
    }
    o.unused = false;
}

bool Engine::grant_one(Obj& o, const Waiter& w) {
    OutAction* a = act(KRG_DSM_ACT_GRANT);
    if (!a) return false;
    a->action.object = object_of(o);
    a->action.token = w.token;
    a->action.mode = w.mode;
    a->action.fresh = !o.mapped;
    a->action.spare = o.spare && o.state == KRG_DSM_S;
    if (w.mode == KRG_DSM_WRITE && checkpointed() && (o.fixed || o.version == o.saved) && !KRG_DSM_MUTANT(PointVersionStays))
        o.version = {epoch_, ++o.counter};
    if (w.mode == KRG_DSM_WRITE) o.fixed = false;
    trace_object(KRG_DSM_T_GRANT, o.op, o.key, 0, w.mode, o.version);
    if (!o.mapped) {
        a->action.handle = o.handle;
        if (o.handle) disown_page();
        o.handle = 0;
        o.zeros = false;
        o.mapped = true;
        mapped_++;
    }
    push(a);
    if (w.mode == KRG_DSM_WRITE && durable(o.policy)) set_dirty(o);
    (w.missed ? stats_.misses : stats_.hits)++;
    o.installing++;
    return true;
}

void Engine::installed(const krg_dsm_event& ev) {
    Obj* o = objects_.find(Key{ev.object.container, ev.object.index});
    if (!o || !o->installing) {
        stats_.bad++;
        return;
    }
    o->installing--;
    // A program has had its first access: from here on it gets somewhere. Once for each grant of the home.
    if (o->hold_owed && o->state == KRG_DSM_X) {
        o->hold_owed = false;
        o->hold_until = now_ + cfg_.params.hold_us;
    }
    ready(*o);
}

/// Sends the request for the access that waiters lack.
void Engine::ask(Obj& o) {
    if (!o.waiters || o.asked || o.edge || (o.timed.linked() && o.attempts)) return;
    const bool write = o.waiters->mode == KRG_DSM_WRITE;
    if (o.state == KRG_DSM_X || (!write && o.state == KRG_DSM_S)) return;
    u8 mode = o.waiters->mode;
    bool urgent = false;
    for (Waiter* w = o.waiters; w; w = w->next) {
        if (w->mode == KRG_DSM_WRITE) mode = KRG_DSM_WRITE;
        urgent = urgent || w->urgent;
        w->missed = true;
    }
    asked_again(o.key);
    if (o.init_acks) o.init_acks = 0, o.request = 0;  // the write that was announced has to wait for another grant
    if (!o.request) o.request = next_request_++;
    Message m = about(Type::get, o);
    m.request = o.request;
    m.op = o.op;
    m.mode = mode;
    m.keep = urgent;
    o.granted = {};
    if (send(home(o.key, o.policy), m)) o.asked = mode;
}

void Engine::on_data(NodeId from, Message& m) {
    Obj* o = objects_.find(m.key);
    const bool refused = !o || o->request != m.request;
    if (refused && m.payload == Payload::follows) {
        free_handle(m.handle);  // another page was pinned: the home's FAIL has overtaken this part
        return;
    }
    if (refused || !o->asked || o->granted.page) {
        free_handle(m.handle);
        impossible(from);
        return;
    }
    Granted& g = o->granted;
    g.page = true;
    g.handle = m.handle;
    g.zeros = m.handle == 0;
    g.others = g.others || from != home(o->key, o->policy);
    if (m.payload != Payload::follows) {  // not a part: the whole access
        g.grant = true;
        g.version = m.version;
        g.rset = m.rset;
        g.initialised = m.initialised;
        g.direct = m.dirty;
        o->asked = m.mode;
    }
    grant_complete(*o);
}

void Engine::on_grant(NodeId from, Message& m) {
    Obj* o = objects_.find(m.key);
    if (!o || !o->asked || o->request != m.request || o->granted.grant || m.count > answers_max) {
        impossible(from);
        return;
    }
    Granted& g = o->granted;
    g.grant = true;
    g.version = m.version;
    g.rset = m.rset;
    g.initialised = m.initialised;
    g.have = m.payload == Payload::have;
    g.others = g.others || m.keep;
    if (m.payload == Payload::zeros) g.page = g.zeros = true;
    g.wanted = static_cast<u8>(m.count);
    o->asked = m.mode;
    grant_complete(*o);
}

/// A holder has given up its copy for this node's write, or cannot.
void Engine::on_answer(NodeId from, const Message& m) {
    Obj* o = objects_.find(m.key);
    if (m.answer != cfg_.self || !o || !o->asked || o->request != m.request || o->granted.answers == answers_max) {
        impossible(from);
        return;
    }
    Granted& g = o->granted;
    g.answers++;
    if (m.type == Type::pinned && !KRG_DSM_MUTANT(PinnedCounts)) g.pinned[g.pinned_count++] = from;
    grant_complete(*o);
}

/// When everything has come that belongs to the access: it is this node's. A holder whose page is pinned has sent none,
/// and whoever did send one has answered behind it.
void Engine::grant_complete(Obj& o) {
    const Granted& g = o.granted;
    if (!g.grant || (g.answers < g.wanted && !KRG_DSM_MUTANT(WrittenBeforeAnswers))) return;
    if (!g.pinned_count) {
        if (g.have || g.page) finish_grant(o);
        return;
    }
    Message m = about(Type::pinned, o);
    m.request = o.request;
    m.list_count = g.pinned_count;
    for (u32 i = 0; i < g.pinned_count; i++) m.list[i] = g.pinned[i];
    if (g.page) free_handle(g.handle);
    o.granted = {};  // the home refuses it now
    send(home(o.key, o.policy), m);
}

/// Who must know has been told that the object is no longer zeros, or that something of its chunk may not be.
bool Engine::announced(const Obj& o) const { return o.initialised || (durable(o.policy) && registered(o.key)); }

/// Before the first write of a volatile object two nodes know that it is no longer zeros; of the first in its chunk
/// all know, of a durable one only that (the rest is part of its first commit). Once more in every view until all have
/// answered in one.
void Engine::announce(Obj& o) {
    if (!settled_) return;  // the domain may go back: settled() comes back here
    o.init_all = !registered(o.key);
    o.request = next_request_++;
    for (u32 i = 0; i < members_; i++) {
        if (!o.init_all && !keeps_bits(o.key, o.policy, member_[i].node)) continue;
        Message m = about(Type::init, o);
        m.request = o.request;
        m.op = o.op;
        m.keep = durable(o.policy);
        if (send(member_[i].node, m)) o.init_acks++;
    }
}

void Engine::on_init_done(const Message& m) {
    Obj* o = objects_.find(m.key);
    if (!o || o->request != m.request || !o->init_acks || --o->init_acks) return;
    o->request = 0;
    if (o->init_all) now_registered(o->key);
    if (o->state == KRG_DSM_X && !durable(o->policy)) o->initialised = true;
    ready(*o);
}

/// The access is this node's from here on.
void Engine::finish_grant(Obj& o) {
    const Granted g = o.granted;
    const u8 mode = o.asked;
    o.granted = {};
    count_answer(o, g.others);
    if (o.state != KRG_DSM_X || g.page) {
        if (g.page) {
            if (o.mapped) {  // nobody sends a page to a node that reads its own copy
                free_handle(g.handle);
                impossible(0);
                return;
            }
            drop_copy(o);
            put_copy(o, g.handle, g.zeros);
        } else if (o.state == KRG_DSM_I || o.state == KRG_DSM_R) {
            settle_staged(o, g.version);  // what the home calls ours may still wait for its decision here
        }
        o.state = mode == KRG_DSM_WRITE ? static_cast<u8>(KRG_DSM_X) : static_cast<u8>(KRG_DSM_S);
        o.spare = g.page;
        o.version = g.version;
        if (o.counter < g.version.count) o.counter = g.version.count;
        o.rset = g.rset;
        o.initialised = g.initialised || (durable(o.policy) && !g.version.zero());
        if (mode == KRG_DSM_WRITE) {
            o.hold_until = now_ + cfg_.params.hold_us;
            o.hold_owed = true;
            if (!durable(o.policy)) o.version = {epoch_, ++o.counter};
        }
        o.unused = true;
        if (g.page) settle_staged(o, o.version);
    }
    const u64 request = o.request;
    const bool ahead = o.ahead && !o.waiters;
    if (o.ahead) {
        stats_.ahead_got++;
        not_ahead(o);
    }
    if (ahead) {  // there is no program whose first use it has to wait for, nor anything to hold it for before that
        o.unused = false;
        o.hold_until = now_;
        o.initialised = o.initialised || (KRG_DSM_MUTANT(RunIsAnnounced) && mode == KRG_DSM_WRITE);
    }
    o.offer = ahead;
    o.asked = 0;
    o.request = 0;
    o.attempts = 0;
    ready(o);
    Message m = about(Type::close, o);
    m.lazy = ahead;
    m.behind = !ahead;
    m.request = request;
    m.version = o.version;
    m.dirty = g.direct;
    send(home(o.key, o.policy), m);
}

void Engine::on_fail(const Message& m) {
    Obj* o = objects_.find(m.key);
    if (!o || !o->asked || o->request != m.request) return;
    o->asked = 0;
    if (o->granted.page) free_handle(o->granted.handle);  // a part of what is now refused
    o->granted = {};
    if (o->ahead) {
        not_ahead(*o);
        return;
    }
    if (m.error == Errno::nomem && o->attempts++ < cfg_.params.attempts) {
        arm(*o, now_ + cfg_.params.retry_us);
        return;
    }
    o->request = 0;
    o->attempts = 0;
    fail_waiters(*o, m.error);
    ready(*o);
}

/// Everybody who waits; without room only those who want to write, unless it is urgent: the others ask again.
void Engine::fail_waiters(Obj& o, Errno e) {
    Waiter* before = nullptr;
    for (Waiter* w = o.waiters; w;) {
        Waiter* next = w->next;
        if (e == Errno::nospc && (w->mode != KRG_DSM_WRITE || w->urgent)) {
            before = w;
            w = next;
            continue;
        }
        if (!error(object_of(o), w->token, e)) {
            arm(o, now_ + cfg_.params.retry_us);  // whoever is left asks once more
            return;
        }
        (before ? before->next : o.waiters) = next;
        if (!next) o.last_waiter = before;
        heap_.drop(w);
        w = next;
    }
}

/// Puts a page that is not in the page cache into an object without one.
void Engine::put_copy(Obj& o, u64 handle, bool zeros) {
    o.handle = handle;
    o.zeros = zeros && !handle;
    o.recent = true;
}

/// The copy that is not in the page cache, if any, is gone.
void Engine::drop_copy(Obj& o) {
    free_handle(o.handle);
    o.handle = 0;
    o.zeros = false;
    o.state = KRG_DSM_I;
    o.version = {};
    o.rset = {};
    o.unused = false;
    if (o.dirty) clear_dirty(o);
    arrived(o);
}

void Engine::forget_if_empty(Obj& o) {
    if (o.state != KRG_DSM_I || o.mapped || o.handle || o.waiters || o.asked || o.edge || o.installing || o.staged ||
        o.in_batch || o.evicting || o.evict_owed || o.command.type != Type::none || o.granted.page)
        return;
    ready_.remove(o.ready);
    dirty_.remove(o.dirty_link);
    timed_.remove(o.timed);
    blocked_.remove(o.blocked);
    not_reported(o);
    objects_.erase(heap_, &o);
}

/// Leaving: everything this node holds goes elsewhere, a few objects at a time.
void Engine::drain() {
    constexpr u32 window = 32;
    if (!serving_ || drained_told_) return;
    u32 busy = 0, left = 0;
    const bool alone = members_ <= 1;
    if (!alone && stays_last_ == cfg_.self) return;
    for (Obj* o = objects_.first(); o && !alone && busy < window; o = objects_.after(o)) {
        // What was asked for before the last view may still be given to this node.
        if (o->state == KRG_DSM_I && !o->staged && !o->asked) continue;
        left++;
        if (o->evicting)
            busy++;
        else if (o->state != KRG_DSM_I && o->state != KRG_DSM_F && !o->timed.linked()) {
            o->evicting = true;
            o->evict_asked = o->evict_cheap = false;
            busy++;
            ready(*o);
        }
    }
    // What this node knows of others' objects must be known elsewhere too.
    if (!alone && (!home_serving_ || push_chunk_ || pushed_)) return;
    if (!alone && spare_copies_.count()) return;  // the home has them moved
    if (left || ahead_ || !parts_.empty() || staging_ || snapshot_ || !deciding_.empty()) return;
    OutAction* a = act(KRG_DSM_ACT_DRAINED);
    if (!a) return;
    drained_told_ = true;
    a->action.epoch = epoch_;
    push(a);
}

}  // namespace krg::dsm
