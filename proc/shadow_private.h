/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A shadow, for the files that are its life: shadow.c (a shadow from its birth to
 * its end), home.c (the process comes back into it).
 */
#ifndef KRG_PROC_SHADOW_PRIVATE_H
#define KRG_PROC_SHADOW_PRIVATE_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/task_work.h>
#include <linux/wait.h>

#include "park.h"
#include "proc/core/handover.h"
#include "shadow.h"

enum krg_coming {
	KRG_AWAY,		/* nobody wants to come home */
	KRG_COMING_ASKED,	/* its leader is to run the helper */
	KRG_COMING_HELPER,	/* the helper runs in it, or the process that it becomes */
};

/**
 * struct krg_home - a process on its way home, in its shadow
 * @state: under krg_shadows_lock
 * @error: why the helper could not be run; likewise
 * @token: what the helper names the image by
 * @program: the helper
 * @again: how the leader becomes a shadow again
 * @cred: of the shadow, as are @limits, @comm, @exit_signal; NULL: the helper was never run
 */
struct krg_home {
	enum krg_coming state;
	int error;
	u64 token;
	char *program;
	struct callback_head again;
	const struct cred *cred;
	struct rlimit limits[RLIM_NLIMITS];
	char comm[TASK_COMM_LEN];
	int exit_signal;
};

/* krg_shadows_lock: node, at, ended, look. Everything else is set before the threads are let go. */
struct krg_shadow {
	struct list_head node;
	refcount_t refs;
	pid_t pid;
	bool home;			/* the process was born here */
	bool inner;			/* its parent moved with it */
	struct krg_away at;		/* where it is, as far as is known */
	wait_queue_head_t wait;
	bool ended;			/* written once, after at.code */
	bool look;			/* into the directory */
	bool armed;
	u16 taken[2][_NSIG];		/* pending signals that the process has where it is now */
	struct k_sigaction action[_NSIG];	/* what armed replaced */
	struct krg_home coming;
};

/* Protects the list of shadows. Nothing is locked inside of it. */
extern struct mutex krg_shadows_lock;

/* shadow.c */
/** The shadow of @pid here, or NULL. Under krg_shadows_lock. */
struct krg_shadow *krg_shadow_find(pid_t pid);
void krg_shadow_put(struct krg_shadow *shadow);
void krg_shadow_unlist(struct krg_shadow *shadow);
/** Has @info delivered where the process runs. May sleep for long. */
void krg_shadow_pass_on(struct krg_shadow *shadow, const kernel_siginfo_t *info);
/** The caller, a leader without other threads, queues all its signals from now on. */
void krg_shadow_arm_self(struct krg_shadow *shadow);
/**
 * The caller, on its way to user mode, is the shadow, and gives its reference back. Returns when a helper runs in it; else it
 * ends.
 */
void krg_shadow_be(struct krg_shadow *shadow);

/* home.c, by the leader: true when it has become the helper, or dies of having tried. */
bool krg_home_become(struct krg_shadow *shadow);
/* What the shadow keeps for the way back. */
void krg_home_forget(struct krg_shadow *shadow);

#endif
