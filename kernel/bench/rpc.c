// SPDX-License-Identifier: GPL-2.0
/*
 * What is measured against the baseline: our own messages, used as any other part
 * of the project would use them. Echo is a request on the ordered class, bulk is
 * one-way messages on the bulk class; the request that ends a stream travels on the
 * same connection, so its answer says that everything before it has arrived.
 */
#include <linux/atomic.h>
#include <linux/kernel.h>

#include <kerrighed/rpc.h>

#include "bench.h"

static u16 rpc_node;		/* of the run under way */
static atomic_t rpc_received;	/* bulk messages since the last answer */

static void rpc_echo_handle(struct krg_rpc_req *req)
{
	struct kvec vec = {
		.iov_base = (void *)krg_rpc_req_data(req), .iov_len = krg_rpc_req_len(req),
	};

	krg_rpc_reply(req, 0, &vec, 1);
}

static void rpc_bulk_handle(struct krg_rpc_req *req)
{
	__le32 count;
	struct kvec vec = { .iov_base = &count, .iov_len = sizeof(count) };

	if (!krg_rpc_req_wants_reply(req)) {
		atomic_inc(&rpc_received);
		return;
	}
	count = cpu_to_le32(atomic_xchg(&rpc_received, 0));
	krg_rpc_reply(req, 0, &vec, 1);
}

static const struct krg_rpc_type rpc_echo_type = {
	.type = KRG_MSG_BENCH_ECHO, .class = KRG_CLASS_MSG, .min_len = 1,
	.max_len = KRG_BENCH_SIZE_MAX, .name = "bench-echo", .handle = rpc_echo_handle,
};

static const struct krg_rpc_type rpc_bulk_type = {
	.type = KRG_MSG_BENCH_BULK, .class = KRG_CLASS_BULK,
	.max_len = KRG_BENCH_SIZE_MAX, .name = "bench-bulk", .handle = rpc_bulk_handle,
};

/* The question that ends a stream: how many messages have arrived? */
static int rpc_arrived(u32 *count)
{
	__le32 answer;
	struct kvec reply = { .iov_base = &answer, .iov_len = sizeof(answer) };
	int ret;

	ret = krg_rpc_call(rpc_node, KRG_MSG_BENCH_BULK, NULL, 0, &reply, 1, KRG_BENCH_TIMEOUT_MS);
	if (ret < 0)
		return ret;
	if (ret != sizeof(answer))
		return -EIO;
	*count = le32_to_cpu(answer);
	return 0;
}

static int rpc_open(u16 node, bool streams)
{
	u32 rest;

	rpc_node = node;
	/* An interrupted run may have left something behind. */
	return streams ? rpc_arrived(&rest) : 0;
}

static int rpc_round_trip(const void *out, void *in, u32 size)
{
	struct kvec vec = { .iov_base = (void *)out, .iov_len = size };
	struct kvec reply = { .iov_base = in, .iov_len = size };
	int ret;

	ret = krg_rpc_call(rpc_node, KRG_MSG_BENCH_ECHO, &vec, 1, &reply, 1, KRG_BENCH_TIMEOUT_MS);
	return ret < 0 ? ret : ret == size ? 0 : -EIO;
}

static int rpc_stream(const void *out, u32 size, u32 count)
{
	u32 left = count, arrived;
	int err = 0;

	while (!err && left--) {
		struct kvec vec = { .iov_base = (void *)out, .iov_len = size };

		err = krg_rpc_send(rpc_node, KRG_MSG_BENCH_BULK, &vec, 1, KRG_BENCH_TIMEOUT_MS);
	}
	if (!err)
		err = rpc_arrived(&arrived);
	if (!err && arrived != count) {
		pr_err("rpc: %u of %u messages arrived\n", arrived, count);
		err = -EIO;
	}
	return err;
}

static void rpc_close(void)
{
}

const struct krg_bench_subject krg_bench_rpc = {
	.name = "rpc",
	.open = rpc_open,
	.round_trip = rpc_round_trip,
	.stream = rpc_stream,
	.close = rpc_close,
};

int krg_bench_rpc_init(void)
{
	int err = krg_rpc_register(&rpc_echo_type);

	if (err)
		return err;
	err = krg_rpc_register(&rpc_bulk_type);
	if (err)
		krg_rpc_unregister(&rpc_echo_type);
	return err;
}

void krg_bench_rpc_exit(void)
{
	krg_rpc_unregister(&rpc_bulk_type);
	krg_rpc_unregister(&rpc_echo_type);
}
