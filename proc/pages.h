/* SPDX-License-Identifier: GPL-2.0 */
/* Where an address space has pages, for who saves them and for who compares them; in capture_mm.c. */
#ifndef KRG_PROC_PAGES_H
#define KRG_PROC_PAGES_H

struct mm_struct;

/** krg_pages_find() - from *@at on, which moves there: how many pages in a row may be there; under the mmap lock */
unsigned int krg_pages_find(struct mm_struct *mm, unsigned long *at, unsigned long end);

#endif
