/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libkerrighed: a program moves, saves and restarts processes, itself too, and says what it wants to be done to it. The
 * manual page is libkerrighed(3). Names that programs for Kerrighed used are in <kerrighed/legacy.h>.
 *
 * Unless something else is said a function returns 0, or -1 with errno set; krg_why() says then why. Any thread may call
 * any function. The library installs no signal handler and uses no signal.
 */
#ifndef KERRIGHED_H
#define KERRIGHED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define KRG_LIBRARY_VERSION 1

/* Flags. A function refuses, with EINVAL, those that it does not know. */
#define KRG_TREE 1U         /* with all descendants */
#define KRG_KILL 2U         /* krg_checkpoint(): kill it when the image is safe */
#define KRG_POST_COPY 4U    /* krg_migrate(): memory follows when it runs already */
#define KRG_NO_CALLBACKS 8U /* krg_checkpoint(): callbacks are not called */
#define KRG_ACCEPT_CHANGED 16U /* krg_restart(): take files as they are now */
#define KRG_OWN_SESSION 32U /* krg_restart(): what was in the session of the first process joins that of the caller */

/* Why the last function that failed in this thread did: one or more lines, never NULL, until the next one is called. */
const char *krg_why(void);

/* ---- processes ---- */

/* Moves a process to another node. KRG_TREE, KRG_POST_COPY. */
int krg_migrate(pid_t pid, int node, unsigned flags);
/* What would stand in the way: 0: nothing; else -1, and krg_why() has a line for each thing. KRG_TREE. */
int krg_migrate_check(pid_t pid, unsigned flags);
/* The caller's whole process moves; returns 0 there. KRG_TREE, KRG_POST_COPY. */
int krg_migrate_self(int node, unsigned flags);

/* What came of a checkpoint. */
struct krg_image_info {
    uint64_t number; /* of the image */
    uint64_t bytes;
    uint64_t pages;
    uint32_t tasks;
    uint32_t threads;
};

/* Saves a process in a file, which has its name when it is whole. INFO may be NULL. KRG_TREE, KRG_KILL, KRG_NO_CALLBACKS. */
int krg_checkpoint(pid_t pid, const char *path, unsigned flags, struct krg_image_info *info);
/* What would be refused, as krg_migrate_check(). KRG_TREE. */
int krg_checkpoint_check(pid_t pid, unsigned flags);
/*
 * Saves the caller's process. Returns 0 when that is done, and 1 in the process that is made of the image one day. KRG_TREE,
 * KRG_NO_CALLBACKS.
 */
int krg_checkpoint_self(const char *path, unsigned flags);
/* Makes the processes of an image. The id of the first one, or -1. KRG_ACCEPT_CHANGED, KRG_OWN_SESSION. */
pid_t krg_restart(const char *path, unsigned flags);

/* Holds a process with all its descendants until krg_unfreeze(), also when the caller has ended. */
int krg_freeze(pid_t pid);
/* Lets it go on; SIGNAL, unless it is 0, is sent to all of its processes before. */
int krg_unfreeze(pid_t pid, int signal);

/* ---- what the caller's process wants ---- */

/*
 * From krg_cr_disable() to the krg_cr_enable() that belongs to it the process is not saved, frozen or moved: who wants to
 * waits, and is told so when his time is over. They may be nested, and called by several threads.
 */
int krg_cr_disable(void);
int krg_cr_enable(void);

/*
 * Whole pages of private memory between AT and AT + LENGTH are not in a checkpoint: after a restart they are zeros, or what
 * the file has that is mapped there. They move with a process. At most 254 regions.
 */
int krg_cr_exclude(void *at, size_t length);
/* Takes back the region that was given with the same AT. */
int krg_cr_include(void *at);

enum krg_cr_moment {
    KRG_CR_BEFORE,   /* it is about to be saved */
    KRG_CR_CONTINUE, /* it goes on where it was, whether it was saved or not */
    KRG_CR_RESTART   /* it has been made of an image */
};
typedef void (*krg_cr_callback)(void *argument);

/*
 * FUNCTION is called at that moment, in a thread of the library, which is made by the first call and has all signals blocked.
 * Nothing is frozen while callbacks run. Those before are called in the reverse order of registration, the others in order.
 * A number for krg_cr_unregister(), or -1.
 */
int krg_cr_register(enum krg_cr_moment moment, krg_cr_callback function, void *argument);
int krg_cr_unregister(int number);

/* ---- nodes ---- */

/* The id of this node; -1 with ENOTCONN: it is in no cluster. */
int krg_node_id(void);
/* How many members the cluster has. */
int krg_node_count(void);
/* Their ids, as many as there is room for, in order; how many there are. */
int krg_node_list(int *ids, int room);
/* 1: NODE is a member; 0: it is not. */
int krg_node_is_member(int node);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
