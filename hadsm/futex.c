// SPDX-License-Identifier: GPL-2.0
/*
 * Futexes in mapped files across nodes. A program waits on a word while it has a
 * value; whoever wakes it has changed the word before, and to change it a node must
 * take the page away from all others. So a wake-up needs no message of its own: when
 * a page leaves this node, whoever waits here on a word in it looks at the word
 * again, and the kernel's own futex code decides whether to wait on.
 *
 * What must be known is who waits in which page: a return probe on futex_wait(),
 * there while a name space is mounted, notes it for shared futexes in our mappings.
 * To make a waiter look again its wait is interrupted as a signal would, without one
 * (task work): no moment between looking and sleeping is missed, and the system call
 * restarts with what is left of its time.
 *
 * Not here: a FUTEX_WAKE for a word that nobody changed does not reach other nodes;
 * priority inheritance, requeueing and waiting for several words work within a node.
 */
#include <linux/hashtable.h>
#include <linux/kprobes.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include "fs.h"

#define FUTEX_BITS		8
#define FUTEX_ACTIVE_MAX	4096	/* waits at a time that can be noted; more would sleep until a local wake-up */

struct futex_note {
	struct hlist_node node;
	struct task_struct *task;	/* in futex_wait() for as long as the note is in the table */
	u64 container;			/* 0: not known, any page may be meant */
	pgoff_t index;
};

/* Inside of everything; taken in probes, with interrupts off. */
static DEFINE_SPINLOCK(futex_lock);
static DEFINE_HASHTABLE(futex_table, FUTEX_BITS);	/* under futex_lock */
static atomic_t futex_notes, futex_nudges;

static u64 futex_key(u64 container, pgoff_t index)
{
	return container ? container * 31 + index : 0;
}

/* ---- noting who waits ---- */

/* Where @address is, in one of our shared mappings. False: in none. */
static bool futex_place(unsigned long address, struct futex_note *note)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool ours;

	if (!mmap_read_trylock(mm)) {
		note->container = 0;
		return true;
	}
	vma = find_vma(mm, address);
	ours = vma && vma->vm_start <= address && vma->vm_ops == &hadsm_vm_ops &&
	       (vma->vm_flags & VM_SHARED);
	if (ours) {
		note->container = file_inode(vma->vm_file)->i_ino;
		note->index = linear_page_index(vma, address);
	}
	mmap_read_unlock(mm);
	return ours;
}

static int futex_enter(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct futex_note *note = (struct futex_note *)ri->data;
	unsigned long flags;

	if (!krg_futex_shared(regs_get_kernel_argument(regs, 1)) || !current->mm ||
	    !futex_place(regs_get_kernel_argument(regs, 0), note))
		return 1;	/* nothing to note */
	note->task = current;
	spin_lock_irqsave(&futex_lock, flags);
	hash_add(futex_table, &note->node, futex_key(note->container, note->index));
	atomic_inc(&futex_notes);
	spin_unlock_irqrestore(&futex_lock, flags);
	return 0;
}

/* Under futex_lock. */
static void note_remove(struct futex_note *note)
{
	if (hash_hashed(&note->node)) {
		hash_del(&note->node);
		atomic_dec(&futex_notes);
	}
}

static int futex_leave(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	unsigned long flags;

	spin_lock_irqsave(&futex_lock, flags);
	note_remove((struct futex_note *)ri->data);
	spin_unlock_irqrestore(&futex_lock, flags);
	return 0;
}
NOKPROBE_SYMBOL(futex_enter);
NOKPROBE_SYMBOL(futex_leave);

/* ---- having them look again ---- */

static void futex_nudged(struct callback_head *work)
{
	kfree(work);
	atomic_dec(&futex_nudges);
}

static void futex_nudge(struct task_struct *task)
{
	struct callback_head *work = kmalloc(sizeof(*work), GFP_ATOMIC | __GFP_NOWARN);

	if (work) {
		init_task_work(work, futex_nudged);
		atomic_inc(&futex_nudges);
		if (!task_work_add(task, work, TWA_SIGNAL))
			return;
		futex_nudged(work);	/* it is exiting */
	}
	/* Without memory: enough unless it is just falling asleep. */
	wake_up_process(task);
}

/* Under futex_lock: a note serves once; the restarted call makes another. */
static void futex_nudge_all(u64 container, pgoff_t index)
{
	struct futex_note *note;
	struct hlist_node *next;

	hash_for_each_possible_safe(futex_table, note, next, node, futex_key(container, index)) {
		if (note->container != container || (container && note->index != index))
			continue;
		note_remove(note);
		futex_nudge(note->task);
	}
}

void hadsm_futex_look(u64 container, pgoff_t index)
{
	unsigned long flags;

	/* The page is gone already: who comes now does not see what it held. */
	smp_mb();
	if (!atomic_read(&futex_notes))
		return;
	spin_lock_irqsave(&futex_lock, flags);
	futex_nudge_all(container, index);
	futex_nudge_all(0, 0);
	spin_unlock_irqrestore(&futex_lock, flags);
}

/* ---- the probe ---- */

static DEFINE_MUTEX(probe_mutex);
static unsigned int probe_users;	/* under probe_mutex */
static struct kretprobe probe;

static void probe_prepare(void)
{
	memset(&probe, 0, sizeof(probe));	/* a kretprobe that was removed cannot be registered again */
	probe.kp.symbol_name = "futex_wait";
	probe.entry_handler = futex_enter;
	probe.handler = futex_leave;
	probe.data_size = sizeof(struct futex_note);
	probe.maxactive = FUTEX_ACTIVE_MAX;
}

int hadsm_futex_watch(void)
{
	int err = 0;

	mutex_lock(&probe_mutex);
	if (!probe_users) {
		probe_prepare();
		err = register_kretprobe(&probe);
	}
	if (!err)
		probe_users++;
	mutex_unlock(&probe_mutex);
	return err;
}

void hadsm_futex_unwatch(void)
{
	unsigned long flags;

	mutex_lock(&probe_mutex);
	if (!--probe_users) {
		unregister_kretprobe(&probe);
		/* Who still waits returns without telling us; nobody of them waits in our mappings. */
		spin_lock_irqsave(&futex_lock, flags);
		hash_init(futex_table);
		atomic_set(&futex_notes, 0);
		spin_unlock_irqrestore(&futex_lock, flags);
	}
	mutex_unlock(&probe_mutex);
}

void hadsm_futex_exit(void)
{
	/* Every task that was told to look again does so before it returns to its program. */
	while (atomic_read(&futex_nudges))
		schedule_timeout_uninterruptible(1);
	synchronize_rcu_tasks();
}
