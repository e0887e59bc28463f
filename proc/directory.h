/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pid directory: which node runs a process, for all nodes and whoever dies.
 * Who may write which record, and when: Documentation/decisions/0003-who-runs.md.
 */
#ifndef KRG_PROC_DIRECTORY_H
#define KRG_PROC_DIRECTORY_H

#include <linux/types.h>

#include "proc/core/handover.h"

/**
 * struct krg_directory_entry - a record, and whose it is
 * @pid: the process
 * @record: what stands there, or is to stand there
 */
struct krg_directory_entry {
	pid_t pid;
	struct krg_record record;
};

/**
 * krg_directory_read() - the record of @pid as it stands there
 *
 * Context: process context of a member, may sleep for as long as the container recovers from a crash.
 * Return: 0, or -errno: -ENOTCONN in no cluster, -EIO when what is written there is lost or this node was expelled.
 */
int krg_directory_read(pid_t pid, struct krg_record *record);

/**
 * krg_directory_where() - who runs @pid
 *
 * As krg_directory_read(), but with what the record of the process says that it moved with: @record->home and ->runner hold
 * as they are, home is never 0, and root is 0.
 */
int krg_directory_where(pid_t pid, struct krg_record *record);

/**
 * krg_directory_write() - says where processes run
 * @entry: @count of them
 *
 * Durable when it returns 0: as many nodes know it as the container has copies. After an error it is not known
 * which of them were written: read them.
 *
 * Context: as above.
 * Return: 0 or -errno.
 */
int krg_directory_write(const struct krg_directory_entry *entry, unsigned int count);

/** Gives the container back, before this node leaves. May sleep. Used again, it is opened again. */
void krg_directory_close(void);

#endif
