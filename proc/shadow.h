/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shadows: what a process leaves behind where it was born. See shadow.c. And
 * guests: processes here whose shadow is elsewhere. See guest.c.
 */
#ifndef KRG_PROC_SHADOW_H
#define KRG_PROC_SHADOW_H

#include <linux/types.h>
#include <linux/signal_types.h>

#include <kerrighed/wire.h>

struct krg_frozen;
struct krg_record;
struct krg_view;

enum krg_shadow_what {
	KRG_SHADOW_ENDED = 1,	/* to the home: the process has ended, with @code */
	KRG_SHADOW_MOVED,	/* to the home: it runs on node @code now, in @generation */
	KRG_SHADOW_SIGNAL,	/* to the runner: deliver @info to the process */
	KRG_SHADOW_STOPPED,	/* to the home: it was stopped by signal @code, or goes on: 0 */
};

/* KRG_MSG_SHADOW */
struct krg_shadow_msg {
	__le32 what;
	__le32 pid;
	__le64 generation;
	__le32 code;		/* ENDED: as wait(2) gives it; MOVED: a node */
	__le32 zero;
	__u8 info[48];		/* SIGNAL: a siginfo, as rt_sigqueueinfo(2) takes it */
};

struct krg_directory_entry;
struct krg_shadows;

/**
 * krg_shadows_new() - gets everything ready that can fail
 * @set: the processes that are about to move
 * @entry: what the directory will say of them, in the order of @set
 *
 * Return: for krg_shadows_start() or krg_shadows_drop(), or NULL: no memory.
 */
struct krg_shadows *krg_shadows_new(struct krg_frozen *set, const struct krg_directory_entry *entry);
/**
 * krg_shadows_arm() - from now on no signal ends, stops or passes the frozen processes
 *
 * All are queued until krg_shadows_start(), which passes them on, or krg_shadows_drop(). 0, or -ESRCH: one was killed before.
 */
int krg_shadows_arm(struct krg_shadows *shadows, struct krg_frozen *set);
/**
 * krg_shadows_start() - the processes go on as their own shadows
 *
 * Where one was born: its leader, without memory and descriptors, keeps the id, its place among parents, groups and sessions,
 * passes on signals, and ends as the process does. Elsewhere all its threads end. The threads leave for that when @set is let go.
 */
void krg_shadows_start(struct krg_shadows *shadows, struct krg_frozen *set);
/** The move did not take place: what krg_shadows_arm() did is undone. */
void krg_shadows_drop(struct krg_shadows *shadows, struct krg_frozen *set);
/** A view was committed (NULL: this node is out): shadows whose process was lost with its node end. May sleep. */
void krg_shadow_view(const struct krg_view *view);
/** The process ended elsewhere; false: there is no such shadow. */
bool krg_shadow_ended(pid_t pid, u64 generation, u32 code);
/** The process runs on @runner now; false: there is no such shadow. */
bool krg_shadow_moved(pid_t pid, u64 generation, u16 runner);
unsigned int krg_shadows_count(void);
/** Where the process runs whose shadow is here; 0: it is no shadow. */
u16 krg_shadow_runner(pid_t pid);

/**
 * krg_guest_add() - a process of another node runs here from now on
 * @record: what the directory says of it; its home is not 0
 * @waited_for: its parent came with it: its end counts when that one has waited for it
 *
 * Return: 0, or -ENOMEM: nobody will hear of its end.
 */
int krg_guest_add(pid_t pid, const struct krg_record *record, bool waited_for);
/** It has moved on. */
void krg_guest_forget(pid_t pid);
/** It was killed before it could run; its home is told. */
void krg_guest_lost(pid_t pid);
unsigned int krg_guests(void);
/** Whether there are any: cheap, in any context. */
bool krg_guests_any(void);
/** The home of a guest, and the generation it has here; 0: it is none. */
u16 krg_guest_home(pid_t pid, u64 *generation);
void krg_guest_view(const struct krg_view *view);
int krg_guest_init(void);
void krg_guest_exit(void);

#endif
