/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A list of the mappings of an address space as it was at one moment, each with
 * what it is for the image. Reading pages or names takes longer than the lock may be held.
 */
#ifndef KRG_PROC_VMA_H
#define KRG_PROC_VMA_H

#include <linux/mm_types.h>

/* KRG_GHOST_VMA_KIND. */
enum krg_vma_kind {
	KRG_VMA_PRIVATE, KRG_VMA_SHARED, KRG_VMA_VDSO, KRG_VMA_VVAR, KRG_VMA_VSYSCALL, KRG_VMA_STACK, KRG_VMA_HEAP,
};

/* KRG_GHOST_MEMORY_KIND. */
enum krg_memory_kind {
	KRG_MEMORY_SHARED = 1, KRG_MEMORY_MEMFD, KRG_MEMORY_SYSV, KRG_MEMORY_CONTENTS,
};

enum krg_backing {
	KRG_BACKING_NONE,	/* private anonymous, or the kernel's own */
	KRG_BACKING_FILE,	/* a file; memfds too */
	KRG_BACKING_SHARED,	/* shared anonymous memory */
	KRG_BACKING_SYSV,	/* a SysV segment */
};

/**
 * struct krg_mapping - one mapping
 * @kind: for the image
 * @backing: what is behind it
 * @touched: pages of its own may be there
 * @refused: why it cannot be in an image, or NULL
 * @file: with a reference, or NULL
 */
struct krg_mapping {
	unsigned long start, end;
	vm_flags_t flags;
	u64 offset;
	enum krg_vma_kind kind;
	enum krg_backing backing;
	bool touched;
	const char *refused;
	struct file *file;
};

struct krg_mappings {
	struct krg_mapping *at;
	unsigned int count;
};

/** krg_mappings_get() - 0, or a negative errno; krg_mappings_put() must follow. May sleep */
int krg_mappings_get(struct krg_mappings *list, struct mm_struct *mm);
void krg_mappings_put(struct krg_mappings *list);

#endif
