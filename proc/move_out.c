// SPDX-License-Identifier: GPL-2.0
/*
 * Migration, the source's side: a process is frozen, captured into messages, and
 * handed over by one write into the directory. Until that write begins whatever
 * goes wrong lets the process go on here as if nothing had been asked; after it,
 * what is read there decides. What remains of the process is shadow.c's.
 */
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <kerrighed/membership.h>
#include <kerrighed/pid.h>
#include <kerrighed/rpc.h>

#include "capture.h"
#include "check.h"
#include "directory.h"
#include "forward.h"
#include "move.h"
#include "park.h"
#include "shadow.h"
#include "sysv.h"
#include "text.h"

#define ASK_MS		5000	/* for one answer */
#define SEND_MS		10000	/* for room for one piece */
#define BUILD_MS	60000	/* for the target to build the process, when no time was given */
#define POLL_MS		2
#define SETTLE_TRIES	600	/* to read the directory after a write that failed; 100 ms each */

struct krg_move_out {
	struct krg_sink sink;
	u64 id, offset, generation;
	u16 to, self;
	pid_t pid;
	u32 filled;
	struct krg_text *text;
	struct krg_move_data *head;	/* and the piece that is being filled */
};

/* ---- talking ---- */

/* The target's state, or an error; its reason goes to the text. */
static int move_ask(struct krg_move_out *m, enum krg_move_step step)
{
	struct krg_move_ask ask = {
		.move = cpu_to_le64(m->id), .step = cpu_to_le32(step), .pid = cpu_to_le32(m->pid),
		.bytes = cpu_to_le64(m->offset + m->filled), .generation = cpu_to_le64(m->generation),
	};
	struct kvec vec = { .iov_base = &ask, .iov_len = sizeof(ask) };
	struct {
		struct krg_move_answer head;
		char reason[KRG_MOVE_REASON];
	} *answer = kmalloc(sizeof(*answer), GFP_KERNEL);
	struct kvec reply = { .iov_base = answer, .iov_len = sizeof(*answer) };
	int n, state;

	if (!answer)
		return -ENOMEM;
	n = krg_rpc_call(m->to, KRG_MSG_MOVE, &vec, 1, &reply, 1, ASK_MS);
	if (n >= 0 && n < (int)sizeof(answer->head))
		n = -EBADMSG;
	state = n < 0 ? n : le32_to_cpu(answer->head.state);
	if (state == KRG_MOVE_FAILED) {
		n -= sizeof(answer->head);
		krg_text_add(m->text, "node %u: %.*s", m->to, n, answer->reason);
		state = -(int)(le32_to_cpu(answer->head.error) & 0xfff) ?: -EIO;
	}
	kfree(answer);
	return state;
}

static int move_flush(struct krg_move_out *m)
{
	struct kvec vec = { .iov_base = m->head, .iov_len = sizeof(*m->head) + m->filled };
	int err;

	if (!m->filled)
		return 0;
	m->head->move = cpu_to_le64(m->id);
	m->head->offset = cpu_to_le64(m->offset);
	err = krg_rpc_send(m->to, KRG_MSG_MOVE_DATA, &vec, 1, SEND_MS);
	m->offset += m->filled;
	m->filled = 0;
	return err;
}

static int move_write(struct krg_sink *sink, const struct krg_ghost_piece *piece, u32 count)
{
	struct krg_move_out *m = container_of(sink, struct krg_move_out, sink);
	u8 *to = (u8 *)(m->head + 1);
	int err = 0;

	if (fatal_signal_pending(current))
		return -EINTR;
	for (; count && !err; piece++, count--) {
		const u8 *at = piece->at;
		size_t left = piece->length;

		while (left && !err) {
			u32 n = min_t(size_t, left, KRG_MOVE_PIECE - m->filled);

			memcpy(to + m->filled, at, n);
			m->filled += n;
			at += n;
			left -= n;
			if (m->filled == KRG_MOVE_PIECE)
				err = move_flush(m);
		}
	}
	return err;
}

/* ---- the steps ---- */

/* Until the target holds a whole process before user mode. */
static int move_build(struct krg_move_out *m, u32 timeout_ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms ?: BUILD_MS);
	int state = move_ask(m, KRG_MOVE_START);

	while (state >= 0 && state != KRG_MOVE_READY) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (time_after(jiffies, end)) {
			krg_text_add(m->text, "node %u: the process was not built in time", m->to);
			return -ETIMEDOUT;
		}
		fsleep(POLL_MS * 1000);
		state = move_ask(m, KRG_MOVE_POLL);
	}
	return min(state, 0);
}

/*
 * Who runs it from now on: 1 the target, 0 this node, or -errno: this node cannot know, because it is out. No signal ends
 * this.
 */
static int move_commit(struct krg_move_out *m, const struct krg_whereabouts *before)
{
	struct krg_whereabouts at = {
		.home = before->home ?: krg_pid_node(m->pid), .runner = m->to, .generation = m->generation,
	};
	int err = krg_directory_write(m->pid, &at), tries;

	if (!err)
		return 1;
	krg_text_add(m->text, "directory: cannot be written: error %d", err);
	for (tries = 0; tries < SETTLE_TRIES; tries++) {
		err = krg_directory_read(m->pid, &at);
		if (!err)
			return at.generation == m->generation && at.runner == m->to;
		if (err == -EIO || err == -ENOTCONN)
			break;
		msleep(100);
	}
	return err;
}

/* Nobody may be left behind that waits for a word: an answer ends this, or the target's death. */
static void move_abort(struct krg_move_out *m)
{
	int tries, err = -ETIMEDOUT;

	m->text = NULL;		/* why was said */
	for (tries = 0; tries < 100 && (err == -ETIMEDOUT || err == -ECONNRESET || err == -EAGAIN); tries++) {
		err = move_ask(m, KRG_MOVE_ABORT);
		if (err == -ECONNRESET)
			msleep(100);
	}
}

/* Before anybody is disturbed, and again when the process is frozen. */
static int move_judge(struct krg_move_out *m)
{
	struct krg_view *view = krg_view_get();
	bool member = view && m->to != view->self && krg_view_find(view, m->to);

	m->self = view ? view->self : 0;
	krg_view_put(view);
	if (!m->self || !krg_may_serve()) {
		krg_text_add(m->text, "cluster: this node is not a serving member of one");
		return -ENOTCONN;
	}
	if (!member) {
		krg_text_add(m->text, "node %u: is no other member of the cluster (krgadm node list)", m->to);
		return -EHOSTUNREACH;
	}
	if (!krg_pid_node(m->pid)) {
		krg_text_add(m->text, "pid %d: the process is older than this node's membership, its id is not unique in the cluster",
			     m->pid);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int move_frozen(struct krg_move_out *m, struct krg_frozen *set, u32 timeout_ms)
{
	struct krg_whereabouts before = {};
	struct krg_shadow *shadow;
	int err = move_judge(m);

	if (err)
		return err;
	err = krg_directory_read(m->pid, &before);
	if (err) {
		krg_text_add(m->text, "directory: cannot be read: error %d", err);
		return err;
	}
	m->generation = before.generation + 1;
	shadow = krg_shadow_new(m->pid, m->to, m->generation);
	if (!shadow)
		return -ENOMEM;
	err = move_ask(m, KRG_MOVE_OPEN);
	if (err >= 0)
		err = krg_capture_to(set, &m->sink, m->text);
	if (!err)
		err = move_flush(m);
	if (!err)
		err = move_build(m, timeout_ms);
	if (!err)
		err = krg_shadow_arm(shadow, set);
	if (err) {
		move_abort(m);
		krg_shadow_drop(shadow, set);
		return err;
	}
	err = move_commit(m, &before);
	if (!err) {
		move_abort(m);
		krg_shadow_drop(shadow, set);
		return -EIO;
	}
	/* Also when it is not known: two of them must never run. */
	krg_shadow_start(shadow, set);
	move_ask(m, KRG_MOVE_GO);
	return min(err, 0);
}

/* Its children would stay behind with its shadow, and it could wait for none of them. */
static int judge_family(struct krg_frozen *set, struct krg_text *text)
{
	struct krg_process *process = list_first_entry(&set->processes, struct krg_process, node);
	struct krg_thread *thread;
	bool alone = list_is_singular(&set->processes);

	krg_for_each_thread(process, thread)
		alone = alone && list_empty(&thread->task->children);
	if (alone)
		return 0;
	krg_text_add(text, "process: %d has children, and only one process at a time can move yet",
		     task_pid_nr(process->leader));
	return -EOPNOTSUPP;
}

static int judge_set(struct krg_frozen *set, bool frozen, struct krg_text *text)
{
	int err = krg_check(set, frozen, text), family = judge_family(set, text), sysv = krg_sysv_stays(set, text);

	return err ?: family ?: sysv;
}

/* What can be seen without disturbing it. */
static int move_survey(struct krg_move_out *m, const struct krg_proc_migrate *arg, struct krg_forwarding *forward,
		       struct krg_text *text)
{
	struct krg_frozen *set = krg_survey(arg->pid, arg->flags & KRG_PROC_TREE, text);
	int err;

	if (IS_ERR(set))
		return PTR_ERR(set);
	m->pid = task_pid_nr(list_first_entry(&set->processes, struct krg_process, node)->leader);
	set->forward = forward;
	err = arg->node ? move_judge(m) : 0;
	if (!err)	/* what stays behind is asked of the target */
		err = judge_set(set, false, text);
	krg_unfreeze(set);
	return err;
}

static int move_with(struct krg_proc_migrate *arg, struct krg_forwarding *forward, struct krg_text *text)
{
	struct krg_move_out m = {
		.sink.write = move_write, .id = get_random_u64() | 1, .to = arg->node, .text = text,
	};
	struct krg_frozen *set;
	ktime_t began;
	int err;

	err = move_survey(&m, arg, forward, text);
	if (err || !arg->node)
		return err;
	m.head = kvmalloc(sizeof(*m.head) + KRG_MOVE_PIECE, GFP_KERNEL);
	if (!m.head)
		return -ENOMEM;
	began = ktime_get();
	set = krg_freeze(arg->pid, false, 0, text);
	err = PTR_ERR_OR_ZERO(set);
	if (!err) {
		m.pid = task_pid_nr(list_first_entry(&set->processes, struct krg_process, node)->leader);
		krg_forwarding_restart(forward);
		set->forward = forward;
		err = judge_set(set, true, text);
		if (!err)
			err = move_frozen(&m, set, arg->timeout_ms);
		krg_unfreeze(set);
	}
	arg->bytes = m.offset;
	arg->generation = m.generation;
	arg->frozen_ns = ktime_to_ns(ktime_sub(ktime_get(), began));
	kvfree(m.head);
	return err;
}

static int move_process(struct krg_proc_migrate *arg, struct krg_text *text)
{
	struct krg_forwarding forward;
	int err;

	krg_forwarding_init(&forward, arg->node);
	err = move_with(arg, &forward, text);
	krg_forwarding_exit(&forward);
	return err;
}

long krg_move_ioctl(void __user *at)
{
	struct krg_proc_migrate arg;
	struct krg_text text = {};
	long err;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~KRG_PROC_TREE || arg.node > U16_MAX)
		return -EINVAL;
	err = move_process(&arg, &text);
	if (krg_text_give(&text, &arg.error) || copy_to_user(at, &arg, sizeof(arg)))
		err = err ?: -EFAULT;
	krg_text_free(&text);
	return err;
}
