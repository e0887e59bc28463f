// SPDX-License-Identifier: GPL-2.0
/*
 * Views on their way from the engine to those who act on them: one ordered
 * worker tells subscribers, in their order, and then the life of the node. It
 * may take as long as the subscribers need; the membership thread never waits
 * for it.
 *
 * Whether this node may serve is decided without the worker's help: the lease is
 * published by the membership thread after each step, and it counts only while
 * the newest view that was prepared is also the one whose commit the subscribers
 * have begun to hear of.
 */
#include <linux/atomic.h>
#include <linux/bsearch.h>
#include <linux/export.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <kerrighed/membership.h>

#include "member.h"
#include "trace.h"

struct krg_note {
	struct list_head list;
	enum krg_mbr_action_type what;
	struct krg_view *view;
	u16 node;
	unsigned int reason;
	u64 epoch, arg;
};

static void view_work_fn(struct work_struct *work);

static struct workqueue_struct *view_wq;
static DECLARE_WORK(view_work, view_work_fn);

/* The list of subscribers, by falling priority, and every call of a callback. */
static DEFINE_MUTEX(view_subs_mutex);
static LIST_HEAD(view_subs);

/* The notes, and what a planned leave waits for. Inside view_subs_mutex. */
static DEFINE_SPINLOCK(view_lock);
static LIST_HEAD(view_notes);
static bool view_draining;		/* subscribers were asked to drain */
static u64 view_drain_epoch;
static bool view_failed;		/* memory ran out: tell that this node has failed */

static const struct krg_member_sink *view_sink;
static struct krg_view __rcu *view_committed;	/* written by the worker */
static atomic64_t view_serve_until;		/* ms of krg_member_now_ms() */
static atomic64_t view_prepared_epoch;		/* of the newest view agreed on */
static atomic64_t view_committed_epoch;		/* 0: none */

/* ---- reading ---- */

bool krg_may_serve(void)
{
	u64 until = atomic64_read(&view_serve_until);
	u64 epoch = atomic64_read(&view_committed_epoch);

	return until && epoch && epoch == atomic64_read(&view_prepared_epoch) &&
	       krg_member_now_ms() < until;
}
EXPORT_SYMBOL_GPL(krg_may_serve);

u64 krg_epoch(void)
{
	return atomic64_read(&view_committed_epoch);
}
EXPORT_SYMBOL_GPL(krg_epoch);

struct krg_view *krg_view_get(void)
{
	struct krg_view *view;

	rcu_read_lock();
	view = rcu_dereference(view_committed);
	if (view && !refcount_inc_not_zero(&view->ref))
		view = NULL;
	rcu_read_unlock();
	return view;
}
EXPORT_SYMBOL_GPL(krg_view_get);

void krg_view_put(struct krg_view *view)
{
	if (view && refcount_dec_and_test(&view->ref))
		kfree_rcu(view, rcu);
}
EXPORT_SYMBOL_GPL(krg_view_put);

static int view_compare(const void *key, const void *entry)
{
	return (int)*(const u16 *)key - (int)((const struct krg_mbr_member *)entry)->node;
}

const struct krg_mbr_member *krg_view_find(const struct krg_view *view, u16 node)
{
	return bsearch(&node, view->member, view->count, sizeof(*view->member), view_compare);
}
EXPORT_SYMBOL_GPL(krg_view_find);

struct krg_view *krg_view_copy(const struct krg_mbr_view *v, u16 self, gfp_t gfp)
{
	size_t members = v->count * sizeof(*v->member);
	size_t removed = v->removed_count * sizeof(*v->removed);
	struct krg_view *view = kzalloc(sizeof(*view) + members + removed, gfp);

	if (!view)
		return NULL;
	refcount_set(&view->ref, 1);
	view->epoch = v->epoch;
	view->cluster_id = v->cluster_id;
	view->params = v->params;
	view->self = self;
	view->count = v->count;
	view->removed_count = v->removed_count;
	memcpy(view->entry, v->member, members);
	memcpy(view->entry + v->count, v->removed, removed);
	view->member = view->entry;
	view->removed = view->entry + v->count;
	return view;
}

/* ---- from the membership thread ---- */

void krg_view_set_serve_until(u64 ms)
{
	atomic64_set(&view_serve_until, ms);
}

int krg_view_notify(enum krg_mbr_action_type what, struct krg_view *view, u16 node,
		    unsigned int reason, u64 epoch, u64 arg)
{
	struct krg_note *note = kmalloc(sizeof(*note), GFP_ATOMIC);

	if (!note) {
		krg_view_put(view);
		return -ENOMEM;
	}
	*note = (struct krg_note){
		.what = what, .view = view, .node = node, .reason = reason,
		.epoch = epoch, .arg = arg,
	};
	if (what == KRG_MBR_ACT_PREPARE)
		atomic64_set(&view_prepared_epoch, view->epoch);
	spin_lock(&view_lock);
	list_add_tail(&note->list, &view_notes);
	spin_unlock(&view_lock);
	queue_work(view_wq, &view_work);
	return 0;
}

void krg_view_fail(void)
{
	spin_lock(&view_lock);
	view_failed = true;
	spin_unlock(&view_lock);
	queue_work(view_wq, &view_work);
}

/* ---- telling ---- */

static void view_publish(struct krg_view *view)
{
	struct krg_view *old;

	if (view)
		refcount_inc(&view->ref);
	old = rcu_replace_pointer(view_committed, view, true);
	atomic64_set(&view_committed_epoch, view ? view->epoch : 0);
	krg_view_put(old);
}

#define view_tell_down(fn, ...)							\
	do {									\
		list_for_each_entry(s, &view_subs, list)			\
			if (s->ops->fn)						\
				s->ops->fn(s, ##__VA_ARGS__);			\
	} while (0)
#define view_tell_up(fn, ...)							\
	do {									\
		list_for_each_entry_reverse(s, &view_subs, list)		\
			if (s->ops->fn)						\
				s->ops->fn(s, ##__VA_ARGS__);			\
	} while (0)

static void view_prepare(const struct krg_note *note)
{
	struct krg_mbr_event done = { .type = KRG_MBR_EV_PREPARED, .arg = note->view->epoch };
	struct krg_subscriber *s;

	view_tell_down(prepare, note->view);
	view_sink->view(note->view, false);
	krg_member_post(&done);
}

static void view_commit(const struct krg_note *note)
{
	struct krg_subscriber *s;

	/* A newer view is being agreed on already: this one will not serve here. */
	if (note->view->epoch != atomic64_read(&view_prepared_epoch))
		return;
	view_publish(note->view);
	view_tell_up(commit, note->view);
	view_sink->view(note->view, true);
}

static void view_check_drained(void)
{
	struct krg_mbr_event done = { .type = KRG_MBR_EV_DRAINED };
	struct krg_subscriber *s;
	bool held = false;

	lockdep_assert_held(&view_subs_mutex);
	spin_lock(&view_lock);
	list_for_each_entry(s, &view_subs, list)
		held |= s->holds;
	done.arg = view_drain_epoch;
	held |= !view_draining;
	if (!held)
		view_draining = false;
	spin_unlock(&view_lock);
	if (!held)
		krg_member_post(&done);
}

static void view_drain(const struct krg_note *note)
{
	struct krg_subscriber *s;

	view_sink->draining();
	spin_lock(&view_lock);
	view_draining = true;
	view_drain_epoch = note->epoch;
	list_for_each_entry(s, &view_subs, list) {
		s->holds = s->ops->drain;
		s->why[0] = 0;
	}
	spin_unlock(&view_lock);
	list_for_each_entry(s, &view_subs, list) {
		if (s->ops->drain && s->ops->drain(s, note->view)) {
			spin_lock(&view_lock);
			s->holds = false;
			spin_unlock(&view_lock);
		}
	}
	view_check_drained();
}

static void view_over(const struct krg_note *note)
{
	struct krg_subscriber *s;
	bool was_in = atomic64_read(&view_prepared_epoch);

	atomic64_set(&view_prepared_epoch, 0);
	view_publish(NULL);
	spin_lock(&view_lock);
	view_draining = false;
	list_for_each_entry(s, &view_subs, list)
		s->holds = false;
	spin_unlock(&view_lock);
	if (note->what == KRG_MBR_ACT_LEFT)
		view_tell_up(left);
	else if (was_in)
		view_tell_down(expelled, note->what == KRG_MBR_ACT_FAILED ? KRG_MBR_R_INTERNAL :
							      note->reason);
	view_sink->over(note->what, note->node, note->reason, note->arg);
}

static void view_tell(const struct krg_note *note)
{
	struct krg_subscriber *s;

	switch (note->what) {
	case KRG_MBR_ACT_PREPARE:
		view_prepare(note);
		break;
	case KRG_MBR_ACT_COMMIT:
		view_commit(note);
		break;
	case KRG_MBR_ACT_SUSPEND:
		view_tell_down(suspend);
		view_sink->serving(false);
		break;
	case KRG_MBR_ACT_RESUME:
		view_tell_up(resume);
		view_sink->serving(true);
		break;
	case KRG_MBR_ACT_DRAIN:
		view_drain(note);
		break;
	case KRG_MBR_ACT_PEER_REFUSED:
		view_sink->peer_refused(note->node, note->reason);
		break;
	case KRG_MBR_ACT_EXPELLED:
	case KRG_MBR_ACT_LEFT:
	case KRG_MBR_ACT_REFUSED:
	case KRG_MBR_ACT_FAILED:
		view_over(note);
		break;
	default:
		pr_warn_once("engine action %d is not known here\n", note->what);
	}
}

static struct krg_note *view_next_note(void)
{
	struct krg_note *note;

	spin_lock(&view_lock);
	note = list_first_entry_or_null(&view_notes, struct krg_note, list);
	if (note)
		list_del(&note->list);
	spin_unlock(&view_lock);
	return note;
}

static void view_note_free(struct krg_note *note)
{
	krg_view_put(note->view);
	kfree(note);
}

static void view_work_fn(struct work_struct *work)
{
	static const struct krg_note failed = { .what = KRG_MBR_ACT_FAILED };
	struct krg_note *note;
	bool fail;

	mutex_lock(&view_subs_mutex);
	while ((note = view_next_note())) {
		view_tell(note);
		view_note_free(note);
	}
	spin_lock(&view_lock);
	fail = view_failed;
	view_failed = false;
	spin_unlock(&view_lock);
	if (fail)
		view_tell(&failed);
	view_check_drained();
	mutex_unlock(&view_subs_mutex);
}

/* ---- subscribers ---- */

int krg_subscriber_register(struct krg_subscriber *s)
{
	struct krg_subscriber *at;
	struct krg_view *view;

	if (!s->ops || !s->name)
		return -EINVAL;
	s->holds = false;
	s->why[0] = 0;
	mutex_lock(&view_subs_mutex);
	list_for_each_entry(at, &view_subs, list)
		if (at->priority < s->priority)
			break;
	list_add_tail(&s->list, &at->list);
	view = krg_view_get();
	if (view) {
		if (s->ops->prepare)
			s->ops->prepare(s, view);
		if (s->ops->commit)
			s->ops->commit(s, view);
		krg_view_put(view);
	}
	mutex_unlock(&view_subs_mutex);
	return 0;
}
EXPORT_SYMBOL_GPL(krg_subscriber_register);

void krg_subscriber_unregister(struct krg_subscriber *s)
{
	mutex_lock(&view_subs_mutex);
	list_del(&s->list);
	view_check_drained();
	mutex_unlock(&view_subs_mutex);
}
EXPORT_SYMBOL_GPL(krg_subscriber_unregister);

void krg_subscriber_holding(struct krg_subscriber *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	spin_lock(&view_lock);
	vsnprintf(s->why, sizeof(s->why), fmt, args);
	spin_unlock(&view_lock);
	va_end(args);
}
EXPORT_SYMBOL_GPL(krg_subscriber_holding);

void krg_subscriber_drained(struct krg_subscriber *s)
{
	spin_lock(&view_lock);
	s->holds = false;
	spin_unlock(&view_lock);
	queue_work(view_wq, &view_work);	/* callers may be in a callback: the worker looks */
}
EXPORT_SYMBOL_GPL(krg_subscriber_drained);

bool krg_view_drain_holders(char *text, size_t size)
{
	struct krg_subscriber *s;
	size_t n = 0;

	text[0] = 0;
	/* A subscriber that is just draining has the mutex; a text must not wait for it. */
	if (!mutex_trylock(&view_subs_mutex))
		return false;
	spin_lock(&view_lock);
	if (view_draining)
		list_for_each_entry(s, &view_subs, list)
			if (s->holds)
				n += scnprintf(text + n, size - n, "%s%s%s%s", n ? "; " : "",
					       s->name, s->why[0] ? ": " : "", s->why);
	spin_unlock(&view_lock);
	mutex_unlock(&view_subs_mutex);
	return n > 0;
}

/* ---- life ---- */

void krg_view_start(const struct krg_member_sink *sink)
{
	view_sink = sink;
	view_failed = false;
	atomic64_set(&view_serve_until, 0);
	atomic64_set(&view_prepared_epoch, 0);
	atomic64_set(&view_committed_epoch, 0);
}

void krg_view_stop(void)
{
	struct krg_subscriber *s;
	struct krg_note *note;

	cancel_work_sync(&view_work);
	while ((note = view_next_note()))
		view_note_free(note);
	mutex_lock(&view_subs_mutex);
	view_publish(NULL);
	/* Taken down without the engine's word, e.g. left while suspended: over all the same. */
	if (atomic64_xchg(&view_prepared_epoch, 0))
		view_tell_down(expelled, KRG_MBR_R_LOST);
	mutex_unlock(&view_subs_mutex);
}

int krg_view_init(void)
{
	view_wq = alloc_ordered_workqueue("krg_view", WQ_MEM_RECLAIM);
	return view_wq ? 0 : -ENOMEM;
}

void krg_view_exit(void)
{
	destroy_workqueue(view_wq);
	rcu_barrier();	/* views are freed through RCU */
}
