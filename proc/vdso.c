// SPDX-License-Identifier: GPL-2.0
/*
 * The build id of the vdso: an image whose processes have another one mapped
 * cannot be restored, their code would be at other places.
 */
#include <linux/elf.h>
#include <linux/mm_types.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/vdso.h>

#include "vdso.h"

#define NOTE_GNU_BUILD_ID	3	/* of ELF notes named GNU; <linux/elf.h> has no name for it */

/* @at: @size bytes of notes. */
static u32 find_id(const u8 *at, u64 size, u8 *id)
{
	while (size >= sizeof(Elf64_Nhdr)) {
		const Elf64_Nhdr *note = (const void *)at;
		u64 name = ALIGN((u64)note->n_namesz, 4), body = ALIGN((u64)note->n_descsz, 4);
		u64 whole = sizeof(*note) + name + body;

		if (whole > size)
			return 0;
		if (note->n_type == NOTE_GNU_BUILD_ID && note->n_namesz == 4 && !memcmp(note + 1, "GNU", 4) &&
		    note->n_descsz <= KRG_VDSO_ID_MAX) {
			memcpy(id, at + sizeof(*note) + name, note->n_descsz);
			return note->n_descsz;
		}
		at += whole;
		size -= whole;
	}
	return 0;
}

u32 krg_vdso_id(u8 *id)
{
	const struct vdso_image *image = current->mm ? current->mm->context.vdso_image : NULL;
	const Elf64_Ehdr *head = image ? image->data : NULL;
	const Elf64_Phdr *part;
	u32 i, length = 0;

	if (!head || image->size < sizeof(*head) || head->e_ident[EI_CLASS] != ELFCLASS64 ||
	    head->e_phoff > image->size || head->e_phnum * sizeof(*part) > image->size - head->e_phoff)
		return 0;
	part = image->data + head->e_phoff;
	for (i = 0; i < head->e_phnum && !length; i++)
		if (part[i].p_type == PT_NOTE && part[i].p_offset <= image->size &&
		    part[i].p_filesz <= image->size - part[i].p_offset)
			length = find_id(image->data + part[i].p_offset, part[i].p_filesz, id);
	return length;
}
