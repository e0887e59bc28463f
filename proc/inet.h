/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Internet sockets of other processes: which can be in an image, and who is
 * connected with whom.
 */
#ifndef KRG_PROC_INET_H
#define KRG_PROC_INET_H

#include <linux/types.h>
#include <linux/xarray.h>

struct file;
struct krg_check;
struct krg_frozen;
struct sk_buff;
struct sock;

/** krg_inet_peer() - the other end of a TCP connection, if it is among @sockets, whose keys are sockets; NULL: it is not */
struct sock *krg_inet_peer(struct xarray *sockets, struct sock *sk);
/** krg_inet_is_connection() - a TCP socket that is connected, or was until now */
bool krg_inet_is_connection(const struct sock *sk);
/** krg_inet_check() - refuses what an image cannot have of it; @sockets: of the whole set */
void krg_inet_check(struct krg_check *c, pid_t pid, unsigned int number, struct file *file, struct xarray *sockets);
/** krg_inet_is_local() - whether the sender of a datagram was on this machine */
bool krg_inet_is_local(const struct sk_buff *skb);
/** krg_inet_gather() - all internet sockets of @set become keys of @to; 0 or a negative errno */
int krg_inet_gather(struct xarray *to, struct krg_frozen *set);
/**
 * krg_inet_quiet() - connections inside of @set will end without a word, so that their ports are free at once
 *
 * For a set that was captured and is killed.
 */
void krg_inet_quiet(struct krg_frozen *set);

#endif
