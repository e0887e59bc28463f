// SPDX-License-Identifier: GPL-2.0
// The engine's C face, and its end.
#include "hadsm/core/engine.hh"

#ifdef KRG_MUTANTS
namespace krg::dsm {
Mutant active_mutant = Mutant::None;
}
#endif

namespace krg::dsm {

/// Gives every handle back.
void Engine::stop() {
    purge_sends();
    while (OutAction* a = out_) {  // a GRANT not taken still has its page
        out_ = a->next;
        if (a->action.type == KRG_DSM_ACT_GRANT && a->action.fresh && a->action.handle && own_page())
            free_handle(a->action.handle);
        heap_.drop(a);
    }
    out_last_ = nullptr;
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) {
        free_handle(o->handle);
        o->handle = 0;
        if (o->granted.page) free_handle(o->granted.handle);
        o->granted = {};
    }
    for (Part* p = parts_.first(); p; p = parts_.after(p->link)) drop_items(*p);
    for (Kept* k = spare_copies_.first(); k; k = spare_copies_.after(k))
        for (Slot* s : {&k->last, &k->next, &k->shot}) free_slot(*s);
    if (shoot_.active) {
        for (u32 i = 0; i < shoot_.copied; i++)
            if (!shoot_.item[i].handle) disown_page();
        drop_shoot(true);
    }
    for (Batch* b : {snapshot_, staging_})
        if (b) {
            for (u32 i = 0; i < b->items; i++) {
                if (b->item[i].lent) continue;
                if (b->item[i].handle)
                    free_handle(b->item[i].handle);
                else if (b == snapshot_ && i < b->copied)
                    disown_page();
            }
            heap_.give(b->item, b->room * sizeof(Item));
            dispose(b);
        }
    snapshot_ = staging_ = nullptr;
    stopped_ = true;
}

/// Frees what stop() left.
void Engine::end() {
    if (taken_) heap_.drop(taken_);
    while (OutAction* a = spare_) {
        spare_ = a->next;
        heap_.drop(a);
    }
    for (Parked* list : {own_, parked_, early_, spare_parked_})
        while (Parked* p = list) {
            list = p->next;
            heap_.drop(p);
        }
    for (FreeNode* list : {free_pool_, frees_, spare_free_})
        while (FreeNode* n = list) {
            list = n->next;
            heap_.drop(n);
        }
    abort_holes();
    heap_.drop(punch_);
    kept_ = false;
    abort_directory();
    forget_reports();
    free_notes();
    while (Part* p = parts_.first()) free_part(*p);
    while (Batch* b = deciding_.first()) dispose(b);
    while (SyncWaiter* s = syncs_) {
        syncs_ = s->next;
        heap_.drop(s);
    }
    while (Obj* o = objects_.first()) {
        while (Waiter* w = o->waiters) {
            o->waiters = w->next;
            heap_.drop(w);
        }
        for (Link<Obj>* l : {&o->ready}) ready_.remove(*l);
        dirty_.remove(o->dirty_link);
        timed_.remove(o->timed);
        blocked_.remove(o->blocked);
        not_reported(*o);
        objects_.erase(heap_, o);
    }
    free_unsettled();
    while (Mark* k = marks_.first()) erase(*k);
    while (Kept* k = spare_copies_.first()) spare_copies_.erase(heap_, k);
    spare_copies_.release(heap_);
    marks_.release(heap_);
    while (Chunk* c = chunks_.first()) chunks_.erase(heap_, c);
    while (Peer* p = peers_.first()) peers_.erase(heap_, p);
    objects_.release(heap_);
    entries_.release(heap_);
    chunks_.release(heap_);
    peers_.release(heap_);
    heap_.give(member_, members_ * sizeof(krg_dsm_member));
    for (OldView& v : old_view_) heap_.give(v.member, v.room * sizeof(krg_dsm_member));
}

}  // namespace krg::dsm

using krg::dsm::Engine;

namespace {
Engine* engine(krg_dsm* d) { return reinterpret_cast<Engine*>(d); }
const Engine* engine(const krg_dsm* d) { return reinterpret_cast<const Engine*>(d); }
}  // namespace

extern "C" {

struct krg_dsm* krg_dsm_new(const struct krg_dsm_config* cfg, u64 now_us) {
    if (!cfg || !cfg->self || cfg->self > cfg->max_nodes || cfg->max_nodes > KRG_DSM_NODES_MAX || !cfg->memory.alloc ||
        !cfg->memory.free || !cfg->params.retry_us)
        return nullptr;
    if (cfg->cls ? cfg->cls != KRG_DSM_CHECKPOINTED || !cfg->replicas || cfg->replicas > KRG_DSM_REPLICAS_MAX : cfg->replicas)
        return nullptr;
    void* at = cfg->memory.alloc(cfg->memory.context, sizeof(Engine));
    if (!at) return nullptr;
    Engine* e = new (at) Engine(*cfg, now_us);
    if (e->begin()) return reinterpret_cast<krg_dsm*>(e);
    e->end();
    cfg->memory.free(cfg->memory.context, at, sizeof(Engine));
    return nullptr;
}

void krg_dsm_stop(struct krg_dsm* d) { engine(d)->stop(); }

void krg_dsm_delete(struct krg_dsm* d) {
    if (!d) return;
    const krg_dsm_memory memory = engine(d)->memory();
    engine(d)->end();
    engine(d)->~Engine();
    memory.free(memory.context, d, sizeof(Engine));
}

void krg_dsm_step(struct krg_dsm* d, u64 now_us, const struct krg_dsm_event* ev) { engine(d)->step(now_us, *ev); }

int krg_dsm_next_action(struct krg_dsm* d, struct krg_dsm_action* act) { return engine(d)->next_action(*act); }

u64 krg_dsm_deadline(const struct krg_dsm* d) { return engine(d)->deadline(); }

int krg_dsm_batch_object(const struct krg_dsm* d, u32 i, struct krg_dsm_object* object) {
    return engine(d)->snapshot_object(i, *object);
}

void krg_dsm_batch_put(struct krg_dsm* d, u32 i, u64 handle) { engine(d)->snapshot_put(i, handle); }

void krg_dsm_batch_again(struct krg_dsm* d, u32 i) { engine(d)->snapshot_again(i); }

u64 krg_dsm_batch_source(const struct krg_dsm* d, u32 i) { return engine(d)->snapshot_source(i); }

void krg_dsm_get_point(const struct krg_dsm* d, struct krg_dsm_point* point) { engine(d)->point(*point); }

u32 krg_dsm_ahead(const struct krg_dsm* d) { return engine(d)->ahead_on_way(); }

void krg_dsm_offer_taken(struct krg_dsm* d) { engine(d)->offer_taken(); }

void krg_dsm_inspect(struct krg_dsm* d, const struct krg_dsm_object* object, struct krg_dsm_copy* copy) {
    engine(d)->inspect(*object, *copy);
}

void krg_dsm_explain(struct krg_dsm* d, const struct krg_dsm_object* object, struct krg_dsm_explanation* x) {
    engine(d)->explain(*object, *x);
}

void krg_dsm_for_each(struct krg_dsm* d, int (*visit)(void* context, const struct krg_dsm_object* object), void* context) {
    engine(d)->for_each(visit, context);
}

int krg_dsm_somewhere(const struct krg_dsm* d) { return engine(d)->somewhere(); }

u64 krg_dsm_pages(const struct krg_dsm* d) { return engine(d)->pages(); }

u64 krg_dsm_objects(const struct krg_dsm* d) { return engine(d)->objects(); }

u32 krg_dsm_cold(struct krg_dsm* d, u32 look, struct krg_dsm_object* object, u32 max) {
    return engine(d)->cold(look, object, max);
}

void krg_dsm_get_stats(const struct krg_dsm* d, struct krg_dsm_stats* stats) { engine(d)->stats(*stats); }

u16 krg_dsm_home(struct krg_dsm* d, const struct krg_dsm_object* object) {
    return engine(d)->home_of(krg::dsm::Key{object->container, object->index}, object->policy);
}

void krg_dsm_set_trace(struct krg_dsm* d, void (*trace)(void* context, const struct krg_dsm_trace* t), void* context) {
    engine(d)->set_trace(trace, context);
}

u64 krg_dsm_hash(const struct krg_dsm* d) { return engine(d)->hash(); }
}
