// SPDX-License-Identifier: GPL-2.0
/*
 * The restore sessions of /dev/kerrighed. Restoring is not supported yet: every
 * operation says so.
 */
#include <linux/errno.h>

#include "main.h"

long krg_restore_ioctl(struct krg_proc_file *file, unsigned int cmd, void __user *arg)
{
	return -EOPNOTSUPP;
}

void krg_restore_release(struct krg_proc_file *file)
{
}
