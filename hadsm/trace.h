/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints of the coherence protocol: one for each kind of step, all with the
 * same fields. Read them with `trace-cmd record -e hadsm` or through tracefs.
 * op is the same on all nodes for everything that one request, commit, eviction or
 * repair causes.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hadsm

#if !defined(KRG_HADSM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KRG_HADSM_TRACE_H

#include <linux/string.h>
#include <linux/tracepoint.h>

#include "core/dsm.h"

#define HADSM_WHAT_MAX	16

DECLARE_EVENT_CLASS(hadsm_step,
	TP_PROTO(u64 domain, const struct krg_dsm_trace *t),
	TP_ARGS(domain, t),
	TP_STRUCT__entry(
		__field(u64, domain)
		__field(u64, op)
		__field(u64, epoch)
		__field(u64, container)
		__field(u64, index)
		__field(u64, version_epoch)
		__field(u64, version_count)
		__field(u64, number)
		__field(u16, node)
		__field(u16, mode)
		__field(s32, error)
		__array(char, what, HADSM_WHAT_MAX)
	),
	TP_fast_assign(
		__entry->domain = domain;
		__entry->op = t->op;
		__entry->epoch = t->epoch;
		__entry->container = t->container;
		__entry->index = t->index;
		__entry->version_epoch = t->version_epoch;
		__entry->version_count = t->version_count;
		__entry->number = t->number;
		__entry->node = t->node;
		__entry->mode = t->mode;
		__entry->error = t->error;
		strscpy(__entry->what, t->what, HADSM_WHAT_MAX);
	),
	TP_printk("domain=%016llx op=%llu:%llu what=%s node=%u page=%llu:%llu mode=%u version=%llu.%llu number=%llu error=%d epoch=%llu",
		  __entry->domain, __entry->op >> 48, __entry->op & 0xffffffffffffULL, __entry->what,
		  __entry->node, __entry->container, __entry->index, __entry->mode,
		  __entry->version_epoch, __entry->version_count, __entry->number, __entry->error,
		  __entry->epoch)
);

#define HADSM_STEP(name)						\
	DEFINE_EVENT(hadsm_step, name,					\
		     TP_PROTO(u64 domain, const struct krg_dsm_trace *t),	\
		     TP_ARGS(domain, t))

HADSM_STEP(hadsm_request);
HADSM_STEP(hadsm_send);
HADSM_STEP(hadsm_receive);
HADSM_STEP(hadsm_grant);
HADSM_STEP(hadsm_invalidate);
HADSM_STEP(hadsm_downgrade);
HADSM_STEP(hadsm_snapshot);
HADSM_STEP(hadsm_stage);
HADSM_STEP(hadsm_staged);
HADSM_STEP(hadsm_decide);
HADSM_STEP(hadsm_recover);
HADSM_STEP(hadsm_lost);
HADSM_STEP(hadsm_view);

#undef HADSM_STEP

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
