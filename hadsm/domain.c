// SPDX-License-Identifier: GPL-2.0
/*
 * Life of domains and stores. A domain begins when it is mounted here or when
 * another member speaks of it: every member is home and backup for the domains of
 * all others, mounted or not. It ends when this node's life in the cluster ends,
 * and keeps the module loaded until then.
 *
 * The copies that programs use are in the page cache of the stores' inodes, which
 * belong to a file system of their own that nobody can mount: what a user mounts
 * and unmounts only refers to them.
 */
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pagevec.h>
#include <linux/pseudo_fs.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <kerrighed/compat.h>

#include "domain.h"

#define HADSM_PIECE_MAX		(2 * PAGE_SIZE)	/* larger tables of the engine need not be contiguous */

DEFINE_MUTEX(hadsm_domains_mutex);
LIST_HEAD(hadsm_domains);

static struct vfsmount *hadsm_store_mnt;

/* ---- memory of the engine ---- */

/* How often, a jiffy apart, the memory for making a directory anew is waited for in one epoch. */
#define HADSM_PATIENCE		50

/* Receiving threads may dig into the reserves; the engine's tables must not. */
static void *engine_try_alloc(u64 bytes)
{
	unsigned int flags;
	void *memory;

	if (bytes <= HADSM_PIECE_MAX) {
		memory = kmalloc(roundup(bytes, 16), GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN);
		/* A little reclaim, which waits for no other node, before something is refused or a connection given up. */
		return memory ?: kmalloc(roundup(bytes, 16),
					 GFP_NOIO | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN);
	}
	flags = memalloc_noio_save();
	memory = kvmalloc(bytes, GFP_KERNEL | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN);
	memalloc_noio_restore(flags);
	return memory;
}

/*
 * Nothing that is missing while a directory is made anew can be refused to anybody: it would take another epoch, and then
 * all of the same memory again.
 */
static void *engine_alloc(void *context, u64 bytes)
{
	void *memory = engine_try_alloc(bytes);
	struct hadsm_domain *d = context;

	while (!memory && d->recovering && d->patience) {
		d->patience--;
		schedule_timeout_uninterruptible(1);
		memory = engine_try_alloc(bytes);
	}
	return memory;
}

void hadsm_recovering(struct hadsm_domain *d, bool recovering)
{
	lockdep_assert_held(&d->lock);
	d->recovering = recovering;
	d->patience = HADSM_PATIENCE;
}

static void engine_free(void *context, void *memory, u64 bytes)
{
	kvfree(memory);
}

/* ---- time ---- */

static enum hrtimer_restart domain_timer(struct hrtimer *timer)
{
	struct hadsm_domain *d = container_of(timer, struct hadsm_domain, timer);

	queue_work(hadsm_wq, &d->tick_work);
	return HRTIMER_NORESTART;
}

static void domain_tick_work(struct work_struct *work)
{
	struct hadsm_domain *d = container_of(work, struct hadsm_domain, tick_work);
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_TICK };

	mutex_lock(&d->lock);
	hadsm_step(d, &ev);
	mutex_unlock(&d->lock);
}

static void domain_pin_work(struct work_struct *work)
{
	struct hadsm_domain *d = container_of(to_delayed_work(work), struct hadsm_domain, pin_work);

	mutex_lock(&d->lock);
	hadsm_pins_flush(d, false);
	mutex_unlock(&d->lock);
}

/* ---- domains ---- */

/* The same on every node: mounts whose options differ are different domains. */
u64 hadsm_domain_id(const char *name, u32 mounted, u32 replicas)
{
	u64 hash = 0xcbf29ce484222325ULL;	/* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (u8)*name) * 0x100000001b3ULL;
	hash = (hash ^ 0xff) * 0x100000001b3ULL;
	hash = (hash ^ mounted) * 0x100000001b3ULL;
	hash = (hash ^ replicas) * 0x100000001b3ULL;
	return hash ?: 1;
}

static void domain_release(struct kref *ref)
{
	struct hadsm_domain *d = container_of(ref, struct hadsm_domain, ref);

	free_percpu(d->counts);
	mutex_destroy(&d->lock);
	mutex_destroy(&d->punch_lock);
	xa_destroy(&d->stores);
	kfree(d);
}

void hadsm_domain_put(struct hadsm_domain *d)
{
	if (d)
		kref_put(&d->ref, domain_release);
}

/* The domain's reference to @s goes, if it still has one. */
static void store_erase(struct hadsm_store *s)
{
	struct hadsm_domain *d = s->domain;
	bool erased;

	mutex_lock(&d->lock);
	erased = xa_load(&d->stores, s->container) == s;
	if (erased)
		xa_erase(&d->stores, s->container);
	mutex_unlock(&d->lock);
	if (erased)
		hadsm_store_put(s);
}

/* Everything the engine still has, and whoever waits for it. */
static void domain_stop_engine(struct hadsm_domain *d)
{
	struct hadsm_waiter *w, *next;
	struct krg_dsm_action act;
	struct krg_dsm_event ev;	/* nobody is left to be told */

	mutex_lock(&d->lock);
	WRITE_ONCE(d->dead, true);
	krg_dsm_stop(d->engine);
	while (krg_dsm_next_action(d->engine, &act))
		if (act.type == KRG_DSM_ACT_FREE)
			put_page(hadsm_page(act.handle));
	krg_dsm_delete(d->engine);
	d->engine = NULL;
	hadsm_room_count(d, &ev);
	hadsm_edge_drop(d);
	hadsm_letters_drop(d);
	hadsm_spares_trim(d);
	hadsm_reserve_drop(d);
	hadsm_pins_flush(d, true);
	list_for_each_entry_safe(w, next, &d->waiters, list)
		hadsm_waiter_answer(d, w, -EIO);
	mutex_unlock(&d->lock);
	wake_up_all(&d->wait);
	hadsm_locks_changed(d);
}

/* The end of what domain_create() made. */
static void domain_end(struct hadsm_domain *d)
{
	struct hadsm_store *s;
	unsigned long at = 0;

	domain_stop_engine(d);
	hrtimer_cancel(&d->timer);
	cancel_work_sync(&d->tick_work);
	cancel_work_sync(&d->edge_work);
	cancel_delayed_work_sync(&d->letter_work);
	cancel_delayed_work_sync(&d->pin_work);
	while ((s = hadsm_store_next(d, &at))) {
		truncate_inode_pages(s->inode->i_mapping, 0);
		store_erase(s);
		hadsm_store_put(s);
	}
	hadsm_domain_put(d);
	module_put(THIS_MODULE);
}

static struct hadsm_domain *domain_create(u64 id)
{
	struct krg_dsm_config cfg = {
		.self = hadsm_view_self(), .max_nodes = KRG_DSM_NODES_MAX, .domain = id,
		.params = hadsm_params,
		.memory = { .alloc = engine_alloc, .free = engine_free },
	};
	struct hadsm_domain *d;

	lockdep_assert_held(&hadsm_domains_mutex);
	if (!cfg.self)
		return ERR_PTR(-ENOTCONN);
	if (!try_module_get(THIS_MODULE))
		return ERR_PTR(-ESHUTDOWN);
	d = kzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		goto put_module;
	d->counts = alloc_percpu(struct hadsm_counts);
	if (!d->counts)
		goto free;
	kref_init(&d->ref);
	d->id = id;
	mutex_init(&d->lock);
	mutex_init(&d->punch_lock);
	INIT_LIST_HEAD(&d->waiters);
	INIT_LIST_HEAD(&d->pins);
	INIT_LIST_HEAD(&d->tasks);
	INIT_LIST_HEAD(&d->letters);
	INIT_LIST_HEAD(&d->spares);
	INIT_LIST_HEAD(&d->reserve);
	hadsm_reserve_fill(d);
	INIT_LIST_HEAD(&d->answered);
	INIT_LIST_HEAD(&d->snapshot.list);
	init_waitqueue_head(&d->wait);
	init_waitqueue_head(&d->lock_wait);
	xa_init(&d->stores);
	hrtimer_init(&d->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
	d->timer.function = domain_timer;
	INIT_WORK(&d->tick_work, domain_tick_work);
	INIT_WORK(&d->edge_work, hadsm_edge_work);
	INIT_DELAYED_WORK(&d->letter_work, hadsm_letter_work);
	INIT_DELAYED_WORK(&d->pin_work, domain_pin_work);
	cfg.seed = get_random_u64();
	cfg.memory.context = d;
	d->engine = krg_dsm_new(&cfg, div_u64(ktime_get_ns(), NSEC_PER_USEC));
	if (!d->engine)
		goto free;
	if (hadsm_view_introduce(d)) {
		domain_end(d);
		return ERR_PTR(-ENOMEM);
	}
	list_add_tail(&d->list, &hadsm_domains);
	return d;

free:
	hadsm_reserve_drop(d);
	free_percpu(d->counts);
	kfree(d);
put_module:
	module_put(THIS_MODULE);
	return ERR_PTR(-ENOMEM);
}

struct hadsm_domain *hadsm_domain_get(u64 id)
{
	struct hadsm_domain *d;

	mutex_lock(&hadsm_domains_mutex);
	list_for_each_entry(d, &hadsm_domains, list)
		if (d->id == id)
			goto found;
	d = domain_create(id);
found:
	if (!IS_ERR(d))
		kref_get(&d->ref);
	mutex_unlock(&hadsm_domains_mutex);
	return d;
}

struct hadsm_domain *hadsm_domain_find(u64 id)
{
	struct hadsm_domain *d, *found = NULL;

	mutex_lock(&hadsm_domains_mutex);
	list_for_each_entry(d, &hadsm_domains, list)
		if (d->id == id) {
			kref_get(&d->ref);
			found = d;
			break;
		}
	mutex_unlock(&hadsm_domains_mutex);
	return found;
}

struct hadsm_domain *hadsm_domain_nth(unsigned int n)
{
	struct hadsm_domain *d, *found = NULL;

	mutex_lock(&hadsm_domains_mutex);
	list_for_each_entry(d, &hadsm_domains, list)
		if (!n--) {
			kref_get(&d->ref);
			found = d;
			break;
		}
	mutex_unlock(&hadsm_domains_mutex);
	return found;
}

int hadsm_domain_name(struct hadsm_domain *d, const char *name, u32 replicas)
{
	int err = 0;

	mutex_lock(&d->lock);
	if (!*d->name) {
		strscpy(d->name, name, sizeof(d->name));
		d->replicas = replicas;
	} else if (strcmp(d->name, name) || d->replicas != replicas) {
		err = -EEXIST;
	}
	mutex_unlock(&d->lock);
	return err;
}

void hadsm_domain_stop(struct hadsm_domain *d)
{
	lockdep_assert_held(&hadsm_domains_mutex);
	list_del_init(&d->list);
	domain_end(d);
}

/* ---- stores ---- */

static const struct address_space_operations store_aops = {
	.dirty_folio = noop_dirty_folio,
};

static struct hadsm_store *store_create(struct hadsm_domain *d, u64 container)
{
	struct hadsm_store *s = kzalloc(sizeof(*s), GFP_KERNEL);
	struct inode *inode;

	if (!s)
		return ERR_PTR(-ENOMEM);
	inode = alloc_anon_inode(hadsm_store_mnt->mnt_sb);
	if (IS_ERR(inode)) {
		kfree(s);
		return ERR_CAST(inode);
	}
	inode->i_mode = S_IFREG | 0600;
	i_size_write(inode, HADSM_SIZE);
	inode->i_mapping->a_ops = &store_aops;
	/* A copy that reclaim dropped in silence could be the only one. */
	mapping_set_unevictable(inode->i_mapping);
	kref_init(&s->ref);
	s->container = container;
	s->inode = inode;
	s->domain = d;
	kref_get(&d->ref);
	return s;
}

static void store_release(struct kref *ref)
{
	struct hadsm_store *s = container_of(ref, struct hadsm_store, ref);

	iput(s->inode);
	hadsm_domain_put(s->domain);
	kfree(s);
}

void hadsm_store_put(struct hadsm_store *s)
{
	if (s)
		kref_put(&s->ref, store_release);
}

struct hadsm_store *hadsm_store_find(struct hadsm_domain *d, u64 container)
{
	lockdep_assert_held(&d->lock);
	return xa_load(&d->stores, container);
}

/* Under domain.lock. */
static struct hadsm_store *store_ref(struct hadsm_domain *d, u64 container)
{
	struct hadsm_store *s = hadsm_store_find(d, container);

	if (s)
		kref_get(&s->ref);
	return s;
}

/* Memory that reclaim may have to free files for is not asked for under domain.lock, which that takes. */
static struct hadsm_store *store_add(struct hadsm_domain *d, u64 container)
{
	struct hadsm_store *s, *fresh = store_create(d, container);
	int err;

	if (IS_ERR(fresh))
		return fresh;
	err = xa_reserve(&d->stores, container, GFP_KERNEL);
	if (err) {
		hadsm_store_put(fresh);
		return ERR_PTR(err);
	}
	mutex_lock(&d->lock);
	s = store_ref(d, container);
	if (!s && READ_ONCE(d->dead))
		err = -EIO;
	else if (!s)
		err = xa_err(xa_store(&d->stores, container, fresh, GFP_ATOMIC));
	if (!s && !err) {
		s = fresh;
		fresh = NULL;
		kref_get(&s->ref);
	}
	mutex_unlock(&d->lock);
	xa_release(&d->stores, container);
	hadsm_store_put(fresh);
	return err ? ERR_PTR(err) : s;
}

struct hadsm_store *hadsm_store_get(struct hadsm_domain *d, u64 container)
{
	struct hadsm_store *s;

	mutex_lock(&d->lock);
	s = store_ref(d, container);
	mutex_unlock(&d->lock);
	return s ?: store_add(d, container);
}

struct hadsm_store *hadsm_store_next(struct hadsm_domain *d, unsigned long *at)
{
	struct hadsm_store *s;

	if (*at == ULONG_MAX)	/* no container has this number */
		return NULL;
	mutex_lock(&d->lock);
	s = xa_find(&d->stores, at, ULONG_MAX, XA_PRESENT);
	if (s)
		kref_get(&s->ref);
	mutex_unlock(&d->lock);
	if (s)
		(*at)++;
	return s;
}

void hadsm_stores_trim(struct hadsm_domain *d)
{
	unsigned long at = HADSM_CONTAINER_FILES;
	struct hadsm_store *s;

	while ((s = hadsm_store_next(d, &at))) {
		hadsm_store_forget(s);
		hadsm_store_put(s);
		cond_resched();
	}
}

void hadsm_store_forget(struct hadsm_store *s)
{
	struct hadsm_domain *d = s->domain;
	bool forgotten = false;

	mutex_lock(&d->lock);
	/* Two references, the domain's and the caller's: nobody uses or waits for a page. */
	if (xa_load(&d->stores, s->container) == s && kref_read(&s->ref) == 2 &&
	    mapping_empty(s->inode->i_mapping)) {
		xa_erase(&d->stores, s->container);
		forgotten = true;
	}
	mutex_unlock(&d->lock);
	if (forgotten)
		hadsm_store_put(s);
}

void hadsm_store_unmap(struct hadsm_store *s)
{
	struct address_space *mapping = s->inode->i_mapping;
	struct folio_batch batch;
	pgoff_t next = 0;
	unsigned int i;

	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &next, ULONG_MAX, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			struct folio *folio = batch.folios[i];

			/* Whoever looked before suspension has installed what it had when we get the lock. */
			folio_lock(folio);
			if (folio->mapping == mapping)
				unmap_mapping_pages(mapping, folio->index, 1, false);
			folio_unlock(folio);
		}
		folio_batch_release(&batch);
		cond_resched();
	}
}

/* ---- the file system of the stores ---- */

static int store_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, HADSM_MAGIC) ? 0 : -ENOMEM;
}

/* Without an owner: its mount is ours for as long as the module lives. */
static struct file_system_type store_fs_type = {
	.name = "hadsm_store",
	.init_fs_context = store_init_fs_context,
	.kill_sb = kill_anon_super,
};

int hadsm_domains_init(void)
{
	hadsm_store_mnt = kern_mount(&store_fs_type);
	return PTR_ERR_OR_ZERO(hadsm_store_mnt);
}

void hadsm_domains_exit(void)
{
	kern_unmount(hadsm_store_mnt);
}
