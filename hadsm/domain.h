/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of hadsm.ko share. A domain is one coherence engine (core/) with
 * everything the engine needs around it: memory, a timer, messages, and the local
 * copies, which live in the page cache of one inode (a store) per container.
 *
 * Files: domain.c (life of domains, stores, and the timer), action.c (what the engine wants
 * done), edge.c (the part of it that touches page tables, in a worker), net.c
 * (messages), page.c (what a fault, read or write waits for), ahead.c (what they will want
 * next), room.c (the quota of this node), evict.c (making room), file.c and super.c (the file
 * system), view.c (membership), stats.c (what is counted), query.c (what other nodes know),
 * trace.c (tracepoints), main.c.
 *
 * Locks, outer to inner:
 *	hadsm_domains_mutex	the list of domains, and telling all of them of a view; inside
 *				of what a file system holds (fs.h)
 *	mmap_lock, VMA lock	of a program that faults; dropped before a wait where the
 *				kernel lets us
 *	domain.punch_lock	around the wait for a hole
 *	folio lock		of a page in a store: held from the check that access is
 *				granted until the page table entry is in place, and by
 *				whoever takes access away
 *	domain.lock		the engine, and every field that says so. Never held while
 *				waiting for a folio lock or for the network
 *	i_pages, i_mmap_rwsem	the kernel's own, inside of the folio lock
 * hadsm_domains_mutex and the folio lock do not meet under domain.lock.
 */
#ifndef KRG_HADSM_DOMAIN_H
#define KRG_HADSM_DOMAIN_H

#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/percpu.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <kerrighed/membership.h>

#include "core/dsm.h"

#define HADSM_MAGIC		0x6b68646d
#define HADSM_NAME_MAX		31
/* Page private of one that was in a page cache: it has a place in the kernel's lists, and is put into no other. */
#define HADSM_PAGE_USED		1UL
#define HADSM_SIZE		(1ULL << 40)	/* of every file: sparse, all of it zeros until written */

struct hadsm_store;

/* An edge action that may sleep for a page lock: one for the worker. */
struct hadsm_task {
	struct list_head list;		/* domain.tasks */
	u32 type;			/* enum krg_dsm_action_type */
	struct krg_dsm_object object;	/* of DOWNGRADE, INVALIDATE */
};

/*
 * One access somebody asked the engine for; its address is the engine's token.
 * Two references: whoever asked, and the engine until it has answered.
 */
struct hadsm_waiter {
	struct kref ref;
	struct list_head list;		/* domain.waiters until answered, then domain.pins or none */
	struct completion done;
	struct hadsm_store *store;	/* NULL: waits for a SYNC */
	pgoff_t index;
	u16 mode;			/* enum krg_dsm_mode */
	int error;
	bool answered;
	bool granted;			/* ... and INSTALLED is owed */
	bool abandoned;			/* nobody waits any more: INSTALLED at once */
	bool wish;			/* a pin that stands for no grant: who is about to write */
	const void *who;		/* the task that an error or wish is kept for; never dereferenced */
	unsigned long expires;		/* as a pin */
	struct page *spare;		/* for a page of zeros, or a copy */
	bool extra;			/* another node has it, too */
	struct hadsm_task task;		/* a GRANT that had to go to the worker */
	u8 fresh;
	u64 handle;
};

/* Of messages that travel together: as many as one message of the transport holds. */
#define HADSM_PACKET_PAGES	15
#define HADSM_PACKET_BYTES	(KRG_DSM_MESSAGE_MAX + 16)

/* What goes to one node next: messages, each with its length in front, and the pages of those that have one, in order. */
struct hadsm_packet {
	u16 node;
	u32 len;
	unsigned int nr_pages;
	struct page *page[HADSM_PACKET_PAGES];	/* references */
	u8 data[HADSM_PACKET_BYTES];
};

/* A packet that the network could not take yet. */
struct hadsm_letter {
	struct list_head list;
	u16 node;
	u32 len;
	unsigned int nr_pages;
	struct page *page[HADSM_PACKET_PAGES];	/* our own copies */
	u8 data[];
};

/* Pages that will probably be read soon, or written for the first time; none when first > last. */
struct hadsm_ahead {
	pgoff_t first, last;
	bool write;
};

struct hadsm_domain {
	struct kref ref;
	struct list_head list;		/* hadsm_domains */
	u64 id;
	char name[HADSM_NAME_MAX + 1];	/* "" until it is mounted here */
	u32 replicas;

	struct mutex lock;		/* all below, and the engine */
	struct krg_dsm *engine;		/* NULL: over */
	struct mutex punch_lock;	/* one hole at a time; outside of lock */
	struct krg_dsm_action act;	/* the one being carried out */
	struct list_head waiters;
	struct list_head pins;		/* granted, kept until the fault that wanted it comes back */
	struct list_head tasks;		/* hadsm_task, in the engine's order */
	bool edge_busy;			/* the worker has taken one and is not done with it */
	struct hadsm_packet packet;	/* not sent yet: only while corked, or within a step */
	bool hurry;			/* somebody waits for what is in it */
	bool behind;			/* nobody does yet, and somebody may soon: it stays until who was answered runs */
	unsigned int corked;		/* more is about to follow: lazy messages wait for it */
	unsigned int held;		/* ... within a moment: all of them do, and whoever is answered sleeps on until then */
	struct list_head answered;	/* those */
	struct list_head letters;	/* hadsm_letter, in the engine's order */
	struct list_head spares;	/* pages, by lru: for those that were asked for ahead */
	unsigned int nr_spares;
	struct list_head reserve;	/* pages, by lru: for what arrives when there is no memory */
	unsigned int nr_reserve;
	bool recovering;		/* between PREPARED and RECOVERED */
	unsigned int patience;		/* how often memory may still be waited for meanwhile */
	unsigned int nr_letters;
	DECLARE_BITMAP(blocked, KRG_DSM_NODES_MAX + 1);	/* whose letters have to wait, in one round */
	struct hadsm_task snapshot;	/* at most one is under way */
	bool draining, drained;
	bool traced;			/* the engine reports its steps */
	u64 refused, resets;
	u64 prepared;			/* the epoch the engine is in: of its last PREPARED */
	u64 pages;			/* that count as used by it */
	int room;			/* of this node, as the engine was told: enum krg_dsm_room */
	struct hadsm_counts __percpu *counts;	/* any context that may be preempted */

	/* Written under the lock; read without it, under a folio lock or before waiting. */
	bool dead;			/* this node's part in it is over: -EIO, SIGBUS */
	bool suspended;			/* the lease is out: nobody may touch anything */
	unsigned int nr_pins;
	wait_queue_head_t wait;		/* for !suspended or dead */
	atomic_t lock_changes;		/* of the records of file locks, as far as known here */
	wait_queue_head_t lock_wait;	/* for a change of that, or dead */

	unsigned long evict_container;	/* where evict.c, its only user, goes on */
	pgoff_t evict_index;

	struct xarray stores;		/* hadsm_store by container */
	struct hrtimer timer;
	struct work_struct tick_work, edge_work;
	struct delayed_work letter_work, pin_work;
};

/* Containers below this number are records (names/names.h). */
#define HADSM_CONTAINER_FILES	(1ULL << 32)

/* A container: an inode of our own whose page cache holds the copies that are mapped here. */
struct hadsm_store {
	struct kref ref;
	struct hadsm_domain *domain;
	u64 container;
	struct inode *inode;
};

/* main.c */
extern struct workqueue_struct *hadsm_wq, *hadsm_lock_wq;
extern struct krg_dsm_params hadsm_params;

/* stats.c */
#define HADSM_LATENCIES		24	/* [0]: below 2 us; [i]: from 2^i us, below twice that; the last: all above */
enum hadsm_count { HADSM_HIT_READ, HADSM_HIT_WRITE, HADSM_HITS };
/* Of one processor; what the engine does not see, because it costs no message. */
struct hadsm_counts {
	u64 hit[HADSM_HITS];
	u64 wait[HADSM_HITS][HADSM_LATENCIES];	/* from the request to the grant, by access */
	u64 wait_us[HADSM_HITS];
};
#define HADSM_LINE_MAX		4096	/* of one domain in /proc/kerrighed/containers */
int hadsm_stats_init(void);
void hadsm_stats_exit(void);
/** A page was here, with the access in @mode. Costs one addition. */
static inline void hadsm_count_hit(struct hadsm_domain *d, u16 mode)
{
	this_cpu_inc(d->counts->hit[mode == KRG_DSM_WRITE ? HADSM_HIT_WRITE : HADSM_HIT_READ]);
}
/** An access in @mode was granted after @ns. */
void hadsm_count_wait(struct hadsm_domain *d, u16 mode, u64 ns);
/** One domain as one line of /proc/kerrighed/containers, without its end: bytes at @at. */
int hadsm_stats_line(struct hadsm_domain *d, char *at, size_t room);

/* trace.c */
/** The engine reports its steps exactly while somebody listens. Under domain.lock. */
void hadsm_trace_check(struct hadsm_domain *d);

/* query.c */
int hadsm_query_init(void);
void hadsm_query_exit(void);

/* domain.c */
extern struct mutex hadsm_domains_mutex;
extern struct list_head hadsm_domains;
int hadsm_domains_init(void);
void hadsm_domains_exit(void);
/** The domain with @id, made if there is none, with a reference; or an error pointer. */
struct hadsm_domain *hadsm_domain_get(u64 id);
/** ... NULL: there is none. */
struct hadsm_domain *hadsm_domain_find(u64 id);
/** The domain in place @n of the list, with a reference; NULL: there are not so many. */
struct hadsm_domain *hadsm_domain_nth(unsigned int n);
void hadsm_domain_put(struct hadsm_domain *d);
/** The engine makes its directory anew, or has. Under domain.lock. */
void hadsm_recovering(struct hadsm_domain *d, bool recovering);
/** This node's part in @d is over: who waits gets -EIO, all pages go. Under hadsm_domains_mutex. */
void hadsm_domain_stop(struct hadsm_domain *d);
/** Of the mount @name with @mounted replicas: the domain of its files with @replicas. */
u64 hadsm_domain_id(const char *name, u32 mounted, u32 replicas);
/** The domain has a name here: that of a mount. -EEXIST: it has another. */
int hadsm_domain_name(struct hadsm_domain *d, const char *name, u32 replicas);
/** The store of @container, made if there is none, with a reference; or an error pointer. */
struct hadsm_store *hadsm_store_get(struct hadsm_domain *d, u64 container);
/** ... or NULL; no reference, under domain.lock. */
struct hadsm_store *hadsm_store_find(struct hadsm_domain *d, u64 container);
void hadsm_store_put(struct hadsm_store *s);
/** The next store from container *@at on, with a reference; NULL: no more. *@at is where to go on. */
struct hadsm_store *hadsm_store_next(struct hadsm_domain *d, unsigned long *at);
/** Forgets the stores of files and directories that nobody uses and nothing of is here. */
void hadsm_stores_trim(struct hadsm_domain *d);
/** The container is gone, or nothing of it is here: the domain need not remember it. */
void hadsm_store_forget(struct hadsm_store *s);
/** Nobody maps any page of @s any more; faults that had been allowed are over. */
void hadsm_store_unmap(struct hadsm_store *s);

/* action.c */
/** Feeds the engine and carries out what follows. Under domain.lock; NULL: only what it owes or was not told yet. */
void hadsm_step(struct hadsm_domain *d, const struct krg_dsm_event *ev);
/** Puts a granted page into the page cache. -ENOMEM: it has to be tried again by the worker. */
int hadsm_grant(struct hadsm_domain *d, struct hadsm_waiter *w, gfp_t gfp);
/** The engine's answer to @w. Under domain.lock. */
void hadsm_waiter_answer(struct hadsm_domain *d, struct hadsm_waiter *w, int error);
void hadsm_waiters_wake(struct hadsm_domain *d);
void hadsm_waiter_release(struct kref *ref);
void hadsm_pins_flush(struct hadsm_domain *d, bool all);
/** INSTALLED for @w. Under domain.lock. */
void hadsm_installed(struct hadsm_domain *d, struct hadsm_waiter *w);

/* room.c */
/** Pages this node may keep, and keeps, of all domains. */
unsigned long hadsm_room_quota(void);
unsigned long hadsm_room_used(void);
/** So many pages should go (negative: none); and is it time to begin with that? */
long hadsm_room_excess(void);
bool hadsm_room_short(void);
/** The quota or what is used of it is another: whoever has to know is told. Any context that may take a spinlock. */
void hadsm_room_changed(void);
/** There is enough for what nobody has asked for yet. */
bool hadsm_room_plenty(void);
/** Counts what the engine of @d has now. True: it has to be told *@ev. Under domain.lock. */
bool hadsm_room_count(struct hadsm_domain *d, struct krg_dsm_event *ev);
/** Until when who begins to wait now waits for room, in jiffies. */
unsigned long hadsm_room_deadline(void);
/** Waits until one more page may be asked for; @reserve: of those that help to free others. -ENOSPC, -EINTR. */
int hadsm_room_wait(bool reserve, unsigned long deadline);
/** Other nodes had no room: 0 after a moment, try again; -ENOSPC: it is late; -EINTR. */
int hadsm_room_retry(unsigned long deadline);
struct seq_file;
void hadsm_room_show(struct seq_file *m);

/* evict.c */
int hadsm_evict_init(void);
void hadsm_evict_exit(void);
/** Room is wanted. Never sleeps. */
void hadsm_evict_soon(void);
/** The engines of all domains learn how much room there is. Never sleeps. */
void hadsm_evict_tell(void);
/**
 * Somebody, or a device, reads or writes the page right now: it has references that are neither the page cache's, nor a
 * mapping's, nor one of the caller's @mine. Under its lock. May be wrong for a moment; never says no while it is used.
 */
bool hadsm_page_in_use(struct folio *folio, int mine);
/** The page leaves to make room, and somebody uses it: it stays. Under its lock, with a reference of the caller. */
bool hadsm_evict_busy(struct hadsm_store *s, struct folio *folio);

/* edge.c */
/** Carries out a DOWNGRADE or INVALIDATE at once and fills in @done; false: it has to wait its turn, or for the page. */
bool hadsm_edge_now(struct hadsm_domain *d, u32 type, struct krg_dsm_event *done);
void hadsm_edge_work(struct work_struct *work);
void hadsm_edge_drop(struct hadsm_domain *d);

/* net.c */
int hadsm_net_init(void);
void hadsm_net_exit(void);
void hadsm_send(struct hadsm_domain *d, const struct krg_dsm_action *act);
void hadsm_letters_drop(struct hadsm_domain *d);
void hadsm_letter_work(struct work_struct *work);
/** Pages for what arrives when there is no memory: as many as can be had. Under domain.lock, or before anybody else has @d. */
void hadsm_reserve_fill(struct hadsm_domain *d);
void hadsm_reserve_drop(struct hadsm_domain *d);
/** What is in the packet leaves. Under domain.lock. */
void hadsm_packet_flush(struct hadsm_domain *d);
/** Until hadsm_uncork() messages that nobody waits for travel together; @all: the others too, and nobody is woken. Nests. */
void hadsm_cork(struct hadsm_domain *d, bool all);
void hadsm_uncork(struct hadsm_domain *d, bool all);

/* ahead.c */
extern unsigned int hadsm_ahead_pages;
/** Page @index of @file has to be fetched; whoever asks goes on to read @more pages behind it. What should come with it. */
struct hadsm_ahead hadsm_ahead_miss(struct file *file, pgoff_t index, pgoff_t more, bool sequential, bool random);
/** Page @index of @file has to be fetched to be written: which behind it will probably be written for the first time soon. */
struct hadsm_ahead hadsm_ahead_write(struct file *file, pgoff_t index, bool sequential, bool random);
/** @folio of @s, locked or held, is read through @file: if it is marked, it is time to ask for more. */
void hadsm_ahead_hit(struct file *file, struct hadsm_store *s, struct folio *folio);
/** Asks for @a. Under domain.lock. */
void hadsm_ahead_ask(struct hadsm_store *s, const struct hadsm_ahead *a);
/** Is page @index one at which more is asked for? */
bool hadsm_ahead_mark(pgoff_t index);
/** A page for one that came, from those set aside, or without waiting; NULL: no memory. Under domain.lock. */
struct page *hadsm_spare_take(struct hadsm_domain *d, gfp_t gfp);
/** Gives back what is set aside and not needed; all of it when the domain has ended. Under domain.lock. */
void hadsm_spares_trim(struct hadsm_domain *d);

/* futex.c */
/** The page is no longer here: whoever waits on a word in it looks again. */
void hadsm_futex_look(u64 container, pgoff_t index);

/* lock.c */
/** Records of file locks were changed, or taken away, or a node is gone: whoever waits looks again. */
void hadsm_locks_changed(struct hadsm_domain *d);

/* page.c */
/** The page of @store, locked, with access in @mode; NULL: not here, or not allowed now. */
struct folio *hadsm_page_lock(struct hadsm_store *s, pgoff_t index, u16 mode);
/** ... asks for it and waits. The lock is held; or an error pointer. */
struct folio *hadsm_page_get(struct hadsm_store *s, pgoff_t index, u16 mode);
/** ... for a read of it and @more pages behind it, through @file: what is probably read next comes as well. */
struct folio *hadsm_page_read(struct file *file, struct hadsm_store *s, pgoff_t index, pgoff_t more);
/** A waiter for a page of @s, or (NULL) for what has an end but no page; NULL: no memory. */
struct hadsm_waiter *hadsm_waiter_new(struct hadsm_store *s, pgoff_t index, u16 mode);
/**
 * Has the page come here with access in @mode, and stay for a moment: until hadsm_page_used(), or 20 ms. Whoever wants it
 * still has to take its lock and look. Sleeps, killable. -EIO, -ENOMEM, -EBUSY, -EINTR, -ENOSPC: no room here, or for its
 * copies on other nodes.
 */
int hadsm_page_fetch(struct hadsm_store *s, pgoff_t index, u16 mode);
void hadsm_page_used(struct hadsm_store *s, pgoff_t index, u16 mode);
/**
 * The same, and it stays until hadsm_page_unhold(*@out): whoever holds one and waits for another must wait for one behind it,
 * in the order of containers and pages.
 */
int hadsm_page_hold(struct hadsm_store *s, pgoff_t index, u16 mode, struct hadsm_waiter **out);
/** A batch has write-protected what is held: has it granted again, from what is here. -EBUSY: that is not possible. */
int hadsm_page_hold_again(struct hadsm_waiter **held);
void hadsm_page_unhold(struct hadsm_waiter *w);
/**
 * Somebody is about to write pages @first..@last, and then those up to @upto: has them asked for, the first ones so that they
 * come into the page cache, and does not wait. Nobody has written them before.
 */
void hadsm_page_want(struct hadsm_store *s, pgoff_t first, pgoff_t last, pgoff_t upto);
/** All that is dirty in the domain becomes durable. */
int hadsm_sync(struct hadsm_domain *d);
/** Pages @first..@last become zeros that were never written, on all nodes. Sleeps, killable. */
int hadsm_punch(struct hadsm_store *s, pgoff_t first, pgoff_t last);
extern const struct vm_operations_struct hadsm_vm_ops;

/* file.c */
extern const struct file_operations hadsm_file_ops;
struct hadsm_store *hadsm_file_store(const struct file *file);

/* super.c */
extern struct file_system_type hadsm_fs_type;

/* view.c */
int hadsm_view_init(void);
void hadsm_view_exit(void);
/** Tells a new domain of the present view. Under hadsm_domains_mutex and domain.lock. */
int hadsm_view_introduce(struct hadsm_domain *d);
/** A domain has given everything away. */
void hadsm_view_drained(void);
/** The module is new here: other members may have spoken to it already. */
void hadsm_view_announce(void);
/** This node's id, 0: in no cluster. Under hadsm_domains_mutex. */
u16 hadsm_view_self(void);
/** Which of the first 128 node ids are members: bit n % 64 of live[n / 64]; returns this node's id, 0: in no cluster. */
u16 hadsm_view_live(u64 live[2]);
struct krg_names_life;
/** The members and their lives, at most @room of them; returns how many. */
u32 hadsm_view_lives(struct krg_names_life *life, u32 room);

static inline struct krg_dsm_object hadsm_object(const struct hadsm_store *s, pgoff_t index)
{
	return (struct krg_dsm_object){
		.container = s->container, .index = index,
		.policy = {
			.cls = s->domain->replicas > 1 ? KRG_DSM_DURABLE : KRG_DSM_VOLATILE,
			.replicas = s->domain->replicas,
		},
	};
}

static inline struct page *hadsm_page(u64 handle)
{
	return (struct page *)(unsigned long)handle;
}

static inline u64 hadsm_handle(const struct page *page)
{
	return (unsigned long)page;
}

#endif
