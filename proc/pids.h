/* SPDX-License-Identifier: GPL-2.0 */
/* Life of pids.c, for main.c. */
#ifndef KRG_PROC_PIDS_H
#define KRG_PROC_PIDS_H

/** From now on this node gives out process ids of its own range whenever it is a member. May sleep. */
int krg_pids_init(void);
/** The kernel gives out ids as it does by itself. May sleep. */
void krg_pids_exit(void);

#endif
