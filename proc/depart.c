// SPDX-License-Identifier: GPL-2.0
/*
 * Migration, the source's side, its last step: frozen processes that the target
 * has built are handed over by one write into the directory, or go on here. What
 * is done in which order is decided by core/handover_source.cc; here it is done.
 */
#include <linux/delay.h>
#include <linux/mutex.h>

#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "follow.h"
#include "inet.h"
#include "move_out.h"
#include "park.h"
#include "shadow.h"
#include "text.h"
#include "tty.h"

#define DEPART_PAUSE_MS	100
#define DEPART_SAY_MS	5000	/* for a home's answer */

/* Protects the list. Nothing is locked inside of it. */
static DEFINE_MUTEX(departs_lock);
static LIST_HEAD(departs);

void krg_depart_begin(struct krg_move_out *m)
{
	mutex_lock(&departs_lock);
	list_add_tail(&m->node, &departs);
	mutex_unlock(&departs_lock);
}

void krg_depart_end(struct krg_move_out *m)
{
	mutex_lock(&departs_lock);
	list_del_init(&m->node);
	mutex_unlock(&departs_lock);
}

bool krg_move_out_has(u16 to, u64 id)
{
	struct krg_move_out *m;
	bool found = false;

	mutex_lock(&departs_lock);
	list_for_each_entry(m, &departs, node)
		found = found || (m->to == to && m->id == id);
	mutex_unlock(&departs_lock);
	return found;
}

/* ---- what the engine asks for ---- */

static bool depart_sees(u16 node)
{
	struct krg_view *view = krg_view_get();
	bool there = view && krg_view_find(view, node);

	krg_view_put(view);
	return there;
}

/* Of a call: no connection to that node is not the end of this one's membership. */
static int depart_call_error(int n)
{
	return n == -ENOTCONN && krg_epoch() ? -ECONNRESET : min(n, 0);
}

static int depart_write(struct krg_move_out *m, const struct krg_directory_entry *entry, u32 count)
{
	int err = krg_directory_write(entry, count);

	m->directory_error = err ?: m->directory_error;
	return err;
}

/* Where they run now, to each home that is another node: until it has heard it, or is out. */
static int depart_say(struct krg_move_out *m)
{
	u32 i;
	int err;

	for (i = 0; i < m->count; i++) {
		const struct krg_record *record = &m->after[i].record;
		struct krg_shadow_msg msg = {
			.what = cpu_to_le32(KRG_SHADOW_MOVED), .pid = cpu_to_le32(m->after[i].pid),
			.generation = cpu_to_le64(record->generation), .code = cpu_to_le32(record->runner),
		};
		struct kvec vec = { .iov_base = &msg, .iov_len = sizeof(msg) };

		if (m->said[i] || record->home == m->self || !depart_sees(record->home))
			continue;
		err = krg_rpc_call(record->home, KRG_MSG_SHADOW, &vec, 1, NULL, 0, DEPART_SAY_MS);
		err = depart_call_error(err);
		if (err && err != -ESRCH)
			return err;
		m->said[i] = true;
	}
	return 0;
}

static void depart_let_go(struct krg_move_out *m)
{
	krg_unfreeze(m->set);
	m->set = NULL;
	m->let_go = ktime_get();
}

static int depart_do(struct krg_move_out *m, enum krg_source_do todo, struct krg_record *record)
{
	switch (todo) {
	case KRG_SOURCE_ARM:
		return krg_shadows_arm(m->shadows, m->set);
	case KRG_SOURCE_WRITE_MEMBERS:
		return depart_write(m, m->after + 1, m->count - 1);
	case KRG_SOURCE_WRITE:
		return depart_write(m, m->after, 1);
	case KRG_SOURCE_READ:
		return krg_directory_read(m->pid, record);
	case KRG_SOURCE_PUT_BACK:
		return krg_directory_write(m->before + 1, m->count - 1);
	case KRG_SOURCE_PAUSE:
		msleep(DEPART_PAUSE_MS);
		return 0;
	case KRG_SOURCE_THAW:
		krg_shadows_drop(m->shadows, m->set);
		depart_let_go(m);
		return 0;
	case KRG_SOURCE_LEAVE:
		if (m->sink.follow)
			krg_follow_out_moved(m->sink.follow);
		krg_inet_quiet(m->set);
		krg_tty_leave(m->set);
		krg_shadows_start(m->shadows, m->set);
		depart_let_go(m);
		return 0;
	case KRG_SOURCE_GO:
		return depart_call_error(krg_move_ask(m, KRG_MOVE_GO, NULL));
	case KRG_SOURCE_ABORT:
		return depart_call_error(krg_move_ask(m, KRG_MOVE_ABORT, NULL));
	case KRG_SOURCE_SAY:
		return depart_say(m);
	case KRG_SOURCE_END:
		break;
	}
	return 0;
}

int krg_depart(struct krg_move_out *m, int err)
{
	enum krg_source_event event = err ? KRG_SOURCE_FAILED : KRG_SOURCE_BUILT;
	struct krg_record record = {};
	enum krg_source_do todo;
	struct krg_source source;
	bool away = false;
	u32 i;

	for (i = 0; i < m->count; i++)
		away = away || m->after[i].record.home != m->self;
	krg_source_init(&source, m->id, m->count > 1, away);
	for (todo = krg_source_step(&source, event, err, NULL); todo != KRG_SOURCE_END;
	     todo = krg_source_step(&source, KRG_SOURCE_DONE, err, &record))
		err = depart_do(m, todo, &record);
	if (source.error && m->directory_error)
		krg_text_add(m->text, "directory: cannot be written: error %d", m->directory_error);
	if (source.error && source.left)
		krg_text_add(m->text, "directory: it is not known where process %d runs; it does not run here", m->pid);
	return source.error;
}
