/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who runs a process that moves: the decisions of source, target, home and
 * runner, for the C edge, which does what they say and tells what came of it.
 * No I/O, no clock, no memory of its own. The protocol, and what happens when
 * somebody dies at any step, is in Documentation/decisions/0003-who-runs.md.
 *
 * Each side is a structure that the caller keeps, and one function: what
 * happened goes in, what is to be done next comes out. One thing at a time: the
 * next call brings the outcome of the last answer. Who is told to wait calls
 * again when there is news, or after a while.
 *
 * Errors are negative errnos. Two of them are final: -EIO, what the directory
 * had is lost, and -ENOTCONN, this node is out. Any other may go away.
 */
#ifndef KRG_PROC_CORE_HANDOVER_H
#define KRG_PROC_CORE_HANDOVER_H

#include <kerrighed/ctypes.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct krg_record - what the directory says of a process
 * @generation: grows with each move
 * @move: that wrote it; 0: none did
 * @decision: with @root: @root's generation once the move took place; with @runner 0: how it ended, as wait(2) gives it
 * @root: 0: this record decides by itself. Else the process it moved with, and that one's record decides
 * @home: where it was born, or who took that over; 0: there is no record, and its birth node runs it
 * @runner: who runs it; 0: nobody, it has ended
 */
struct krg_record {
	u64 generation, move, decision;
	u32 root;
	u16 home, runner;
};

/**
 * krg_record_runner() - who runs the process of @record
 * @root: the record of @record->root, if that is not 0
 * @root_birth: where that one was born
 *
 * As long as the decision was not made both are where the root is.
 */
u16 krg_record_runner(const struct krg_record *record, const struct krg_record *root, u16 root_birth);

/* ---- the source: freezes, captures, sends, and then asks what to do ---- */

enum krg_source_event {
	KRG_SOURCE_BUILT,	/* the target holds all of it before user mode */
	KRG_SOURCE_FAILED,	/* it will not */
	KRG_SOURCE_DONE,	/* what was asked for last: @error, and of READ the record */
};

enum krg_source_do {
	KRG_SOURCE_ARM,		/* see that no signal ends or passes the frozen processes from now on */
	KRG_SOURCE_WRITE_MEMBERS, /* the records of all but the root: durable */
	KRG_SOURCE_WRITE,	/* the root's: durable */
	KRG_SOURCE_READ,	/* the root's */
	KRG_SOURCE_PUT_BACK,	/* the members' records as they were */
	KRG_SOURCE_PAUSE,	/* for a tenth of a second */
	KRG_SOURCE_THAW,	/* it goes on here */
	KRG_SOURCE_LEAVE,	/* it does not run here any more */
	KRG_SOURCE_GO,		/* tell the target to look into the directory */
	KRG_SOURCE_SAY,		/* to the home who runs it now; -ESRCH when the home is out of the view */
	KRG_SOURCE_ABORT,	/* tell the target to forget it */
	KRG_SOURCE_END,		/* nothing; krg_source.left, .error say what came of it */
};

struct krg_source {
	u64 move;
	u32 state, tries;
	s32 error;		/* why it did not move, or why that is not known; 0: it did */
	u8 members;		/* there are others than the root */
	u8 away;		/* a home is another node */
	u8 left;		/* it does not run here any more */
	u8 pad;
};

void krg_source_init(struct krg_source *s, u64 move, int members, int away);
enum krg_source_do krg_source_step(struct krg_source *s, enum krg_source_event event, s32 error,
				   const struct krg_record *record);

/* ---- the target: all threads wait before user mode ---- */

enum krg_target_event {
	KRG_TARGET_BUILT,	/* now */
	KRG_TARGET_NEWS,	/* GO, or a while has passed; and what @news says */
	KRG_TARGET_DONE,	/* what was asked for last: @error, and of READ the record */
	KRG_TARGET_DIED,	/* the processes are gone before it was known whose they are; nobody waits for RUN any more */
};

enum krg_target_news {
	KRG_TARGET_ABORTED = 1,	/* the source said ABORT */
	KRG_TARGET_ALONE = 2,	/* the source is out of the view */
	KRG_TARGET_OUT = 4,	/* this node is out */
};

enum krg_target_do {
	KRG_TARGET_WAIT,	/* for news, or a second */
	KRG_TARGET_READ,	/* the root's record */
	KRG_TARGET_ASK,		/* the source: is the move under way? 0: yes, -ENOENT: not any more */
	KRG_TARGET_ADOPT,	/* see that the end of each process is told to its home */
	KRG_TARGET_RUN,		/* let them go */
	KRG_TARGET_KILL,	/* end what was built */
	KRG_TARGET_TELL_LOST,	/* all of them have ended by SIGKILL */
	KRG_TARGET_END,
};

struct krg_target {
	u64 move, generation;
	u32 state, waits;
	u16 self;
	u8 news, alone, disowned, died;	/* alone, disowned: known before the read that is under way began */
	u8 pad[2];
};

void krg_target_init(struct krg_target *t, u64 move, u64 generation, u16 self);
enum krg_target_do krg_target_step(struct krg_target *t, enum krg_target_event event, u32 news, s32 error,
				   const struct krg_record *record);

/* ---- the home: a shadow ---- */

enum krg_away_event {
	KRG_AWAY_MOVED,		/* to @runner, in @generation; @code: is that one in the view? */
	KRG_AWAY_ENDED,		/* it has ended in @generation with @code */
	KRG_AWAY_LOST,		/* a node left the view; @code: is the runner that is known in it? */
	KRG_AWAY_OUT,		/* this node is out */
	KRG_AWAY_READ,		/* @error, @code as above; or who runs it, resolved, in @generation; @code: is that one in the
				   view, or with @runner 0 how it ended */
};

enum krg_away_do {
	KRG_AWAY_WAIT,
	KRG_AWAY_LOOK,		/* into the directory; after an error, in a while */
	KRG_AWAY_END,		/* the shadow, with .code */
};

struct krg_away {
	u64 generation;
	u32 code;		/* as wait(2) gives it */
	u16 runner;
	u8 looking, ended;	/* looking: 1, or 2: and once more after that */
};

void krg_away_init(struct krg_away *h, u64 generation, u16 runner);
enum krg_away_do krg_away_step(struct krg_away *h, enum krg_away_event event, u64 generation, u16 runner, u32 code, s32 error);

/* ---- the runner: what it tells the home ---- */

enum krg_guest_do {
	KRG_GUEST_REST,		/* until the process has ended */
	KRG_GUEST_WRITE,	/* its record: nobody, and how it ended */
	KRG_GUEST_TELL,		/* its home: it has ended */
	KRG_GUEST_PAUSE,
	KRG_GUEST_END,
};

struct krg_guest_news {
	u32 state;
};

void krg_guest_begin(struct krg_guest_news *g);
/** @wanted: the home is in the view, and so is this node. @ended: the process has. @error: of what was asked for last */
enum krg_guest_do krg_guest_step(struct krg_guest_news *g, int wanted, int ended, s32 error);

#ifdef __cplusplus
}
#endif

#endif
