// SPDX-License-Identifier: GPL-2.0
/*
 * Which process is meant, and whether the caller may have it: the rule of
 * ptrace(2), which is not exported. Security modules are not asked: they judge
 * what capture and restore open and write, as for every caller.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs_struct.h>
#include <linux/nsproxy.h>
#include <linux/path.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "park.h"
#include "shadow.h"
#include "text.h"

static bool target_ids_equal(const struct cred *mine, const struct cred *its)
{
	return uid_eq(mine->uid, its->euid) && uid_eq(mine->uid, its->suid) && uid_eq(mine->uid, its->uid) &&
	       gid_eq(mine->gid, its->egid) && gid_eq(mine->gid, its->sgid) && gid_eq(mine->gid, its->gid);
}

static bool target_caps_within(const struct cred *mine, const struct cred *its)
{
	int i;

	for (i = 0; i <= CAP_LAST_CAP; i++)
		if (cap_raised(its->cap_permitted, i) && !cap_raised(mine->cap_permitted, i))
			return false;
	return true;
}

static bool target_dumpable(struct mm_struct *mm)
{
	return get_dumpable(mm) == SUID_DUMP_USER || ns_capable(mm->user_ns, CAP_SYS_PTRACE);
}

/* Whether the caller may read and replace everything of @task. */
static bool target_permitted(struct task_struct *task)
{
	const struct cred *its = get_task_cred(task);
	const struct cred *mine = current_cred();
	struct mm_struct *mm;
	bool may;

	may = (target_ids_equal(mine, its) && mine->user_ns == its->user_ns && target_caps_within(mine, its)) ||
	      ns_capable(its->user_ns, CAP_SYS_PTRACE);
	put_cred(its);
	if (!may)
		return false;
	mm = get_task_mm(task);
	if (mm) {
		may = target_dumpable(mm);
		mmput(mm);
	}
	return may;
}

int krg_target_judge(struct task_struct *leader, struct krg_text *text)
{
	pid_t pid = task_tgid_vnr(leader);
	u16 runner;

	if (leader->flags & PF_KTHREAD) {
		krg_text_add(text, "process: %d is a thread of the kernel", pid);
		return -EINVAL;
	}
	if (same_thread_group(leader, current)) {
		krg_text_add(text, "process: %d is the caller itself", pid);
		return -EINVAL;
	}
	if (is_global_init(leader)) {
		krg_text_add(text, "process: %d is the system's init", pid);
		return -EINVAL;
	}
	runner = krg_shadow_runner(task_tgid_nr(leader));
	if (runner) {
		krg_text_add(text, "process: %d runs on node %u, only its shadow is here", pid, runner);
		return -EREMOTE;
	}
	if (!target_permitted(leader)) {
		krg_text_add(text, "permission: process %d is another user's, has more rights than you, or is not dumpable; CAP_SYS_PTRACE is needed", pid);
		return -EPERM;
	}
	return 0;
}

/* What an image of another node says is taken as the init of that node would say it: root there is root here. */
bool krg_target_caller_is_plain(void)
{
	const struct nsproxy *mine = current->nsproxy, *its;
	struct path root, its_root;
	struct task_struct *init;
	bool plain;

	rcu_read_lock();
	init = get_pid_task(find_pid_ns(1, &init_pid_ns), PIDTYPE_TGID);
	rcu_read_unlock();
	if (!init)
		return false;
	task_lock(init);
	its = init->nsproxy;
	plain = its && mine->mnt_ns == its->mnt_ns && mine->net_ns == its->net_ns && mine->uts_ns == its->uts_ns &&
		mine->ipc_ns == its->ipc_ns;
	if (plain && init->fs)
		get_fs_root(init->fs, &its_root);
	else
		plain = false;
	task_unlock(init);
	put_task_struct(init);
	if (!plain)
		return false;
	get_fs_root(current->fs, &root);
	plain = path_equal(&root, &its_root) && current_user_ns() == &init_user_ns &&
		task_active_pid_ns(current) == &init_pid_ns;
	path_put(&root);
	path_put(&its_root);
	return plain;
}

struct task_struct *krg_target_get(pid_t pid, struct krg_text *text)
{
	struct task_struct *leader;
	int err;

	rcu_read_lock();
	leader = pid > 0 ? pid_task(find_vpid(pid), PIDTYPE_TGID) : NULL;
	if (leader)
		get_task_struct(leader);
	rcu_read_unlock();
	if (!leader) {
		krg_text_add(text, "process: there is no process %d", pid);
		return ERR_PTR(-ESRCH);
	}
	err = krg_target_judge(leader, text);
	if (!err)
		return leader;
	put_task_struct(leader);
	return ERR_PTR(err);
}

/* What is found before the lock is held may be another process's by then (sighand_cache keeps the type, not the owner). */
struct sighand_struct *krg_sighand_take(struct task_struct *task)
{
	struct sighand_struct *sighand;

	rcu_read_lock();
	for (;;) {
		sighand = rcu_dereference(task->sighand);
		if (!sighand)
			break;
		spin_lock_irq(&sighand->siglock);
		if (sighand == rcu_access_pointer(task->sighand)) {
			__release(&sighand->siglock);	/* for sparse: krg_sighand_lock() says that it is held */
			break;
		}
		spin_unlock_irq(&sighand->siglock);
	}
	rcu_read_unlock();
	return sighand;
}
