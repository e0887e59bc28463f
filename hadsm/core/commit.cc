// SPDX-License-Identifier: GPL-2.0
// The writer: its dirty objects become durable together. A batch is a point in this
// node's history: everything dirty is protected, then copied (by the edge), sent to
// every node that holds the committed version of one of the objects, and usable by
// others once all of them have it. Then everybody is told to replace the old version.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

void Engine::set_dirty(Obj& o) {
    if (o.dirty) return;
    o.dirty = true;
    if (dirty_.empty()) commit_at_ = cfg_.params.commit_us ? now_ + commit_in() : never;
    dirty_.push(o.dirty_link, &o);
    if (cfg_.params.dirty_max && dirty_.count() >= cfg_.params.dirty_max && commit_at_ > now_) commit_at_ = now_ + 1;
}

void Engine::clear_dirty(Obj& o) {
    o.dirty = false;
    dirty_.remove(o.dirty_link);
    if (dirty_.empty()) commit_at_ = never;
}

/// How long something may be dirty: less after a batch that somebody had to wait for, up to commit_us again after those that
/// nobody did. Where pages go from node to node, the next batch is over before the next node asks.
Us Engine::commit_in() const { return (cfg_.params.commit_us >> commit_haste_) + 1; }

void Engine::learn_from(const Batch& b) {
    if (b.waited)
        commit_haste_ += commit_haste_ < commit_haste_max;
    else
        commit_haste_ -= commit_haste_ > 0;
}

/// Begins a batch of all that is dirty, if one is wanted and none is under way.
void Engine::start_batch() {
    // Nothing later may be durable before what is in transit is: arrived() comes back here. Nor is anything committed in
    // an epoch before all have reported in it: finish_rebuild() comes back here.
    if (!batch_wanted_ || !home_serving_ || snapshot_ || staging_ || transit_ || now_ < batch_retry_at_) return;
    if (dirty_.empty()) {
        batch_wanted_ = false;
        return;
    }
    batch_retry_at_ = now_ + cfg_.params.retry_us;
    // Not while a page is on its way out of the page cache: edge_done() comes back here. And not while an object has
    // fewer backups than it could: its home gives it more, run_set_rset() comes back here.
    for (const Obj* o = dirty_.first(); o; o = dirty_.after(o->dirty_link))
        if (o->edge || o->rset.count + 1u < copies_needed(o->policy)) return;
    const u32 n = static_cast<u32>(dirty_.count());
    Batch* b = heap_.make<Batch>();
    Item* items = b ? static_cast<Item*>(heap_.take(n * sizeof(Item))) : nullptr;
    OutAction* a = items ? act(KRG_DSM_ACT_SNAPSHOT) : nullptr;
    u32 pages = 0;
    while (a && pages < n && own_page()) pages++;
    if (pages < n) {
        while (pages--) disown_page();
        if (a) recycle(a);
        heap_.give(items, n * sizeof(Item));
        heap_.drop(b);
        return;
    }
    b->item = items;
    b->room = b->items = n;
    b->id = next_batch_++;
    b->epoch = epoch_;
    b->op = new_op();
    b->waited = batch_waited_;
    batch_waited_ = false;
    trace_number(KRG_DSM_T_SNAPSHOT, b->op, n, "batch");
    u32 low = 0, high = n;
    while (Obj* o = dirty_.first()) {
        Item& it = *new (&items[o->mapped ? low++ : --high]) Item;
        it.obj = o;
        it.version = {epoch_, ++o->counter};
        it.rset = o->rset;
        it.first = !o->initialised;
        it.lent = !o->mapped;
        if (it.lent) disown_page();
        o->in_batch = true;
        o->device = false;
        clear_dirty(*o);
        if (KRG_DSM_MUTANT(CommitOneObject)) {
            cut_batch(*b, low, high);
            break;
        }
    }
    b->copied = low;
    stats_.batches++;
    stats_.batch_objects += n;
    batch_wanted_ = false;
    batch_retry_at_ = now_;
    snapshot_ = b;
    if (low) {
        push(a);
        return;
    }
    recycle(a);
    krg_dsm_event done{};
    done.type = KRG_DSM_EV_SNAPSHOT_DONE;
    snapshot_done(done);
}

/// For the mutant that commits less than it should: the rest of the places stay empty.
void Engine::cut_batch(Batch& b, u32& low, u32& high) {
    for (u32 i = 1; i < b.items; i++) disown_page();
    if (!low) {
        b.item[0] = b.item[b.items - 1];
        high = 0;
    }
    b.items = 1;
}

void Engine::snapshot_put(u32 i, u64 handle) {
    if (shoot_.active && i < shoot_.copied && !shoot_.item[i].handle) {
        shoot_.item[i].handle = handle;
        return;
    }
    if (!snapshot_ || i >= snapshot_->copied || snapshot_->item[i].handle) {
        stats_.bad++;
        return;
    }
    snapshot_->item[i].handle = handle;
}

/// At once: a SYNC that begins before the snapshot ends must wait for the next batch.
void Engine::snapshot_again(u32 i) {
    if (shoot_.active && i < shoot_.copied) {
        shoot_.busy = true;  // what was copied is no moment of its history
        return;
    }
    if (!snapshot_ || i >= snapshot_->copied) {
        stats_.bad++;
        return;
    }
    if (snapshot_->aborted || KRG_DSM_MUTANT(DeviceForgotten)) return;
    Obj& o = *snapshot_->item[i].obj;
    o.device = true;
    set_dirty(o);
}

void Engine::snapshot_done(const krg_dsm_event& ev) {
    if (shoot_.active) {
        shoot_done(ev.error);
        return;
    }
    Batch* b = snapshot_;
    if (!b) {
        stats_.bad++;
        return;
    }
    snapshot_ = nullptr;
    while (Obj* o = blocked_.first()) {
        blocked_.remove(o->blocked);
        ready(*o);
    }
    for (u32 i = 0; i < b->copied; i++)
        if (!b->item[i].handle) disown_page();
    if (b->aborted || ev.error) {
        if (!b->aborted) {
            items_back(*b);
            batch_retry_at_ = now_ + cfg_.params.retry_us;
            wait_longer();
        }
        drop_items(*b);
        dispose(b);
        return;
    }
    begin_staging(*b);
}

void Engine::begin_staging(Batch& b) {
    op_ = b.op;
    b.phase = BatchPhase::staging;
    staging_ = &b;
    if (!list_backups(b)) {
        batch_failed(b);
        return;
    }
    b.waiting = b.list_count;
    if (KRG_DSM_MUTANT(ForgetBackups) && b.list_count > 1) b.list_count = b.waiting = 1;
    if (!b.list_count) batch_complete(b);
}

/// What @node has to do with an object of a batch: keep the page, or know that it was written.
bool Engine::concerns(const Item& it, NodeId node, bool& with_page) {
    with_page = it.rset.has(node);
    if (with_page || !it.first) return with_page;
    return keeps_bits(it.obj->key, it.obj->policy, node);
}

bool Engine::list_backups(Batch& b) {
    const auto add = [&](NodeId n) {
        if (!n || n == cfg_.self || !member(n)) return true;
        for (u32 i = 0; i < b.list_count; i++)
            if (b.list[i] == n) return true;
        if (b.list_count == batch_nodes_max) return false;
        b.list[b.list_count++] = n;
        return true;
    };
    for (u32 i = 0; i < b.items; i++) {
        const Item& it = b.item[i];
        for (u32 k = 0; k < it.rset.count; k++)
            if (!add(it.rset.node[k])) return false;
        if (!it.first) continue;
        NodeId keeper[KRG_DSM_REPLICAS_MAX];
        place(it.obj->key, it.obj->policy, keeper);
        for (u32 k = 0; k < holders_of_bits(it.obj->policy); k++)
            if (!add(keeper[k])) return false;
    }
    return true;
}

void Engine::stage_item(Batch& b, NodeId to, const Item& it, bool with_page) {
    const Obj& o = *it.obj;
    Message m;
    m.type = Type::stage;
    m.node = cfg_.self;
    m.request = b.id;
    m.key = o.key;
    m.policy = o.policy;
    m.version = it.version;
    m.initialised = it.first;
    const u64 handle = it.lent ? o.handle : it.handle;
    m.payload = !with_page ? Payload::have : handle ? Payload::page : Payload::zeros;
    send(to, m, with_page ? handle : 0);
}

void Engine::stage_end(Batch& b, NodeId to, u32 count) {
    Message m;
    m.type = Type::stage_end;
    m.node = cfg_.self;
    m.request = b.id;
    m.count = count;
    m.list_count = static_cast<u8>(b.list_count);
    for (u32 i = 0; i < b.list_count; i++) m.list[i] = b.list[i];
    send(to, m);
}

/// One message of the batch that is being sent; false: nothing to send.
bool Engine::stage_some() {
    Batch* b = staging_;
    if (!b || b->send_node >= b->list_count) return false;
    op_ = b->op;
    const NodeId to = b->list[b->send_node];
    while (b->send_item < b->items) {
        const Item& it = b->item[b->send_item++];
        bool with_page = false;
        if (!concerns(it, to, with_page)) continue;
        b->sent++;
        stage_item(*b, to, it, with_page);
        return true;
    }
    stage_end(*b, to, b->sent);
    b->send_node++;
    b->send_item = b->sent = 0;
    return true;
}

void Engine::on_staged(NodeId from, const Message& m) {
    Batch* b = staging_;
    if (!b || m.node != cfg_.self || m.request != b->id) {
        impossible(from);
        return;
    }
    for (u32 i = 0; i < b->list_count; i++) {
        if (b->list[i] != from || b->answered[i]) continue;
        b->answered[i] = true;
        if (m.error != Errno::none) b->failed = true;
        if (--b->waiting) return;
        if (b->failed)
            batch_failed(*b);
        else
            batch_complete(*b);
        return;
    }
}

/// Every backup has it: its objects are durable.
void Engine::batch_complete(Batch& b) {
    for (u32 i = 0; i < b.items; i++) {
        Item& it = b.item[i];
        Obj& o = *it.obj;
        o.in_batch = false;
        o.version = it.version;
        o.initialised = true;
        bool with_page = false;
        if (it.first && concerns(it, cfg_.self, with_page) && !set_initialised(o.key, o.policy)) reset(0, KRG_DSM_R_MEMORY);
        if (o.command.type == Type::set_rset && o.command.quiet && it.rset.same_as(o.rset)) o.command.keep = true;
        ready(o);
    }
    drop_items(b);
    staging_ = nullptr;
    learn_from(b);
    b.fate = Fate::applied;
    send_decision(b);
    sync_check();
    start_batch();
}

/// Not every backup could keep it: nobody does, and the objects are dirty as before.
void Engine::batch_failed(Batch& b) {
    stats_.batches_dropped++;
    items_back(b);
    drop_items(b);
    staging_ = nullptr;
    batch_wanted_ = true;
    batch_retry_at_ = now_ + cfg_.params.retry_us;
    wait_longer();
    b.fate = Fate::dropped;
    send_decision(b);
}

void Engine::items_back(Batch& b) {
    for (u32 i = 0; i < b.items; i++) {
        Obj& o = *b.item[i].obj;
        o.in_batch = false;
        set_dirty(o);
        ready(o);
    }
}

void Engine::drop_items(Batch& b) {
    for (u32 i = 0; i < b.items; i++)
        if (!b.item[i].lent) free_handle(b.item[i].handle);
    heap_.give(b.item, b.room * sizeof(Item));
    b.item = nullptr;
    b.items = b.room = b.copied = 0;
}

void Engine::dispose(Batch* b) {
    deciding_.remove(b->link);
    heap_.drop(b);
}

/// Tells every backup what became of the batch, until all have answered.
void Engine::send_decision(Batch& b) {
    b.phase = BatchPhase::deciding;
    op_ = b.op;
    trace_number(KRG_DSM_T_DECIDE, b.op, b.list_count, b.fate == Fate::applied ? "apply" : "drop");
    deciding_.push(b.link, &b);
    b.waiting = 0;
    for (u32 i = 0; i < b.list_count; i++) {
        b.answered[i] = !serving_ || !stayed(b.list[i], b.epoch);
        if (b.answered[i]) continue;
        Message m;
        m.type = Type::decide;
        m.node = cfg_.self;
        m.request = b.id;
        m.fate = b.fate;
        b.waiting++;
        send(b.list[i], m);
    }
    if (!b.waiting && serving_) dispose(&b);
}

void Engine::on_decided(NodeId from, const Message& m) {
    if (m.node != cfg_.self) {
        if (Part* p = part(m.node, m.request)) part_decided(*p, from);
        return;
    }
    Batch* b = batch(m.request);
    if (!b) return;
    for (u32 i = 0; i < b->list_count; i++) {
        if (b->list[i] != from || b->answered[i]) continue;
        b->answered[i] = true;
        if (--b->waiting) return;
        Message f;
        f.type = Type::forget;
        f.node = cfg_.self;
        f.request = b->id;
        for (u32 k = 0; k < b->list_count; k++)
            if (stayed(b->list[k], b->epoch)) send(b->list[k], f);
        dispose(b);
        return;
    }
}

Batch* Engine::batch(u64 id) const {
    for (Batch* b = deciding_.first(); b; b = deciding_.after(b->link))
        if (b->id == id) return b;
    return nullptr;
}

void Engine::sync(const krg_dsm_event& ev) {
    SyncWaiter* s = heap_.make<SyncWaiter>();
    if (!s) {
        done(ev.object, ev.token, Errno::nomem);
        return;
    }
    s->token = ev.token;
    s->upto = !dirty_.empty() ? next_batch_ + 1 : next_batch_;
    s->next = syncs_;
    syncs_ = s;
    if (!dirty_.empty()) {
        batch_wanted_ = true;
        start_batch();
    }
    sync_check();
}

/// What was in a batch is dirty again: whoever waits, waits for the next one.
void Engine::wait_longer() {
    batch_wanted_ = true;
    for (SyncWaiter* s = syncs_; s; s = s->next) s->upto = next_batch_ + 1;
    if (punch_) punch_->upto = next_batch_ + 1;
}

/// All batches below this number are over; any number when nothing is dirty or under way.
u64 Engine::batches_done() const {
    const Batch* b = snapshot_ ? snapshot_ : staging_;
    return b ? b->id : dirty_.empty() ? ~0ull : next_batch_;
}

/// Answers those for whom every batch they wait for is durable.
void Engine::sync_check() {
    punch_more();
    const u64 done = batches_done();
    if (transit_) return;
    for (SyncWaiter** at = &syncs_; *at;) {
        SyncWaiter* s = *at;
        if (s->upto > done) {
            at = &s->next;
            continue;
        }
        if (!answer(KRG_DSM_ACT_DONE, {}, s->token, Errno::none)) {
            sync_owed_ = true;
            return;
        }
        *at = s->next;
        heap_.drop(s);
    }
}

}  // namespace krg::dsm
