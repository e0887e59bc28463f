// SPDX-License-Identifier: GPL-2.0
/*
 * Messages between the engines of a domain: one type on the ordered class, whose
 * payload is a head, the engine's bytes, and the page that goes with them, if any.
 *
 * A message that the network cannot take now becomes a letter: a copy, in the
 * engine's order. The engine counts its messages, so one that is lost would stop a
 * pair for good; where a letter cannot be kept, the connection is reset, which
 * makes a new epoch in which everything is said again.
 */
#include <linux/highmem.h>
#include <linux/slab.h>

#include <kerrighed/rpc.h>

#include "domain.h"

#define HADSM_LETTERS_MAX	4096
#define HADSM_LETTER_DELAY	(HZ / 200 ?: 1)	/* between two attempts */

struct hadsm_wire {
	__le64 domain;
	__le16 length;			/* of the engine's bytes, which follow */
	__u8 page;			/* 1: and then a page */
	__u8 zero[5];
};

/* ---- sending ---- */

static int net_post(struct hadsm_domain *d, u16 node, const void *data, u32 len, struct page *page)
{
	struct hadsm_wire head = {
		.domain = cpu_to_le64(d->id), .length = cpu_to_le16(len), .page = page ? 1 : 0,
	};
	struct kvec vec[3] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)data, .iov_len = len },
	};

	if (page)
		vec[2] = krg_rpc_page(page, 0, PAGE_SIZE);
	return krg_rpc_post(node, KRG_MSG_HADSM, vec, page ? 3 : 2);
}

/* Worth another attempt: congestion, no memory, or a lease that may come back. */
static bool net_try_again(int err)
{
	return err == -EAGAIN || err == -ENOMEM || err == -ENOBUFS || err == -EHOSTDOWN;
}

static void letter_free(struct hadsm_letter *letter)
{
	if (letter->page)
		put_page(letter->page);
	kfree(letter);
}

static int letter_add(struct hadsm_domain *d, u16 node, const void *data, u32 len, struct page *page)
{
	gfp_t gfp = GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN;
	struct hadsm_letter *letter;

	if (d->nr_letters >= HADSM_LETTERS_MAX)
		return -ENOBUFS;
	letter = kzalloc(struct_size(letter, data, len), gfp);
	if (!letter)
		return -ENOMEM;
	if (page) {
		/* Not a reference: the page may be written again before it leaves. */
		letter->page = alloc_page(gfp);
		if (!letter->page) {
			kfree(letter);
			return -ENOMEM;
		}
		copy_highpage(letter->page, page);
	}
	letter->node = node;
	letter->len = len;
	memcpy(letter->data, data, len);
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

void hadsm_send(struct hadsm_domain *d, const struct krg_dsm_action *act)
{
	struct page *page = NULL;
	int err;

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
	if (d->nr_letters && letters_for(d, act->node))
		err = -EAGAIN;
	else
		err = net_post(d, act->node, act->data, act->len, page);
	if (net_try_again(err))
		err = letter_add(d, act->node, act->data, act->len, page);
	if (net_try_again(err))	/* otherwise there is no connection, and a new epoch on its way */
		krg_rpc_reset(act->node, "no memory for a coherence message");
	if (page)
		put_page(page);
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
		err = net_post(d, letter->node, letter->data, letter->len, letter->page);
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
}

/* ---- receiving ---- */

/* A copy of the page that came: the receive buffer is the connection's. */
static struct page *net_receive_page(const void *data)
{
	struct page *page = alloc_page(GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN);

	if (!page)
		return NULL;
	set_page_private(page, 0);
	memcpy(page_address(page), data, PAGE_SIZE);	/* not aligned */
	return page;
}

static void net_deliver(struct hadsm_domain *d, u16 node, const void *data, u32 len, struct page *page)
{
	struct krg_dsm_event ev = {
		.type = KRG_DSM_EV_MSG, .node = node, .data = data, .len = len,
		.handle = hadsm_handle(page),
	};

	mutex_lock(&d->lock);
	if (d->engine)
		hadsm_step(d, &ev);
	else if (page)
		put_page(page);
	mutex_unlock(&d->lock);
}

static void net_handle(struct krg_rpc_req *req)
{
	const struct hadsm_wire *head = krg_rpc_req_data(req);
	u16 node = krg_rpc_req_node(req);
	struct hadsm_domain *d;
	struct page *page = NULL;
	u32 len;

	len = le16_to_cpu(head->length);
	if (!len || len > KRG_DSM_MESSAGE_MAX || head->page > 1 || !head->domain ||
	    krg_rpc_req_len(req) != sizeof(*head) + len + (head->page ? PAGE_SIZE : 0)) {
		krg_rpc_reset(node, "bad coherence message");
		return;
	}
	d = hadsm_domain_get(le64_to_cpu(head->domain));
	if (IS_ERR(d)) {
		if (PTR_ERR(d) == -ENOMEM)
			krg_rpc_reset(node, "no memory for a domain");
		return;
	}
	if (head->page) {
		page = net_receive_page((const u8 *)(head + 1) + len);
		if (!page) {
			krg_rpc_reset(node, "no memory for a page");
			goto put;
		}
	}
	net_deliver(d, node, head + 1, len, page);
put:
	hadsm_domain_put(d);
}

static const struct krg_rpc_type net_type = {
	.type = KRG_MSG_HADSM, .class = KRG_CLASS_MSG, .name = "hadsm", .handle = net_handle,
	.min_len = sizeof(struct hadsm_wire) + 1,
	.max_len = sizeof(struct hadsm_wire) + KRG_DSM_MESSAGE_MAX + PAGE_SIZE,
};

int hadsm_net_init(void)
{
	return krg_rpc_register(&net_type);
}

void hadsm_net_exit(void)
{
	krg_rpc_unregister(&net_type);
}
