// SPDX-License-Identifier: GPL-2.0
/*
 * Inotify instances: the kernel knows which inodes they watch, restart needs names.
 * A name is one that the caller can use: below a mount of his.
 */
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsnotify_backend.h>
#include <linux/kdev_t.h>
#include <linux/kernel.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string_helpers.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "check_private.h"
#include "file.h"
#include "forward.h"
#include "inotify.h"
#include "park.h"

#define INFO_ROOM	(256 * 1024)	/* bytes of fdinfo: some 2,000 watches */
#define MOUNTS_ROOM	(256 * 1024)	/* bytes of mountinfo */

/**
 * struct watch - what an instance watches
 * @number: of the watch
 * @events: IN_*
 * @inode: a reference
 * @name: a name that leads to it, in memory of its own; NULL: there is none
 */
struct watch {
	unsigned int number, events;
	struct inode *inode;
	char *name;
};

struct watches {
	struct watch *at;
	unsigned int count, room;
	bool unread;
};

/* ---- names ---- */

static char *mounts_read(void)
{
	struct file *file = filp_open("/proc/self/mountinfo", O_RDONLY, 0);
	char *text = kvmalloc(MOUNTS_ROOM, GFP_KERNEL_ACCOUNT);
	ssize_t n = 1;
	size_t length = 0;
	loff_t at = 0;

	while (text && !IS_ERR(file) && n > 0 && length < MOUNTS_ROOM - 1) {
		n = kernel_read(file, text + length, MOUNTS_ROOM - 1 - length, &at);
		length += max_t(ssize_t, n, 0);
	}
	if (!IS_ERR(file))
		filp_close(file, NULL);
	if (text && (IS_ERR(file) || n < 0)) {
		kvfree(text);
		text = NULL;
	}
	if (text)
		text[length] = 0;
	return text;
}

/* Where a line's mount of the device is; false: it has another device. @line is changed. */
static bool mount_point(char *line, dev_t device, char **point)
{
	unsigned int major, minor;
	int field;

	if (sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2 || MKDEV(major, minor) != device)
		return false;
	for (field = 0; field < 4; field++)
		strsep(&line, " ");
	*point = strsep(&line, " ");
	return *point && string_unescape_inplace(*point, UNESCAPE_OCTAL) > 0;
}

/* The name that @dentry has below the mount at @point, if it leads to the inode. In memory of its own. */
static char *name_below(const char *point, struct dentry *dentry, const struct inode *inode)
{
	char *page, *name = NULL;
	struct path mounted, found, whole;

	if (kern_path(point, 0, &mounted))
		return NULL;
	page = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	whole = (struct path){ .mnt = mounted.mnt, .dentry = dentry };
	if (page && mounted.mnt->mnt_sb == dentry->d_sb)
		name = d_path(&whole, page, PAGE_SIZE);
	if (!IS_ERR_OR_NULL(name) && !kern_path(name, 0, &found)) {
		name = d_inode(found.dentry) == inode ? kstrdup(name, GFP_KERNEL_ACCOUNT) : NULL;
		path_put(&found);
	} else {
		name = NULL;
	}
	kfree(page);
	path_put(&mounted);
	return name;
}

static char *name_of(struct inode *inode, const char *mounts)
{
	struct dentry *dentry = d_find_any_alias(inode);
	char *copy = kvmalloc(strlen(mounts) + 1, GFP_KERNEL_ACCOUNT), *rest = copy, *line, *point, *name = NULL;

	if (copy && dentry) {
		strcpy(copy, mounts);
		while (!name && (line = strsep(&rest, "\n")))
			if (mount_point(line, inode->i_sb->s_dev, &point))
				name = name_below(point, dentry, inode);
	}
	kvfree(copy);
	dput(dentry);
	return name;
}

/* ---- watches ---- */

static void watches_put(struct watches *w)
{
	unsigned int i;

	for (i = 0; i < w->count; i++) {
		iput(w->at[i].inode);
		kfree(w->at[i].name);
	}
	kvfree(w->at);
}

static struct inode *inode_of(struct fsnotify_mark *mark)
{
	struct fsnotify_mark_connector *connector = mark->connector;

	if (!(mark->flags & FSNOTIFY_MARK_FLAG_ATTACHED) || !connector || connector->type != FSNOTIFY_OBJ_TYPE_INODE)
		return NULL;
	return igrab(krg_mark_inode(connector));
}

/* The order is that of fdinfo. */
static int inodes_get(struct watches *w, struct fsnotify_group *group)
{
	struct fsnotify_mark *mark;
	int err = 0;

	fsnotify_group_lock(group);
	list_for_each_entry(mark, &group->marks_list, g_list)
		w->room++;
	w->at = kvcalloc(w->room + 1, sizeof(*w->at), GFP_KERNEL_ACCOUNT);
	if (!w->at)
		err = -ENOMEM;
	list_for_each_entry(mark, &group->marks_list, g_list) {
		struct inode *inode = err ? NULL : inode_of(mark);

		if (inode)
			w->at[w->count++].inode = inode;
	}
	fsnotify_group_unlock(group);
	spin_lock(&group->notification_lock);
	w->unread = group->q_len;
	spin_unlock(&group->notification_lock);
	return err;
}

/* Numbers and events are in fdinfo. */
static int numbers_get(struct watches *w, struct file *file)
{
	char *text = kvmalloc(INFO_ROOM, GFP_KERNEL_ACCOUNT), *at;
	unsigned int number, device, events, i = 0;
	unsigned long inode;
	int err;

	if (!text)
		return -ENOMEM;
	err = krg_file_info(file, text, INFO_ROOM);
	for (at = text; !err && (at = strstr(at, "inotify wd:")); at++) {
		if (sscanf(at, "inotify wd:%x ino:%lx sdev:%x mask:%x", &number, &inode, &device, &events) != 4 || i == w->count ||
		    inode != w->at[i].inode->i_ino || device != w->at[i].inode->i_sb->s_dev) {
			err = -EAGAIN;
			break;
		}
		w->at[i].number = number;
		w->at[i++].events = events;
	}
	kvfree(text);
	return err ?: i == w->count ? 0 : -EAGAIN;
}

static int by_number(const void *one, const void *other)
{
	const struct watch *a = one, *b = other;

	return a->number < b->number ? -1 : a->number > b->number;
}

/* In the order of their numbers. watches_put() must follow, whatever it returns. */
static int watches_get(struct watches *w, struct file *file)
{
	char *mounts = mounts_read();
	unsigned int i;
	int err = mounts ? 0 : -EIO;

	memset(w, 0, sizeof(*w));
	err = err ?: inodes_get(w, file->private_data);
	err = err ?: numbers_get(w, file);
	for (i = 0; !err && i < w->count; i++)
		w->at[i].name = name_of(w->at[i].inode, mounts);
	kvfree(mounts);
	sort(w->at, err ? 0 : w->count, sizeof(*w->at), by_number, NULL);
	return err;
}

/* ---- the two who ask ---- */

void krg_inotify_check(struct krg_check *c, pid_t pid, unsigned int number, struct file *file)
{
	struct watches w;
	unsigned int i;
	int err = watches_get(&w, file);

	if (err && c->frozen)
		krg_check_refuse(c, "inotify: what descriptor %u of process %d watches cannot be told (%d)", number, pid, err);
	if (!err && w.unread && c->frozen)
		krg_check_refuse(c, "inotify: descriptor %u of process %d has events that were not read", number, pid);
	for (i = 0; !err && i < w.count; i++) {
		if (!w.at[i].name)
			krg_check_refuse(c, "inotify: descriptor %u of process %d watches, as number %u, what has no name any more",
					 number, pid, w.at[i].number);
		else if (c->set->forward && krg_forwarding_is_own(w.at[i].inode))
			krg_check_refuse(c, "inotify: descriptor %u of process %d watches %s, which is this node's own", number, pid,
					 w.at[i].name);
	}
	watches_put(&w);
}

u64 krg_capture_inotify(struct krg_capture *c, struct file *file)
{
	struct watches w;
	unsigned int i;
	u64 id = 0;
	int err = watches_get(&w, file);

	if (err) {
		krg_capture_fail(c, err, "inotify: what an instance watches cannot be told (%d)", err);
		goto put;
	}
	id = krg_capture_begin(c, KRG_GHOST_FILE_INOTIFY);
	krg_capture_owner(c, file);
	krg_capture_end(c);
	for (i = 0; i < w.count; i++) {
		if (!w.at[i].name) {
			krg_capture_fail(c, -EOPNOTSUPP, "inotify: what it watches as number %u has no name any more", w.at[i].number);
			break;
		}
		krg_capture_begin(c, KRG_GHOST_INOTIFY_WATCH);
		krg_capture_put(c, KRG_GHOST_INOTIFY_WATCH_INOTIFY, id);
		krg_capture_put(c, KRG_GHOST_INOTIFY_WATCH_NUMBER, w.at[i].number);
		krg_capture_put_text(c, KRG_GHOST_INOTIFY_WATCH_PATH, w.at[i].name);
		krg_capture_put(c, KRG_GHOST_INOTIFY_WATCH_EVENTS, w.at[i].events);
		krg_capture_end(c);
	}
put:
	watches_put(&w);
	return id;
}
