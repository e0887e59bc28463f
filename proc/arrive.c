// SPDX-License-Identifier: GPL-2.0
/*
 * Migration, the target's side, its last step: processes that were built wait
 * before user mode until the directory says that they run here. What is done in
 * which order is decided by core/handover_target.cc; here it is done. How they
 * come to be built is move_in.c's.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "directory.h"
#include "move_in.h"
#include "shadow.h"

#define ARRIVE_LOOK_MS	1000	/* between two looks into the directory */
#define ARRIVE_ASK_MS	5000	/* for the source's answer */

static enum krg_target_do arrive_step(struct krg_move_in *m, enum krg_target_event event, int err,
				      const struct krg_record *record)
{
	struct krg_view *view = krg_view_get();
	u32 events = READ_ONCE(m->events);

	if (!view || !view->self)
		events |= KRG_TARGET_OUT;
	krg_view_put(view);
	return krg_target_step(&m->target, event, events, err, record);
}

/* 0, or -EINTR: killed. The time is for a GO that was lost. */
static int arrive_wait(struct krg_move_in *m, bool killable)
{
	long limit = msecs_to_jiffies(ARRIVE_LOOK_MS);
	bool killed = false;

	if (killable)
		killed = wait_event_killable_timeout(m->wait, READ_ONCE(m->news) != m->seen, limit) < 0;
	else
		wait_event_timeout(m->wait, READ_ONCE(m->news) != m->seen, limit);
	m->seen = READ_ONCE(m->news);
	return killed ? -EINTR : 0;
}

static int arrive_ask(struct krg_move_in *m)
{
	struct krg_move_ask ask = { .move = cpu_to_le64(m->id), .step = cpu_to_le32(KRG_MOVE_ASK) };
	struct kvec vec = { .iov_base = &ask, .iov_len = sizeof(ask) };

	return min(krg_rpc_call(m->from, KRG_MSG_MOVE, &vec, 1, NULL, 0, ARRIVE_ASK_MS), 0);
}

/* Their ends will be told; all of them, or nobody's. */
static int arrive_adopt(struct krg_move_in *m)
{
	u32 i;
	int err = 0;

	for (i = 0; i < m->count && !err; i++) {
		struct krg_record record = {
			.generation = le64_to_cpu(m->member[i].generation), .move = m->id,
			.home = le16_to_cpu(m->member[i].home), .runner = m->target.self,
		};

		err = krg_guest_add(le32_to_cpu(m->member[i].pid), &record, i != 0);
	}
	while (err && --i)
		krg_guest_forget(le32_to_cpu(m->member[i - 1].pid));
	return err;
}

void krg_arrive_lost(struct krg_move_in *m)
{
	u32 i;

	for (i = 0; i < m->count; i++)
		krg_guest_lost(le32_to_cpu(m->member[i].pid));
}

/* Until it is known: KRG_TARGET_RUN, _KILL, _TELL_LOST or _END. Or _WAIT: the helper was killed before. */
static enum krg_target_do arrive_decide(struct krg_move_in *m, enum krg_target_do todo, bool killable)
{
	struct krg_record record = {};
	int err;

	for (;;) {
		switch (todo) {
		case KRG_TARGET_WAIT:
			if (arrive_wait(m, killable))
				return todo;
			todo = arrive_step(m, KRG_TARGET_NEWS, 0, NULL);
			continue;
		case KRG_TARGET_READ:
			err = krg_directory_read(m->pid, &record);
			break;
		case KRG_TARGET_ASK:
			err = arrive_ask(m);
			break;
		case KRG_TARGET_ADOPT:
			err = arrive_adopt(m);
			break;
		default:
			return todo;
		}
		todo = arrive_step(m, KRG_TARGET_DONE, err, &record);
	}
}

/* Nobody waits for them any more, but if the directory gives them to this node their homes must hear that they died. */
static void arrive_work(struct work_struct *work)
{
	struct krg_move_in *m = container_of(work, struct krg_move_in, lost);

	if (arrive_decide(m, KRG_TARGET_WAIT, false) == KRG_TARGET_TELL_LOST) {
		pr_warn("process %d died before it could go on here: whoever built it was killed\n", m->pid);
		krg_arrive_lost(m);
	}
	krg_move_in_forget(m);
	krg_move_in_put(m);
}

int krg_arrive(struct krg_move_in *m)
{
	struct krg_view *view = krg_view_get();
	u16 self = view ? view->self : 0;

	krg_view_put(view);
	krg_target_init(&m->target, m->id, m->generation, self);
	m->seen = READ_ONCE(m->news);
	switch (arrive_decide(m, arrive_step(m, KRG_TARGET_BUILT, 0, NULL), true)) {
	case KRG_TARGET_RUN:
		return 0;
	case KRG_TARGET_WAIT:
		arrive_step(m, KRG_TARGET_DIED, 0, NULL);
		refcount_inc(&m->refs);
		INIT_WORK(&m->lost, arrive_work);
		krg_move_in_queue(&m->lost);
		return -EINTR;
	default:
		krg_move_in_forget(m);
		return -ECANCELED;
	}
}
