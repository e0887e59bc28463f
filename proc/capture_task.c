// SPDX-License-Identifier: GPL-2.0
/*
 * Processes and threads in the image: who they are, what they may, how they are
 * scheduled; and the order of the whole. Memory, files, signals, timers and
 * registers are in files of their own.
 */
#include <linux/cred.h>
#include <linux/iocontext.h>
#include <linux/ktime.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/personality.h>
#include <linux/sched/cputime.h>
#include <linux/sched/jobctl.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/time_namespace.h>
#include <linux/user_namespace.h>
#include <linux/utsname.h>
#include <uapi/linux/futex.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "park.h"
#include "vdso.h"

#define KRG_MACHINE	62	/* x86-64, as in ELF */

enum { TASK_SUBREAPER = 1, TASK_EXECED = 2, TASK_STOP_UNREPORTED = 4 };
enum { THREAD_NO_NEW_PRIVS = 1, THREAD_SAVED_BLOCKED = 2 };

/* ---- the image, its clocks ---- */

static void capture_head(struct krg_capture *c, const char *description, u32 length)
{
	struct krg_process *process;
	struct krg_thread *thread;
	u64 features = 0;
	u8 vdso[KRG_VDSO_ID_MAX];

	krg_for_each_process(c->set, process)
		krg_for_each_thread(process, thread)
			features |= krg_xfeatures(thread);
	krg_capture_begin(c, KRG_GHOST_IMAGE);
	krg_capture_put(c, KRG_GHOST_IMAGE_MACHINE, KRG_MACHINE);
	krg_capture_put(c, KRG_GHOST_IMAGE_PAGE_SIZE, PAGE_SIZE);
	krg_capture_put_text(c, KRG_GHOST_IMAGE_KERNEL, init_utsname()->release);
	krg_capture_put_bytes(c, KRG_GHOST_IMAGE_VDSO, vdso, krg_vdso_id(vdso));
	krg_capture_put(c, KRG_GHOST_IMAGE_XFEATURES, features);
	krg_capture_put(c, KRG_GHOST_IMAGE_TIME, ktime_get_real_ns());
	if (length)
		krg_capture_put_bytes(c, KRG_GHOST_IMAGE_DESCRIPTION, description, length);
	if (c->tracking.chain && !c->sink->ahead)
		krg_capture_put(c, KRG_GHOST_IMAGE_CHAIN, c->tracking.chain);
	if (c->tracking.parent && !c->sink->ahead) {
		krg_capture_put(c, KRG_GHOST_IMAGE_VERSION, c->tracking.version);
		krg_capture_put(c, KRG_GHOST_IMAGE_PARENT, c->tracking.parent);
		krg_capture_put_text(c, KRG_GHOST_IMAGE_BASE, c->tracking.base);
	}
	krg_capture_end(c);
}

/* Clocks as the process sees them. All of a set are in one time namespace: check.c. */
static u64 capture_time(struct krg_capture *c, struct task_struct *leader)
{
	s64 monotonic = ktime_get_ns(), boottime = ktime_to_ns(ktime_get_boottime());
	u64 id;

#ifdef CONFIG_TIME_NS
	task_lock(leader);
	if (leader->nsproxy) {
		const struct timens_offsets *offset = &leader->nsproxy->time_ns->offsets;

		monotonic += timespec64_to_ns(&offset->monotonic);
		boottime += timespec64_to_ns(&offset->boottime);
	}
	task_unlock(leader);
#endif
	id = krg_capture_begin(c, KRG_GHOST_TIME);
	krg_capture_put(c, KRG_GHOST_TIME_MONOTONIC, monotonic);
	krg_capture_put(c, KRG_GHOST_TIME_BOOTTIME, boottime);
	krg_capture_end(c);
	return id;
}

/* ---- sessions and groups ---- */

static bool pid_is_outside(struct krg_capture *c, struct pid *pid)
{
	struct task_struct *task;
	bool outside;

	rcu_read_lock();
	task = pid_task(pid, PIDTYPE_TGID);
	outside = task && !task->exit_state && !krg_frozen_has(c->set, task);
	rcu_read_unlock();
	return outside;
}

u64 krg_capture_session(struct krg_capture *c, struct pid *pid)
{
	u64 id = krg_capture_id(c, pid);

	if (id)
		return id;
	id = krg_capture_begin(c, KRG_GHOST_SESSION);
	krg_capture_put(c, KRG_GHOST_SESSION_SID, pid_vnr(pid));
	krg_capture_put(c, KRG_GHOST_SESSION_OUTSIDE, pid_is_outside(c, pid));
	krg_capture_end(c);
	krg_capture_set_id(c, pid, id);
	return id;
}

/* A session and its first group have one number: the group's key is the address behind. */
u64 krg_capture_group(struct krg_capture *c, struct pid *group, struct pid *session)
{
	u64 id = krg_capture_id(c, (void *)group + 1), of;

	if (id)
		return id;
	of = krg_capture_session(c, session);
	id = krg_capture_begin(c, KRG_GHOST_GROUP);
	krg_capture_put(c, KRG_GHOST_GROUP_PGID, pid_vnr(group));
	krg_capture_put(c, KRG_GHOST_GROUP_SESSION, of);
	krg_capture_end(c);
	krg_capture_set_id(c, (void *)group + 1, id);
	return id;
}

static u64 capture_group(struct krg_capture *c, struct task_struct *leader)
{
	struct pid *group, *session;
	u64 id;

	rcu_read_lock();
	group = get_pid(task_pgrp(leader));
	session = get_pid(task_session(leader));
	rcu_read_unlock();
	id = krg_capture_group(c, group, session);
	put_pid(group);
	put_pid(session);
	return id;
}

/* ---- credentials ---- */

static u64 capability_bits(const kernel_cap_t *set)
{
	u64 bits = 0;
	int i;

	for (i = 0; i <= CAP_LAST_CAP; i++)
		if (cap_raised(*set, i))
			bits |= BIT_ULL(i);
	return bits;
}

static void capture_ids(struct krg_capture *c, const struct cred *cred)
{
	struct user_namespace *ns = cred->user_ns;

	krg_capture_put(c, KRG_GHOST_CREDS_UID, from_kuid_munged(ns, cred->uid));
	krg_capture_put(c, KRG_GHOST_CREDS_EUID, from_kuid_munged(ns, cred->euid));
	krg_capture_put(c, KRG_GHOST_CREDS_SUID, from_kuid_munged(ns, cred->suid));
	krg_capture_put(c, KRG_GHOST_CREDS_FSUID, from_kuid_munged(ns, cred->fsuid));
	krg_capture_put(c, KRG_GHOST_CREDS_GID, from_kgid_munged(ns, cred->gid));
	krg_capture_put(c, KRG_GHOST_CREDS_EGID, from_kgid_munged(ns, cred->egid));
	krg_capture_put(c, KRG_GHOST_CREDS_SGID, from_kgid_munged(ns, cred->sgid));
	krg_capture_put(c, KRG_GHOST_CREDS_FSGID, from_kgid_munged(ns, cred->fsgid));
	krg_capture_put(c, KRG_GHOST_CREDS_INHERITABLE, capability_bits(&cred->cap_inheritable));
	krg_capture_put(c, KRG_GHOST_CREDS_PERMITTED, capability_bits(&cred->cap_permitted));
	krg_capture_put(c, KRG_GHOST_CREDS_EFFECTIVE, capability_bits(&cred->cap_effective));
	krg_capture_put(c, KRG_GHOST_CREDS_BOUNDING, capability_bits(&cred->cap_bset));
	krg_capture_put(c, KRG_GHOST_CREDS_AMBIENT, capability_bits(&cred->cap_ambient));
	krg_capture_put(c, KRG_GHOST_CREDS_SECUREBITS, cred->securebits & 0xff);
}

/* Up to 65536 groups: they go out in pieces of the buffer's size, which is as much. */
static void capture_groups(struct krg_capture *c, const struct cred *cred)
{
	const struct group_info *groups = cred->group_info;
	struct krg_ghost_piece piece = { .at = c->buffer };
	__le32 *to = (__le32 *)c->buffer;
	int i;

	BUILD_BUG_ON(KRG_CAPTURE_BUFFER < NGROUPS_MAX * sizeof(*to));
	for (i = 0; i < groups->ngroups; i++)
		to[i] = cpu_to_le32(from_kgid_munged(cred->user_ns, groups->gid[i]));
	piece.length = groups->ngroups * sizeof(*to);
	krg_capture_end_data(c, &piece, 1);
}

u64 krg_capture_creds(struct krg_capture *c, struct task_struct *task)
{
	const struct cred *cred = get_task_cred(task);
	u64 id = krg_capture_id(c, cred);

	if (!id) {
		id = krg_capture_begin(c, KRG_GHOST_CREDS);
		capture_ids(c, cred);
		capture_groups(c, cred);
		krg_capture_set_id(c, cred, id);
	}
	put_cred(cred);
	return id;
}

/* ---- threads ---- */

static void capture_scheduling(struct krg_capture *c, struct task_struct *task, u64 id)
{
	krg_capture_begin(c, KRG_GHOST_SCHEDULING);
	krg_capture_put(c, KRG_GHOST_SCHEDULING_THREAD, id);
	krg_capture_put(c, KRG_GHOST_SCHEDULING_POLICY, task->policy);
	krg_capture_put(c, KRG_GHOST_SCHEDULING_FLAGS, task->sched_reset_on_fork);
	krg_capture_put(c, KRG_GHOST_SCHEDULING_NICE, task_nice(task));
	krg_capture_put(c, KRG_GHOST_SCHEDULING_PRIORITY, task->rt_priority);
	if (task->policy == SCHED_DEADLINE) {
		krg_capture_put(c, KRG_GHOST_SCHEDULING_RUNTIME, task->dl.dl_runtime);
		krg_capture_put(c, KRG_GHOST_SCHEDULING_DEADLINE, task->dl.dl_deadline);
		krg_capture_put(c, KRG_GHOST_SCHEDULING_PERIOD, task->dl.dl_period);
	}
	task_lock(task);
	krg_capture_put(c, KRG_GHOST_SCHEDULING_IO_PRIORITY, task->io_context ? task->io_context->ioprio : 0);
	task_unlock(task);
	if (!cpumask_subset(cpu_possible_mask, &task->cpus_mask))
		krg_capture_put_bytes(c, KRG_GHOST_SCHEDULING_AFFINITY, cpumask_bits(&task->cpus_mask),
				      BITS_TO_LONGS(nr_cpu_ids) * sizeof(long));
	krg_capture_end(c);
}

/* What the thread has registered with the kernel at addresses of its own. */
static void capture_registered(struct krg_capture *c, struct task_struct *task)
{
	krg_capture_put(c, KRG_GHOST_THREAD_ALTSTACK, task->sas_ss_sp);
	krg_capture_put(c, KRG_GHOST_THREAD_ALTSTACK_SIZE, task->sas_ss_size);
	krg_capture_put(c, KRG_GHOST_THREAD_ALTSTACK_FLAGS, task->sas_ss_flags);
	krg_capture_put(c, KRG_GHOST_THREAD_ROBUST_LIST, (unsigned long)task->robust_list);
	krg_capture_put(c, KRG_GHOST_THREAD_ROBUST_LENGTH, task->robust_list ? sizeof(*task->robust_list) : 0);
	krg_capture_put(c, KRG_GHOST_THREAD_CLEAR_TID, (unsigned long)task->clear_child_tid);
#ifdef CONFIG_RSEQ
	if (task->rseq) {
		krg_capture_put(c, KRG_GHOST_THREAD_RSEQ, (unsigned long)task->rseq);
		krg_capture_put(c, KRG_GHOST_THREAD_RSEQ_LENGTH, krg_rseq_length(task));
		krg_capture_put(c, KRG_GHOST_THREAD_RSEQ_SIGNATURE, task->rseq_sig);
	}
#endif
	krg_capture_put(c, KRG_GHOST_THREAD_TIMER_SLACK, min_t(u64, task->timer_slack_ns, S64_MAX));
	krg_capture_put(c, KRG_GHOST_THREAD_UTIME, task->utime);
	krg_capture_put(c, KRG_GHOST_THREAD_STIME, task->stime);
}

static void capture_thread(struct krg_capture *c, struct krg_thread *thread, u64 owner, u64 creds, u64 files, u64 fs)
{
	struct task_struct *task = thread->task;
	struct krg_interrupted call;
	char comm[TASK_COMM_LEN];
	u64 id;

	krg_interrupted_resolve(thread, &call);
	id = krg_capture_begin(c, KRG_GHOST_THREAD);
	krg_capture_put(c, KRG_GHOST_THREAD_TASK, owner);
	krg_capture_put(c, KRG_GHOST_THREAD_TID, task_pid_vnr(task));
	krg_capture_put_text(c, KRG_GHOST_THREAD_COMM, get_task_comm(comm, task));
	krg_capture_put(c, KRG_GHOST_THREAD_CREDS, creds);
	krg_capture_put(c, KRG_GHOST_THREAD_FILES, files);
	krg_capture_put(c, KRG_GHOST_THREAD_FS, fs);
	krg_capture_put(c, KRG_GHOST_THREAD_BLOCKED, call.blocked);
	krg_capture_put(c, KRG_GHOST_THREAD_SAVED_BLOCKED, call.saved_in_force ? call.saved : 0);
	krg_capture_put(c, KRG_GHOST_THREAD_FLAGS, (task_no_new_privs(task) ? THREAD_NO_NEW_PRIVS : 0) |
						   (call.saved_in_force ? THREAD_SAVED_BLOCKED : 0));
	krg_capture_put(c, KRG_GHOST_THREAD_PERSONALITY, task->personality);
	krg_capture_put(c, KRG_GHOST_THREAD_PDEATH_SIGNAL, task->pdeath_signal);
	capture_registered(c, task);
	krg_capture_end(c);
	krg_capture_registers(c, thread, id);
	krg_capture_signals(c, task, id, false);
	capture_scheduling(c, task, id);
	krg_capture_seccomp(c, task, id);
}

/* ---- processes ---- */

static u64 child_time(u64 own, u64 threads)
{
	return min_t(u64, own + threads, S64_MAX);
}

static void capture_times(struct krg_capture *c, struct krg_process *process)
{
	struct task_struct *leader = process->leader;
	struct krg_thread *thread;
	u64 user = 0, system = 0;

	krg_for_each_thread(process, thread) {
		user += thread->task->utime;
		system += thread->task->stime;
	}
	krg_capture_put(c, KRG_GHOST_TASK_START, leader->start_boottime);
	krg_capture_put(c, KRG_GHOST_TASK_UTIME, child_time(leader->signal->utime, user));
	krg_capture_put(c, KRG_GHOST_TASK_STIME, child_time(leader->signal->stime, system));
	krg_capture_put(c, KRG_GHOST_TASK_CUTIME, leader->signal->cutime);
	krg_capture_put(c, KRG_GHOST_TASK_CSTIME, leader->signal->cstime);
#ifdef CONFIG_AUDIT
	krg_capture_put(c, KRG_GHOST_TASK_LOGINUID, (u32)from_kuid(current_user_ns(), leader->loginuid));
#endif
}

static u64 stop_signal(struct task_struct *leader)
{
	u64 signal = leader->jobctl & JOBCTL_STOP_SIGMASK;

	if (!(leader->signal->flags & SIGNAL_STOP_STOPPED) && !task_is_stopped(leader))
		return 0;
	return signal ?: SIGSTOP;
}

static void capture_parent(struct krg_capture *c, struct task_struct *leader)
{
	struct krg_process *process;
	struct task_struct *parent;
	u64 id = 0;
	pid_t pid;

	rcu_read_lock();
	parent = rcu_dereference(leader->real_parent);
	pid = task_tgid_vnr(parent);
	krg_for_each_process(c->set, process)
		if (same_thread_group(process->leader, parent))
			id = krg_capture_id(c, process);
	rcu_read_unlock();
	krg_capture_put(c, KRG_GHOST_TASK_PARENT, id);
	krg_capture_put(c, KRG_GHOST_TASK_PARENT_PID, id ? 0 : pid);
}

static void capture_process(struct krg_capture *c, struct krg_process *process, u64 time)
{
	struct task_struct *leader = process->leader;
	struct signal_struct *signal = leader->signal;
	u64 group = capture_group(c, leader), sighand = krg_capture_sighand(c, leader);
	u64 mm = krg_capture_mm(c, process), stopped = stop_signal(leader), id;
	struct krg_thread *thread;

	id = krg_capture_begin(c, KRG_GHOST_TASK);
	krg_capture_set_id(c, process, id);
	krg_capture_put(c, KRG_GHOST_TASK_PID, task_tgid_vnr(leader));
	krg_capture_put(c, KRG_GHOST_TASK_KEY, leader->start_boottime);
	capture_parent(c, leader);
	krg_capture_put(c, KRG_GHOST_TASK_GROUP, group);
	krg_capture_put(c, KRG_GHOST_TASK_MM, mm);
	krg_capture_put(c, KRG_GHOST_TASK_SIGHAND, sighand);
	krg_capture_put(c, KRG_GHOST_TASK_TIME, time);
	krg_capture_put(c, KRG_GHOST_TASK_EXIT_SIGNAL, max(leader->exit_signal, 0));
	krg_capture_put(c, KRG_GHOST_TASK_STOPPED, stopped);
	krg_capture_put(c, KRG_GHOST_TASK_FLAGS, (signal->is_child_subreaper ? TASK_SUBREAPER : 0) |
						 (leader->flags & PF_FORKNOEXEC ? 0 : TASK_EXECED) |
						 (stopped && signal->group_exit_code ? TASK_STOP_UNREPORTED : 0));
	krg_capture_put(c, KRG_GHOST_TASK_OOM_SCORE_ADJ, signal->oom_score_adj);
	capture_times(c, process);
	krg_capture_end(c);
	krg_for_each_thread(process, thread) {
		struct task_struct *task = thread->task;

		if (c->error)
			return;
		capture_thread(c, thread, id, krg_capture_creds(c, task), krg_capture_files(c, task),
			       krg_capture_fs(c, task));
	}
	krg_capture_signals(c, leader, id, true);
	krg_capture_timers(c, leader, id);
}

/* ---- zombies ---- */

/* The next child of the set that has ended and was not waited for, with a reference; its parent's id. */
static struct task_struct *next_zombie(struct krg_capture *c, u64 *parent)
{
	struct krg_process *process;
	struct task_struct *task, *found = NULL;

	rcu_read_lock();
	for_each_process(task) {
		if (task->exit_state != EXIT_ZOMBIE || !thread_group_empty(task) || krg_capture_id(c, task))
			continue;
		krg_for_each_process(c->set, process)
			if (same_thread_group(process->leader, rcu_dereference(task->real_parent)))
				*parent = krg_capture_id(c, process);
		if (!*parent)
			continue;
		found = get_task_struct(task);
		break;
	}
	rcu_read_unlock();
	return found;
}

static void capture_zombie(struct krg_capture *c, struct task_struct *task, u64 parent)
{
	struct signal_struct *signal = task->signal;
	const struct cred *cred = get_task_cred(task);
	u64 group = capture_group(c, task), id;
	char comm[TASK_COMM_LEN];

	id = krg_capture_begin(c, KRG_GHOST_ZOMBIE);
	krg_capture_put(c, KRG_GHOST_ZOMBIE_PID, task_tgid_vnr(task));
	krg_capture_put(c, KRG_GHOST_ZOMBIE_PARENT, parent);
	krg_capture_put(c, KRG_GHOST_ZOMBIE_GROUP, group);
	krg_capture_put(c, KRG_GHOST_ZOMBIE_EXIT_CODE,
			(signal->flags & SIGNAL_GROUP_EXIT ? signal->group_exit_code : task->exit_code) & 0xffff);
	krg_capture_put(c, KRG_GHOST_ZOMBIE_EXIT_SIGNAL, max(task->exit_signal, 0));
	krg_capture_put_text(c, KRG_GHOST_ZOMBIE_COMM, get_task_comm(comm, task));
	krg_capture_put(c, KRG_GHOST_ZOMBIE_UID, from_kuid_munged(cred->user_ns, cred->uid));
	krg_capture_put(c, KRG_GHOST_ZOMBIE_UTIME, child_time(signal->utime, task->utime));
	krg_capture_put(c, KRG_GHOST_ZOMBIE_STIME, child_time(signal->stime, task->stime));
	krg_capture_end(c);
	krg_capture_set_id(c, task, id);
	put_cred(cred);
}

/* Its parent is held, so nobody waits for it meanwhile. */
static void capture_zombies(struct krg_capture *c)
{
	struct task_struct *task;
	u64 parent = 0;

	while (!c->error && (task = next_zombie(c, &parent))) {
		capture_zombie(c, task, parent);
		put_task_struct(task);
		parent = 0;
	}
}

void krg_capture_image(struct krg_capture *c, const char *description, u32 length)
{
	struct krg_process *process;
	struct krg_thread *thread;
	u64 time;

	capture_head(c, description, length);
	time = capture_time(c, list_first_entry(&c->set->processes, struct krg_process, node)->leader);
	/* What can be shared first, so that the records of one table stay together. */
	krg_for_each_process(c->set, process) {
		krg_for_each_thread(process, thread) {
			krg_capture_creds(c, thread->task);
			krg_capture_fs(c, thread->task);
			krg_capture_files(c, thread->task);
		}
	}
	krg_capture_unix_queues(c);
	krg_capture_watches(c);
	krg_capture_locks(c);
	krg_capture_sysv(c);
	krg_for_each_process(c->set, process)
		if (!c->error)
			capture_process(c, process, time);
	krg_capture_undo(c);
	capture_zombies(c);
}
