/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which pages of an address space were written since its last image. How that is
 * known, and what else could disturb it, is said in track.c and in
 * Documentation/checkpoint.md; what an increment looks like, in ghost-format.md.
 */
#ifndef KRG_PROC_TRACK_H
#define KRG_PROC_TRACK_H

#include <linux/list.h>
#include <linux/types.h>

struct krg_capture;
struct krg_frozen;
struct krg_mapping;
struct krg_text;
struct krg_track;
struct mm_struct;

#define KRG_BASE_NAME_MAX	255	/* bytes, as the format has it */

/**
 * struct krg_tracking - what a capture has to do with increments
 * @chain: that the image belongs to; 0: none, and nothing here is used
 * @parent: number of the image it adds to; 0: it is a full one
 * @version: place in the chain
 * @base: file name of the parent
 * @open: tracks of the address spaces that are in the image so far
 * @at: of the one that is being captured, or NULL: its pages are all in the image
 */
struct krg_tracking {
	u64 chain, parent;
	u32 version;
	char base[KRG_BASE_NAME_MAX + 1];
	struct list_head open;
	struct krg_track *at;
};

/**
 * krg_track_open() - chain, parent and base are set: the version. -ESTALE: writes since the parent are not known, and why.
 * After it, whatever it says, krg_track_close()
 */
int krg_track_open(struct krg_tracking *t, struct krg_frozen *set, struct krg_text *text);
/** krg_track_mm() - the pages of @mm, of the set, come now. Without memory for it all of them are in the image, as if it were new */
void krg_track_mm(struct krg_tracking *t, struct mm_struct *mm);
/**
 * krg_track_clean() - are the @count pages from @at on in the parent, as they are? At least one; how many there are of which
 * that is true, or false, in a row; *@clean. Under the mmap lock
 */
unsigned int krg_track_clean(struct krg_tracking *t, struct mm_struct *mm, const struct krg_mapping *v, unsigned long at,
			     unsigned int count, bool *clean);
/** krg_track_note() - these pages are in the image, or in its parents */
void krg_track_note(struct krg_tracking *t, unsigned long at, unsigned long count);
/** krg_track_holds() - what the image says of its parent was right until now; false: somebody else cleared the marks meanwhile */
bool krg_track_holds(const struct krg_tracking *t);
/** krg_track_close() - from now on writes are noted against image @number, which is whole; 0: it is not, and the last one counts */
void krg_track_close(struct krg_tracking *t, u64 number);

int krg_track_init(void);
void krg_track_exit(void);

#endif
