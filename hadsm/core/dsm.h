/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The coherence engine's only face to C: what the kernel edge, the simulator,
 * the fuzzer and the unit tests include. The protocol is described in
 * Documentation/hadsm.md and implemented in the C++ files beside this one;
 * nothing here does I/O, reads a clock or takes a lock, and the bytes of a page
 * are never looked at: they stay in buffers of the edge, named by handles.
 *
 * One engine is one commit domain (one mount, or one process's memory) at one
 * node: all its containers, the directory of the chunks this node is home of,
 * and the copies this node holds.
 *
 * Use: krg_dsm_new(), then feed events with krg_dsm_step() and after each step
 * take actions with krg_dsm_next_action() until it returns 0, in order. Calls
 * must be serialised by the caller. Times are microseconds of one monotonic
 * clock of this node.
 *
 * Where a copy is. A readable copy (S or X) is in the edge's page cache once it
 * was granted; the engine then knows only its state. Every other copy (retained,
 * frozen, staged, or held while no program uses it) is a handle in the engine.
 * A handle that arrives with an event belongs to the engine from then on, until
 * an action gives it back: GRANT (into the page cache) or FREE. The edge may use
 * reference counts; a handle named by a SEND is only lent for the send.
 */
#ifndef KRG_HADSM_CORE_DSM_H
#define KRG_HADSM_CORE_DSM_H

#include <kerrighed/ctypes.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KRG_DSM_VERSION		6	/* of the messages between engines */
#define KRG_DSM_NODES_MAX	16384	/* node ids are 1..16384 as far as the engine cares */
#define KRG_DSM_REPLICAS_MAX	4
#define KRG_DSM_CHUNK_SHIFT	9	/* 512 objects a chunk */
#define KRG_DSM_MESSAGE_MAX	4096	/* bytes of one message without its page */
#define KRG_DSM_RANGE_MAX	64	/* objects of one range request */

/* Memory for the engine: directory entries, copies' records, messages not yet taken. May fail at any call. */
struct krg_dsm_memory {
	void *(*alloc)(void *context, u64 bytes);	/* aligned to 16, or NULL */
	void (*free)(void *context, void *memory, u64 bytes);
	void *context;
};

enum krg_dsm_class {
	KRG_DSM_VOLATILE = 1,	/* k = 1 */
	KRG_DSM_DURABLE,	/* k = 2..4 */
	/*
	 * k = 1..4 copies of each recovery point, nothing but that: faults are those of the volatile class. A domain is
	 * checkpointed as a whole (krg_dsm_config), since it goes back as a whole.
	 */
	KRG_DSM_CHECKPOINTED,
};

/*
 * What a container promises. Never changes while the container exists, and
 * travels with every request, so that a home needs no record of containers.
 */
struct krg_dsm_policy {
	u8 cls;			/* enum krg_dsm_class */
	u8 replicas;		/* k; 1 exactly for volatile containers; of checkpointed ones that of their domain */
	u16 affinity;		/* home of all chunks while it is a member; 0: none */
};

/* One object: the unit of coherence and transfer. */
struct krg_dsm_object {
	u64 container;
	u64 index;
	struct krg_dsm_policy policy;
	u32 pad;
};

struct krg_dsm_params {
	u32 hold_us;		/* a fresh write grant stays at least so long */
	u32 retry_us;		/* after lack of memory: pause before the next attempt */
	u32 attempts;		/* of a request that met lack of memory, before -ENOMEM */
	u32 commit_us;		/* a dirty object is committed in the background after so long; 0: never */
	u32 dirty_max;		/* so many dirty objects start a commit; 0: no bound */
	u32 parked_max;		/* messages of a later epoch kept, before the sender is reset */
	u32 pin_us;		/* a page pinned for I/O keeps others waiting so long, then they get -EBUSY; 0: for ever */
	u32 pong_us;		/* a page asked for again so soon after it was taken away is counted as a ping-pong; 0: none is */
	u32 ahead_max;		/* so many objects may be on their way that nobody waits for; 0: AHEAD does nothing */
	u32 calm_us;		/* an exclusive copy is given away ahead only if it was granted at least so long ago */
	u32 point_us;		/* a recovery point not decided after so long is given up; 0: never */
};

struct krg_dsm_config {
	u16 self;		/* this node's id, 1..max_nodes */
	u16 max_nodes;
	u8 cls;			/* KRG_DSM_CHECKPOINTED: every container of the domain is; 0: each says its own class, but not that */
	u8 replicas;		/* k of a checkpointed domain: 1..4 */
	u8 crash_rolls_back;	/* of a checkpointed domain: whenever a member dies, not only when something was lost with it */
	u8 pad;
	u64 domain;		/* names the commit domain, everywhere the same */
	u64 seed;		/* of the engine's own choices */
	struct krg_dsm_params params;
	struct krg_dsm_memory memory;
};

/* Access modes, of requests and grants. */
enum krg_dsm_mode {
	KRG_DSM_READ = 1,	/* S */
	KRG_DSM_WRITE = 2,	/* X */
};

struct krg_dsm_member {
	u16 node;
	u16 draining;		/* 1: leaving; is given nothing new */
	u32 pad;
	u64 since;		/* the first epoch of this incarnation of the node */
};

/* How much of its memory a node has left for containers: what ROOM says, and what nodes tell each other. */
enum krg_dsm_room {
	KRG_DSM_ROOM,		/* enough */
	KRG_DSM_TIGHT,		/* nothing is moved here to make room elsewhere */
	KRG_DSM_FULL,		/* nor is it chosen as backup of what was never written, if there is another */
};

/* Of REQUEST and EVICT. */
enum krg_dsm_flags {
	/* REQUEST: a first write goes on though no backup has room: without it nothing could be freed. */
	KRG_DSM_F_URGENT = 1,
	/*
	 * REQUEST to write: whoever asks has not said INSTALLED for a write grant of this object, and has found it void. It is granted
	 * again from what is here, before whatever a home wants done with the object; -EBUSY if it cannot be: no such grant is left.
	 */
	KRG_DSM_F_AGAIN = 4,
	/* EVICT: only if no copy has to be made elsewhere first; otherwise -ENOSPC. */
	KRG_DSM_F_CHEAP = 2,
};

enum krg_dsm_event_type {
	/*
	 * A view was installed, not serving yet: epoch, member[count] by ascending id.
	 * Work of the old epoch stops; PREPARED is among the actions of this step. If it is not there
	 * was no memory for the list: say it again, since all others wait for this node.
	 */
	KRG_DSM_EV_PREPARE = 1,
	KRG_DSM_EV_COMMIT,	/* serve in the view of the last PREPARE; epoch */
	KRG_DSM_EV_MSG,		/* data/len, handle (0: no page) from node */
	/*
	 * A program needs object in mode. token comes back in GRANT or ERROR. The same
	 * object may be asked for by several; the edge may forget a token, the answer
	 * still comes.
	 */
	KRG_DSM_EV_REQUEST,
	KRG_DSM_EV_INSTALLED,	/* object: a GRANT was used, the page may be taken away again */
	/*
	 * An EDGE action on object is done. handle: of INVALIDATE with keep, the page
	 * that was removed from the page cache. error: nothing was changed, and it is asked for
	 * again later. -EBUSY: the page is pinned; after pin_us of that whoever wants the page
	 * gets -EBUSY. -ENOMEM: the edge had no memory to begin; that is tried for ever.
	 */
	KRG_DSM_EV_EDGE_DONE,
	/*
	 * The batch of SNAPSHOT is copied: krg_dsm_batch_put() gave each copy.
	 * error: not 0 when it could not be (no memory); nothing is kept then.
	 */
	KRG_DSM_EV_SNAPSHOT_DONE,
	KRG_DSM_EV_SYNC,	/* DONE with token when all that is dirty now is committed */
	/*
	 * Memory pressure: give up this node's copy of object; DONE with token. -EBUSY: not now.
	 * -ENOSPC: enough others have to have it, and none of them has room.
	 */
	KRG_DSM_EV_EVICT,
	/*
	 * This node leaves: give up everything; DRAINED when it is empty. No program of it waits
	 * or has a grant it has not used, and none asks any more. Where all members leave, the
	 * one with the lowest id takes what the others have and is drained when it is alone: the
	 * memory ends with it.
	 */
	KRG_DSM_EV_DRAIN,
	/*
	 * Objects object.index..last of the container become zeros that were never written:
	 * truncation, holes, deletion. What this node wrote before is committed first. DONE with
	 * token; -EBUSY: another one of this node is under way. Whoever begins it keeps programs
	 * from writing there until it is done, or they may see either order.
	 */
	KRG_DSM_EV_PUNCH,
	/*
	 * Objects object.index..last, at most KRG_DSM_RANGE_MAX and of one chunk, will probably be read soon.
	 * Those that can be had without making anybody wait come here as OFFERs; of the others nothing is heard.
	 * mode WRITE: they will probably be written for the first time. Nothing is heard of any: a REQUEST for one that has
	 * come needs no message.
	 */
	KRG_DSM_EV_AHEAD,
	KRG_DSM_EV_TICK,	/* time passed (at or after the deadline) */
	KRG_DSM_EV_ROOM,	/* mode: enum krg_dsm_room of this node from now on; others are told */
	/*
	 * Take a recovery point of the whole domain, as it is at one moment that this node chooses. DONE with token, error 0
	 * and the point's id when it is taken: from then on it survives k-1 crashes. Otherwise nothing has changed:
	 * -EBUSY: another one is under way, or a device writes pages (krg_dsm_batch_again()); -EAGAIN: the cluster is or was between two views; -ENOMEM; -ENOSPC: too few
	 * nodes have room; -ETIMEDOUT: not within point_us; -EIO: something of the domain is lost and would be missing in
	 * it; -EINVAL: not a checkpointed domain.
	 */
	KRG_DSM_EV_POINT,
	/*
	 * The whole domain goes back to its last recovery point, in a new epoch: ROLLBACK and ROLLED at every node, then
	 * DONE with token. -ENOENT: there is no point; -EBUSY: this node has asked already; -EIO: the domain is lost;
	 * -EINVAL: not a checkpointed domain.
	 */
	KRG_DSM_EV_ROLLBACK,
};

struct krg_dsm_event {
	u32 type;		/* enum krg_dsm_event_type */
	u16 node;
	u16 mode;		/* enum krg_dsm_mode, or of ROOM enum krg_dsm_room */
	struct krg_dsm_object object;
	u64 last;		/* of PUNCH and AHEAD: the last index */
	u64 token;
	u64 epoch;
	u64 handle;
	s32 error;		/* 0 or a negative errno */
	u32 len;		/* bytes at data, or members at member */
	u32 flags;		/* enum krg_dsm_flags */
	u32 pad;
	const u8 *data;
	const struct krg_dsm_member *member;
};

enum krg_dsm_action_type {
	KRG_DSM_ACT_SEND = 1,	/* data/len to node, with the page of handle, or of object's page cache (cached), or none */
	/*
	 * Make object accessible in mode and wake whoever asked. fresh: install handle
	 * (0: a page of zeros) in the page cache; otherwise it is there already. token: who
	 * asked, one GRANT for each. Send INSTALLED once the program has used it. spare: another
	 * node had a copy when this one came, so it is the first to go when there is no room.
	 */
	KRG_DSM_ACT_GRANT,
	/*
	 * object, token: cannot be granted; error: -EIO (lost), -ENOMEM, -EBUSY, or -ENOSPC: a first
	 * write, and too few nodes have room for its copies.
	 */
	KRG_DSM_ACT_ERROR,
	/*
	 * The EDGE actions; at most one per object is under way. EDGE_DONE answers each.
	 * DOWNGRADE: write-protect in every mapping. INVALIDATE: unmap everywhere and remove from
	 * the page cache; keep: hand the page over with EDGE_DONE. No wait for the network, no
	 * mmap_lock; a GRANT still being installed comes first (page lock).
	 */
	KRG_DSM_ACT_DOWNGRADE,
	KRG_DSM_ACT_INVALIDATE,
	/*
	 * Write-protect every object of the batch (krg_dsm_batch_object()), after all of
	 * them are, copy each (see krg_dsm_batch_source()); then SNAPSHOT_DONE. A write to one of them waits or asks with
	 * REQUEST until then. A write grant not used when its page is protected is void: INSTALLED,
	 * then REQUEST again.
	 */
	KRG_DSM_ACT_SNAPSHOT,
	KRG_DSM_ACT_DONE,	/* token of SYNC, EVICT, PUNCH, POINT or ROLLBACK; error: 0, or why not */
	KRG_DSM_ACT_FREE,	/* handle: the engine has no more use for it */
	KRG_DSM_ACT_PREPARED,	/* epoch: the old epoch's work has stopped */
	KRG_DSM_ACT_RECOVERED,	/* epoch: every chunk of this home answers again */
	KRG_DSM_ACT_DRAINED,	/* this node holds nothing any more */
	/*
	 * The connection to node must be reset (a new epoch follows): reason. node is this node
	 * itself: no memory for the list of members, it cannot take part and must leave the cluster.
	 */
	KRG_DSM_ACT_RESET,
	/*
	 * A copy that was asked for ahead: the page of handle (0: zeros) may be put into the page cache for reading. Whoever
	 * does that calls krg_dsm_offer_taken() before the next action is taken, and then has the handle. No INSTALLED. Nothing
	 * has to be done: the engine keeps what is not taken for the next REQUEST.
	 */
	KRG_DSM_ACT_OFFER,
	/*
	 * The domain goes back to the recovery point: from here to ROLLED what programs see is of no account. INVALIDATE
	 * follows for every page in the page cache. What waits goes on waiting, and gets what was at the point.
	 */
	KRG_DSM_ACT_ROLLBACK,
	/* It has: whatever is seen from here on is the point, or came after it. error -EIO: more of it was lost than it survives. */
	KRG_DSM_ACT_ROLLED,
};

struct krg_dsm_action {
	u32 type;		/* enum krg_dsm_action_type */
	u16 node;
	u8 mode;		/* enum krg_dsm_mode */
	u8 keep;
	u8 fresh;
	u8 cached;
	u8 lazy;		/* of SEND: nobody waits for it; it may travel with others that follow */
	u8 spare;
	u16 reason;		/* enum krg_dsm_reason */
	u8 behind;		/* of SEND: nobody waits for it yet; whoever gets a GRANT of the same step may go on first */
	u8 zero2;
	s32 error;
	struct krg_dsm_object object;
	u64 token;
	u64 epoch;
	u64 handle;
	u64 point;		/* of ROLLBACK and ROLLED, and of DONE of a POINT: its id */
	const u8 *data;		/* valid until the next call */
	u32 len;
	u32 pad;
};

/* Why an engine asks for a reset of a connection. */
enum krg_dsm_reason {
	KRG_DSM_R_MEMORY = 1,	/* a message could not be built or kept */
	KRG_DSM_R_PROTOCOL,	/* the peer said what cannot be */
	KRG_DSM_R_ROLLBACK,	/* no fault of anybody: the domain goes back to its recovery point */
};

/* State of this node's copy. */
enum krg_dsm_state {
	KRG_DSM_I,		/* none */
	KRG_DSM_S,		/* shared: readable */
	KRG_DSM_X,		/* exclusive: readable and writable */
	KRG_DSM_R,		/* retained: the last committed version, for recovery */
	KRG_DSM_F,		/* frozen: handed over, kept until the receiver has confirmed */
};

/* What an administrator or a checker wants to know of one object, as seen from here. */
struct krg_dsm_copy {
	u8 state;		/* enum krg_dsm_state */
	u8 dirty;		/* written since the last commit (durable classes) */
	u8 staged;		/* a version beside the committed one waits for its decision */
	u8 mapped;		/* in the page cache */
	u16 home;		/* in the current view; 0: no view */
	u16 retained_at[KRG_DSM_REPLICAS_MAX - 1];	/* of X: who holds the committed version; 0: none */
	u64 version_epoch, version_count;
	/* the directory entry, when this node is the home */
	u8 entry;		/* 0: none here, 1: shared, 2: exclusive */
	u8 initialised;		/* it was written once, as far as this home knows */
	u16 writer;
	u32 sharers, retained;	/* how many */
	u32 queued;		/* requests that wait for the transaction under way */
	u32 transaction;	/* 0: none under way */
};

/*
 * Every message carries the id of the operation it belongs to, from here on in its bytes: (node << 48 | counter),
 * given where the operation began; 0: none, as between two views. It has no say in anything.
 */
#define KRG_DSM_OP_AT		19
#define KRG_DSM_OP_BYTES	8

/* The steps of the protocol, for tracing. */
enum krg_dsm_trace_step {
	KRG_DSM_T_REQUEST = 1,	/* a program asks: object, mode */
	KRG_DSM_T_SEND,		/* a message to node, also to this node itself: what */
	KRG_DSM_T_RECEIVE,	/* ... from node */
	KRG_DSM_T_GRANT,	/* a program gets access: object, mode, version */
	KRG_DSM_T_INVALIDATE,	/* the copy here is given up; to node, if that is not 0 */
	KRG_DSM_T_DOWNGRADE,	/* the copy here is not written any more */
	KRG_DSM_T_SNAPSHOT,	/* a batch begins: number objects */
	KRG_DSM_T_STAGE,	/* an object of the batch of node is kept here */
	KRG_DSM_T_STAGED,	/* ... all number of them; or error */
	KRG_DSM_T_DECIDE,	/* the batch of this node: what became of it; number backups are told */
	KRG_DSM_T_RECOVER,	/* every chunk of this home answers again: number objects lack copies */
	KRG_DSM_T_LOST,		/* node asks for what nobody has: object */
	KRG_DSM_T_VIEW,		/* prepared or committed: number members, epoch */
	KRG_DSM_T_POINT,	/* recovery point number: cut, decided, or taken, as its coordinator sees it */
};

struct krg_dsm_trace {
	u32 step;		/* enum krg_dsm_trace_step */
	u16 node;		/* the other one, if there is one */
	u16 mode;		/* enum krg_dsm_mode */
	s32 error;
	u32 pad;
	u64 op, epoch, number;
	u64 container, index;
	u64 version_epoch, version_count;
	const char *what;	/* the name of a message, or a word */
};

#define KRG_DSM_EXPLAIN_MAX	16

/* Some nodes: how many there are, and the first of them. */
struct krg_dsm_nodes {
	u32 count;
	u16 node[KRG_DSM_EXPLAIN_MAX];
};

/* Everything about one object at one node, for people. Names are words that never change. */
struct krg_dsm_explanation {
	struct krg_dsm_copy copy;
	const char *state;		/* of the copy */
	const char *edge;		/* what the edge is doing for it, "-": nothing */
	const char *command;		/* what the home wants of this holder, "-": nothing */
	u16 command_to;			/* who gets the page then; 0: nobody */
	u8 asked;			/* enum krg_dsm_mode of the request under way; 0: none */
	u8 in_batch;			/* part of the batch under way */
	u32 waiting;			/* programs of this node */
	u32 installing;			/* grants not yet used */
	u32 staged;			/* versions that wait for their decision */
	/* the directory entry, when this node is the home */
	const char *phase;		/* of the transaction under way, "idle": none */
	const char *want;		/* what is being done, "-": nothing */
	u16 requester;			/* for whom; 0: the home itself */
	u16 want_mode;
	u32 acks;			/* answers that are missing */
	struct krg_dsm_nodes sharers, retained, stale, frozen, queue;
};

/*
 * requests = hits + misses + errors + those under way. A GET is one of answered_here (by this node, its
 * home, from what it has), hops_2 (one other node took part: home or holder) and hops_3 (home and others).
 */
struct krg_dsm_stats {
	u64 requests, hits, misses, errors;	/* of local programs: without a message, after one, in vain */
	u64 answered_here, hops_2, hops_3;
	u64 messages_in, messages_out, pages_in, pages_out, bytes_in, bytes_out;	/* bytes: without pages */
	u64 duplicates, stale, parked, bad;	/* messages: seen before, of a lower epoch, kept for a later, malformed */
	u64 forwards, invalidations, downgrades, hand_overs;	/* done here for others */
	u64 batches, batch_objects, batches_direct, batches_dropped;
	u64 ping_pongs, held, pinned;		/* asked for again soon after; wanted within the minimum hold time; refused because of a pin */
	u64 evictions, injections;		/* copies given up; copies taken in so that others have room */
	u64 evictions_refused, injections_refused, writes_refused;	/* as a holder; as a node without room; first writes, as a home */
	u64 copies_made;			/* for safety: to bring an object up to k */
	u64 punched;				/* objects turned to zeros here as home */
	u64 lost;				/* requests refused here as home: no copy is left */
	u64 ahead_asked, ahead_got;		/* objects asked for ahead; that came */
	u64 ahead_skipped;			/* that were not given, as their home here counts them */
	u64 resets, no_memory, checks;		/* connections given up; allocations failed; impossible states met */
	/* gauges */
	u64 objects, dirty, entries, degraded;	/* records; dirty copies; directory entries; entries with fewer than k copies */
	u64 shared, exclusive, retained, frozen, staged;	/* copies here */
	u64 lost_objects;			/* of this home: may have been written, and no copy is left; known when not recovering */
	u64 repair_total, repair_left;		/* entries that lacked copies after the last rebuild; that still do */
	u64 memory;				/* bytes allocated */
	u64 pages;				/* copies here, in the page cache or as handles */
	u32 recovering;				/* 1: not every chunk of this home answers yet */
	u32 full;				/* members without room, as far as known here */
};

/* The recovery points of a checkpointed domain, as one node knows them. */
struct krg_dsm_point {
	u64 id;			/* of the last one; 0: none. Later ones have higher ids */
	u64 objects;		/* in it, in the whole domain */
	u64 copies;		/* of its objects at this node */
	u64 copies_next;	/* of what a point under way has made here so far */
	u64 lacking;		/* its objects of this home that have fewer copies than k, or than there are nodes for them */
	u64 taken, failed;	/* points that this node was asked for */
	u64 rollbacks;		/* that this node has seen */
	u64 generation;		/* epoch of the last of them; 0: none */
	u8 under_way;		/* 1: a point is being taken, or its outcome is not known here yet */
	u8 rolling;		/* 1: the domain goes back, and is not served */
	u8 lost;		/* 1: more nodes died than a point survives, and all requests get -EIO */
	u8 pad[5];
};

struct krg_dsm;

/** A new engine without a view. NULL: @cfg makes no sense, or no memory. */
struct krg_dsm *krg_dsm_new(const struct krg_dsm_config *cfg, u64 now_us);
/** Ends it. Handles it still has come as FREE actions first: call krg_dsm_stop(), take the actions, then this. */
void krg_dsm_delete(struct krg_dsm *d);
/** Gives back every handle (as FREE actions), whatever else is under way. Nothing but krg_dsm_delete() may follow. */
void krg_dsm_stop(struct krg_dsm *d);
/** One event. Any input is survived; bad ones are counted. @now_us must not go back. */
void krg_dsm_step(struct krg_dsm *d, u64 now_us, const struct krg_dsm_event *ev);
/** Takes the next action: 1 filled, 0 none left. */
int krg_dsm_next_action(struct krg_dsm *d, struct krg_dsm_action *act);
/** When EV_TICK is wanted at the latest; ~0: never. */
u64 krg_dsm_deadline(const struct krg_dsm *d);

/** The objects of the batch of the last SNAPSHOT: 0 and filled, or -1 past the end. */
int krg_dsm_batch_object(const struct krg_dsm *d, u32 i, struct krg_dsm_object *object);
/**
 * Where the page of object @i of that batch is: 0: in the page cache; otherwise behind this handle of the engine, and nothing
 * has to be protected. Pages that nobody may write need not be copied if the edge counts references. Durable domains: always 0.
 */
u64 krg_dsm_batch_source(const struct krg_dsm *d, u32 i);
/** The copy of object @i of that batch; belongs to the engine from now on. */
void krg_dsm_batch_put(struct krg_dsm *d, u32 i, u64 handle);
/**
 * A device may write object @i of that batch after it was copied: it stays dirty, and is part of the next batch, too. Before
 * SNAPSHOT_DONE. Programs may not write it without a new grant.
 */
void krg_dsm_batch_again(struct krg_dsm *d, u32 i);

/** How many objects asked for ahead are still on their way. */
u32 krg_dsm_ahead(const struct krg_dsm *d);
/** The OFFER taken last was put into the page cache: its handle is the edge's. */
void krg_dsm_offer_taken(struct krg_dsm *d);

/** This node's copy and directory entry of @object. */
void krg_dsm_inspect(struct krg_dsm *d, const struct krg_dsm_object *object, struct krg_dsm_copy *copy);
/** The same in detail; costs more. */
void krg_dsm_explain(struct krg_dsm *d, const struct krg_dsm_object *object, struct krg_dsm_explanation *x);
/** Does any other member have room, as far as is known here? If not, only cheap evictions can succeed. */
int krg_dsm_somewhere(const struct krg_dsm *d);
/** Pages that this node keeps: in the page cache as far as the engine knows, and handles but for those of a batch. */
u64 krg_dsm_pages(const struct krg_dsm *d);
/** Records that krg_dsm_cold() goes round. */
u64 krg_dsm_objects(const struct krg_dsm *d);
/**
 * Copies that no program of this node uses, worth an EVICT: at most @max into @object. Looks at most at @look records,
 * each time going on where it stopped; what was committed or came since it was seen last is let alone once. Returns how many.
 */
u32 krg_dsm_cold(struct krg_dsm *d, u32 look, struct krg_dsm_object *object, u32 max);
/** Calls @visit for every object with a record here, in no particular order; stops when it returns not 0. */
void krg_dsm_for_each(struct krg_dsm *d, int (*visit)(void *context, const struct krg_dsm_object *object), void *context);
void krg_dsm_get_stats(const struct krg_dsm *d, struct krg_dsm_stats *stats);
/** The home of @object's chunk in the current view; 0: no view. */
u16 krg_dsm_home(struct krg_dsm *d, const struct krg_dsm_object *object);
/** What this node knows of the recovery points of its domain. */
void krg_dsm_get_point(const struct krg_dsm *d, struct krg_dsm_point *point);
/** A hash of the whole state, for the exhaustive explorer and determinism checks. */
u64 krg_dsm_hash(const struct krg_dsm *d);
/** From now on @trace is called with every step of the protocol; NULL: no more. It must not call the engine. */
void krg_dsm_set_trace(struct krg_dsm *d, void (*trace)(void *context, const struct krg_dsm_trace *t), void *context);
/** For traces: what a message is, in a few words; returns the length as snprintf() does. */
int krg_dsm_describe(const u8 *data, u32 len, char *text, u32 room);

#ifdef __cplusplus
}
#endif
#endif
