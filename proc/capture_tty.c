// SPDX-License-Identifier: GPL-2.0
/*
 * Pseudo terminals in the image: settings, session, foreground group, and what was
 * written into one end and not yet read from the other. Which are carried: tty.c.
 */
#include <linux/kernel.h>
#include <linux/pid.h>
#include <linux/string.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_flip.h>
#include <linux/tty_ldisc.h>

#include "capture.h"
#include "tty.h"

#define TERMIOS_BYTES	44	/* of the format: as TCGETS2 */

enum { TTY_LOCKED = 1, TTY_PACKETS = 2, TTY_ONE_USER = 4, TTY_STOPPED = 8 };
enum { TO_SLAVE, TO_MASTER };

/*
 * What a line discipline has read and nobody has asked for is its own. This is how its data begin in the kernels that we build
 * for, and it is believed when its numbers agree with each other.
 */
struct n_tty_begin {
	size_t read_head, commit_head, canon_head, echo_head, echo_commit, echo_mark;
	DECLARE_BITMAP(char_map, 256);
	unsigned long overrun_time;
	unsigned int num_overrun;
	bool no_room;
	unsigned char lnext:1, erasing:1, raw:1, real_raw:1, icanon:1;
	unsigned char push:1;
	char read_buf[N_TTY_BUF_SIZE];
	DECLARE_BITMAP(read_flags, N_TTY_BUF_SIZE);
	unsigned char echo_buf[N_TTY_BUF_SIZE];
	size_t read_tail, line_start;
};

static bool is_believed(const struct n_tty_begin *n, const struct tty_struct *tty)
{
	size_t count = n->read_head - n->read_tail;
	size_t ready = (n->icanon ? n->canon_head : n->commit_head) - n->read_tail;	/* the other one is not kept */

	return count <= N_TTY_BUF_SIZE && ready <= count && !!n->icanon == !!L_ICANON(tty) &&
	       n->echo_head - n->echo_commit <= N_TTY_BUF_SIZE;
}

/* With the lock of the port's buffer: nothing comes in; who would read is held. The number of bytes, in the capture's buffer. */
static int copy_read(struct krg_capture *c, struct tty_struct *tty)
{
	const struct n_tty_begin *n = tty->disc_data;
	size_t i, count;

	if (!n || !is_believed(n, tty))
		return -EOPNOTSUPP;
	count = n->read_head - n->read_tail;
	for (i = 0; i < count; i++)
		c->buffer[i] = n->read_buf[(n->read_tail + i) & (N_TTY_BUF_SIZE - 1)];
	return count;
}

/* What the line discipline had no room for, behind that. */
static int copy_coming(struct krg_capture *c, struct tty_port *port, int count)
{
	struct tty_buffer *at = port->buf.head;

	for (; at; at = smp_load_acquire(&at->next)) {
		unsigned int end = smp_load_acquire(&at->commit);
		unsigned int length = end > at->read ? end - at->read : 0;

		if (length > KRG_CAPTURE_BUFFER - count)
			return -ENOSPC;
		memcpy(c->buffer + count, char_buf_ptr(at, at->read), length);
		count += length;
	}
	return count;
}

static int copy_queue(struct krg_capture *c, struct tty_struct *tty)
{
	struct tty_ldisc *ldisc = tty_ldisc_ref(tty);
	int count;

	if (!ldisc)
		return -EIO;
	tty_buffer_lock_exclusive(tty->port);
	count = ldisc->ops->num == N_TTY ? copy_read(c, tty) : -EOPNOTSUPP;
	if (count >= 0)
		count = copy_coming(c, tty->port, count);
	tty_buffer_unlock_exclusive(tty->port);
	tty_ldisc_deref(ldisc);
	return count;
}

/* @tty: whose reader would have had them. */
static void put_queue(struct krg_capture *c, u64 id, struct tty_struct *tty, u32 queue)
{
	struct krg_ghost_piece piece = { .at = c->buffer };
	int count = copy_queue(c, tty);

	if (count < 0)
		krg_capture_fail(c, count, "terminal: what is in /dev/pts/%d cannot be told (%d)", tty->index, count);
	if (count <= 0)
		return;
	piece.length = count;
	krg_capture_begin(c, KRG_GHOST_TTY_DATA);
	krg_capture_put(c, KRG_GHOST_TTY_DATA_TTY, id);
	krg_capture_put(c, KRG_GHOST_TTY_DATA_QUEUE, queue);
	krg_capture_end_data(c, &piece, 1);
}

/* ---- the terminal ---- */

static void put_settings(struct krg_capture *c, struct tty_struct *slave)
{
	struct ktermios termios;
	struct winsize size;

	BUILD_BUG_ON(sizeof(termios) != TERMIOS_BYTES);
	down_read(&slave->termios_rwsem);
	termios = slave->termios;
	up_read(&slave->termios_rwsem);
	mutex_lock(&slave->winsize_mutex);
	size = slave->winsize;
	mutex_unlock(&slave->winsize_mutex);
	krg_capture_put_bytes(c, KRG_GHOST_TTY_TERMIOS, &termios, sizeof(termios));
	krg_capture_put(c, KRG_GHOST_TTY_ROWS, size.ws_row);
	krg_capture_put(c, KRG_GHOST_TTY_COLUMNS, size.ws_col);
	krg_capture_put(c, KRG_GHOST_TTY_WIDTH, size.ws_xpixel);
	krg_capture_put(c, KRG_GHOST_TTY_HEIGHT, size.ws_ypixel);
}

static u64 flags_of(const struct tty_struct *slave)
{
	return (test_bit(TTY_PTY_LOCK, &slave->flags) ? TTY_LOCKED : 0) | (slave->link->ctrl.packet ? TTY_PACKETS : 0) |
	       (test_bit(TTY_EXCLUSIVE, &slave->flags) ? TTY_ONE_USER : 0) | (slave->flow.stopped ? TTY_STOPPED : 0);
}

static void get_job(struct tty_struct *slave, struct pid **session, struct pid **group)
{
	unsigned long flags;

	spin_lock_irqsave(&slave->ctrl.lock, flags);
	*session = get_pid(slave->ctrl.session);
	*group = get_pid(slave->ctrl.pgrp);
	spin_unlock_irqrestore(&slave->ctrl.lock, flags);
}

static u64 capture_terminal(struct krg_capture *c, struct tty_struct *slave)
{
	u64 id = krg_capture_id(c, slave), session_id, group_id;
	struct pid *session, *group;

	if (id || c->error)
		return id;
	get_job(slave, &session, &group);
	session_id = session ? krg_capture_session(c, session) : 0;
	group_id = session && group ? krg_capture_group(c, group, session) : 0;
	put_pid(session);
	put_pid(group);
	id = krg_capture_begin(c, KRG_GHOST_TTY);
	krg_capture_put(c, KRG_GHOST_TTY_INDEX, slave->index);
	put_settings(c, slave);
	krg_capture_put(c, KRG_GHOST_TTY_SESSION, session_id);
	krg_capture_put(c, KRG_GHOST_TTY_FOREGROUND, group_id);
	krg_capture_put(c, KRG_GHOST_TTY_FLAGS, flags_of(slave));
	krg_capture_end(c);
	krg_capture_set_id(c, slave, id);
	put_queue(c, id, slave, TO_SLAVE);
	put_queue(c, id, slave->link, TO_MASTER);
	return id;
}

u64 krg_capture_tty(struct krg_capture *c, struct file *file)
{
	struct tty_struct *tty = ((struct tty_file_private *)file->private_data)->tty;
	bool master = tty->driver->subtype == PTY_TYPE_MASTER;
	u64 terminal = capture_terminal(c, master ? tty->link : tty), id;

	if (c->error)
		return 0;
	id = krg_capture_begin(c, KRG_GHOST_FILE_TTY);
	krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_TTY_TTY, terminal);
	krg_capture_put(c, KRG_GHOST_FILE_TTY_MASTER, master);
	krg_capture_end(c);
	return id;
}
