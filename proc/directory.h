/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pid directory: which node runs a process, for all nodes and whoever dies.
 * Who may write which record, and when: Documentation/decisions/0003-who-runs.md.
 */
#ifndef KRG_PROC_DIRECTORY_H
#define KRG_PROC_DIRECTORY_H

#include <linux/types.h>

/**
 * struct krg_whereabouts - a record of the directory
 * @home: node where the process was born, or that took that over; 0: there is no record, its birth node runs it
 * @runner: node that runs it; 0: nobody, it has ended
 * @generation: grows with each move
 */
struct krg_whereabouts {
	u16 home, runner;
	u64 generation;
};

/**
 * krg_directory_read() - where @pid runs
 *
 * Context: process context of a member, may sleep for as long as the container recovers from a crash.
 * Return: 0, or -errno: -ENOTCONN in no cluster, -EIO when what is written there is lost or this node was expelled.
 */
int krg_directory_read(pid_t pid, struct krg_whereabouts *at);

/**
 * krg_directory_write() - says where @pid runs
 *
 * Durable when it returns 0: as many nodes know it as the container has copies. After an error it is not known
 * whether it was written: read it.
 *
 * Context: as above.
 * Return: 0 or -errno.
 */
int krg_directory_write(pid_t pid, const struct krg_whereabouts *at);

/** Gives the container back, before this node leaves. May sleep. Used again, it is opened again. */
void krg_directory_close(void);

#endif
