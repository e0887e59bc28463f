/* SPDX-License-Identifier: GPL-2.0 */
/* Life of pids.c, for main.c. */
#ifndef KRG_PROC_PIDS_H
#define KRG_PROC_PIDS_H

#include <linux/types.h>

int krg_pids_init(void);
/** From now on this node gives out process ids of the range of @node; 0: it is no member. */
void krg_pids_member(u16 node);
/** The kernel gives out ids as it does by itself. May sleep. */
void krg_pids_exit(void);

#endif
