// SPDX-License-Identifier: GPL-2.0
/*
 * From records to the tables of a session: what the kernel's part of restore
 * needs, and what it refuses before anything exists. The format itself was
 * checked by the reader; files, credentials and timers are the helper's.
 */
#include <linux/cred.h>
#include <linux/elf.h>
#include <linux/mm.h>
#include <linux/regset.h>
#include <linux/sched/mm.h>
#include <linux/seccomp.h>
#include <linux/slab.h>
#include <linux/utsname.h>
#include <uapi/linux/filter.h>
#include <asm/cpufeature.h>
#include <asm/fpu/xcr.h>
#include <asm/processor.h>
#include <asm/segment.h>

#include "proc/core/ghost.h"
#include "restore.h"
#include "vdso.h"

#define XSTATE_LEGACY		512	/* bytes: x87 and SSE */
#define XSTATE_HEADER		64
#define XFEATURES_REFUSED	(BIT_ULL(11) | BIT_ULL(12) | BIT_ULL(17) | BIT_ULL(18))	/* shadow stacks, AMX */

#define FILTER_FLAGS		(SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
#define THREAD_NO_NEW_PRIVS	1
#define THREAD_EXITED		4	/* THREAD.FLAGS */

struct recording {
	struct krg_restore *s;
	const struct krg_ghost_reader *r;
	const struct krg_ghost_record *record;
	struct krg_text *error;
};

static u64 get(const struct recording *c, u16 field)
{
	return krg_ghost_get(c->r, field);
}

#define refuse(c, code, ...)	({ krg_text_add((c)->error, __VA_ARGS__); (code); })

/* An object of @size bytes, all zeros, in the session's table; it begins with a struct krg_r_object. */
static void *object_new(const struct recording *c, u64 id, u16 type, size_t size)
{
	struct krg_r_object *object = kvzalloc(size, GFP_KERNEL_ACCOUNT);

	if (!object)
		return NULL;
	object->id = id;
	object->type = type;
	if (xa_err(xa_store(&c->s->table, id, object, GFP_KERNEL_ACCOUNT))) {
		kvfree(object);
		return NULL;
	}
	list_add_tail(&object->link, &c->s->all);
	return object;
}

#define record_new(c, kind)	\
	((kind *)object_new(c, (c)->record->object, (c)->record->type, sizeof(kind)))

/* The slot of file @id, which a mapping refers to. */
static struct krg_r_file *file_slot(const struct recording *c, u64 id)
{
	struct krg_r_file *file = krg_restore_find(c->s, id, KRG_R_FILE);

	return file ?: object_new(c, id, KRG_R_FILE, sizeof(*file));
}

static int take_forwarded(const struct recording *c)
{
	struct krg_r_forwarded *r = record_new(c, struct krg_r_forwarded);
	const u8 *path;
	u32 length;

	if (!r)
		return -ENOMEM;
	r->at.server.id = get(c, KRG_GHOST_FILE_FORWARDED_NODE);
	r->at.server.incarnation = get(c, KRG_GHOST_FILE_FORWARDED_INCARNATION);
	r->at.handle = get(c, KRG_GHOST_FILE_FORWARDED_HANDLE);
	r->at.kind = get(c, KRG_GHOST_FILE_FORWARDED_KIND);
	r->flags = get(c, KRG_GHOST_FILE_FORWARDED_FLAGS);
	path = krg_ghost_get_bytes(c->r, KRG_GHOST_FILE_FORWARDED_PATH, &length);
	if (length)
		memcpy(r->path, path, min_t(u32, length, sizeof(r->path) - 1));
	return 0;
}

/* ---- the image ---- */

static int take_image(const struct recording *c)
{
	u64 features = get(c, KRG_GHOST_IMAGE_XFEATURES), here = 0;
	u32 length, own_length;
	const u8 *text = krg_ghost_get_bytes(c->r, KRG_GHOST_IMAGE_KERNEL, &length);
	const char *release = init_utsname()->release;
	u8 own[KRG_VDSO_ID_MAX];

	if (get(c, KRG_GHOST_IMAGE_PURPOSE) == 1)
		return refuse(c, -EINVAL, "image: a manifest, which has no processes in it: restart its members");
	if (length != strlen(release) || memcmp(text, release, length))
		return refuse(c, -ENOEXEC, "kernel: the image is of %.*s, this is %s", (int)length, text, release);
	if (get(c, KRG_GHOST_IMAGE_PARENT))
		return refuse(c, -EOPNOTSUPP, "image: an increment; only full images can be restored");
	if (krg_ghost_features(c->r) & KRG_GHOST_ROUNDS)
		return refuse(c, -EOPNOTSUPP, "image: has pages more than once; such a stream cannot be restored");
	if (boot_cpu_has(X86_FEATURE_OSXSAVE))
		here = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (features & ~here || features & XFEATURES_REFUSED)
		return refuse(c, -ENOEXEC, "processor: the image uses xsave components %#llx, this one has %#llx",
			      features, here & ~XFEATURES_REFUSED);
	text = krg_ghost_get_bytes(c->r, KRG_GHOST_IMAGE_VDSO, &length);
	own_length = krg_vdso_id(own);
	if (length && (length != own_length || memcmp(text, own, length)))
		return refuse(c, -ENOEXEC, "vdso: the image was made with another one than this kernel's");
	return 0;
}

/* ---- processes and threads ---- */

static int take_sighand(const struct recording *c)
{
	return record_new(c, struct krg_r_sighand) ? 0 : -ENOMEM;
}

static int take_sigaction(const struct recording *c)
{
	struct krg_r_sighand *sighand = krg_restore_find(c->s, c->record->owner, KRG_GHOST_SIGHAND);
	u32 signal = get(c, KRG_GHOST_SIGACTION_SIGNAL);
	struct sigaction *sa = &sighand->action[signal - 1].sa;

	if (sig_kernel_only(signal))
		return refuse(c, -EINVAL, "image: an action for signal %u", signal);
	sa->sa_handler = (__sighandler_t)get(c, KRG_GHOST_SIGACTION_HANDLER);
	sa->sa_flags = get(c, KRG_GHOST_SIGACTION_FLAGS) & UAPI_SA_FLAGS;
	sa->sa_restorer = (__sigrestore_t)get(c, KRG_GHOST_SIGACTION_RESTORER);
	siginitset(&sa->sa_mask, 0);
	sa->sa_mask.sig[0] = get(c, KRG_GHOST_SIGACTION_MASK) & ~(sigmask(SIGKILL) | sigmask(SIGSTOP));
	return 0;
}

static int take_task(const struct recording *c)
{
	struct krg_r_task *task = record_new(c, struct krg_r_task);

	if (!task)
		return -ENOMEM;
	list_add_tail(&task->link, &c->s->tasks);
	INIT_LIST_HEAD(&task->threads);
	task->pid = get(c, KRG_GHOST_TASK_PID);
	task->stopped = get(c, KRG_GHOST_TASK_STOPPED);
	task->mm = krg_restore_find(c->s, get(c, KRG_GHOST_TASK_MM), KRG_GHOST_MM);
	task->sighand = krg_restore_find(c->s, get(c, KRG_GHOST_TASK_SIGHAND), KRG_GHOST_SIGHAND);
	if (!task->mm->builder)
		task->mm->builder = task;
	if (task->stopped && !sig_kernel_stop(task->stopped))
		return refuse(c, -EINVAL, "image: process %u was stopped by signal %u, which stops nothing",
			      task->pid, task->stopped);
	c->s->nr_tasks++;
	return 0;
}

static int take_thread(const struct recording *c)
{
	struct krg_r_thread *t = record_new(c, struct krg_r_thread);
	struct krg_r_task *task;
	const u8 *comm;
	u32 length;

	if (!t)
		return -ENOMEM;
	task = krg_restore_find(c->s, c->record->owner, KRG_GHOST_TASK);
	t->of = task;
	t->session = c->s;
	t->tid = get(c, KRG_GHOST_THREAD_TID);
	t->flags = get(c, KRG_GHOST_THREAD_FLAGS);
	comm = krg_ghost_get_bytes(c->r, KRG_GHOST_THREAD_COMM, &length);
	if (length)
		memcpy(t->comm, comm, min_t(u32, length, sizeof(t->comm) - 1));
	t->blocked = get(c, KRG_GHOST_THREAD_BLOCKED);
	t->saved_blocked = get(c, KRG_GHOST_THREAD_SAVED_BLOCKED);
	t->altstack = get(c, KRG_GHOST_THREAD_ALTSTACK);
	t->altstack_size = get(c, KRG_GHOST_THREAD_ALTSTACK_SIZE);
	t->altstack_flags = get(c, KRG_GHOST_THREAD_ALTSTACK_FLAGS);
	t->robust_list = get(c, KRG_GHOST_THREAD_ROBUST_LIST);
	t->clear_tid = get(c, KRG_GHOST_THREAD_CLEAR_TID);
	t->rseq = get(c, KRG_GHOST_THREAD_RSEQ);
	t->rseq_length = get(c, KRG_GHOST_THREAD_RSEQ_LENGTH);
	t->rseq_signature = get(c, KRG_GHOST_THREAD_RSEQ_SIGNATURE);
	init_completion(&t->set);
	list_add_tail(&t->link, &task->threads);
	task->nr_threads++;
	c->s->nr_threads++;
	if (t->flags & THREAD_EXITED)
		return refuse(c, -EOPNOTSUPP, "thread %u: has exited, only its id remains; that cannot be restored", t->tid);
	if (t->rseq && (t->rseq % 32 || t->rseq_length != 32 || !access_ok((void __user *)t->rseq, t->rseq_length)))
		return refuse(c, -EINVAL, "thread %u: impossible rseq area", t->tid);
	return 0;
}

static int take_registers(const struct recording *c)
{
	struct krg_r_thread *t = krg_restore_find(c->s, c->record->owner, KRG_GHOST_THREAD);
	struct user_regs_struct *regs = &t->registers;
	u32 i;

	/* Fields 2 to 28 are the words of struct user_regs_struct in its order. */
	BUILD_BUG_ON(sizeof(*regs) != (KRG_GHOST_REGISTERS_GS - KRG_GHOST_REGISTERS_R15 + 1) * sizeof(u64));
	for (i = 0; i < sizeof(*regs) / sizeof(u64); i++)
		((unsigned long *)regs)[i] = get(c, KRG_GHOST_REGISTERS_R15 + i);
	/* The image has interrupted calls dealt with; nothing here may look like one. */
	regs->orig_ax = -1;
	if (regs->cs != __USER_CS || regs->ss != __USER_DS)
		return refuse(c, -EOPNOTSUPP, "thread %u: runs 32-bit code (cs %#lx)", t->tid, (long)regs->cs);
	if (regs->ip >= TASK_SIZE_MAX)
		return refuse(c, -EINVAL, "thread %u: an instruction pointer that is not the user's", t->tid);
	return 0;
}

/* Where component @n is in a standard-format area, and its size; 0: this processor has none. */
static u32 component_size(const struct krg_restore *s, u32 n, u32 *at)
{
	u32 size, ecx, edx;

	cpuid_count(0xd, n, &size, at, &ecx, &edx);
	if (ecx & 1 || *at < XSTATE_LEGACY + XSTATE_HEADER || *at > s->xstate_size || size > s->xstate_size - *at)
		return 0;
	return size;
}

/* The x87 part is bytes 0 to 159 but for mxcsr at 24; that of SSE is mxcsr with its mask, and from 160 on. */
static bool place_legacy(u8 *area, u32 n, const u8 *at, u32 length)
{
	if (n == 0 && length == 152) {
		memcpy(area, at, 24);
		memcpy(area + 32, at + 24, 128);
		return true;
	}
	if (n == 1 && length == 264) {
		memcpy(area + 24, at, 8);
		memcpy(area + 160, at + 8, 256);
		return true;
	}
	return false;
}

static int take_xstate(const struct recording *c)
{
	struct krg_r_thread *t = krg_restore_find(c->s, c->record->owner, KRG_GHOST_THREAD);
	u32 n = get(c, KRG_GHOST_XSTATE_COMPONENT), length, at;
	const u8 *bytes = krg_ghost_get_bytes(c->r, KRG_GHOST_XSTATE_BYTES, &length);
	bool placed;

	if (!t->xstate) {
		t->xstate = kvzalloc(c->s->xstate_size, GFP_KERNEL_ACCOUNT);
		if (!t->xstate)
			return -ENOMEM;
	}
	if (n < 2) {
		placed = place_legacy(t->xstate, n, bytes, length);
	} else {
		placed = !(BIT_ULL(n) & XFEATURES_REFUSED) && component_size(c->s, n, &at) == length;
		if (placed)
			memcpy(t->xstate + at, bytes, length);
	}
	if (!placed)
		return refuse(c, -ENOEXEC, "thread %u: %u bytes of xsave component %u, which this processor has not", t->tid,
			      length, n);
	*(u64 *)(t->xstate + XSTATE_LEGACY) |= BIT_ULL(n);
	return 0;
}

static int take_restart(const struct recording *c)
{
	struct krg_r_thread *t = krg_restore_find(c->s, c->record->owner, KRG_GHOST_THREAD);

	t->restart = (struct krg_r_restart) {
		.kind = get(c, KRG_GHOST_RESTART_KIND),
		.clock = get(c, KRG_GHOST_RESTART_CLOCK),
		.left = get(c, KRG_GHOST_RESTART_LEFT),
		.flags = get(c, KRG_GHOST_RESTART_FLAGS),
		.address = get(c, KRG_GHOST_RESTART_ADDRESS),
		.value = get(c, KRG_GHOST_RESTART_VALUE),
		.bitset = get(c, KRG_GHOST_RESTART_BITSET),
		.futex_flags = get(c, KRG_GHOST_RESTART_FUTEX_FLAGS),
	};
	return 0;
}

/* As many as a thread could have been given, each checked again by the kernel. */
static int take_seccomp(const struct recording *c)
{
	struct krg_r_thread *t = krg_restore_find(c->s, c->record->owner, KRG_GHOST_THREAD);
	struct krg_r_filter *filters, *filter;
	u32 length;
	const u8 *code = krg_ghost_get_bytes(c->r, KRG_GHOST_SECCOMP_PROGRAM, &length);

	if (get(c, KRG_GHOST_SECCOMP_PLACE) != t->nr_filters || length % sizeof(struct sock_filter))
		return refuse(c, -EINVAL, "image: thread %u has seccomp filters in another order", t->tid);
	c->s->filter_words += length / sizeof(struct sock_filter);
	if (c->s->filter_words > KRG_RESTORE_FILTER_WORDS)
		return refuse(c, -E2BIG, "image: more than %u instructions of seccomp filters", KRG_RESTORE_FILTER_WORDS);
	if (!(t->flags & THREAD_NO_NEW_PRIVS) && get(c, KRG_GHOST_SECCOMP_MODE) == SECCOMP_MODE_FILTER &&
	    !ns_capable(current_user_ns(), CAP_SYS_ADMIN))
		return refuse(c, -EPERM, "thread %u: has seccomp filters without no_new_privs, which needs CAP_SYS_ADMIN", t->tid);
	if (!c->s->cred)
		c->s->cred = get_current_cred();
	filters = kvmalloc_array(t->nr_filters + 1, sizeof(*filters), GFP_KERNEL_ACCOUNT);
	if (!filters)
		return -ENOMEM;
	if (t->nr_filters)
		memcpy(filters, t->filters, t->nr_filters * sizeof(*filters));
	kvfree(t->filters);
	t->filters = filters;
	filter = &filters[t->nr_filters];
	*filter = (struct krg_r_filter) {
		.mode = get(c, KRG_GHOST_SECCOMP_MODE), .flags = get(c, KRG_GHOST_SECCOMP_FLAGS) & FILTER_FLAGS,
		.number = get(c, KRG_GHOST_SECCOMP_NUMBER), .length = length / sizeof(struct sock_filter),
	};
	filter->code = kvmalloc(max(length, 1U), GFP_KERNEL_ACCOUNT);
	if (!filter->code)
		return -ENOMEM;
	if (length)
		memcpy(filter->code, code, length);
	t->nr_filters++;
	return 0;
}

/* ---- memory ---- */

/* As PR_SET_MM_MAP asks, but that 0 may stand for nothing. */
static bool addresses_are_users(const struct krg_r_mm *m)
{
	const u64 all[] = {
		m->start_code, m->end_code, m->start_data, m->end_data, m->start_brk, m->brk, m->start_stack,
		m->arg_start, m->arg_end, m->env_start, m->env_end, m->mmap_base, m->vdso,
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] > TASK_SIZE_MAX)
			return false;
	return m->start_code <= m->end_code && m->start_data <= m->end_data && m->start_brk <= m->brk &&
	       m->arg_start <= m->arg_end && m->env_start <= m->env_end;
}

static int take_mm(const struct recording *c)
{
	struct krg_r_mm *m = record_new(c, struct krg_r_mm);
	u64 exe = get(c, KRG_GHOST_MM_EXE);
	const u8 *auxv;
	u32 length;

	if (!m)
		return -ENOMEM;
	list_add_tail(&m->link, &c->s->mms);
	INIT_LIST_HEAD(&m->vmas);
	m->index = c->s->nr_mms++;
	m->start_code = get(c, KRG_GHOST_MM_START_CODE);
	m->end_code = get(c, KRG_GHOST_MM_END_CODE);
	m->start_data = get(c, KRG_GHOST_MM_START_DATA);
	m->end_data = get(c, KRG_GHOST_MM_END_DATA);
	m->start_brk = get(c, KRG_GHOST_MM_START_BRK);
	m->brk = get(c, KRG_GHOST_MM_BRK);
	m->start_stack = get(c, KRG_GHOST_MM_START_STACK);
	m->arg_start = get(c, KRG_GHOST_MM_ARG_START);
	m->arg_end = get(c, KRG_GHOST_MM_ARG_END);
	m->env_start = get(c, KRG_GHOST_MM_ENV_START);
	m->env_end = get(c, KRG_GHOST_MM_ENV_END);
	m->mmap_base = get(c, KRG_GHOST_MM_MMAP_BASE);
	m->vdso = get(c, KRG_GHOST_MM_VDSO);
	m->dumpable = get(c, KRG_GHOST_MM_DUMPABLE);
	m->flags = get(c, KRG_GHOST_MM_FLAGS);
	m->filter = get(c, KRG_GHOST_MM_DUMP_FILTER);
	auxv = krg_ghost_get_bytes(c->r, KRG_GHOST_MM_AUXV, &length);
	m->auxv_words = min_t(u32, length / sizeof(u64), ARRAY_SIZE(m->auxv));
	if (m->auxv_words)
		memcpy(m->auxv, auxv, m->auxv_words * sizeof(u64));
	if (exe) {
		m->exe = file_slot(c, exe);
		if (!m->exe)
			return -ENOMEM;
	}
	if (m->auxv_words > AT_VECTOR_SIZE)
		return refuse(c, -EINVAL, "image: an auxiliary vector of %u words", m->auxv_words);
	return addresses_are_users(m) ? 0 : refuse(c, -EINVAL, "image: an address space with addresses that are not the user's");
}

static int take_memory(const struct recording *c)
{
	struct krg_r_memory *memory = record_new(c, struct krg_r_memory);

	if (!memory)
		return -ENOMEM;
	memory->kind = get(c, KRG_GHOST_MEMORY_KIND);
	memory->size = get(c, KRG_GHOST_MEMORY_SIZE);
	return 0;
}

static int take_backing(const struct recording *c, struct krg_r_vma *vma)
{
	u64 id = get(c, KRG_GHOST_VMA_BACKING);

	if (!id)
		return 0;
	vma->memory = krg_restore_find(c->s, id, KRG_GHOST_MEMORY);
	if (!vma->memory) {
		vma->file = file_slot(c, id);
		return vma->file ? 0 : -ENOMEM;
	}
	if (!(vma->advice & KRG_VMA_NORESERVE))
		vma->memory->reserve = true;
	return 0;
}

static int take_vma(const struct recording *c)
{
	struct krg_r_vma *vma = record_new(c, struct krg_r_vma);

	if (!vma)
		return -ENOMEM;
	xa_init_flags(&vma->shared, XA_FLAGS_ACCOUNT);
	vma->mm = krg_restore_find(c->s, c->record->owner, KRG_GHOST_MM);
	vma->start = get(c, KRG_GHOST_VMA_START);
	vma->end = get(c, KRG_GHOST_VMA_END);
	vma->kind = get(c, KRG_GHOST_VMA_KIND);
	vma->prot = get(c, KRG_GHOST_VMA_PROTECTION);
	vma->offset = get(c, KRG_GHOST_VMA_OFFSET);
	vma->locked = get(c, KRG_GHOST_VMA_LOCKED);
	vma->advice = get(c, KRG_GHOST_VMA_ADVICE);
	vma->pkey = get(c, KRG_GHOST_VMA_PKEY);
	vma->ceiling = get(c, KRG_GHOST_VMA_CEILING);
	list_add_tail(&vma->link, &vma->mm->vmas);
	if (vma->kind != KRG_VMA_VSYSCALL && vma->end > TASK_SIZE_MAX)
		return refuse(c, -EINVAL, "image: a mapping at %#llx, which is not the user's", vma->start);
	if (vma->pkey && !cpu_feature_enabled(X86_FEATURE_OSPKE))
		return refuse(c, -ENOEXEC, "processor: the mapping at %#llx has a protection key", vma->start);
	return take_backing(c, vma);
}

static int take_pages(const struct recording *c, struct krg_r_run **run)
{
	struct krg_r_memory *memory = krg_restore_find(c->s, c->record->owner, KRG_GHOST_MEMORY);
	struct krg_r_vma *vma = krg_restore_find(c->s, c->record->owner, KRG_GHOST_VMA);
	struct krg_r_runs *runs = memory ? &memory->runs : &vma->runs;
	struct krg_r_run made = {
		.at = get(c, KRG_GHOST_PAGES_AT),
		.count = get(c, KRG_GHOST_PAGES_COUNT),
		.source = get(c, KRG_GHOST_PAGES_SOURCE),
	};
	int err;

	if (get(c, KRG_GHOST_PAGES_CODEC))
		return refuse(c, -EOPNOTSUPP, "image: compressed pages, which cannot be restored yet");
	if (vma && (vma->kind == KRG_VMA_SHARED || (vma->kind >= KRG_VMA_VDSO && vma->kind <= KRG_VMA_VSYSCALL)))
		return refuse(c, -EINVAL, "image: pages of the mapping at %#llx, which has none of its own", vma->start);
	if (made.source == KRG_GHOST_SOURCE_FOLLOWS &&
	    (!c->s->origin.node || (vma->kind != KRG_VMA_PRIVATE && vma->kind != KRG_VMA_HEAP) || vma->file || vma->memory))
		return refuse(c, -EINVAL, "image: pages at %#llx that follow from another node", made.at);
	if (made.source == KRG_GHOST_SOURCE_TWIN) {
		made.twin = krg_restore_find(c->s, get(c, KRG_GHOST_PAGES_TWIN), KRG_GHOST_VMA);
		made.from = get(c, KRG_GHOST_PAGES_TWIN_AT);
		/* Whoever copies waits for the other: that must have no circle. */
		if (made.twin->mm->index >= vma->mm->index)
			return refuse(c, -EINVAL, "image: pages at %#llx are a later address space's", made.at);
	}
	err = krg_restore_run_add(c->s, runs, &made);
	if (!err && made.source == KRG_GHOST_SOURCE_TWIN)
		err = krg_inherit_mark(c->s, vma, &made);
	if (err)
		return err == -E2BIG ? refuse(c, err, "image: more than %u runs of pages", KRG_RESTORE_RUNS) : err;
	*run = made.source == KRG_GHOST_SOURCE_HERE ? &runs->at[runs->count - 1] : NULL;
	return 0;
}

/* ---- all ---- */

static u32 xstate_area(void)
{
	const struct user_regset_view *view = task_user_regset_view(current);
	u32 i;

	for (i = 0; i < view->n; i++)
		if (view->regsets[i].core_note_type == NT_X86_XSTATE)
			return view->regsets[i].n * view->regsets[i].size;
	return 0;
}

/*
 * Takes the record that @r has. *@run: of page data that follow, else unchanged; it holds until the next call.
 * 0, or a negative errno, and unless it is -ENOMEM a line in @error.
 */
int krg_restore_record(struct krg_restore *s, const struct krg_ghost_reader *r, struct krg_r_run **run,
		       struct krg_text *error)
{
	struct recording c = { .s = s, .r = r, .record = krg_ghost_current(r), .error = error };

	switch (c.record->type) {
	case KRG_GHOST_IMAGE:
		s->xstate_size = xstate_area();
		return take_image(&c);
	case KRG_GHOST_SIGHAND:
		return take_sighand(&c);
	case KRG_GHOST_SIGACTION:
		return take_sigaction(&c);
	case KRG_GHOST_TASK:
		return take_task(&c);
	case KRG_GHOST_THREAD:
		return take_thread(&c);
	case KRG_GHOST_REGISTERS:
		return take_registers(&c);
	case KRG_GHOST_XSTATE:
		return take_xstate(&c);
	case KRG_GHOST_RESTART:
		return take_restart(&c);
	case KRG_GHOST_SECCOMP:
		return take_seccomp(&c);
	case KRG_GHOST_MM:
		return take_mm(&c);
	case KRG_GHOST_MEMORY:
		return take_memory(&c);
	case KRG_GHOST_VMA:
		return take_vma(&c);
	case KRG_GHOST_FILE_FORWARDED:
		return take_forwarded(&c);
	case KRG_GHOST_PAGES:
		return take_pages(&c, run);
	}
	return 0;
}

/* What can be said only when all was read. */
int krg_restore_judge(struct krg_restore *s, struct krg_text *error)
{
	struct recording c = { .s = s, .error = error };
	struct krg_r_mm *m;

	if (!s->nr_threads)
		return refuse(&c, -EINVAL, "image: no process is in it");
	list_for_each_entry(m, &s->mms, link)
		if (!m->builder)
			return refuse(&c, -EINVAL, "image: an address space that no process has");
	return 0;
}
