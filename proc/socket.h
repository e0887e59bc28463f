/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sockets of other processes: what is queued in them, and the names of their ends;
 * the same answers for the check and for the capture.
 */
#ifndef KRG_PROC_SOCKET_H
#define KRG_PROC_SOCKET_H

#include <linux/fs.h>
#include <linux/types.h>

struct krg_check;
struct krg_tally;
struct sk_buff;
struct sock;

/**
 * struct krg_queued - what a unix socket has not yet read, or whom a listening one has not yet accepted
 * @skb: with a reference
 * @newcomer: listening: the end that is to be accepted, with a reference
 * @files: that travel with it, with references
 */
struct krg_queued {
	struct sk_buff *skb;
	struct sock *newcomer;
	struct file **files;
	unsigned int file_count;
};

struct krg_queue {
	struct krg_queued *at;
	unsigned int count;
};

/** krg_unix_queue_get() - all that is in the queue of @sk, in its order; 0 or -ENOMEM; krg_queue_put() must follow. May sleep */
int krg_unix_queue_get(struct krg_queue *queue, struct sock *sk);
void krg_queue_put(struct krg_queue *queue);

/** krg_unix_length() - bytes of it that were not yet read */
size_t krg_unix_length(const struct sk_buff *skb);

/** krg_sock_of() - the socket behind a file of kind UNIX or INET */
struct sock *krg_sock_of(struct file *file);

/** krg_unix_peer() - who a unix socket is connected with: no reference, to be compared only; NULL: nobody, or it is closed */
struct sock *krg_unix_peer(struct sock *sk);

/** krg_unix_tally() - counts what belongs to a unix socket that is seen for the first time; 0 or -ENOMEM */
int krg_unix_tally(struct krg_tally *tally, struct file *file);
/** krg_unix_check() - refuses what an image cannot have of it */
void krg_unix_check(struct krg_check *c, pid_t pid, unsigned int number, struct file *file, struct krg_tally *tally);

#endif
