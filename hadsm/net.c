// SPDX-License-Identifier: GPL-2.0
/*
 * Messages between the engines of a domain: one type on the ordered class, whose
 * payload is a packet: a head, the engine's messages, each with its length, and
 * the pages that go with some of them. A message that somebody waits for leaves at
 * once; those that belong to pages read ahead fill packets.
 *
 * A packet that the network cannot take now becomes a letter: a copy, in the
 * engine's order. The engine counts its messages, so one that is lost would stop a
 * pair for good; where a letter cannot be kept, the connection is reset, which
 * makes a new epoch in which everything is said again.
 */
#include <linux/highmem.h>
#include <linux/slab.h>

#include <kerrighed/compat.h>
#include <kerrighed/rpc.h>

#include "domain.h"

#define HADSM_LETTERS_MAX	4096
#define HADSM_LETTER_DELAY	(HZ / 200 ?: 1)	/* between two attempts */

#define HADSM_RECORD_HEAD	2		/* le16 in front of a message: its length, and */
#define HADSM_RECORD_PAGE	0x8000		/* ... whether a page belongs to it */

#define HADSM_RESERVE		16	/* pages */

struct hadsm_wire {
	__le64 domain;
	__le16 length;			/* of the records, which follow */
	__u8 pages;			/* and then so many pages */
	__u8 zero[5];
};

/* ---- sending ---- */

static int net_post(struct hadsm_domain *d, u16 node, const void *data, u32 len,
		    struct page *const *page, unsigned int nr_pages)
{
	struct hadsm_wire head = {
		.domain = cpu_to_le64(d->id), .length = cpu_to_le16(len), .pages = nr_pages,
	};
	struct kvec vec[2 + HADSM_PACKET_PAGES] krg_uninitialized;
	unsigned int i;

	vec[0] = (struct kvec){ .iov_base = &head, .iov_len = sizeof(head) };
	vec[1] = (struct kvec){ .iov_base = (void *)data, .iov_len = len };
	for (i = 0; i < nr_pages; i++)
		vec[2 + i] = krg_rpc_page(page[i], 0, PAGE_SIZE);
	return krg_rpc_post(node, KRG_MSG_HADSM, vec, 2 + nr_pages);
}

/* Worth another attempt: congestion, no memory, or a lease that may come back. */
static bool net_try_again(int err)
{
	return err == -EAGAIN || err == -ENOMEM || err == -ENOBUFS || err == -EHOSTDOWN;
}

static void letter_free(struct hadsm_letter *letter)
{
	unsigned int i;

	for (i = 0; i < letter->nr_pages; i++)
		put_page(letter->page[i]);
	kfree(letter);
}

static int letter_add(struct hadsm_domain *d, const struct hadsm_packet *p, gfp_t gfp)
{
	struct hadsm_letter *letter;

	if (d->nr_letters >= HADSM_LETTERS_MAX)
		return -ENOBUFS;
	letter = kzalloc(struct_size(letter, data, p->len), gfp);
	if (!letter)
		return -ENOMEM;
	while (letter->nr_pages < p->nr_pages) {
		/* Not a reference: the page may be written again before it leaves. */
		struct page *copy = alloc_page(gfp);

		if (!copy) {
			letter_free(letter);
			return -ENOMEM;
		}
		copy_highpage(copy, p->page[letter->nr_pages]);
		letter->page[letter->nr_pages++] = copy;
	}
	letter->node = p->node;
	letter->len = p->len;
	memcpy(letter->data, p->data, p->len);
	list_add_tail(&letter->list, &d->letters);
	d->nr_letters++;
	queue_delayed_work(hadsm_wq, &d->letter_work, HADSM_LETTER_DELAY);
	return 0;
}

static bool letters_for(struct hadsm_domain *d, u16 node)
{
	struct hadsm_letter *letter;

	list_for_each_entry(letter, &d->letters, list)
		if (letter->node == node)
			return true;
	return false;
}

/* The page that goes with a SEND, with a reference, or NULL. */
static struct page *net_page(struct hadsm_domain *d, const struct krg_dsm_action *act)
{
	struct hadsm_store *s;
	struct folio *folio;

	if (act->handle) {
		get_page(hadsm_page(act->handle));
		return hadsm_page(act->handle);
	}
	s = hadsm_store_find(d, act->object.container);
	folio = s ? filemap_get_folio(s->inode->i_mapping, act->object.index) : NULL;
	return IS_ERR_OR_NULL(folio) ? NULL : &folio->page;
}

void hadsm_packet_flush(struct hadsm_domain *d)
{
	struct hadsm_packet *p = &d->packet;
	int err;

	lockdep_assert_held(&d->lock);
	d->hurry = d->behind = false;
	if (!p->len)
		return;
	if (d->nr_letters && letters_for(d, p->node))
		err = -EAGAIN;
	else
		err = net_post(d, p->node, p->data, p->len, p->page, p->nr_pages);
	if (net_try_again(err))
		err = letter_add(d, p, GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN);
	/* From the reserves: a new epoch, in which everything is said again, takes more. */
	if (err == -ENOMEM)
		err = letter_add(d, p, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN);
	if (net_try_again(err))	/* otherwise there is no connection, and a new epoch on its way */
		krg_rpc_reset(p->node, "no memory for a coherence message");
	while (p->nr_pages)
		put_page(p->page[--p->nr_pages]);
	p->len = 0;
}

void hadsm_cork(struct hadsm_domain *d, bool all)
{
	lockdep_assert_held(&d->lock);
	d->corked++;
	d->held += all;
}

void hadsm_uncork(struct hadsm_domain *d, bool all)
{
	lockdep_assert_held(&d->lock);
	d->held -= all;
	if (!--d->corked || ((d->hurry || d->behind) && !d->held))
		hadsm_packet_flush(d);
	if (!d->held)
		hadsm_waiters_wake(d);
}

void hadsm_send(struct hadsm_domain *d, const struct krg_dsm_action *act)
{
	struct hadsm_packet *p = &d->packet;
	struct page *page = NULL;
	u32 head;

	lockdep_assert_held(&d->lock);
	if (act->handle || act->cached) {
		page = net_page(d, act);
		if (!page) {	/* zeros in its place would be a lie */
			pr_warn_ratelimited("domain %016llx: %llx/%llu is to be sent and not here\n",
					    d->id, act->object.container, act->object.index);
			krg_rpc_reset(act->node, "page missing");
			return;
		}
	}
	if (p->node != act->node || p->len + HADSM_RECORD_HEAD + act->len > HADSM_PACKET_BYTES ||
	    (page && p->nr_pages == HADSM_PACKET_PAGES))
		hadsm_packet_flush(d);
	p->node = act->node;
	head = act->len | (page ? HADSM_RECORD_PAGE : 0);
	p->data[p->len] = head & 0xff;
	p->data[p->len + 1] = head >> 8;
	memcpy(p->data + p->len + HADSM_RECORD_HEAD, act->data, act->len);
	p->len += HADSM_RECORD_HEAD + act->len;
	if (page)
		p->page[p->nr_pages++] = page;
	if (act->behind && d->held)
		d->behind = true;
	else if (!act->lazy)
		d->hurry = true;
}

void hadsm_letter_work(struct work_struct *work)
{
	struct hadsm_domain *d = container_of(to_delayed_work(work), struct hadsm_domain, letter_work);
	struct hadsm_letter *letter, *next;
	int err;

	mutex_lock(&d->lock);
	bitmap_zero(d->blocked, KRG_DSM_NODES_MAX + 1);
	list_for_each_entry_safe(letter, next, &d->letters, list) {
		if (test_bit(letter->node, d->blocked))
			continue;
		err = net_post(d, letter->node, letter->data, letter->len, letter->page,
			       letter->nr_pages);
		if (net_try_again(err)) {
			set_bit(letter->node, d->blocked);
			continue;
		}
		list_del(&letter->list);
		d->nr_letters--;
		letter_free(letter);
	}
	if (d->nr_letters)
		queue_delayed_work(hadsm_wq, &d->letter_work, HADSM_LETTER_DELAY);
	mutex_unlock(&d->lock);
}

void hadsm_letters_drop(struct hadsm_domain *d)
{
	struct hadsm_letter *letter, *next;

	lockdep_assert_held(&d->lock);
	list_for_each_entry_safe(letter, next, &d->letters, list) {
		list_del(&letter->list);
		letter_free(letter);
	}
	d->nr_letters = 0;
	while (d->packet.nr_pages)
		put_page(d->packet.page[--d->packet.nr_pages]);
	d->packet.len = 0;
}

/* ---- receiving ---- */

void hadsm_reserve_fill(struct hadsm_domain *d)
{
	struct page *page;

	while (d->nr_reserve < HADSM_RESERVE) {
		page = alloc_page(GFP_NOWAIT | __GFP_NOMEMALLOC | __GFP_NOWARN);
		if (!page)
			return;
		list_add(&page->lru, &d->reserve);
		d->nr_reserve++;
	}
}

static struct page *reserve_take(struct hadsm_domain *d)
{
	struct page *page = list_first_entry_or_null(&d->reserve, struct page, lru);

	if (!page)
		return NULL;
	list_del(&page->lru);
	d->nr_reserve--;
	return page;
}

void hadsm_reserve_drop(struct hadsm_domain *d)
{
	while (d->nr_reserve)
		put_page(reserve_take(d));
}

/*
 * A copy of the page that came: the receive buffer is the connection's. A little reclaim, which waits for no disk and no
 * other node, and the reserve come before the connection is given up: that costs everybody a new epoch. Under domain.lock.
 */
static struct page *net_receive_page(struct hadsm_domain *d, const void *data)
{
	struct page *page = hadsm_spare_take(d, GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN);

	if (!page)
		page = alloc_page(GFP_NOIO | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN);
	if (!page)
		page = reserve_take(d);
	if (!page)
		return NULL;
	set_page_private(page, 0);
	memcpy(page_address(page), data, PAGE_SIZE);	/* not aligned */
	return page;
}

/* @page: the bytes of the page that came with it, or NULL. -ENOMEM: none for that. */
static int net_deliver(struct hadsm_domain *d, u16 node, const void *data, u32 len, const u8 *page)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_MSG, .node = node, .data = data, .len = len };
	int err = 0;

	mutex_lock(&d->lock);
	if (d->engine && page) {
		ev.handle = hadsm_handle(net_receive_page(d, page));
		err = ev.handle ? 0 : -ENOMEM;
	}
	if (d->engine && !err)
		hadsm_step(d, &ev);
	mutex_unlock(&d->lock);
	return err;
}

/* Not aligned. */
static u32 net_record_head(const u8 *record)
{
	return record[0] | record[1] << 8;
}

/* Are the records whole, and as many with pages as there are pages? */
static bool net_records_valid(const u8 *record, u32 len, unsigned int pages)
{
	u32 head, size;

	while (len) {
		if (len <= HADSM_RECORD_HEAD)
			return false;
		head = net_record_head(record);
		size = head & ~HADSM_RECORD_PAGE;
		if (!size || size > KRG_DSM_MESSAGE_MAX || size > len - HADSM_RECORD_HEAD)
			return false;
		if (head & HADSM_RECORD_PAGE && !pages--)
			return false;
		record += HADSM_RECORD_HEAD + size;
		len -= HADSM_RECORD_HEAD + size;
	}
	return !pages;
}

static int net_records(struct hadsm_domain *d, u16 node, const u8 *record, u32 len, const u8 *data)
{
	while (len) {
		u32 head = net_record_head(record), size = head & ~HADSM_RECORD_PAGE;
		bool page = head & HADSM_RECORD_PAGE;
		int err = net_deliver(d, node, record + HADSM_RECORD_HEAD, size, page ? data : NULL);

		if (err)
			return err;
		data += page ? PAGE_SIZE : 0;
		record += HADSM_RECORD_HEAD + size;
		len -= HADSM_RECORD_HEAD + size;
	}
	return 0;
}

/*
 * Somebody was answered, and all that is left to be said is that the transaction is over. To send is dear, and whoever was
 * answered may be about to run on this processor: it goes first. Its next message, or this thread's next turn, takes along
 * what waits here.
 */
static void net_let_pass(struct hadsm_domain *d)
{
	lockdep_assert_held(&d->lock);
	if (!d->behind || d->hurry || d->held > 1 || list_empty(&d->answered))
		return;
	d->held--;
	hadsm_waiters_wake(d);
	mutex_unlock(&d->lock);
	yield();	/* returns at once unless somebody wants this processor; nothing is waited for */
	mutex_lock(&d->lock);
	d->held++;
}

static void net_handle(struct krg_rpc_req *req)
{
	const struct hadsm_wire *head = krg_rpc_req_data(req);
	const u8 *records = (const u8 *)(head + 1);
	u16 node = krg_rpc_req_node(req);
	struct hadsm_domain *d;
	u32 len;

	len = le16_to_cpu(head->length);
	if (!len || len > HADSM_PACKET_BYTES || head->pages > HADSM_PACKET_PAGES || !head->domain ||
	    krg_rpc_req_len(req) != sizeof(*head) + len + head->pages * PAGE_SIZE ||
	    !net_records_valid(records, len, head->pages)) {
		krg_rpc_reset(node, "bad coherence message");
		return;
	}
	d = hadsm_domain_get(le64_to_cpu(head->domain));
	if (IS_ERR(d)) {
		if (PTR_ERR(d) == -ENOMEM)
			krg_rpc_reset(node, "no memory for a domain");
		return;
	}
	/* What came together is answered together, as far as it is answered at once. */
	mutex_lock(&d->lock);
	hadsm_cork(d, true);
	mutex_unlock(&d->lock);
	if (net_records(d, node, records, len, records + len))
		krg_rpc_reset(node, "no memory for a page");
	mutex_lock(&d->lock);
	net_let_pass(d);
	hadsm_uncork(d, true);
	hadsm_spares_trim(d);
	if (d->engine)
		hadsm_reserve_fill(d);
	mutex_unlock(&d->lock);
	hadsm_domain_put(d);
}

static const struct krg_rpc_type net_type = {
	.type = KRG_MSG_HADSM, .class = KRG_CLASS_MSG, .name = "hadsm", .handle = net_handle,
	.min_len = sizeof(struct hadsm_wire) + HADSM_RECORD_HEAD + 1,
	.max_len = sizeof(struct hadsm_wire) + HADSM_PACKET_BYTES + HADSM_PACKET_PAGES * PAGE_SIZE,
};

int hadsm_net_init(void)
{
	BUILD_BUG_ON(sizeof(struct hadsm_wire) + HADSM_PACKET_BYTES + HADSM_PACKET_PAGES * PAGE_SIZE >
		     KRG_WIRE_PAYLOAD_MAX);
	BUILD_BUG_ON(2 + HADSM_PACKET_PAGES > KRG_RPC_VEC_MAX);
	return krg_rpc_register(&net_type);
}

void hadsm_net_exit(void)
{
	krg_rpc_unregister(&net_type);
}
