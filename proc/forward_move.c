// SPDX-License-Identifier: GPL-2.0
/*
 * Forwarded files at both ends of a move: the source says which files stay behind
 * and makes a grant for each; the target turns a grant into an open file for the
 * process that is built. And the start and end of all forward_*.c.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fcntl.h>
#include <linux/net.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include <kerrighed/proc.h>

#include "forward.h"
#include "main.h"
#include "proc/core/ghost.h"
#include "restore.h"
#include "text.h"

static struct proc_dir_entry *forward_entry;

/* A grant that was made for this move, here or by the server of a file that is forwarded already. */
struct made {
	struct list_head node;
	struct krg_forwarded at;
};

/* ---- which ---- */

void krg_forwarding_init(struct krg_forwarding *f, u16 node)
{
	f->to = node ? krg_forward_node_of(node) : (struct krg_forward_node){};
	xa_init(&f->chosen);
	xa_init(&f->looked);
	INIT_LIST_HEAD(&f->made);
}

void krg_forwarding_restart(struct krg_forwarding *f)
{
	xa_destroy(&f->chosen);
}

void krg_forwarding_exit(struct krg_forwarding *f)
{
	u16 self = krg_forward_node_of(0).id;
	struct made *made, *next;

	list_for_each_entry_safe(made, next, &f->made, node) {
		if (made->at.server.id == self)
			krg_forward_drop(made->at.handle);
		else
			krg_forward_tell(&made->at.server, made->at.handle, KRG_FORWARD_OP_DROP);
		kfree(made);
	}
	xa_destroy(&f->chosen);
	krg_forwarding_forget(f);
}

static const char *socket_why_not(struct file *file)
{
	struct socket *sock = sock_from_file(file);

	if (sock->type == SOCK_DGRAM || READ_ONCE(sock->sk->sk_state) == TCP_ESTABLISHED)
		return NULL;
	return "a unix socket that is not connected";
}

const char *krg_forwarding_why_not(struct file *file, enum krg_file_kind kind)
{
	if (file->f_flags & FASYNC)
		return "a file that sends signals (O_ASYNC)";
	switch (kind) {
	case KRG_FILE_PIPE:
	case KRG_FILE_FIFO:
	case KRG_FILE_FORWARDED:
		return NULL;
	case KRG_FILE_TTY:
		return krg_forward_tty_is_master(file) ? "the master's end of a terminal" : NULL;
	case KRG_FILE_UNIX:
		return socket_why_not(file);
	case KRG_FILE_REGULAR:
		return file->f_flags & O_DIRECT ? "a file of this node only, opened with O_DIRECT" : NULL;
	default:
		return krg_file_kind_name(kind);
	}
}

/* All ends of a pipe stay, or none: it has one ring. */
static unsigned long key_of(struct file *file)
{
	enum krg_file_kind kind = krg_file_kind(file);

	return (unsigned long)(kind == KRG_FILE_PIPE || kind == KRG_FILE_FIFO ? file->private_data : file);
}

int krg_forwarding_choose(struct krg_forwarding *f, struct file *file)
{
	return f ? xa_err(xa_store(&f->chosen, key_of(file), xa_mk_value(1), GFP_KERNEL_ACCOUNT)) : 0;
}

bool krg_forwarding_has(struct krg_forwarding *f, struct file *file)
{
	return f && (krg_forward_of(file) || xa_load(&f->chosen, key_of(file)));
}

/* ---- grants ---- */

static enum krg_forward_kind kind_of(struct file *file)
{
	switch (krg_file_kind(file)) {
	case KRG_FILE_PIPE:
	case KRG_FILE_FIFO:
		return KRG_FORWARD_PIPE;
	case KRG_FILE_TTY:
		return KRG_FORWARD_TTY;
	case KRG_FILE_UNIX:
		return KRG_FORWARD_UNIX;
	case KRG_FILE_REGULAR:
		return KRG_FORWARD_REGULAR;
	default:
		return KRG_FORWARD_OTHER;
	}
}

static int grant(struct krg_forwarding *f, struct file *file, struct krg_forwarded *to)
{
	struct krg_forward_node self = krg_forward_node_of(0);
	struct krg_forward_client *c = krg_forward_of(file);
	int err;

	if (!f->to.id || !self.id)
		return -ENOTCONN;
	if (c) {
		*to = c->at;
		return krg_forward_again(c, &f->to, &to->handle);
	}
	to->server = self;
	to->kind = kind_of(file);
	to->handle = krg_forward_serve(file, to->kind, &f->to, &self, &err);
	return err;
}

int krg_forwarding_grant(struct krg_forwarding *f, struct file *file, struct krg_forwarded *to, struct krg_text *text)
{
	struct made *made = kzalloc(sizeof(*made), GFP_KERNEL);
	int err = made ? grant(f, file, to) : -ENOMEM;

	if (err) {
		kfree(made);
		krg_text_add(text, "forward: %s cannot be served: error %d", krg_file_kind_name(krg_file_kind(file)), err);
		return err;
	}
	made->at = *to;
	list_add(&made->node, &f->made);
	return 0;
}

/* ---- the target ---- */

static struct krg_r_forwarded *find(struct krg_restore *s, u64 id)
{
	struct krg_r_object *object;

	/* In the table a mapping's slot may have its id. */
	list_for_each_entry(object, &s->all, link)
		if (object->id == id && object->type == KRG_GHOST_FILE_FORWARDED)
			return container_of(object, struct krg_r_forwarded, object);
	return NULL;
}

static struct file *open_forwarded(const struct krg_r_forwarded *r)
{
	struct file *file;

	if (r->at.server.id != krg_forward_node_of(0).id)
		return krg_forward_file(&r->at, r->flags, r->path);
	file = krg_forward_take(r->at.handle);	/* it has come back to where the file is */
	return file ?: ERR_PTR(-ENOENT);
}

long krg_forward_ioctl(struct krg_restore *s, bool incoming, struct krg_proc_restore_forwarded __user *at)
{
	struct krg_proc_restore_forwarded arg;
	struct krg_r_forwarded *r;
	struct file *file;
	int fd;

	/* Only what another node has sent to this module: anybody can write a handle into a file. */
	if (!incoming)
		return -EPERM;
	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	r = arg.pad ? NULL : find(s, arg.object);
	if (!r)
		return -EINVAL;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = open_forwarded(r);
	if (!IS_ERR(file) && put_user(fd, &at->fd)) {
		fput(file);
		file = ERR_PTR(-EFAULT);
	}
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return 0;
}

/* ---- all of it ---- */

void krg_forward_view(const struct krg_view *view)
{
	krg_forward_serve_view(view);
	krg_forward_client_view(view);
}

static int forward_show(struct seq_file *m, void *v)
{
	krg_forward_serve_show(m);
	krg_forward_client_show(m);
	return 0;
}

int krg_forward_init(void)
{
	int err = krg_forward_client_init();

	if (err)
		return err;
	err = krg_forward_serve_init();
	if (err) {
		krg_forward_client_exit();
		return err;
	}
	forward_entry = krg_proc_add("forwarded", forward_show);
	if (forward_entry)
		return 0;
	krg_forward_serve_exit();
	krg_forward_client_exit();
	return -ENOMEM;
}

void krg_forward_exit(void)
{
	krg_proc_remove(forward_entry);
	krg_forward_serve_exit();
	krg_forward_client_exit();
}
