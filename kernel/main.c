// SPDX-License-Identifier: GPL-2.0
/*
 * The module's table of contents: what is started, in which order. While this
 * node is in a cluster the module holds a reference on itself, so unloading it
 * means that everything below is idle.
 */
#include <linux/init.h>
#include <linux/module.h>

#include "main.h"

#define KRG_VERSION "4.0.0"

struct krg_part {
	const char *name;
	int (*init)(void);
	void (*exit)(void);
};

/* In the order of starting; stopped in reverse. */
static const struct krg_part krg_parts[] = {
	{ "symbols", krg_symbols_init, krg_symbols_exit },
	{ "hooks", krg_hook_init, krg_hook_exit },
	{ "statistics", krg_stats_init, krg_stats_exit },
	{ "sessions", krg_session_init, krg_session_exit },
	{ "views", krg_view_init, krg_view_exit },
	{ "witness", krg_witness_init, krg_witness_exit },
	{ "handlers", krg_dispatch_init, krg_dispatch_exit },
	{ "calls", krg_rpc_init, krg_rpc_exit },
	{ "links", krg_link_init, krg_link_exit },
	{ "hello", krg_hello_init, krg_hello_exit },
	{ "node", krg_node_init, krg_node_exit },
	{ "power", krg_power_init, krg_power_exit },
	{ "proc", krg_proc_init, krg_proc_exit },
	{ "netlink", krg_netlink_init, krg_netlink_exit },
};

static void krg_stop_parts(unsigned int n)
{
	while (n--)
		krg_parts[n].exit();
}

static int __init krg_init(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(krg_parts); i++) {
		err = krg_parts[i].init();
		if (err) {
			pr_err("%s: cannot start: %d\n", krg_parts[i].name, err);
			krg_stop_parts(i);
			return err;
		}
	}
	pr_info("version " KRG_VERSION " loaded, message version %d\n", KRG_WIRE_VERSION);
	return 0;
}

static void __exit krg_exit(void)
{
	krg_stop_parts(ARRAY_SIZE(krg_parts));
	pr_info("unloaded\n");
}

module_init(krg_init);
module_exit(krg_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Kerrighed developers");
MODULE_DESCRIPTION("Kerrighed: a cluster operating system layer");
MODULE_VERSION(KRG_VERSION);
/* Every member is home and backup of pages, whether it mounts anything or not. */
MODULE_SOFTDEP("post: hadsm");
