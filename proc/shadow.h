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
struct krg_shadow;
struct krg_view;

enum krg_shadow_what {
	KRG_SHADOW_ENDED = 1,	/* to the home: the process has ended, with @code */
	KRG_SHADOW_MOVED,	/* to the home: it runs here now, in @generation */
	KRG_SHADOW_SIGNAL,	/* to the runner: deliver @info to the process */
	KRG_SHADOW_STOPPED,	/* to the home: it was stopped by signal @code, or goes on: 0 */
};

/* KRG_MSG_SHADOW */
struct krg_shadow_msg {
	__le32 what;
	__le32 pid;
	__le64 generation;
	__le32 code;		/* ENDED: as wait(2) gives it */
	__le32 zero;
	__u8 info[48];		/* SIGNAL: a siginfo, as rt_sigqueueinfo(2) takes it */
};

/**
 * krg_shadow_new() - gets everything ready that can fail
 * @pid: of the process
 * @runner: node it is about to move to
 * @generation: that it will have there
 *
 * Return: a shadow for krg_shadow_start() or krg_shadow_drop(), or NULL: no memory.
 */
struct krg_shadow *krg_shadow_new(pid_t pid, u16 runner, u64 generation);
/**
 * krg_shadow_arm() - from now on no signal ends, stops or passes the frozen process
 *
 * All are queued until krg_shadow_start(), which passes them on, or krg_shadow_drop(). 0, or -ESRCH: it was killed before.
 */
int krg_shadow_arm(struct krg_shadow *shadow, struct krg_frozen *set);
/**
 * krg_shadow_start() - the process goes on as its own shadow
 *
 * Where it was born: its leader, without memory and descriptors, keeps the id, its place among parents, groups and sessions,
 * passes on signals, and ends as the process does. Elsewhere all its threads end. The threads leave for that when @set is let go.
 */
void krg_shadow_start(struct krg_shadow *shadow, struct krg_frozen *set);
/** The move did not take place: what krg_shadow_arm() did is undone. */
void krg_shadow_drop(struct krg_shadow *shadow, struct krg_frozen *set);
/** A view was committed (NULL: this node is out): shadows whose process was lost with its node end. May sleep. */
void krg_shadow_view(const struct krg_view *view);
/** The process ended elsewhere; false: there is no such shadow. */
bool krg_shadow_ended(pid_t pid, u64 generation, u32 code);
/** The process runs on @runner now; false: there is no such shadow. */
bool krg_shadow_moved(pid_t pid, u64 generation, u16 runner);
unsigned int krg_shadows(void);
/** Where the process runs whose shadow is here; 0: it is no shadow. */
u16 krg_shadow_runner(pid_t pid);

/** A process of another node runs here from now on. 0, or -ENOMEM: nobody will hear of its end. */
int krg_guest_add(pid_t pid, u16 home, u64 generation);
/** Tells the home that the process came here from a third node. May sleep. */
void krg_guest_arrived(pid_t pid, u16 home, u64 generation);
/** It has moved on. */
void krg_guest_forget(pid_t pid);
/** It was killed before it could run; its home is told. */
void krg_guest_lost(pid_t pid);
/** What was built of it here in @generation never ran: if the directory says that it runs here, its home is told. */
void krg_guest_never(pid_t pid, u64 generation);
unsigned int krg_guests(void);
/** Whether there are any: cheap, in any context. */
bool krg_guests_any(void);
/** The home of a guest, and the generation it has here; 0: it is none. */
u16 krg_guest_home(pid_t pid, u64 *generation);
void krg_guest_view(const struct krg_view *view);
int krg_guest_init(void);
void krg_guest_exit(void);

#endif
