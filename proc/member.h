/* SPDX-License-Identifier: GPL-2.0 */
/* What membership means to the parts of krg_proc.ko: see member.c. */
#ifndef KRG_PROC_MEMBER_H
#define KRG_PROC_MEMBER_H

int krg_member_init(void);
void krg_member_exit(void);
/** A shadow or a guest is no more: a planned leave may have waited for that. May sleep. */
void krg_member_changed(void);

#endif
