// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings and what they are for the image, as vma.h says.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/slab.h>
#include <linux/userfaultfd_k.h>

#include <kerrighed/compat.h>

#include "file.h"
#include "vma.h"

static const char *special_name(struct vm_area_struct *vma)
{
	const char *name = vma->vm_ops && vma->vm_ops->name ? vma->vm_ops->name(vma) : NULL;

	return name ?: "";
}

static bool is_heap(const struct vm_area_struct *vma)
{
	const struct mm_struct *mm = vma->vm_mm;

	return mm->brk > mm->start_brk && vma->vm_start <= mm->brk && vma->vm_end >= mm->start_brk;
}

static enum krg_vma_kind anonymous_kind(const struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_GROWSDOWN)
		return KRG_VMA_STACK;
	return is_heap(vma) ? KRG_VMA_HEAP : KRG_VMA_PRIVATE;
}

/* What no image can carry, by name. */
static const char *refusal(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma))
		return "pages of hugetlbfs";
	if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		return "memory of a device";
	if (userfaultfd_armed(vma))
		return "registered with userfaultfd";
	if (vma->vm_flags & KRG_VM_SHADOW_STACK)
		return "a shadow stack";
#ifdef CONFIG_NUMA
	if (vma->vm_policy)
		return "a memory policy (mbind)";
#endif
	return NULL;
}

/* The kernel's own pages in the process. */
static bool describe_special(struct krg_mapping *to, struct vm_area_struct *vma)
{
	const char *name = special_name(vma);

	if (vma->vm_file || *name != '[')
		return false;
	if (!strcmp(name, "[vdso]"))
		to->kind = KRG_VMA_VDSO;
	else if (!strncmp(name, "[vvar", 5))
		to->kind = KRG_VMA_VVAR;
	else
		to->refused = name;
	return true;
}

static void describe_file(struct krg_mapping *to, struct vm_area_struct *vma)
{
	enum krg_file_kind kind = krg_file_kind(vma->vm_file);

	to->offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	to->kind = vma->vm_flags & VM_MAYSHARE ? KRG_VMA_SHARED : KRG_VMA_PRIVATE;
	switch (kind) {
	case KRG_FILE_REGULAR:
	case KRG_FILE_FORWARDED:
	case KRG_FILE_MEMFD:
		to->backing = KRG_BACKING_FILE;
		break;
	case KRG_FILE_SHARED_MEMORY:
		to->backing = KRG_BACKING_SHARED;
		break;
	case KRG_FILE_SYSV:
		to->backing = KRG_BACKING_SYSV;
		break;
	case KRG_FILE_DEVICE:
		/* A private mapping of /dev/zero is anonymous memory. */
		if (vma_is_anonymous(vma) && to->kind == KRG_VMA_PRIVATE)
			break;
		fallthrough;
	default:
		to->refused = krg_file_kind_name(kind);
		return;
	}
	to->file = get_file(vma->vm_file);
}

static void describe(struct krg_mapping *to, struct vm_area_struct *vma)
{
	to->start = vma->vm_start;
	to->end = vma->vm_end;
	to->flags = vma->vm_flags;
	to->touched = vma->anon_vma;
	if (describe_special(to, vma))
		return;
	to->refused = refusal(vma);
	if (to->refused)
		return;
	if (vma->vm_file)
		describe_file(to, vma);
	else
		to->kind = anonymous_kind(vma);
}

int krg_mappings_get(struct krg_mappings *list, struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	unsigned int room;

	list->count = 0;
	list->at = NULL;
	do {
		room = READ_ONCE(mm->map_count) + 16;
		kvfree(list->at);
		list->at = kvcalloc(room, sizeof(*list->at), GFP_KERNEL_ACCOUNT);
		if (!list->at)
			return -ENOMEM;
		if (mmap_read_lock_killable(mm)) {
			krg_mappings_put(list);
			return -EINTR;
		}
		if (mm->map_count <= room)
			break;
		mmap_read_unlock(mm);
	} while (true);
	{
		VMA_ITERATOR(vmi, mm, 0);

		for_each_vma(vmi, vma)
			if (list->count < room)
				describe(&list->at[list->count++], vma);
	}
	mmap_read_unlock(mm);
	return 0;
}

void krg_mappings_put(struct krg_mappings *list)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (list->at[i].file)
			fput(list->at[i].file);
	kvfree(list->at);
	list->at = NULL;
	list->count = 0;
}
