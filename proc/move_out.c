// SPDX-License-Identifier: GPL-2.0
/*
 * Migration, the source's side: a process, or one with all its descendants, is
 * frozen, captured into messages, and built by the target. How it is handed over
 * then is depart.c's; what remains of it is shadow.c's.
 */
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <kerrighed/membership.h>
#include <kerrighed/pid.h>
#include <kerrighed/rpc.h>

#include "check.h"
#include "directory.h"
#include "follow.h"
#include "forward.h"
#include "move_out.h"
#include "park.h"
#include "self.h"
#include "shadow.h"
#include "sysv.h"
#include "text.h"

#define ASK_MS		5000	/* for one answer */
#define SEND_MS		10000	/* for room for one piece */
#define BUILD_MS	60000	/* for the target to build the process, when no time was given */
#define POLL_MS		2
#define VIEW_MS		5000	/* for a view that changes */

/* ---- talking ---- */

/* START says who comes. */
static struct krg_move_member *move_members(const struct krg_move_out *m)
{
	struct krg_move_member *member = kvcalloc(m->count, sizeof(*member), GFP_KERNEL);
	u32 i;

	for (i = 0; member && i < m->count; i++) {
		member[i].pid = cpu_to_le32(m->after[i].pid);
		member[i].home = cpu_to_le16(m->after[i].record.home);
		member[i].generation = cpu_to_le64(m->after[i].record.generation);
	}
	return member;
}

/* While a view changes nobody may say anything; what is not said yet can wait for its end. */
static void wait_for_view(void)
{
	unsigned long end = jiffies + msecs_to_jiffies(VIEW_MS);
	struct krg_view *view = krg_view_get();
	bool member = view;

	krg_view_put(view);
	while (member && !krg_may_serve() && !time_after(jiffies, end) && !fatal_signal_pending(current))
		fsleep(POLL_MS * 1000);
}

static int move_call(struct krg_move_out *m, enum krg_move_step step, struct krg_move_member *member, struct krg_text *text)
{
	struct krg_move_ask ask = {
		.move = cpu_to_le64(m->id), .step = cpu_to_le32(step), .pid = cpu_to_le32(m->pid),
		.bytes = cpu_to_le64(m->offset + m->filled), .generation = cpu_to_le64(m->generation),
	};
	struct kvec vec[] = {
		{ .iov_base = &ask, .iov_len = sizeof(ask) },
		{ .iov_base = member, .iov_len = m->count * sizeof(*member) },
	};
	struct {
		struct krg_move_answer head;
		char reason[KRG_MOVE_REASON];
	} *answer = kmalloc(sizeof(*answer), GFP_KERNEL);
	struct kvec reply = { .iov_base = answer, .iov_len = sizeof(*answer) };
	unsigned long end = jiffies + msecs_to_jiffies(VIEW_MS);
	int n, state;

	if (!answer)
		return -ENOMEM;
	for (;;) {
		wait_for_view();
		n = krg_rpc_call(m->to, KRG_MSG_MOVE, vec, member ? 2 : 1, &reply, 1, ASK_MS);
		/* The view changed there while it answered: what only asks can ask again. */
		if (n != -EHOSTDOWN || step != KRG_MOVE_POLL || time_after(jiffies, end) || fatal_signal_pending(current))
			break;
		fsleep(POLL_MS * 1000);
	}
	if (n >= 0 && n < (int)sizeof(answer->head))
		n = -EBADMSG;
	state = n < 0 ? n : le32_to_cpu(answer->head.state);
	if (state == KRG_MOVE_FAILED && text) {
		n -= sizeof(answer->head);
		krg_text_add(text, "node %u: %.*s", m->to, n, answer->reason);
	}
	if (state == KRG_MOVE_FAILED)
		state = -(int)(le32_to_cpu(answer->head.error) & 0xfff) ?: -EIO;
	kfree(answer);
	return state;
}

int krg_move_ask(struct krg_move_out *m, enum krg_move_step step, struct krg_text *text)
{
	struct krg_move_member *member = step == KRG_MOVE_START ? move_members(m) : NULL;
	int state = step == KRG_MOVE_START && !member ? -ENOMEM : move_call(m, step, member, text);

	kvfree(member);
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
	wait_for_view();
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
	int state = krg_move_ask(m, KRG_MOVE_START, m->text);

	while (state >= 0 && state != KRG_MOVE_READY) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (time_after(jiffies, end)) {
			krg_text_add(m->text, "node %u: the process was not built in time", m->to);
			return -ETIMEDOUT;
		}
		fsleep(POLL_MS * 1000);
		state = krg_move_ask(m, KRG_MOVE_POLL, m->text);
	}
	return min(state, 0);
}

/* ---- who, and where to ---- */

static int judge_target(struct krg_move_out *m)
{
	struct krg_view *view;
	bool member;

	wait_for_view();
	view = krg_view_get();
	member = view && m->to != view->self && krg_view_find(view, m->to);
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
	return 0;
}

/* One that is born where it goes comes home into its shadow. */
static int judge_process(struct krg_move_out *m, pid_t pid)
{
	if (!krg_pid_node(pid)) {
		krg_text_add(m->text, "pid %d: the process is older than this node's membership, its id is not unique in the cluster",
			     pid);
		return -EOPNOTSUPP;
	}
	if (krg_pid_node(pid) == m->to && m->count > 1) {
		krg_text_add(m->text, "node %u: process %d was born there, and only a process alone can come home yet", m->to, pid);
		return -EOPNOTSUPP;
	}
	return 0;
}

static u32 set_count(struct krg_frozen *set)
{
	struct krg_process *process;
	u32 n = 0;

	krg_for_each_process(set, process)
		n++;
	return n;
}

/* What the directory says of a process, and what it will say: the root decides for all. */
static int entry_make(struct krg_move_out *m, u32 i, pid_t pid)
{
	struct krg_directory_entry *before = &m->before[i], *after = &m->after[i];
	struct krg_record at;
	int err;

	before->pid = pid;
	after->pid = pid;
	err = krg_directory_read(pid, &before->record);
	if (!err)
		err = krg_directory_where(pid, &at);
	if (err) {
		krg_text_add(m->text, "directory: cannot be read: error %d", err);
		return err;
	}
	after->record.generation = at.generation + 1;
	after->record.move = m->id;
	after->record.home = at.home;
	after->record.runner = m->to;
	if (i) {
		after->record.root = m->pid;
		after->record.decision = m->generation;
	} else {
		m->generation = after->record.generation;
	}
	return 0;
}

/* Before anybody is disturbed, and again when all are frozen. */
static int move_judge(struct krg_move_out *m)
{
	struct krg_process *process;
	int err = judge_target(m);

	m->count = set_count(m->set);
	if (!err && m->count > KRG_MOVE_MEMBERS) {
		krg_text_add(m->text, "process: %u processes; at most %u move at a time", m->count, KRG_MOVE_MEMBERS);
		return -EOPNOTSUPP;
	}
	/* A child is built with its parent's pages: those that follow could not be told from them. */
	if (!err && (m->post || m->pre) && m->count > 1) {
		krg_text_add(m->text, "process: %u processes; with --mode %s one moves alone only, so far", m->count,
			     m->post ? "post" : "pre");
		return -EOPNOTSUPP;
	}
	krg_for_each_process(m->set, process)
		err = err ?: judge_process(m, task_pid_nr(process->leader));
	return err;
}

static int move_prepare(struct krg_move_out *m)
{
	struct krg_process *process;
	int err = move_judge(m);
	u32 i = 0;

	if (err)
		return err;
	m->before = kvcalloc(m->count, sizeof(*m->before), GFP_KERNEL);
	m->after = kvcalloc(m->count, sizeof(*m->after), GFP_KERNEL);
	m->said = kvcalloc(m->count, sizeof(*m->said), GFP_KERNEL);
	if (!m->before || !m->after || !m->said)
		return -ENOMEM;
	krg_for_each_process(m->set, process)
		err = err ?: entry_make(m, i++, task_pid_nr(process->leader));
	if (err)
		return err;
	m->shadows = krg_shadows_new(m->set, m->after);
	return m->shadows ? 0 : -ENOMEM;
}

/* Gives the set back. */
static int move_frozen(struct krg_move_out *m, u32 timeout_ms)
{
	int err = move_prepare(m);

	if (err) {
		krg_unfreeze(m->set);
		m->let_go = ktime_get();
		return err;
	}
	krg_depart_begin(m);
	err = min(krg_move_ask(m, KRG_MOVE_OPEN, m->text), 0);
	if (!err)
		err = krg_frozen_settle(m->set, m->text);
	if (!err)
		err = krg_capture_to(m->set, &m->sink, m->text);
	if (!err)
		err = move_flush(m);
	if (!err)
		err = move_build(m, timeout_ms);
	err = krg_depart(m, err);
	krg_depart_end(m);
	return err;
}

/* Alone it could wait for none of its children: they would stay behind with its shadow. */
static int judge_family(struct krg_frozen *set, struct krg_text *text)
{
	struct krg_process *process = list_first_entry(&set->processes, struct krg_process, node);
	struct krg_thread *thread;
	bool alone = true;

	if (set->tree)
		return 0;
	krg_for_each_thread(process, thread)
		alone = alone && list_empty(&thread->task->children);
	if (alone)
		return 0;
	krg_text_add(text, "process: %d has children; it moves with all of them (--tree)", task_pid_nr(process->leader));
	return -EOPNOTSUPP;
}

static int judge_set(struct krg_frozen *set, bool frozen, struct krg_text *text)
{
	int err = krg_check(set, frozen, text), family = judge_family(set, text), sysv = krg_sysv_stays(set, text);

	return err ?: family ?: sysv;
}

/* Pages of them may be elsewhere still: better before they are frozen than while they are. */
static int settle_memory(struct krg_frozen *set, struct krg_text *text)
{
	struct krg_process *process;
	struct mm_struct *mm;
	int err = 0;

	krg_for_each_process(set, process) {
		mm = err ? NULL : get_task_mm(process->leader);
		if (!mm)
			continue;
		err = krg_follow_in_settle(mm);
		mmput(mm);
		if (err)
			krg_text_add(text, "memory: what follows process %d from another node does not come: error %d",
				     task_pid_nr(process->leader), err);
	}
	return err;
}

/* What can be seen without disturbing it. */
static int move_survey(struct krg_move_out *m, const struct krg_proc_migrate *arg, struct krg_forwarding *forward,
		       struct krg_text *text)
{
	struct krg_frozen *set = krg_survey(arg->pid, arg->flags & KRG_PROC_TREE, text);
	int err, judged;

	if (IS_ERR(set))
		return PTR_ERR(set);
	m->set = set;
	set->forward = forward;
	err = arg->node ? move_judge(m) : 0;
	judged = judge_set(set, false, text);
	err = err ?: judged;	/* who is no target cannot be asked about files either */
	if (!err && arg->node)
		err = settle_memory(set, text);
	krg_unfreeze(set);
	return err;
}

/* It runs there; what follows is waited for, unless a signal ends that: it comes nevertheless. */
static int wait_local(struct krg_move_out *m, struct krg_proc_migrate *arg, ktime_t began)
{
	struct krg_follow_stats stats = {};
	int err;

	if (!m->sink.follow) {
		arg->local_ns = arg->frozen_ns;
		return 0;
	}
	err = krg_follow_out_wait(m->sink.follow);
	krg_follow_out_stats(m->sink.follow, &stats);
	arg->bytes_after = stats.given << PAGE_SHIFT;
	if (!err)
		arg->local_ns = ktime_to_ns(ktime_sub(ktime_get(), began));
	if (err == -EHOSTDOWN)
		krg_text_add(m->text, "node %u: went down before all memory of the process had followed: it is lost", m->to);
	return err == -EINTR ? 0 : err;
}

/* What a move needs before anybody is frozen for it. */
static int move_begin(struct krg_move_out *m, pid_t pid)
{
	if (m->post) {
		m->sink.follow = krg_follow_out_new(m->id, m->to);
		if (!m->sink.follow) {
			krg_text_add(m->text, "node %u: is no other member of the cluster (krgadm node list)", m->to);
			return -EHOSTUNREACH;
		}
	}
	m->head = kvmalloc(sizeof(*m->head) + KRG_MOVE_PIECE, GFP_KERNEL);
	if (!m->head)
		return -ENOMEM;
	if (!m->pre)
		return 0;
	m->ahead.move = m->id;
	m->ahead.to = m->to;
	m->sink.ahead = &m->ahead;
	return krg_ahead_rounds(&m->ahead, pid, m->text);
}

static void move_end(struct krg_move_out *m, bool moved)
{
	if (m->pre)
		krg_ahead_end(&m->ahead, moved);
	kvfree(m->before);
	kvfree(m->after);
	kvfree(m->said);
	kvfree(m->head);
	krg_follow_out_end(m->sink.follow);
}

static int freeze_and_move(struct krg_move_out *m, struct krg_proc_migrate *arg, struct krg_forwarding *forward)
{
	int err;

	m->set = krg_freeze_willing(arg->pid, arg->flags & KRG_PROC_TREE, 0, false, m->text);
	if (IS_ERR(m->set))
		return PTR_ERR(m->set);
	m->pid = task_pid_nr(list_first_entry(&m->set->processes, struct krg_process, node)->leader);
	krg_forwarding_restart(forward);
	m->set->forward = forward;
	err = judge_set(m->set, true, m->text);
	if (!err)
		return move_frozen(m, arg->timeout_ms);
	krg_unfreeze(m->set);
	return err;
}

static int move_with(struct krg_proc_migrate *arg, struct krg_forwarding *forward, struct krg_text *text)
{
	struct krg_move_out m = {
		.sink.write = move_write, .id = get_random_u64() | 1, .to = arg->node, .text = text,
		.post = arg->flags & KRG_PROC_POST, .pre = arg->flags & KRG_PROC_PRE,
	};
	ktime_t began;
	bool moved;
	int err;

	err = move_survey(&m, arg, forward, text);
	if (err || !arg->node)
		return err;
	err = move_begin(&m, arg->pid);
	began = ktime_get();
	if (!err)
		err = freeze_and_move(&m, arg, forward);
	arg->bytes = m.offset;
	arg->generation = m.generation;
	arg->frozen_ns = m.let_go ? ktime_to_ns(ktime_sub(m.let_go, began)) : 0;
	arg->bytes_before = m.ahead.pages << PAGE_SHIFT;
	arg->rounds = m.ahead.rounds;
	moved = !err;
	if (!err)
		err = wait_local(&m, arg, began);
	move_end(&m, moved);
	return err;
}

static int move_process(struct krg_proc_migrate *arg, struct krg_text *text)
{
	struct krg_forwarding forward;
	int err;

	if (!krg_target_caller_is_plain()) {
		krg_text_add(text, "namespaces: whoever moves processes must be in the namespaces and the root directory of the node's init");
		return -EPERM;
	}
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
	if (arg.flags & ~(KRG_PROC_TREE | KRG_PROC_POST | KRG_PROC_PRE) || arg.node > U16_MAX ||
	    (arg.flags & KRG_PROC_POST && arg.flags & KRG_PROC_PRE))
		return -EINVAL;
	err = move_process(&arg, &text);
	if (krg_text_give(&text, &arg.error) || copy_to_user(at, &arg, sizeof(arg)))
		err = err ?: -EFAULT;
	krg_text_free(&text);
	return err;
}
