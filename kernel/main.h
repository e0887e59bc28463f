/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The start and end of every part that main.c lists.
 */
#ifndef KRG_MAIN_H
#define KRG_MAIN_H

#include "control.h"
#include "link.h"
#include "member.h"
#include "session.h"
#include "stats.h"

int krg_symbols_init(void);
void krg_symbols_exit(void);
int krg_hook_init(void);
void krg_hook_exit(void);
int krg_node_init(void);
void krg_node_exit(void);

#endif
