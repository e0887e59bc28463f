/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What an open file is, and what it says about itself: the same answers for the
 * check and for the capture.
 */
#ifndef KRG_PROC_FILE_H
#define KRG_PROC_FILE_H

#include <linux/fs.h>

struct files_struct;
struct pipe_inode_info;
struct task_struct;

enum krg_file_kind {
	KRG_FILE_REGULAR, KRG_FILE_DIRECTORY, KRG_FILE_DEVICE, KRG_FILE_PIPE, KRG_FILE_FIFO, KRG_FILE_EVENTFD, KRG_FILE_EPOLL,
	KRG_FILE_TIMERFD, KRG_FILE_SIGNALFD, KRG_FILE_INOTIFY, KRG_FILE_MEMFD, KRG_FILE_UNIX, KRG_FILE_INET,
	KRG_FILE_CARRIED,	/* those above can be in an image; terminals, if all of one is (tty.h) */
	KRG_FILE_SHARED_MEMORY = KRG_FILE_CARRIED, KRG_FILE_SYSV, KRG_FILE_TTY,
	KRG_FILE_SOCKET, KRG_FILE_BLOCK, KRG_FILE_CHAR, KRG_FILE_IO_URING, KRG_FILE_PATH, KRG_FILE_HUGE, KRG_FILE_OTHER,
	KRG_FILE_FORWARDED,
};

enum krg_file_kind krg_file_kind(struct file *file);
/** krg_file_kind_name() - for people */
const char *krg_file_kind_name(enum krg_file_kind kind);

/** krg_file_info() - the lines of fdinfo that are its kind's own, in @to; 0, or -ENOSPC: @room is too small */
int krg_file_info(struct file *file, char *to, size_t room);

/** krg_eventfd_semaphore() - whether it is one; @info: what krg_file_info() gave. -EOPNOTSUPP: it cannot be told */
int krg_eventfd_semaphore(struct file *file, const char *info);

/**
 * struct krg_descriptor - a descriptor
 * @file: with a reference
 */
struct krg_descriptor {
	unsigned int number;
	bool close_on_exec;
	struct file *file;
};

struct krg_descriptors {
	struct files_struct *of;	/* a name only: without a reference */
	struct krg_descriptor *at;
	unsigned int count, room;
};

/** krg_descriptors_get() - all of @task's table, ascending; 0, or a negative errno; krg_descriptors_put() must follow */
int krg_descriptors_get(struct krg_descriptors *list, struct task_struct *task);
void krg_descriptors_put(struct krg_descriptors *list);

/**
 * struct krg_watch - what an epoll set watches
 * @file: without a reference: the list of descriptors has it. NULL: its descriptor is another file's now
 */
struct krg_watch {
	int number;
	u32 events;
	u64 value;
	struct file *file;
};

/**
 * krg_watch_next() - the next line of an epoll set's krg_file_info()
 * @line: moved on; NULL at the end
 * @list: where its descriptors are looked for
 */
bool krg_watch_next(char **line, const struct krg_descriptors *list, struct krg_watch *to);

#endif
