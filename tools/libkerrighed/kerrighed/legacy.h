/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Names that programs for Kerrighed used, as functions of libkerrighed that are inserted where they are called: nothing of
 * it is in the library.
 */
#ifndef KERRIGHED_LEGACY_H
#define KERRIGHED_LEGACY_H

#include <kerrighed.h>

static inline int migrate(pid_t pid, int node) { return krg_migrate(pid, node, 0); }
static inline int migrate_self(int node) { return krg_migrate_self(node, 0); }
static inline int get_node_id(void) { return krg_node_id(); }
static inline int get_nr_nodes(void) { return krg_node_count(); }
static inline int cr_disable(void) { return krg_cr_disable(); }
static inline int cr_enable(void) { return krg_cr_enable(); }
static inline int cr_exclude_on(void *at, size_t length) { return krg_cr_exclude(at, length); }
static inline int cr_exclude_off(void *at) { return krg_cr_include(at); }
static inline int cr_register_chkpt_callback(krg_cr_callback function, void *argument) {
    return krg_cr_register(KRG_CR_BEFORE, function, argument) < 0 ? -1 : 0;
}
static inline int cr_register_continue_callback(krg_cr_callback function, void *argument) {
    return krg_cr_register(KRG_CR_CONTINUE, function, argument) < 0 ? -1 : 0;
}
static inline int cr_register_restart_callback(krg_cr_callback function, void *argument) {
    return krg_cr_register(KRG_CR_RESTART, function, argument) < 0 ? -1 : 0;
}
static inline int application_freeze_from_pid(pid_t pid) { return krg_freeze(pid); }
static inline int application_unfreeze_from_pid(pid_t pid, int signal) { return krg_unfreeze(pid, signal); }

#endif
