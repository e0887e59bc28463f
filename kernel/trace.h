/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints: every message, every step of membership. Read them with
 * `trace-cmd record -e kerrighed` or through tracefs.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kerrighed

#if !defined(KRG_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KRG_TRACE_H

#include <linux/tracepoint.h>

#include <kerrighed/wire.h>

TRACE_EVENT(krg_message,
	TP_PROTO(u16 node, int class, const struct krg_wire_msg *m, bool sent),
	TP_ARGS(node, class, m, sent),
	TP_STRUCT__entry(
		__field(u16, node)
		__field(u16, type)
		__field(u8, class)
		__field(u8, flags)
		__field(bool, sent)
		__field(u32, length)
		__field(u64, epoch)
		__field(u64, request)
		__field(u64, seq)
	),
	TP_fast_assign(
		__entry->node = node;
		__entry->type = m->type;
		__entry->class = class;
		__entry->flags = m->flags;
		__entry->sent = sent;
		__entry->length = m->length;
		__entry->epoch = m->epoch;
		__entry->request = m->request;
		__entry->seq = m->seq;
	),
	TP_printk("%s node=%u class=%u type=%u flags=%x len=%u epoch=%llu request=%llu seq=%llu",
		  __entry->sent ? "to" : "from", __entry->node, __entry->class, __entry->type,
		  __entry->flags, __entry->length, __entry->epoch, __entry->request, __entry->seq)
);

TRACE_EVENT(krg_session,
	TP_PROTO(u16 node, u64 incarnation, bool up),
	TP_ARGS(node, incarnation, up),
	TP_STRUCT__entry(
		__field(u16, node)
		__field(bool, up)
		__field(u64, incarnation)
	),
	TP_fast_assign(
		__entry->node = node;
		__entry->up = up;
		__entry->incarnation = incarnation;
	),
	TP_printk("node=%u incarnation=%llx %s", __entry->node, __entry->incarnation,
		  __entry->up ? "up" : "down")
);

TRACE_EVENT(krg_member_step,
	TP_PROTO(u32 event, u16 node, u32 len, u64 serve_until),
	TP_ARGS(event, node, len, serve_until),
	TP_STRUCT__entry(
		__field(u32, event)
		__field(u16, node)
		__field(u32, len)
		__field(u64, serve_until)
	),
	TP_fast_assign(
		__entry->event = event;
		__entry->node = node;
		__entry->len = len;
		__entry->serve_until = serve_until;
	),
	TP_printk("event=%u node=%u len=%u serve_until=%llu", __entry->event, __entry->node,
		  __entry->len, __entry->serve_until)
);

TRACE_EVENT(krg_member_action,
	TP_PROTO(u32 action, u16 node, u16 reason, u64 epoch, u32 len),
	TP_ARGS(action, node, reason, epoch, len),
	TP_STRUCT__entry(
		__field(u32, action)
		__field(u16, node)
		__field(u16, reason)
		__field(u64, epoch)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->action = action;
		__entry->node = node;
		__entry->reason = reason;
		__entry->epoch = epoch;
		__entry->len = len;
	),
	TP_printk("action=%u node=%u reason=%u epoch=%llu len=%u", __entry->action, __entry->node,
		  __entry->reason, __entry->epoch, __entry->len)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
