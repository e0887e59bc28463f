// SPDX-License-Identifier: GPL-2.0
/*
 * SysV objects in the image: segments with what is in them, semaphores with their
 * values and what processes would undo, queues with their messages. Which objects,
 * is said in sysv.c.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "park.h"
#include "sysv.h"
#include "vma.h"

#define SHM_MARKED_REMOVED	01000	/* bits of a segment's mode that are none of its permissions */
#define SHM_MARKED_LOCKED	02000

/* What all three kinds have; copied under the object's lock. */
struct head {
	int id;
	key_t key;
	kuid_t uid, creator_uid;
	kgid_t gid, creator_gid;
	umode_t mode;
};

static struct head head_of(const struct kern_ipc_perm *perm)
{
	return (struct head) {
		.id = perm->id, .key = perm->key, .uid = perm->uid, .gid = perm->gid, .creator_uid = perm->cuid,
		.creator_gid = perm->cgid, .mode = perm->mode,
	};
}

/* Fields follow each other in the same order in all three records. */
static void put_head(struct krg_capture *c, u16 first, const struct head *head)
{
	struct user_namespace *ns = current_user_ns();

	BUILD_BUG_ON(KRG_GHOST_SYSV_SHM_CREATOR_GID - KRG_GHOST_SYSV_SHM_ID != 6 ||
		     KRG_GHOST_SYSV_SEM_CREATOR_GID - KRG_GHOST_SYSV_SEM_ID != 6 ||
		     KRG_GHOST_SYSV_QUEUE_CREATOR_GID - KRG_GHOST_SYSV_QUEUE_ID != 6);
	krg_capture_put(c, first, head->id);
	krg_capture_put(c, first + 1, (u32)head->key);
	krg_capture_put(c, first + 2, head->mode & 0777);
	krg_capture_put(c, first + 3, from_kuid_munged(ns, head->uid));
	krg_capture_put(c, first + 4, from_kgid_munged(ns, head->gid));
	krg_capture_put(c, first + 5, from_kuid_munged(ns, head->creator_uid));
	krg_capture_put(c, first + 6, from_kgid_munged(ns, head->creator_gid));
}

/* ---- shared memory ---- */

static u64 put_segment(struct krg_capture *c, const struct head *head, struct file *file)
{
	u64 known = krg_capture_id(c, file_inode(file)), memory = krg_capture_memory(c, file, KRG_MEMORY_SYSV);

	if (known || c->error)
		return memory;
	krg_capture_begin(c, KRG_GHOST_SYSV_SHM);
	krg_capture_put(c, KRG_GHOST_SYSV_SHM_MEMORY, memory);
	put_head(c, KRG_GHOST_SYSV_SHM_ID, head);
	krg_capture_put(c, KRG_GHOST_SYSV_SHM_FLAGS, (head->mode & SHM_MARKED_REMOVED ? 1 : 0) |
						     (head->mode & SHM_MARKED_LOCKED ? 2 : 0));
	krg_capture_end(c);
	return memory;
}

u64 krg_capture_segment(struct krg_capture *c, struct file *mapped)
{
	struct ipc_ids *ids = krg_sysv_ids(KRG_SYSV_SHM);
	struct file *file = NULL;
	struct krg_shm *shm;
	struct head head;
	u64 id;

	down_read(&ids->rwsem);
	shm = krg_sysv_segment(mapped);
	if (shm) {
		head = head_of(&shm->perm);
		file = get_file(shm->file);
	}
	up_read(&ids->rwsem);
	if (!file) {
		krg_capture_fail(c, -EOPNOTSUPP, "SysV: the segment of a mapping is not there");
		return 0;
	}
	id = put_segment(c, &head, file);
	fput(file);
	return id;
}

/* Those that the set has created; *@at: the next number. False: there is no more. */
static bool next_segment(struct krg_capture *c, int *at)
{
	struct ipc_ids *ids = krg_sysv_ids(KRG_SYSV_SHM);
	struct kern_ipc_perm *perm;
	struct file *file = NULL;
	struct head head;

	down_read(&ids->rwsem);
	perm = krg_sysv_next(c->set, KRG_SYSV_SHM, at);
	if (perm) {
		struct krg_shm *shm = container_of(perm, struct krg_shm, perm);

		head = head_of(perm);
		if (shm->file && (int)file_inode(shm->file)->i_ino == perm->id)
			file = get_file(shm->file);
	}
	up_read(&ids->rwsem);
	if (!perm)
		return false;
	if (!file) {
		krg_capture_fail(c, -EOPNOTSUPP, "SysV: segment %d is not understood", head.id);
		return false;
	}
	put_segment(c, &head, file);
	fput(file);
	return !c->error;
}

/* ---- semaphores ---- */

struct sem_bytes {
	__le16 value, zero;
	__le32 pid;
};

/* The next set of semaphores, its values in the buffer; its id number in *@at. */
static struct krg_sem_array *next_sems(struct krg_capture *c, int *at, struct head *head, int *count)
{
	struct sem_bytes *to = (struct sem_bytes *)c->buffer;
	struct kern_ipc_perm *perm = krg_sysv_next(c->set, KRG_SYSV_SEM, at);
	struct krg_sem_array *array;
	int i;

	if (!perm)
		return NULL;
	array = container_of(perm, struct krg_sem_array, perm);
	spin_lock(&perm->lock);
	*head = head_of(perm);
	*count = array->count;
	for (i = 0; i < array->count && (i + 1) * sizeof(*to) <= KRG_CAPTURE_BUFFER; i++) {
		struct krg_sem *sem = &array->sems[i];

		spin_lock(&sem->lock);
		to[i].value = cpu_to_le16(sem->value);
		to[i].zero = 0;
		to[i].pid = cpu_to_le32(pid_vnr(sem->last));
		spin_unlock(&sem->lock);
	}
	spin_unlock(&perm->lock);
	return array;
}

static bool capture_sems(struct krg_capture *c, int *at)
{
	struct ipc_ids *ids = krg_sysv_ids(KRG_SYSV_SEM);
	struct krg_ghost_piece piece = { .at = c->buffer };
	struct krg_sem_array *array;
	struct head head;
	int count;
	u64 id;

	down_read(&ids->rwsem);
	array = next_sems(c, at, &head, &count);
	up_read(&ids->rwsem);
	if (!array)
		return false;
	piece.length = count * sizeof(struct sem_bytes);
	if (count < 1 || piece.length > KRG_CAPTURE_BUFFER) {
		krg_capture_fail(c, -EOPNOTSUPP, "SysV: semaphore set %d has %d semaphores", head.id, count);
		return false;
	}
	id = krg_capture_begin(c, KRG_GHOST_SYSV_SEM);
	put_head(c, KRG_GHOST_SYSV_SEM_ID, &head);
	krg_capture_put(c, KRG_GHOST_SYSV_SEM_COUNT, count);
	krg_capture_end_data(c, &piece, 1);
	krg_capture_set_id(c, array, id);
	return !c->error;
}

/* What @process would undo of @array, one short for each semaphore, into the buffer; how many there are. */
static int undo_of(struct krg_capture *c, struct krg_sem_array *array, const struct krg_process *process)
{
	const void *list = process->leader->sysvsem.undo_list;
	struct krg_sem_undo *undo;
	int count = 0;

	spin_lock(&array->perm.lock);
	if (list && !array->perm.deleted)
		list_for_each_entry(undo, &array->undo, of_array)
			if (undo->owner == list && array->count * sizeof(short) <= KRG_CAPTURE_BUFFER) {
				count = array->count;
				memcpy(c->buffer, krg_semadj(undo->adjust), count * sizeof(short));
			}
	spin_unlock(&array->perm.lock);
	return count;
}

static void put_undo(struct krg_capture *c, u64 sems, u64 task, int count)
{
	const short *adjust = (const short *)c->buffer;
	int i;

	for (i = 0; i < count; i++) {
		if (!adjust[i])
			continue;
		krg_capture_begin(c, KRG_GHOST_SYSV_UNDO);
		krg_capture_put(c, KRG_GHOST_SYSV_UNDO_SET, sems);
		krg_capture_put(c, KRG_GHOST_SYSV_UNDO_TASK, task);
		krg_capture_put(c, KRG_GHOST_SYSV_UNDO_SEMAPHORE, i);
		krg_capture_put(c, KRG_GHOST_SYSV_UNDO_ADJUST, (s64)adjust[i]);
		krg_capture_end(c);
	}
}

void krg_capture_undo(struct krg_capture *c)
{
	struct ipc_ids *ids = krg_sysv_ids(KRG_SYSV_SEM);
	struct krg_process *process;
	struct krg_sem_array *array;
	struct kern_ipc_perm *perm;
	int at, count;
	u64 sems;

	krg_for_each_process(c->set, process) {
		for (at = 0; !c->error;) {
			down_read(&ids->rwsem);
			perm = krg_sysv_next(c->set, KRG_SYSV_SEM, &at);
			array = container_of(perm, struct krg_sem_array, perm);
			sems = perm ? krg_capture_id(c, array) : 0;
			count = sems ? undo_of(c, array, process) : 0;
			up_read(&ids->rwsem);
			if (!perm)
				break;
			put_undo(c, sems, krg_capture_id(c, process), count);
		}
	}
}

/* ---- message queues ---- */

struct message {
	long type;
	size_t length;
};

struct messages {
	struct message *at;
	char *bytes;
	unsigned long count, length, room;
};

/* How the rest of a long message goes on. */
struct segment {
	struct segment *next;
	/* bytes */
};

static void copy_message(char *to, const struct msg_msg *message)
{
	size_t left = message->m_ts, n = min_t(size_t, left, PAGE_SIZE - sizeof(*message));
	const struct segment *more = (const void *)message->next;

	memcpy(to, message + 1, n);
	for (to += n, left -= n; left && more; to += n, left -= n, more = more->next) {
		n = min_t(size_t, left, PAGE_SIZE - sizeof(*more));
		memcpy(to, more + 1, n);
	}
}

/* Under the queue's lock, with room for all; the sums must be what the queue says. */
static bool copy_messages(struct messages *to, struct krg_msg_queue *queue)
{
	struct msg_msg *message;
	unsigned long n = 0, length = 0;

	list_for_each_entry(message, &queue->messages, m_list) {
		if (n == to->count || message->m_ts > to->length - length)
			return false;
		copy_message(to->bytes + length, message);
		to->at[n++] = (struct message) { .type = message->m_type, .length = message->m_ts };
		length += message->m_ts;
	}
	return n == to->count && length == to->length;
}

static void messages_free(struct messages *all)
{
	kvfree(all->at);
	kvfree(all->bytes);
	all->at = NULL;
	all->bytes = NULL;
}

/* Somebody outside of the set may write to it meanwhile: then once more. */
static int take_messages(struct messages *to, struct krg_msg_queue *queue, struct head *head)
{
	int tries;

	lockdep_assert_held(&krg_sysv_ids(KRG_SYSV_MSG)->rwsem);
	for (tries = 0; tries < 16; tries++) {
		bool done;

		to->count = READ_ONCE(queue->count);
		to->length = READ_ONCE(queue->bytes);
		to->at = kvmalloc_array(to->count + 1, sizeof(*to->at), GFP_KERNEL_ACCOUNT);
		to->bytes = kvmalloc(to->length + 1, GFP_KERNEL_ACCOUNT);
		if (!to->at || !to->bytes) {
			messages_free(to);
			return -ENOMEM;
		}
		spin_lock(&queue->perm.lock);
		*head = head_of(&queue->perm);
		to->room = queue->room;
		done = copy_messages(to, queue);
		spin_unlock(&queue->perm.lock);
		if (done)
			return 0;
		messages_free(to);
	}
	return -EBUSY;
}

static void put_queue(struct krg_capture *c, const struct head *head, const struct messages *all)
{
	struct krg_ghost_piece piece = { .at = all->bytes };
	u64 id = krg_capture_begin(c, KRG_GHOST_SYSV_QUEUE);
	unsigned long i;

	put_head(c, KRG_GHOST_SYSV_QUEUE_ID, head);
	krg_capture_put(c, KRG_GHOST_SYSV_QUEUE_ROOM, all->room);
	krg_capture_end(c);
	for (i = 0; i < all->count && !c->error; i++) {
		piece.length = all->at[i].length;
		if (all->at[i].length > KRG_GHOST_DATA_MAX) {
			krg_capture_fail(c, -EOPNOTSUPP, "SysV: queue %d has a message of %zu bytes", head->id,
					 all->at[i].length);
			return;
		}
		krg_capture_begin(c, KRG_GHOST_SYSV_MESSAGE);
		krg_capture_put(c, KRG_GHOST_SYSV_MESSAGE_QUEUE, id);
		krg_capture_put(c, KRG_GHOST_SYSV_MESSAGE_TYPE, all->at[i].type);
		krg_capture_end_data(c, &piece, piece.length ? 1 : 0);
		piece.at = (const char *)piece.at + piece.length;
	}
}

static bool capture_queue(struct krg_capture *c, int *at)
{
	struct ipc_ids *ids = krg_sysv_ids(KRG_SYSV_MSG);
	struct kern_ipc_perm *perm;
	struct messages all = {};
	struct head head;
	int err = 0;

	down_read(&ids->rwsem);
	perm = krg_sysv_next(c->set, KRG_SYSV_MSG, at);
	if (perm)
		err = take_messages(&all, container_of(perm, struct krg_msg_queue, perm), &head);
	up_read(&ids->rwsem);
	if (!perm)
		return false;
	if (err)
		krg_capture_fail(c, err, "SysV: a message queue cannot be read (%d)", err);
	else
		put_queue(c, &head, &all);
	messages_free(&all);
	return !c->error;
}

void krg_capture_sysv(struct krg_capture *c)
{
	int at = 0;

	while (next_segment(c, &at))
		cond_resched();
	for (at = 0; capture_sems(c, &at);)
		cond_resched();
	for (at = 0; capture_queue(c, &at);)
		cond_resched();
}
