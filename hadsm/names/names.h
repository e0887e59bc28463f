/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The name space engine's only face to C: directories, inodes, extended
 * attributes, orphans, as records in the pages of containers. What the kernel
 * edge (hadsm/tx.c), the model test and the fuzzer include. No I/O, no clock,
 * no lock, no memory of its own: an operation reads and changes pages that the
 * caller lends it. The format of the pages is in Documentation/hadsm-names.md.
 *
 * One operation is one transaction. It asks for every page it needs, with the
 * access it needs, before it changes the first byte; when one is not here it
 * returns -EAGAIN having changed nothing, the caller fetches the page and calls
 * again from the beginning. The caller keeps every page that was lent, locked,
 * until the operation has returned: so no batch of the coherence engine can
 * have a part of an operation, and no other node can see one.
 *
 * All functions return 0 or more when done, or a negative errno:
 *	-EAGAIN		a page is missing (whatever the page function returned is returned)
 *	-EUCLEAN	a record is not what it must be; nothing was changed
 *	-ESTALE		the inode is gone
 * and those that are said below. Names are 1..255 bytes without '/' and NUL;
 * others get -EINVAL, longer ones -ENAMETOOLONG; "." and ".." are the caller's.
 */
#ifndef KRG_HADSM_NAMES_NAMES_H
#define KRG_HADSM_NAMES_NAMES_H

#include <kerrighed/ctypes.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KRG_NAMES_PAGE		4096
#define KRG_NAMES_NAME_MAX	255
#define KRG_NAMES_TARGET_MAX	3840	/* bytes of a symbolic link's target; xattrs share the room */
#define KRG_NAMES_NODES		128	/* node ids 1..127 can use inodes */
/*
 * Where in an inode's page its size is: eight bytes, aligned to 8, little endian, always written by one store. It may be
 * read without a lock: what is read was the size at some moment.
 */
#define KRG_NAMES_SIZE_OFFSET	16

/* Containers of records. Every other container is a file's or directory's own: its inode number, which is >= 2^32. */
#define KRG_NAMES_INODES	1ULL	/* one page an inode, at its slot: the low 32 bits of its number */
#define KRG_NAMES_GROUPS	2ULL	/* generations of slots, 1,000 a page; pages of node n: n, n + 128, n + 256... */
#define KRG_NAMES_ORPHANS	3ULL	/* inodes without a name, by the node that took the last; pages as above */
#define KRG_NAMES_LOCKS		4ULL	/* file locks, one page an inode with locks (locks.h) */

#define KRG_NAMES_ROOT		(1ULL << 32)	/* generation 1, slot 0: slot 0 belongs to no group */

enum krg_names_mode {
	KRG_NAMES_READ = 1,	/* as enum krg_dsm_mode */
	KRG_NAMES_WRITE = 2,
};

struct krg_names_time {
	s64 sec;
	u32 nsec;
	u32 pad;
};

/* What the caller lends to one operation. */
struct krg_names_io {
	/*
	 * The 4096 bytes of page @index of @container, aligned to 8, for reading, or for
	 * writing too. The same page may be asked for again, also for more access; the
	 * address stays. 0, or a negative errno that ends the operation.
	 */
	int (*page)(void *context, u64 container, u64 index, u32 mode, u8 **bytes);
	void *context;
	u32 self;		/* this node's id, 1..127 */
	u32 pad;
	struct krg_names_time now;
};

struct krg_names_attr {
	u64 ino;
	u64 size;		/* of a directory: KRG_NAMES_PAGE; of a symbolic link: bytes of its target */
	u64 parent;		/* of a directory: the one it is in; of the root: itself */
	u64 entries;		/* of a directory: names in it, without . and .. */
	u32 mode;		/* type and permissions, as in stat(2) */
	u32 uid, gid;
	u32 nlink;
	u32 rdev_major, rdev_minor;
	u32 replicas;		/* of the file's data: 1..4; a directory: what new files in it get */
	u32 change;		/* counts changes of this record */
	struct krg_names_time atime, mtime, ctime, btime;
};

/* What krg_names_setattr() sets. */
enum krg_names_set {
	KRG_NAMES_SET_MODE = 1,		/* permission bits only */
	KRG_NAMES_SET_UID = 2,
	KRG_NAMES_SET_GID = 4,
	KRG_NAMES_SET_SIZE = 8,		/* regular files; what append() promised is forgotten */
	KRG_NAMES_SET_GROW = 16,	/* size becomes the larger of the two; never with SIZE */
	KRG_NAMES_SET_ATIME = 32,
	KRG_NAMES_SET_MTIME = 64,
	KRG_NAMES_SET_CTIME = 128,
	KRG_NAMES_SET_REPLICAS = 256,	/* -EBUSY: a file that is not empty, or was ever */
};

/* One name of a directory. */
struct krg_names_entry {
	u64 ino;
	u64 next;		/* the cookie behind it */
	u8 type;		/* DT_* as in readdir(3) */
	u8 len;
	char name[KRG_NAMES_NAME_MAX + 1];	/* not terminated */
};

/* ---- inodes ---- */

/** Makes the root, if there is none: a directory with these attributes (mode, uid, gid, replicas). 0 in both cases. */
int krg_names_init_root(const struct krg_names_io *io, const struct krg_names_attr *attr);
int krg_names_getattr(const struct krg_names_io *io, u64 ino, struct krg_names_attr *attr);
/** Sets what @mask says (enum krg_names_set); mtime and ctime change only if asked for. *@attr is all attributes afterwards. */
int krg_names_setattr(const struct krg_names_io *io, u64 ino, u32 mask, struct krg_names_attr *attr);
/**
 * Promises @len bytes behind all that is in the file or was promised: *@offset. The size stays; who was promised writes,
 * then says SET_GROW. A promise that is never kept leaves a hole. -EFBIG: beyond 2^62.
 */
int krg_names_append(const struct krg_names_io *io, u64 ino, u64 len, u64 *offset);
/**
 * Of what append() promised up to @end, nothing from @from on will be written. 1: what is behind it was promised to others,
 * so it stays as a hole.
 */
int krg_names_unpromise(const struct krg_names_io *io, u64 ino, u64 from, u64 end);

/* ---- names ---- */

/** *@ino and *@type (DT_*) of @name. -ENOENT, -ENOTDIR. */
int krg_names_lookup(const struct krg_names_io *io, u64 dir, const char *name, u32 len, u64 *ino, u8 *type);
/**
 * A new inode with a name: mode (type and permissions), uid, gid, rdev, replicas of *@attr, times of io->now; a symbolic
 * link has @target, others none. *@attr is all attributes afterwards. -EEXIST, -ENOSPC, -ENOENT (the directory was removed).
 */
int krg_names_create(const struct krg_names_io *io, u64 dir, const char *name, u32 len, struct krg_names_attr *attr,
		     const char *target, u32 target_len);
/** An inode without a name (O_TMPFILE), in the list of orphans of this node, used by it. *@attr as above. */
int krg_names_tmpfile(const struct krg_names_io *io, struct krg_names_attr *attr);
/** One more name; also for a tmpfile, which leaves the list. -EPERM: a directory, -EEXIST, -EMLINK, -ENOENT. */
int krg_names_link(const struct krg_names_io *io, u64 ino, u64 dir, const char *name, u32 len);
/** *@ino is what had the name. Without any name left it is an orphan of this node from now on. -EISDIR. */
int krg_names_unlink(const struct krg_names_io *io, u64 dir, const char *name, u32 len, u64 *ino);
/** As unlink. -ENOTDIR, -ENOTEMPTY. */
int krg_names_rmdir(const struct krg_names_io *io, u64 dir, const char *name, u32 len, u64 *ino);

enum krg_names_rename {
	KRG_NAMES_NOREPLACE = 1,	/* -EEXIST */
	KRG_NAMES_EXCHANGE = 2,		/* both names must exist */
};

/**
 * Moves a name, as rename(2): replaces a file by a file, an empty directory by a directory. *@replaced: whose name was
 * replaced, 0: none. Two names of the same file: nothing happens. -EINVAL: a directory into itself; -ENOTEMPTY, -EISDIR,
 * -ENOTDIR, -ENOENT, -EEXIST.
 */
int krg_names_rename(const struct krg_names_io *io, u64 old_dir, const char *old_name, u32 old_len, u64 new_dir,
		     const char *new_name, u32 new_len, u32 flags, u64 *replaced);
/**
 * Names from *@cookie (0: the first) on, up to @room of them, as many as one page of the directory has: how many, 0: end.
 * *@cookie is where to go on. A name that is there from the first call to the last comes exactly once, whatever else
 * comes and goes meanwhile; cookies fit into 62 bits.
 */
int krg_names_readdir(const struct krg_names_io *io, u64 dir, u64 *cookie, struct krg_names_entry *entry, u32 room);
/** The target of a symbolic link: its length, at most @room bytes are stored. -EINVAL: it is none. */
int krg_names_readlink(const struct krg_names_io *io, u64 ino, char *target, u32 room);

/* ---- extended attributes: all of an inode in its page ---- */

enum krg_names_xattr {
	KRG_NAMES_XATTR_CREATE = 1,	/* -EEXIST, as setxattr(2) */
	KRG_NAMES_XATTR_REPLACE = 2,	/* -ENODATA */
};

/** Length of the value; stored when it fits into @room; @room 0: only the length. -ENODATA, -ERANGE. */
int krg_names_getxattr(const struct krg_names_io *io, u64 ino, const char *name, u32 len, void *value, u32 room);
/** @value NULL: remove (-ENODATA). -ENOSPC: no room in the page. ctime becomes io->now. */
int krg_names_setxattr(const struct krg_names_io *io, u64 ino, const char *name, u32 len, const void *value, u32 size,
		       u32 flags);
/** Names, each ended by NUL: bytes in all; stored when they fit; @room 0: only how many. -ERANGE. */
int krg_names_listxattr(const struct krg_names_io *io, u64 ino, char *list, u32 room);

/* ---- who uses an inode, and the end of those without a name ---- */

/** io->self uses @ino (@on 1), or no longer (0). Writes only when that is new. -ESTALE: it has no name and nobody uses it. */
int krg_names_use(const struct krg_names_io *io, u64 ino, u32 on);
/** Who uses @ino: bit n % 64 of users[n / 64] for node n. */
int krg_names_users(const struct krg_names_io *io, u64 ino, u64 users[2]);
/**
 * Place @at (0, 1, ...) of the orphans of @node: 1 and *@ino (0: the place is empty), or 0 past the last place.
 */
int krg_names_orphan(const struct krg_names_io *io, u32 node, u32 at, u64 *ino);
/** 1: no node of @live (bit n % 64 of live[n / 64]) uses the orphan @ino, 0: one does. *@attr as it is. -EINVAL: it has names. */
int krg_names_unused(const struct krg_names_io *io, u64 ino, const u64 live[2], struct krg_names_attr *attr);
/**
 * The end of an orphan of @node's list, whose own container was emptied: record, slot and place are free. 0 also when
 * it is done already.
 */
int krg_names_free(const struct krg_names_io *io, u32 node, u64 ino);
/** *@inodes: slots in use of the groups of @node. */
int krg_names_count(const struct krg_names_io *io, u32 node, u64 *inodes);

/* ---- for tests, and for krgadm ---- */

/** Is the page of a kind of record (a container's number; any other: a directory page) well formed? 1, 0: no; zeros are. */
int krg_names_valid(u64 container, u64 index, const u8 *bytes);

#ifdef __cplusplus
}
#endif
#endif
