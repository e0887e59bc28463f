// SPDX-License-Identifier: GPL-2.0
// The coherence engine of one node in one commit domain: its records and its
// member functions, grouped by the file that implements them.
//
// Three roles share the engine. As *requester and holder* it has an Obj for every
// object it holds a copy of or waits for (local.cc, ahead.cc, holder.cc). As *home* it has an
// Entry for every object of its chunks that anybody holds (home.cc, write.cc), and a
// Chunk with the bits of what was ever written. As *writer and backup* it has Batch
// and Part records (commit.cc, backup.cc), in a checkpointed domain Kept and Mark records
// (point.cc, spare.cc). A view change runs through all of them (view.cc, resolve.cc,
// settle.cc, report.cc, keep.cc, rebuild.cc).
//
// Every step handles one event; what follows from it is queued as messages to this
// node itself or as objects to look at again, and is worked off in pump(), a bounded
// piece at a time, while the caller takes actions.
#pragma once

#include "hadsm/core/access.hh"
#include "hadsm/core/batch.hh"
#include "hadsm/core/point.hh"

namespace krg::dsm {

struct Obj {
    Key key{};
    Obj* chain = nullptr;
    Link<Obj> all, ready, dirty_link, timed, blocked, report;
    krg_dsm_policy policy{};

    // The copy.
    u8 state = KRG_DSM_I;  // enum krg_dsm_state
    bool mapped = false;   // in the edge's page cache
    bool zeros = false;    // not mapped, no handle: a page of zeros
    bool initialised = false, dirty = false, in_batch = false;
    bool device = false;  // wrote it while its last batch was copied
    bool unused = false;  // granted to this node, not yet to a program
    bool spare = false;   // another node had a copy when this one came
    bool recent = false;  // a copy outside of the page cache that came since cold() saw it last
    u64 handle = 0;
    Version version{};
    u64 counter = 0;  // of the newest version made here
    Rset rset{};
    Version saved{};       // of it the last recovery point has what is in this copy
    bool fixed = false;    // a recovery point may have this version: what is written next is another
    bool giving = false;   // still to be taken out of the page cache, since the domain goes back
    NodeId handed_to = 0;  // frozen: who was to have it, and in which epoch
    u64 handed_in = 0;
    bool in_transit = false;  // frozen, and not yet known to be durable elsewhere
    Staged* staged = nullptr;
    Us hold_until = 0;
    bool hold_owed = false;  // begins anew with the first use of the grant

    // The edge.
    u32 installing = 0;  // GRANTs not yet used
    u8 edge = 0;         // action under way: enum krg_dsm_action_type
    bool edge_keep = false;

    // Programs.
    Waiter *waiters = nullptr, *last_waiter = nullptr;
    u8 asked = 0;           // mode of the GET under way
    bool ahead = false;     // it is part of a GET_RANGE
    bool offer = false;     // it came ahead: the edge may have it
    bool must_ask = false;  // it has to be sent (again)
    u64 request = 0;        // its id; kept over view changes until it is answered
    u64 op = 0;             // for traces: of the newest need of programs
    u32 attempts = 0;
    u32 init_acks = 0;      // missing before a first write
    bool init_all = false;  // all members are asked, not only those who keep the bits
    Granted granted;

    // Giving it up.
    bool evicting = false, evict_asked = false, evict_waited = false, evict_cheap = false;
    u64 evict_token = 0;
    bool evict_owed = false;  // the answer is: evict_error; there was no memory to say it
    Errno evict_error = Errno::none;

    Command command;
    Us due = never;  // look at it again then
};

/// A request at the home.
struct Want {
    Want* next = nullptr;
    Type type = Type::none;  // get, evict, or set_rset for a repair by the home itself
    NodeId node = 0;
    u8 mode = 0;
    bool ahead = false;
    bool flag = false;  // of get: urgent; of evict: cheap
    u64 request = 0, op = 0;
};

enum class Phase : u8 { idle, closing, demoting, copying, invalidating, setting, releasing };

/// How far an entry has come in the hole that is being punched over it.
enum class Hole : u8 { none, waiting, quiet, gone, later };

struct Entry {
    Key key{};
    Entry* chain = nullptr;
    Link<Entry> all, ready;
    krg_dsm_policy policy{};
    bool exclusive = false;
    bool repair = false;     // wanted when nothing else is
    bool lacking = false;    // counted in repair_left
    bool others = false;     // the current transaction needed more than home and requester
    bool ask = false;        // after a view change: those who may have copies are asked
    bool kept = false;       // ... it is as it was, until this home serves
    bool restoring = false;  // a frozen copy was restored in this epoch
    Hole hole = Hole::none;
    Version version{};
    NodeId writer = 0;
    IdSet sharers, retained, stale;
    IdSet frozen;  // have handed over; to be released before anything else

    Phase phase = Phase::idle;
    bool counted = false;  // a recovery point waits for the end of its transaction
    Want current;
    NodeId source = 0, target = 0;
    bool copy_failed = false, was_pinned = false, widened = false, mended = false, mending = false;
    bool answered = false;  // whoever has to invalidate tells the requester
    u32 acks = 0;
    u32 no_room = 0;  // nodes that had none for a copy, in this transaction
    Rset rset{};
    Want *queue = nullptr, *last = nullptr;
};

struct Chunk {
    Key key{};
    Chunk* chain = nullptr;
    Link<Chunk> all;
    krg_dsm_policy policy{};
    u64 bits[8] = {};
    u64 place_epoch = 0;
    u16 place_affinity = 0;
    NodeId place[KRG_DSM_REPLICAS_MAX] = {};
    bool written = false;     // something of it may have been written, as far as is known here
    bool everywhere = false;  // and all members know that
    u64 complete = 0;         // first writes that were announced in an epoch below this one all have their bit here
    u64 promised = 0;         // the same of all reports of this rebuild together
    bool told = false;        // came with what a newcomer is told
    u32 keepers_heard = 0;    // in this rebuild: a bit for each of those who kept its bits before and know of it
    bool unsure = false;      // of some bits nobody knows whether all who keep them have them
    bool same = false;        // the home is the same as before same_epoch, for an affinity of same_affinity
    u16 same_affinity = 0;
    u64 same_epoch = 0;
    List<Obj> report;  // copies of this node that its home has yet to hear of
    List<Entry> ask;   // entries of this home that it has yet to ask for
};

/// Who was a member in an epoch that is over.
struct OldView {
    u64 epoch = 0;
    krg_dsm_member* member = nullptr;
    u32 members = 0, room = 0;
};

/// What was taken away lately.
struct Recent {
    Key key{};
    Us at = 0;  // 0: nothing
};

/// What this engine knows of another node.
struct Peer {
    Key key{};
    Peer* chain = nullptr;
    Link<Peer> all;
    u64 out = 0, in = 0;
    Room room = Room::enough;
    bool reported = false, broken = false;
    bool left_out = false;                                  // it has not reported what this home has kept
    bool spoke = false;                                     // a REPORT_END of this life of it has come
    Knows knows = Knows::not_yet;                           // every written chunk, as it said last
    u64 served = 0;                                         // the last epoch, before this one, in which it reported to the end
    bool punched = false;                                   // has answered the PUNCH under way
    bool pointed = false, stated = false, counted = false;  // the step of a point; POINT_STATE; COUNTED
    bool shots = false;                                     // was told of copies for a point
};

/// A range that becomes zeros: at the node that wants it, and at each home until it is done there.
struct Punch {
    Punch* next = nullptr;
    NodeId from = 0;
    u64 request = 0, token = 0, upto = 0, op = 0;
    Key first{};
    krg_dsm_policy policy{};
    u64 last = 0;
    bool asked = false, clearing = false, dropping = false;
    u32 left = 0;  // members, entries or answers that are missing

    [[nodiscard]] bool covers(const Key& k) const {
        return k.container == first.container && k.index >= first.index && k.index <= last;
    }
};

/// The REPORT of a frozen copy, which can only be judged when all have come.
struct Note {
    Note* next = nullptr;
    Key key{};
    krg_dsm_policy policy{};
    NodeId from = 0;
    bool orphan = false;  // its receiver is gone
    Version version{};
};

/// A message to this node itself, or of an epoch to come.
struct Parked {
    Parked* next = nullptr;
    NodeId from = 0;
    bool own = false;
    Message message;
};

struct OutAction {
    OutAction* next = nullptr;
    krg_dsm_action action{};
    u8 data[448];
};

/// The duty to give one handle back.
struct FreeNode {
    FreeNode* next = nullptr;
    u64 handle = 0;
};

class Engine : PointState {
public:
    Engine(const krg_dsm_config& cfg, Us now);
    [[nodiscard]] bool begin();
    void end();

    void step(Us now, const krg_dsm_event& ev);
    [[nodiscard]] bool next_action(krg_dsm_action& act);
    [[nodiscard]] Us deadline() const;
    void stop();

    [[nodiscard]] int snapshot_object(u32 i, krg_dsm_object& object) const;
    [[nodiscard]] u64 snapshot_source(u32 i) const;
    void point(krg_dsm_point& p) const;
    void snapshot_put(u32 i, u64 handle);
    void snapshot_again(u32 i);
    void offer_taken();
    [[nodiscard]] u32 ahead_on_way() const { return ahead_; }
    void inspect(const krg_dsm_object& object, krg_dsm_copy& copy);
    void explain(const krg_dsm_object& object, krg_dsm_explanation& x);
    [[nodiscard]] NodeId home_of(const Key& key, const krg_dsm_policy& policy);
    void stats(krg_dsm_stats& s) const;
    [[nodiscard]] u64 hash() const;
    void set_trace(void (*tracer)(void*, const krg_dsm_trace*), void* context);
    void for_each(int (*visit)(void*, const krg_dsm_object*), void* context) const;
    [[nodiscard]] const krg_dsm_memory& memory() const { return cfg_.memory; }
    [[nodiscard]] u64 pages() const;
    [[nodiscard]] u64 objects() const { return objects_.count(); }
    [[nodiscard]] u32 cold(u32 look, krg_dsm_object* object, u32 max);
    [[nodiscard]] bool somewhere() const;

private:
    // engine.cc: events, messages in, time
    void event(const krg_dsm_event& ev);
    void receive(NodeId from, const krg_dsm_event& ev);
    void dispatch(NodeId from, Message& m);
    void dispatch_point(NodeId from, Message& m);
    void tick();
    void arm(Obj& o, Us at);
    bool pump();
    void park(NodeId from, const Message& m, bool own);
    [[nodiscard]] bool in_order(NodeId from, const Message& m);
    void impossible(NodeId peer);

    // output.cc: actions and messages out
    [[nodiscard]] OutAction* act(u32 type);
    void push(OutAction* a);
    bool send(NodeId to, Message& m, u64 handle = 0, const Obj* cached = nullptr);
    void free_handle(u64 handle);
    [[nodiscard]] bool own_page();
    void disown_page();
    void fill_spares();
    [[nodiscard]] Parked* make_parked(bool own);
    [[nodiscard]] NodeId other_member() const;
    void reset(NodeId peer, u16 reason);
    void purge_sends();
    void recycle(OutAction* a);
    void recycle(FreeNode* n);
    [[nodiscard]] Peer* peer(NodeId node);

    // place.cc: who is home, backup, successor
    void place(const Key& key, const krg_dsm_policy& policy, NodeId out[KRG_DSM_REPLICAS_MAX]);
    void compute_place(const Key& chunk, const krg_dsm_policy& policy, NodeId out[KRG_DSM_REPLICAS_MAX]) const;
    void place_among(const krg_dsm_member* list, u32 count, const Key& chunk, const krg_dsm_policy& policy,
                     NodeId out[KRG_DSM_REPLICAS_MAX]) const;
    [[nodiscard]] NodeId home(const Key& key, const krg_dsm_policy& policy);
    [[nodiscard]] u32 holders_of_bits(const krg_dsm_policy& policy) const;
    [[nodiscard]] const krg_dsm_member* member(NodeId node) const;
    [[nodiscard]] bool stayed(NodeId node, u64 epoch) const;
    [[nodiscard]] static NodeId stays_last(const krg_dsm_member* list, u32 count);
    [[nodiscard]] bool leaves(const krg_dsm_member& m) const;
    [[nodiscard]] u32 usable_members() const;
    [[nodiscard]] u32 copies_needed(const krg_dsm_policy& policy) const;
    [[nodiscard]] NodeId pick_backup(NodeId near, const Entry* e, const Rset& not_these, Room most = Room::full) const;
    Chunk* chunk(const Key& key, const krg_dsm_policy& policy);
    [[nodiscard]] bool initialised(const Key& key) const;
    Chunk* set_written(const Key& key, const krg_dsm_policy& policy);
    bool set_initialised(const Key& key, const krg_dsm_policy& policy);
    [[nodiscard]] bool announced(const Obj& o) const;
    [[nodiscard]] bool registered(const Key& key) const;
    void now_registered(const Key& key);
    [[nodiscard]] bool keeps_bits(const Key& key, const krg_dsm_policy& policy, NodeId node);

    // local.cc: programs of this node
    [[nodiscard]] Obj* obj(const krg_dsm_object& object);
    [[nodiscard]] Obj* obj(const Key& key, const krg_dsm_policy& policy);
    void request(const krg_dsm_event& ev);
    [[nodiscard]] bool answer(u32 type, const krg_dsm_object& object, u64 token, Errno e, u64 point = 0);
    [[nodiscard]] bool error(const krg_dsm_object& object, u64 token, Errno e);
    void done(const krg_dsm_object& object, u64 token, Errno e);
    void run(Obj& o);
    void grant_local(Obj& o);
    [[nodiscard]] bool grant_one(Obj& o, const Waiter& w);
    void ask(Obj& o);
    void on_data(NodeId from, Message& m);
    void on_grant(NodeId from, Message& m);
    void on_answer(NodeId from, const Message& m);
    void grant_complete(Obj& o);
    void announce(Obj& o);
    void finish_grant(Obj& o);
    void on_init_done(const Message& m);
    void on_fail(const Message& m);
    void fail_waiters(Obj& o, Errno e);
    void installed(const krg_dsm_event& ev);
    void drain();
    void drop_copy(Obj& o);
    void put_copy(Obj& o, u64 handle, bool zeros);
    void forget_if_empty(Obj& o);
    void ready(Obj& o) { ready_.push(o.ready, &o); }
    [[nodiscard]] krg_dsm_object object_of(const Obj& o) const;

    // ahead.cc: what nobody waits for yet
    void ahead(const krg_dsm_event& ev);
    [[nodiscard]] bool ask_ahead(const Key& key, const krg_dsm_policy& policy, u64 request, u8 mode);
    void not_ahead(Obj& o);
    void offer(Obj& o);
    void on_range(NodeId from, const Message& m);
    [[nodiscard]] bool take_range(NodeId from, const Message& m, const Key& key);
    [[nodiscard]] bool easy(const Entry& e, u8 mode) const;
    void on_skipped(const Message& m);
    [[nodiscard]] bool can_spare(const Obj& o) const;
    void decline(Obj& o);
    void on_declined(NodeId from, const Message& m);

    // room.cc: memory of this node and of others
    void evict(const krg_dsm_event& ev);
    void evict_done(Obj& o, Errno e);
    void evict_answer(Obj& o);
    void on_evict_done(const Message& m);
    void room(const krg_dsm_event& ev);
    void tell_room();
    void on_room(NodeId from, const Message& m);
    [[nodiscard]] Room room_of(NodeId node) const;

    // holder.cc: what homes demand
    void on_command(NodeId from, const Message& m);
    void run_command(Obj& o);
    void run_forward(Obj& o);
    void run_invalidate(Obj& o);
    void run_copy(Obj& o);
    void run_set_rset(Obj& o);
    [[nodiscard]] bool quieten(Obj& o, bool unmap);
    [[nodiscard]] bool may_leave(Obj& o);
    [[nodiscard]] bool widened();
    [[nodiscard]] bool direct(const Obj& o) const;
    void hand_over(Obj& o);
    void send_page(Obj& o, NodeId to, Message& m);
    void edge_done(const krg_dsm_event& ev);
    [[nodiscard]] bool give_up_pinned(Obj& o);
    void on_release(NodeId from, const Message& m);
    void arrived(Obj& o);
    void on_restore(const Message& m);
    void on_retain(NodeId from, Message& m);
    [[nodiscard]] Errno take_in(Message& m);
    void end_command(Obj& o);
    void settle_staged(Obj& o, Version upto);

    // home.cc: the directory
    [[nodiscard]] Entry* entry(const Key& key, const krg_dsm_policy& policy);
    void want(NodeId from, const Message& m);
    void come_early(NodeId from, const Message& m);
    void advance(Entry& e);
    void begin_transaction(Entry& e);
    void read_transaction(Entry& e);
    void write_transaction(Entry& e);
    void evict_transaction(Entry& e);
    void repair_transaction(Entry& e);
    void give(Entry& e, u8 mode, Payload payload);
    void needed(Entry& e, NodeId node) const;
    void forward(Entry& e, NodeId holder, NodeId to, u8 mode);
    void release_frozen(Entry& e);
    void on_released(NodeId from, const Message& m);
    void continue_transaction(Entry& e);
    void refuse(NodeId to, const Message& m, Errno e);
    void refuse(Entry& e, Errno error);
    void finish(Entry& e);
    [[nodiscard]] bool make_room(Entry& e);
    void on_close(NodeId from, const Message& m);
    void on_demoted(NodeId from, const Message& m);
    [[nodiscard]] Entry* in_phase(NodeId from, const Message& m, Phase phase);
    void forget_if_empty(Entry& e);
    [[nodiscard]] NodeId holder_for(const Entry& e, NodeId not_this) const;
    [[nodiscard]] u32 copies(const Entry& e) const { return e.sharers.count() + e.retained.count(); }

    // write.cc: making copies, invalidating, changing who holds committed versions
    void start_copy(Entry& e, NodeId source, NodeId target, bool if_room = false);
    void on_retained(NodeId from, const Message& m);
    [[nodiscard]] Rset choose_rset(const Entry& e, NodeId writer, NodeId source, Room most) const;
    [[nodiscard]] bool must_invalidate(const Entry& e, const IdSet& set, u32 i) const;
    [[nodiscard]] bool answers_directly(const Entry& e) const;
    void invalidate_others(Entry& e);
    void invalidate_one(Entry& e, NodeId node, bool keep, NodeId data_to);
    void invalidated(Entry& e, NodeId node, bool keep);
    void on_requester_pinned(Entry& e, const Message& m);
    void on_invalidated(NodeId from, const Message& m);
    void grant_write(Entry& e);
    void on_rset_set(NodeId from, const Message& m);
    void on_pinned(NodeId from, const Message& m);
    void invalidations_over(Entry& e);
    void need_repair(Entry& e);
    void set_rset(Entry& e, const Rset& rset);
    void replace_backup(Entry& e, NodeId node, bool leaving);
    [[nodiscard]] bool widen_rset(Entry& e);
    [[nodiscard]] bool mend(Entry& e);
    void on_init(NodeId from, const Message& m);

    // trace.cc: what can be watched
    [[nodiscard]] u64 new_op() { return static_cast<u64>(cfg_.self) << 48 | (next_op_++ & ((1ull << 48) - 1)); }
    void trace_step(krg_dsm_trace t, krg_dsm_trace_step step, u64 op) const;
    void trace_object(krg_dsm_trace_step step, u64 op, const Key& key, NodeId node = 0, u8 mode = 0,
                      Version version = {}) const;
    void trace_message(krg_dsm_trace_step step, NodeId node, const Message& m) const;
    void trace_number(krg_dsm_trace_step step, u64 op, u64 number, const char* what, s32 error = 0, NodeId node = 0) const;

    // stats.cc: what is counted
    void count_answer(const Obj& o, bool others);
    void taken_away(const Key& key);
    void asked_again(const Key& key);
    [[nodiscard]] u32 copies_of(const Entry& e) const;
    [[nodiscard]] bool lacks_copies(const Entry& e) const;
    void begin_repairs();
    void check_repair(Entry& e, bool gone);
    [[nodiscard]] u64 lost_objects() const;

    // punch.cc: ranges that become zeros
    void punch(const krg_dsm_event& ev);
    void punch_more();
    void punch_again();
    void on_punch(NodeId from, const Message& m);
    void on_punched(NodeId from, const Message& m);
    void begin_hole();
    [[nodiscard]] bool held_by_hole(Entry& e);
    void hole_transaction(Entry& e);
    void hole_progress();
    void clear_bits(NodeId from, const Message& m);
    void on_clear(NodeId from, const Message& m);
    void on_cleared(NodeId from, const Message& m);
    void end_hole();
    void abort_holes();

    // commit.cc: batches of this node
    void set_dirty(Obj& o);
    [[nodiscard]] Us commit_in() const;
    void learn_from(const Batch& b);
    void clear_dirty(Obj& o);
    void start_batch();
    void snapshot_done(const krg_dsm_event& ev);
    [[nodiscard]] bool list_backups(Batch& b);
    [[nodiscard]] bool concerns(const Item& it, NodeId node, bool& with_page);
    void begin_staging(Batch& b);
    void stage_item(Batch& b, NodeId to, const Item& it, bool with_page);
    void stage_end(Batch& b, NodeId to, u32 count);
    void items_back(Batch& b);
    void drop_items(Batch& b);
    void dispose(Batch* b);
    bool stage_some();
    void on_staged(NodeId from, const Message& m);
    void batch_complete(Batch& b);
    void batch_failed(Batch& b);
    void cut_batch(Batch& b, u32& low, u32& high);
    void send_decision(Batch& b);
    void on_decided(NodeId from, const Message& m);
    void on_batch_answer(Batch& b, NodeId from);
    void free_batch(Batch& b);
    void sync(const krg_dsm_event& ev);
    void sync_check();
    void wait_longer();
    [[nodiscard]] u64 batches_done() const;
    [[nodiscard]] Batch* batch(u64 id) const;

    // backup.cc: batches of others
    [[nodiscard]] Part* part(NodeId writer, u64 id) const;
    void on_stage(NodeId from, Message& m);
    void on_stage_end(NodeId from, const Message& m);
    void on_decide(NodeId from, const Message& m);
    void on_forget(NodeId from, const Message& m);
    void apply(Part& p);
    void drop_items(Part& p);
    void take_staged(Staged& s);
    void free_staged(Staged& s);
    void detach(Staged& s);
    void free_part(Part& p);

    // resolve.cc: batches in doubt after a view change
    void resolve_all();
    void tell_fate(const Part& p, NodeId to);
    void resolve(Part& p);
    void on_batch_state(NodeId from, const Message& m);
    void on_batch_ask(NodeId from, const Message& m);
    void part_answer(Part& p, NodeId from, Fate fate);
    void part_decided(Part& p, NodeId from);
    [[nodiscard]] NodeId decider(const Part& p) const;
    [[nodiscard]] bool in_doubt() const;
    void resolve_retry();

    // view.cc: the end of an epoch and the beginning of the next
    void prepare(const krg_dsm_event& ev);
    void stop_epoch(u64 old_epoch);
    void abort_requests(u64 old_epoch);
    void abort_batches();
    void commit_view(const krg_dsm_event& ev);
    void begin_epoch();
    [[nodiscard]] bool install_members(const krg_dsm_event& ev);
    [[nodiscard]] bool may_tell(const krg_dsm_member& m) const;
    void count_knowers(const OldView& old, u64 epoch);
    void remember_view(OldView v);
    void start_over();

    // point.cc: recovery points
    [[nodiscard]] bool checkpointed() const { return cfg_.cls == KRG_DSM_CHECKPOINTED; }
    [[nodiscard]] bool suits(const krg_dsm_policy& p) const;
    [[nodiscard]] bool homes_held() const { return round_.id && round_.step <= Step::shoot; }
    void take_point(const krg_dsm_event& ev);
    void order(Step step);
    void on_point_done(NodeId from, const Message& m);
    void fail_point(Errno e);
    void end_taking(Errno e);
    [[nodiscard]] bool tell_points();
    void point_tick();
    void on_point(NodeId from, const Message& m);
    void freeze(NodeId from, const Message& m);
    void point_quiet();
    void transaction_over(Entry& e);
    void answer_point(Errno e, u64 objects = 0);
    void shoot();
    [[nodiscard]] bool for_point(const Obj& o) const;
    [[nodiscard]] bool make_shoot(u32 items, u32 copied, bool restores);
    void start_shoot();
    void shoot_done(s32 error);
    void drop_shoot(bool handles);
    void shots_taken(Errno e);
    [[nodiscard]] bool tell_shots();
    void cut();
    void commit_point(u64 objects);
    void adopt_round();
    void drop_round();
    void release_held();
    void unblock();
    void hash_points(u64& h) const;

    // spare.cc: the copies of recovery points
    [[nodiscard]] Kept* keep(const Key& key, const krg_dsm_policy& policy);
    void forget_if_empty(Kept& k);
    void free_slot(Slot& s);
    [[nodiscard]] Mark* mark(const Key& key, const krg_dsm_policy& policy);
    void erase(Mark& k);
    [[nodiscard]] u64 last_count(const Key& key) const;
    void on_shot(NodeId from, const Message& m);
    void on_shot_end(NodeId from, const Message& m);
    void on_shot_known(const Message& m);
    [[nodiscard]] bool keep_some();
    void plan(Mark& k);
    void stored();
    void mend(Mark& k);
    [[nodiscard]] bool mending() const { return mending_ || !work_.empty() || mend_at_ != never; }
    [[nodiscard]] NodeId pick_keeper(const Mark& k, Room most) const;
    void tell_keep(const Mark& k, NodeId to, Keeping what, u64 round, NodeId target = 0);
    void on_keep(NodeId from, const Message& m);
    void on_point_copy(NodeId from, Message& m);
    void answer_keep(const Message& m, Errno e);
    void make_way(Kept& k);
    void on_kept(NodeId from, const Message& m);
    void on_mark(NodeId from, const Message& m);
    [[nodiscard]] u32 point_copies() const;
    [[nodiscard]] u32 good_keepers(const Mark& k) const;

    // settle.cc: recovery points over a view change, and going back to one
    void roll_back(const krg_dsm_event& ev);
    void want_rollback();
    void stop_points();
    void begin_settle();
    void send_state();
    void on_point_state(NodeId from, const Message& m);
    void on_settle(NodeId from, const Message& m);
    void lose();
    void settled();
    [[nodiscard]] bool comes_unsettled(NodeId from, const Message& m);
    void free_unsettled();
    void begin_rollback();
    void give_up(Obj& o);
    [[nodiscard]] bool roll_some();
    void restore();
    void restored(bool failed);
    void restore_bits();
    void report_marks();
    [[nodiscard]] bool waits_for_verdict();
    void on_counted(NodeId from, const Message& m);
    void on_verdict(NodeId from, const Message& m);
    [[nodiscard]] bool point_needed();
    void points_rebuilt();

    // report.cc: what homes are told
    bool report_some();
    void gather(NodeId asker);
    bool report_next(NodeId asker);
    void on_report_ask(NodeId from, const Message& m);
    bool answer_some();
    void gather_asked(Chunk& c, const Message& m);
    void report_copies(Chunk& c);
    void name_copy(Message& m, const Obj& o) const;
    void not_reported(Obj& o);
    void forget_reports();
    void send_bits(const Chunk& c, NodeId to, bool answer);
    [[nodiscard]] bool tells_others() const;
    [[nodiscard]] bool must_tell(const krg_dsm_member& m) const;
    void report_bits(Chunk& c, NodeId asker);
    bool push_bits();

    // keep.cc: what homes know already
    [[nodiscard]] bool same_home(const Key& key, const krg_dsm_policy& policy);
    [[nodiscard]] static bool closed(const Entry& e);
    [[nodiscard]] bool names_lost(const Entry& e) const;
    void erase_entry(Entry& e);
    void abort_directory();
    void sort_entries();
    void unkeep();
    void ask_all(NodeId node);
    bool ask_some();
    void question(const Chunk& c, NodeId node, const Entry& e);
    void send_questions(const Chunk& c);
    void on_report_asked(NodeId from);
    [[nodiscard]] bool knows_bits(const Chunk& c, NodeId node);

    // rebuild.cc: the directory made of it
    void on_report(NodeId from, const Message& m);
    void add_copy(Entry& e, NodeId from, const Reported& c);
    void add_note(const Entry& e, NodeId from, const Reported& c);
    void on_bits(NodeId from, const Message& m);
    void on_report_end(NodeId from, const Message& m);
    void rebuild_progress();
    void finish_rebuild();
    void judge_frozen(const Note& n);
    void on_bits_known();
    [[nodiscard]] u64 last_served() const;
    [[nodiscard]] u64 served_of(const krg_dsm_member& m) const;
    void check_bits(u64 served, Knows now);
    [[nodiscard]] bool knows_chunks() const { return knows_ == Knows::all; }
    [[nodiscard]] Knows known_together() const;
    void suspect_unknown(const Key& key);
    void keep_bits();
    [[nodiscard]] bool keeper_stayed(const Chunk& c, const OldView& v) const;
    [[nodiscard]] u64 promise_of(const Chunk& c) const;
    [[nodiscard]] bool keeper_left(const Chunk& c, u64 served) const;
    [[nodiscard]] bool has_all_bits(const Chunk& c, u64 served) const;
    [[nodiscard]] u32 keepers_in(const OldView& v, const Chunk& c, NodeId out[KRG_DSM_REPLICAS_MAX]) const;
    [[nodiscard]] bool room_to_report(Entry& e);
    void free_notes();

    krg_dsm_config cfg_;
    Heap heap_;
    Us now_ = 0;
    u64 rng_;
    krg_dsm_stats stats_{};

    // The view.
    u64 epoch_ = 0;              // of the last PREPARE
    bool serving_ = false;       // COMMIT has come
    bool home_serving_ = false;  // all have reported
    krg_dsm_member* member_ = nullptr;
    u32 members_ = 0;
    NodeId stays_last_ = 0;
    static constexpr u32 old_views_max = 4;
    OldView old_view_[old_views_max];  // those that began here, the newest first
    u64 forgotten_epoch_ = 0;          // the newest one that is not among them any more
    Table<Peer> peers_;

    // Out.
    OutAction *out_ = nullptr, *out_last_ = nullptr, *spare_ = nullptr, *taken_ = nullptr;
    u32 spares_ = 0;
    FreeNode *free_pool_ = nullptr, *frees_ = nullptr;  // one for every handle the engine has
    u64 handles_ = 0;                                   // in that pool: what the engine has
    u64 refused_handle_ = 0;
    krg_dsm_action last_resort_{};  // one ERROR or DONE that needs no memory; the next before pump() does anything
    bool sync_owed_ = false;
    Parked* spare_parked_ = nullptr;
    u32 spares_parked_ = 0;
    FreeNode* spare_free_ = nullptr;
    u32 spares_free_ = 0;
    Us reset_at_ = never;
    Parked *own_ = nullptr, *own_last_ = nullptr;
    Parked *parked_ = nullptr, *parked_last_ = nullptr;
    u32 parked_count_ = 0;
    Parked *early_ = nullptr, *early_last_ = nullptr;  // requests for a home that is being rebuilt

    // This node's copies and programs.
    Table<Obj> objects_;
    List<Obj> ready_, dirty_, timed_, blocked_;
    u64 next_request_ = 1;
    u32 ahead_ = 0;             // objects asked for ahead and not answered
    u64 mapped_ = 0;            // objects in the page cache
    Room room_ = Room::enough;  // of this node, as others know it
    // The operation that what is done now belongs to, and who is told.
    u64 op_ = 0, next_op_ = 1;
    void (*trace_)(void*, const krg_dsm_trace*) = nullptr;
    void* trace_context_ = nullptr;
    bool drain_again_ = false;  // look whether this node is empty
    bool draining_ = false, drained_told_ = false, stopped_ = false;
    static constexpr u32 recent_max = 64;
    Recent recent_[recent_max];

    // The directory.
    Table<Entry> entries_;
    List<Entry> ready_entries_;
    Table<Chunk> chunks_;

    // Batches.
    Batch* snapshot_ = nullptr;  // the one being copied: no write is granted meanwhile
    Batch* staging_ = nullptr;
    List<Batch> deciding_;
    u64 next_batch_ = 1;
    u32 transit_ = 0;  // objects in_transit
    bool batch_wanted_ = false;
    bool batch_waited_ = false;  // ... by another node
    static constexpr u32 commit_haste_max = 5;
    u32 commit_haste_ = 0;   // commit_us is halved so often
    bool widening_ = false;  // some dirty object may have fewer backups than there could be
    Us batch_retry_at_ = 0, commit_at_ = never;
    SyncWaiter* syncs_ = nullptr;
    Punch* punch_ = nullptr;                        // wanted by this node
    Punch *hole_ = nullptr, *hole_last_ = nullptr;  // under way at this home, and behind it those that wait
    List<Part> parts_;

    // Recovery.
    enum class Reporting : u8 { none, in_doubt, marks, chunks, end };
    Reporting reporting_ = Reporting::none;
    Chunk *report_chunk_ = nullptr, *push_chunk_ = nullptr;
    u64 pushed_ = 0;  // bits sent to successors and not yet confirmed
    u32 report_member_ = 0;
    u64 base_ = 0;         // the epoch before this one, if nothing came between: homes that served it know its copies
    bool kept_ = false;    // this home did, and relies on what it knows
    bool spread_ = false;  // and the bits of its chunks had come to all their keepers
    Chunk* ask_chunk_ = nullptr;
    u32 asked_ = 0;  // questions of this home without an answer
    struct Question {
        NodeId node = 0;
        u64 bits[8] = {};
    };
    static constexpr u32 questions_max = 16;
    Question question_[questions_max];
    u32 questions_ = 0;
    Parked *asks_ = nullptr, *asks_last_ = nullptr;  // questions to this node
    bool answering_ = false;                         // the first of them
    bool self_reported_ = false, self_left_out_ = false;
    u32 reports_ = 0;  // of others, to the end
    u64 last_reported_ = 0, self_served_ = 0, begun_ = 0, first_epoch_ = 0;
    Knows knows_ = Knows::not_yet;  // every written chunk of the domain has a record here
    bool rebuild_short_ = false;
    Us report_again_at_ = never;
    Note* notes_ = nullptr;
    Us resolve_at_ = never;
};

}  // namespace krg::dsm
