// SPDX-License-Identifier: GPL-2.0
// The end of an epoch and the beginning of the next. PREPARE: transactions are given
// up, copies and programs' requests stay. COMMIT: batches in doubt are decided first
// (resolve.cc), then everybody reports its copies to the homes (report.cc, rebuild.cc),
// then the requests are sent again.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

bool Engine::install_members(const krg_dsm_event& ev) {
    krg_dsm_member* fresh = static_cast<krg_dsm_member*>(heap_.take(ev.len * sizeof(krg_dsm_member)));
    if (!fresh) return false;
    for (u32 i = 0; i < ev.len; i++) fresh[i] = ev.member[i];
    const OldView old{epoch_, member_, members_, members_};
    member_ = fresh;
    members_ = ev.len;
    stays_last_ = stays_last(member_, members_);
    count_knowers(old, ev.epoch);
    if (begun_ && begun_ == epoch_)
        remember_view(old);
    else
        heap_.give(old.member, old.room * sizeof(krg_dsm_member));  // nothing was done in it
    return true;
}

/// A member that may know chunks of which this node was not told. Not one who has said that it waits, too, and not one who
/// came later than this node: what was written in views of both is known to both, since the first write of a chunk waits
/// for all.
bool Engine::may_tell(const krg_dsm_member& m) const {
    const Peer* p = peers_.find(Key{0, m.node});
    return m.node != cfg_.self && m.since <= first_epoch_ && !(p && p->spoke && p->knows == Knows::not_yet);
}

/// While this node waits to be told which chunks were written: does anybody go who could have, or is there nobody?
void Engine::count_knowers(const OldView& old, u64 epoch) {
    if (!first_epoch_) first_epoch_ = epoch;
    if (knows_ != Knows::not_yet) return;
    for (u32 i = 0; i < old.members; i++)
        if (may_tell(old.member[i]) && !stayed(old.member[i].node, old.epoch)) knows_ = Knows::no_more;
    bool any = knows_ == Knows::no_more;
    for (u32 i = 0; i < members_; i++) any = any || may_tell(member_[i]);
    if (!any) knows_ = Knows::all;
}

/// Rebuilds ask who kept what in the last few epochs.
void Engine::remember_view(OldView v) {
    for (OldView& at : old_view_) {
        const OldView older = at;
        at = v;
        v = older;
    }
    forgotten_epoch_ = v.epoch;
    heap_.give(v.member, v.room * sizeof(krg_dsm_member));
}

void Engine::prepare(const krg_dsm_event& ev) {
    bool sane = ev.epoch > epoch_ && ev.len && ev.member;
    for (u32 i = 0; sane && i < ev.len; i++) sane = ev.member[i].node && (!i || ev.member[i - 1].node < ev.member[i].node);
    OutAction* a = sane ? act(KRG_DSM_ACT_PREPARED) : nullptr;
    if (!a) {
        stats_.bad++;
        return;
    }
    const u64 old_epoch = epoch_;
    // Straight from an epoch in which this node has told all it had to the next.
    // A checkpointed domain may go back, and then nothing is as it was.
    base_ = !checkpointed() && begun_ && begun_ == epoch_ && last_reported_ == epoch_ ? epoch_ : 0;
    kept_ = base_ && home_serving_ && !hole_;
    spread_ = kept_ && !push_chunk_ && !pushed_;
    serving_ = home_serving_ = false;
    if (!install_members(ev)) {
        // Without the list of members this node cannot take part in the epoch: it must go.
        recycle(a);
        OutAction* r = act(KRG_DSM_ACT_RESET);
        if (!r) return;
        r->action.node = cfg_.self;
        r->action.reason = KRG_DSM_R_MEMORY;
        push(r);
        return;
    }
    stop_epoch(old_epoch);
    epoch_ = ev.epoch;
    trace_number(KRG_DSM_T_VIEW, 0, members_, "prepare");
    if (next_request_ == 1) {  // another life of this node had others
        next_request_ = next_batch_ = epoch_ << 24;
        next_op_ = epoch_ << 20;
    }
    a->action.epoch = epoch_;
    push(a);
}

/// What belongs to the old epoch is given up.
void Engine::stop_epoch(u64 old_epoch) {
    purge_sends();
    for (Peer* p = peers_.first(); p; p = peers_.after(p)) {
        p->in = p->out = 0;
        p->room = Room::enough;  // it says otherwise at once in the next epoch
        p->reported = p->broken = p->left_out = false;
        const krg_dsm_member* m = member(static_cast<NodeId>(p->key.index));
        if (m && m->since <= begun_) continue;
        p->spoke = false;  // another life of the node, which was told nothing
        p->knows = Knows::not_yet;
    }
    reporting_ = Reporting::none;
    forget_reports();
    self_reported_ = self_left_out_ = false;
    reports_ = 0;
    rebuild_short_ = false;
    resolve_at_ = report_again_at_ = never;
    push_chunk_ = nullptr;
    pushed_ = 0;
    reset_at_ = never;
    free_notes();
    for (Parked* p = early_; p;) {
        Parked* next = p->next;
        heap_.drop(p);
        p = next;
    }
    early_ = early_last_ = nullptr;
    stop_points();
    abort_requests(old_epoch);
    abort_holes();
    abort_directory();
    abort_batches();
}

void Engine::abort_requests(u64 old_epoch) {
    ahead_ = 0;
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) {
        if (o->init_acks) o->request = 0;  // announced again before the first write
        o->init_acks = 0;
        if (o->ahead && !o->waiters) o->request = 0;  // nobody wants it any more
        o->ahead = o->offer = false;
        if (o->asked) {
            o->asked = 0;
            if (o->granted.page) free_handle(o->granted.handle);  // only a part: its sender still has it
            o->granted = {};
            if (KRG_DSM_MUTANT(RequestForgotten)) o->attempts = 1, arm(*o, never);
        }
        if (o->command.type == Type::set_rset && o->command.quiet && !o->command.keep) o->rset = o->command.rset;
        o->command = {};
        // A node that leaves may have nothing of it yet and be gone before the next commit: its home names another.
        for (u32 i = o->rset.count; i > 0; i--) {
            const NodeId n = o->rset.node[i - 1];
            if (!stayed(n, old_epoch) || leaves(*member(n))) o->rset.remove(n);
        }
        evict_done(*o, Errno::busy);
        ready(*o);
    }
}

void Engine::abort_batches() {
    if (snapshot_ && !snapshot_->aborted) {
        snapshot_->aborted = true;  // freed when the edge is done with it
        items_back(*snapshot_);
        wait_longer();
    }
    if (staging_) batch_failed(*staging_);
    for (Part* p = parts_.first(); p;) {
        Part* next = parts_.after(p->link);
        if (p->fate == Fate::receiving) free_part(*p);
        p = next;
    }
}

void Engine::commit_view(const krg_dsm_event& ev) {
    if (ev.epoch != epoch_ || serving_) {
        stats_.bad++;
        return;
    }
    begin_epoch();
}

void Engine::begin_epoch() {
    op_ = 0;
    trace_number(KRG_DSM_T_VIEW, 0, members_, "commit");
    serving_ = true;
    drained_told_ = false;
    if (room_ != Room::enough) tell_room();
    keep_bits();
    sort_entries();
    Parked* waiting = parked_;
    parked_ = parked_last_ = nullptr;
    parked_count_ = 0;
    while (Parked* p = waiting) {
        waiting = p->next;
        p->next = nullptr;
        if (p->message.epoch < epoch_) {
            free_handle(p->message.handle);
            heap_.drop(p);
            continue;
        }
        const bool now = p->message.epoch == epoch_;
        Parked*& first = now ? own_ : parked_;
        Parked*& last = now ? own_last_ : parked_last_;
        (last ? last->next : first) = p;
        last = p;
        parked_count_ += !now;
    }
    for (Batch* b = deciding_.first(); b;) {
        Batch* next = deciding_.after(b->link);
        send_decision(*b);
        b = next;
    }
    resolve_all();
    begin_settle();
    punch_again();
    reporting_ = Reporting::in_doubt;
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) {
        // What was committed to fewer nodes than there are now counts as not committed.
        if (o->state == KRG_DSM_X && durable(o->policy) && !o->version.zero() &&
            o->rset.count + 1u < copies_needed(o->policy)) {
            set_dirty(*o);
            batch_wanted_ = widening_ = true;
        }
        ready(*o);
    }
}

/// A node that is alone has lost a message to itself: its own epoch begins once more.
void Engine::start_over() {
    serving_ = home_serving_ = kept_ = spread_ = false;
    base_ = 0;
    stop_epoch(epoch_);
    begin_epoch();
}

}  // namespace krg::dsm
