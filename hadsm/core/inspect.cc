// SPDX-License-Identifier: GPL-2.0
// Looking into the engine: for administrators, checkers and traces. Nothing here
// changes anything.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

void Engine::inspect(const krg_dsm_object& object, krg_dsm_copy& copy) {
    copy = {};
    const Key key{object.container, object.index};
    copy.home = home_of(key, object.policy);
    copy.initialised = initialised(key);
    if (const Obj* o = objects_.find(key)) {
        copy.state = o->state;
        copy.dirty = o->dirty || o->in_batch;
        copy.staged = o->staged != nullptr;
        copy.mapped = o->mapped;
        for (u32 i = 0; i < o->rset.count; i++) copy.retained_at[i] = o->rset.node[i];
        copy.version_epoch = o->version.epoch;
        copy.version_count = o->version.count;
    }
    if (const Entry* e = entries_.find(key)) {
        copy.entry = e->exclusive ? 2 : 1;
        copy.writer = e->exclusive ? e->writer : static_cast<u16>(0);
        copy.sharers = e->sharers.count();
        copy.retained = e->retained.count();
        for (const Want* w = e->queue; w; w = w->next) copy.queued++;
        copy.transaction = static_cast<u32>(e->phase);
    }
}

namespace {

void put_nodes(const IdSet& set, krg_dsm_nodes& out) {
    out.count = set.count();
    for (u32 i = 0; i < set.count() && i < KRG_DSM_EXPLAIN_MAX; i++) out.node[i] = set.at(i);
}

const char* word(krg_dsm_state state) {
    switch (state) {
    case KRG_DSM_I: return "none";
    case KRG_DSM_S: return "shared";
    case KRG_DSM_X: return "exclusive";
    case KRG_DSM_R: return "retained";
    case KRG_DSM_F: return "frozen";
    }
    return "unknown";
}

const char* word(Phase phase) {
    switch (phase) {
    case Phase::idle: return "idle";
    case Phase::closing: return "closing";
    case Phase::demoting: return "demoting";
    case Phase::copying: return "copying";
    case Phase::invalidating: return "invalidating";
    case Phase::setting: return "setting-backups";
    case Phase::releasing: return "releasing";
    }
    return "unknown";
}

const char* word_of_want(Type t) {
    switch (t) {
    case Type::none: return "-";
    case Type::set_rset: return "repair";
    case Type::punch: return "hole";
    default: return name_of(t);
    }
}

}  // namespace

void Engine::explain(const krg_dsm_object& object, krg_dsm_explanation& x) {
    x = {};
    inspect(object, x.copy);
    x.state = word(static_cast<krg_dsm_state>(x.copy.state));
    x.edge = x.command = x.want = "-";
    x.phase = word(Phase::idle);
    const Key key{object.container, object.index};
    if (const Obj* o = objects_.find(key)) {
        if (o->edge) x.edge = o->edge == KRG_DSM_ACT_INVALIDATE ? "invalidate" : "downgrade";
        if (o->command.type != Type::none) x.command = name_of(o->command.type);
        x.command_to = o->command.node;
        x.asked = o->asked;
        x.in_batch = o->in_batch;
        for (const Waiter* w = o->waiters; w; w = w->next) x.waiting++;
        x.installing = o->installing;
        for (const Staged* s = o->staged; s; s = s->next) x.staged++;
    }
    const Entry* e = entries_.find(key);
    if (!e) return;
    x.phase = word(e->phase);
    x.want = word_of_want(e->current.type);
    x.requester = e->current.node;
    x.want_mode = e->current.mode;
    x.acks = e->phase == Phase::invalidating ? e->acks : 0;
    put_nodes(e->sharers, x.sharers);
    put_nodes(e->retained, x.retained);
    put_nodes(e->stale, x.stale);
    put_nodes(e->frozen, x.frozen);
    for (const Want* w = e->queue; w; w = w->next, x.queue.count++)
        if (x.queue.count < KRG_DSM_EXPLAIN_MAX) x.queue.node[x.queue.count] = w->node;
}

int Engine::snapshot_object(u32 i, krg_dsm_object& object) const {
    if (shoot_.active) {
        if (i >= shoot_.copied) return -1;
        object = {};
        object.container = shoot_.item[i].key.container;
        object.index = shoot_.item[i].key.index;
        object.policy = shoot_.item[i].policy;
        return 0;
    }
    if (!snapshot_ || i >= snapshot_->copied) return -1;
    object = object_of(*snapshot_->item[i].obj);
    return 0;
}

void Engine::for_each(int (*visit)(void*, const krg_dsm_object*), void* context) const {
    for (const Obj* o = objects_.first(); o; o = objects_.after(o)) {
        const krg_dsm_object object = object_of(*o);
        if (visit(context, &object)) return;
    }
}

/// Order of records does not matter: the parts are added up.
u64 Engine::hash() const {
    u64 h = mix(epoch_, serving_ | home_serving_ << 1 | draining_ << 2 | static_cast<u64>(reporting_) << 3 |
                            batch_wanted_ << 8 | static_cast<u64>(room_) << 9 | kept_ << 12 | spread_ << 13 | answering_ << 14 |
                            self_reported_ << 15 | static_cast<u64>(reports_) << 16 | static_cast<u64>(asked_) << 40);
    h += mix(base_, last_reported_) + mix(static_cast<u64>(knows_), 29);
    for (const Parked* p = asks_; p; p = p->next) h += mix(p->from, p->message.bits[0]) * 23;
    const auto set = [](const IdSet& s, u64 salt) {
        u64 x = salt;
        for (u32 i = 0; i < s.count(); i++) x = mix(x, s.at(i));
        return x;
    };
    for (const Obj* o = objects_.first(); o; o = objects_.after(o)) {
        u64 x = mix(hash_of(o->key), o->state | o->mapped << 4 | o->zeros << 5 | o->dirty << 6 | o->in_batch << 7 |
                                         o->unused << 8 | o->initialised << 9 | static_cast<u64>(o->asked) << 10 |
                                         static_cast<u64>(o->edge) << 12 | static_cast<u64>(o->installing) << 20 |
                                         o->evicting << 28 | o->evict_asked << 29 | static_cast<u64>(o->evict_cheap) << 30 |
                                         static_cast<u64>(o->recent) << 31 | static_cast<u64>(o->ahead) << 32 |
                                         static_cast<u64>(o->offer) << 33 | static_cast<u64>(o->hold_owed) << 34 |
                                         static_cast<u64>(o->device) << 35);
        x = mix(x, mix(o->version.epoch, o->version.count));
        x = mix(x, o->request ? 1 : 0);
        x = mix(x, static_cast<u64>(o->command.type) | o->command.quiet << 8 | o->command.keep << 9 |
                       static_cast<u64>(o->command.ahead) << 10 | static_cast<u64>(o->command.node) << 16 |
                       static_cast<u64>(o->command.mode) << 32 | static_cast<u64>(o->command.answer) << 40);
        x = mix(x, o->granted.grant | o->granted.page << 1 | o->in_transit << 3 | static_cast<u64>(o->init_acks) << 8 |
                       static_cast<u64>(o->granted.answers) << 40 | static_cast<u64>(o->granted.wanted) << 44);
        for (u32 i = 0; i < o->granted.pinned_count; i++) x = mix(x, o->granted.pinned[i]);
        for (const Waiter* w = o->waiters; w; w = w->next) x = mix(x, w->mode);
        for (u32 i = 0; i < o->rset.count; i++) x = mix(x, o->rset.node[i]);
        for (const Staged* s = o->staged; s; s = s->next) x = mix(x, mix(s->version.epoch, s->version.count));
        h += x;
    }
    for (const Entry* e = entries_.first(); e; e = entries_.after(e)) {
        u64 x = mix(hash_of(e->key), e->exclusive | e->repair << 1 | static_cast<u64>(e->phase) << 2 |
                                         static_cast<u64>(e->writer) << 8 | static_cast<u64>(e->acks) << 24 |
                                         static_cast<u64>(e->hole) << 56 | static_cast<u64>(e->source) << 40 |
                                         static_cast<u64>(e->answered) << 60);
        x = mix(x, mix(e->version.epoch, e->version.count));
        x = mix(x, set(e->sharers, 1) ^ set(e->retained, 2) ^ set(e->stale, 3) ^ set(e->frozen, 4));
        x = mix(x, mix(static_cast<u64>(e->current.type),
                       e->current.node | static_cast<u64>(e->current.mode) << 16 | static_cast<u64>(e->current.ahead) << 24));
        x = mix(x, e->ask | e->kept << 1 | e->restoring << 2);
        for (const Want* w = e->queue; w; w = w->next)
            x = mix(x, mix(static_cast<u64>(w->type),
                           w->node | static_cast<u64>(w->mode) << 16 | static_cast<u64>(w->ahead) << 24));
        h += x * 3;
    }
    for (const Peer* p = peers_.first(); p; p = peers_.after(p))
        h += (static_cast<u64>(p->room) | static_cast<u64>(p->knows) << 4 | static_cast<u64>(p->spoke) << 6) * hash_of(p->key);
    if (punch_)
        h += mix(punch_->first.index,
                 punch_->last ^ static_cast<u64>(punch_->asked) << 40 ^ static_cast<u64>(punch_->left) << 41) *
             17;
    for (const Punch* p = hole_; p; p = p->next)
        h += mix(mix(p->first.index, p->last),
                 p->left | static_cast<u64>(p->clearing) << 32 | static_cast<u64>(p->dropping) << 33) *
             19;
    for (const Chunk* c = chunks_.first(); c; c = chunks_.after(c))
        for (u32 i = 0; i <= 8; i++)
            h += mix(hash_of(c->key) + i,
                     i < 8 ? c->bits[i] : c->complete << 4 | c->unsure << 3 | c->written << 2 | c->everywhere << 1 | c->told) *
                 5;
    for (const Part* p = parts_.first(); p; p = parts_.after(p->link))
        h += mix(mix(p->writer, p->id), static_cast<u64>(p->fate) | p->resolving << 4 | p->decided << 5 | p->received << 8) * 7;
    for (const Batch* b : {static_cast<const Batch*>(snapshot_), static_cast<const Batch*>(staging_)})
        if (b)
            h += mix(b->id, b->waiting | static_cast<u64>(b->send_node) << 8 | static_cast<u64>(b->send_item) << 16 |
                                b->aborted << 30) *
                 11;
    for (const Batch* b = deciding_.first(); b; b = deciding_.after(b->link))
        h += mix(b->id, b->waiting | static_cast<u64>(b->fate) << 8) * 13;
    hash_points(h);
    return h;
}

}  // namespace krg::dsm

namespace {

/// Appends to a text of bounded length, and counts what would have been.
struct Text {
    char* at;
    u32 room;
    u32 length = 0;
    void put(char c) {
        if (length + 1 < room) at[length] = c;
        length++;
    }
    void put(const char* s) {
        while (*s) put(*s++);
    }
    void number(unsigned long long v) {
        char digits[20];
        int n = 0;
        do digits[n++] = static_cast<char>('0' + v % 10);
        while (v /= 10);
        while (n) put(digits[--n]);
    }
    int end() {
        if (room) at[length < room ? length : room - 1] = 0;
        return static_cast<int>(length);
    }
};

}  // namespace

extern "C" int krg_dsm_describe(const u8* data, u32 len, char* text, u32 room) {
    using namespace krg::dsm;
    Text t{text, room};
    Message m;
    if (!decode(m, data, len)) {
        t.put("malformed");
        return t.end();
    }
    t.put(name_of(m.type));
    t.put(" e");
    t.number(m.epoch);
    t.put('#');
    t.number(m.seq);
    t.put(' ');
    t.number(m.key.container);
    t.put(':');
    t.number(m.key.index);
    t.put(" v");
    t.number(m.version.epoch);
    t.put('.');
    t.number(m.version.count);
    t.put(" n");
    t.number(m.node);
    t.put(" m");
    t.number(m.mode);
    t.put(" r");
    t.number(m.request & 0xffffff);
    t.put(" p");
    t.number(static_cast<unsigned>(m.payload));
    if (m.keep) t.put(" keep");
    if (m.initialised) t.put(" init");
    if (m.error != Errno::none) {
        t.put(" error");
        t.number(static_cast<unsigned long long>(-static_cast<long long>(m.error)));
    }
    if (m.fate != Fate::none) {
        t.put(" fate");
        t.number(static_cast<unsigned>(m.fate));
    }
    for (u32 i = 0; m.type == Type::report && i < m.list_count; i++) {
        t.put(" +");
        t.number(m.copy[i].at);
        t.put(" s");
        t.number(m.copy[i].mode);
        t.put(" v");
        t.number(m.copy[i].version_epoch);
        t.put('.');
        t.number(m.copy[i].version_count);
    }
    for (u32 i = 0; i < m.rset.count; i++) {
        t.put(i ? ',' : '[');
        t.number(m.rset.node[i]);
    }
    if (m.rset.count) t.put(']');
    return t.end();
}
