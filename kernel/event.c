// SPDX-License-Identifier: GPL-2.0
/*
 * Events on their way to the listener, and into the kernel log. See event.h.
 */
#include <linux/kernel.h>
#include <linux/mutex.h>

#include "core/membership.h"
#include "event.h"

static DEFINE_MUTEX(event_mutex);	/* the listener, and calls of it: one at a time */
static krg_event_fn event_fn;

const char *krg_event_reason(u8 reason)
{
	static const char *const text[] = {
		[KRG_MBR_R_NONE] = "no reason",
		[KRG_MBR_R_LOST] = "lost",
		[KRG_MBR_R_LEFT] = "left",
		[KRG_MBR_R_EVICTED] = "evicted",
		[KRG_MBR_R_VERSION] = "another protocol version",
		[KRG_MBR_R_CLUSTER] = "another cluster",
		[KRG_MBR_R_ID_TAKEN] = "node id is taken",
		[KRG_MBR_R_ID_RANGE] = "node id is out of range",
		[KRG_MBR_R_UNREACHABLE] = "not every member is reachable",
		[KRG_MBR_R_TIMEOUT] = "no member answered in time",
		[KRG_MBR_R_NO_QUORUM] = "no quorum",
		[KRG_MBR_R_INTERNAL] = "internal error",
		[KRG_NODE_R_KEY] = "another cluster key",
	};

	return reason < ARRAY_SIZE(text) && text[reason] ? text[reason] : "unknown";
}

static const char *event_state(enum krg_node_lifecycle state)
{
	static const char *const text[] = {
		[KRG_NODE_OUT] = "out", [KRG_NODE_JOINING] = "joining",
		[KRG_NODE_PREPARING] = "preparing", [KRG_NODE_SERVING] = "serving",
		[KRG_NODE_SUSPENDED] = "suspended", [KRG_NODE_LEAVING] = "leaving",
		[KRG_NODE_FAILED] = "failed",
	};

	return state < ARRAY_SIZE(text) ? text[state] : "unknown";
}

static void event_log(const struct krg_event *ev)
{
	const char *sep = ev->text[0] ? ": " : "";

	switch (ev->type) {
	case KRG_EVENT_STATE:
		pr_info("state %s%s%s\n", event_state(ev->state), sep, ev->text);
		break;
	case KRG_EVENT_VIEW_COMMIT:
		pr_info("epoch %llu, %u members\n", ev->epoch, ev->nr_members);
		break;
	case KRG_EVENT_NODE_UP:
		pr_info("node %u (%s) is in\n", ev->node, ev->host);
		break;
	case KRG_EVENT_NODE_DOWN:
		pr_info("node %u (%s) is out: %s\n", ev->node, ev->host,
			krg_event_reason(ev->reason));
		break;
	case KRG_EVENT_JOIN_REFUSED:
		pr_warn("join refused by node %u: %s%s%s\n", ev->node,
			krg_event_reason(ev->reason), sep, ev->text);
		break;
	case KRG_EVENT_PEER_REFUSED:
		pr_notice_ratelimited("join of node %u (%s) refused: %s%s%s\n", ev->node, ev->host,
				      krg_event_reason(ev->reason), sep, ev->text);
		break;
	case KRG_EVENT_DRAIN:
		pr_info("planned leave%s%s\n", sep, ev->text);
		break;
	default:
		pr_debug("event %d node %u link %s\n", ev->type, ev->node, ev->link);
	}
}

void krg_event_report(const struct krg_event *ev)
{
	event_log(ev);
	mutex_lock(&event_mutex);
	if (event_fn)
		event_fn(ev);
	mutex_unlock(&event_mutex);
}

void krg_event_listen(krg_event_fn fn)
{
	mutex_lock(&event_mutex);
	event_fn = fn;
	mutex_unlock(&event_mutex);
}

void krg_event_unlisten(void)
{
	krg_event_listen(NULL);
}
