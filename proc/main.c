// SPDX-License-Identifier: GPL-2.0
/*
 * krg_proc.ko: the module, its device /dev/kerrighed, and which part answers
 * which operation. The operations are elsewhere.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "ahead.h"
#include "control.h"
#include "follow.h"
#include "forward.h"
#include "main.h"
#include "member.h"
#include "move.h"
#include "pids.h"
#include "shadow.h"
#include "stop.h"
#include "track.h"

static int krg_dev_open(struct inode *inode, struct file *filp)
{
	struct krg_proc_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	INIT_LIST_HEAD(&file->frozen);
	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

static int krg_dev_flush(struct file *filp, fl_owner_t id)
{
	krg_restore_flush(filp->private_data, id);
	return 0;
}

static int krg_dev_release(struct inode *inode, struct file *filp)
{
	struct krg_proc_file *file = filp->private_data;

	krg_restore_release(file);
	krg_capture_release(file);
	mutex_destroy(&file->lock);
	krg_move_in_release(file);
	kfree(file);
	return 0;
}

static long krg_dev_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct krg_proc_file *file = filp->private_data;
	void __user *at = (void __user *)arg;

	switch (cmd) {
	case KRG_PROC_CHECK:
	case KRG_PROC_CAPTURE:
	case KRG_PROC_FREEZE:
	case KRG_PROC_UNFREEZE:
		return krg_capture_ioctl(file, cmd, at);
	case KRG_PROC_RESTORE_BEGIN:
	case KRG_PROC_RESTORE_FILE:
	case KRG_PROC_RESTORE_FORWARDED:
	case KRG_PROC_RESTORE_JOIN:
	case KRG_PROC_RESTORE_WAIT:
	case KRG_PROC_RESTORE_GO:
	case KRG_PROC_RESTORE_ABORT:
	case KRG_PROC_RESTORE_INHERIT:
	case KRG_PROC_RESTORE_SEGMENT:
		return krg_restore_ioctl(file, cmd, at);
	case KRG_PROC_MIGRATE:
		return krg_move_ioctl(at);
	case KRG_PROC_INCOMING:
		return krg_move_in_ioctl(file, at);
	case KRG_PROC_INCOMING_FAILED:
		return krg_move_in_failed_ioctl(file, at);
	}
	return -ENOTTY;
}

static const struct file_operations krg_dev_fops = {
	.owner		= THIS_MODULE,
	.open		= krg_dev_open,
	.flush		= krg_dev_flush,
	.release	= krg_dev_release,
	.unlocked_ioctl	= krg_dev_ioctl,
};

static struct miscdevice krg_dev = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "kerrighed",
	.fops	= &krg_dev_fops,
	.mode	= 0666,
};

static int krg_dev_init(void)
{
	int err = misc_register(&krg_dev);

	if (err)
		pr_err("/dev/kerrighed cannot be made: %d\n", err);
	return err;
}

static void krg_dev_exit(void)
{
	misc_deregister(&krg_dev);
}

/* In the order of starting; stopped in reverse. */
static const struct krg_proc_part {
	int (*init)(void);
	void (*exit)(void);
} parts[] = {
	{ krg_pids_init, krg_pids_exit },
	{ krg_guest_init, krg_guest_exit },
	{ krg_stop_init, krg_stop_exit },
	{ krg_track_init, krg_track_exit },
	{ krg_forward_init, krg_forward_exit },
	{ krg_ahead_init, krg_ahead_exit },
	{ krg_follow_out_init, krg_follow_out_exit },
	{ krg_follow_in_init, krg_follow_in_exit },
	{ krg_move_in_init, krg_move_in_exit },
	{ krg_member_init, krg_member_exit },
	{ krg_control_init, krg_control_exit },
	{ krg_dev_init, krg_dev_exit },
};

static void stop_parts(unsigned int n)
{
	while (n--)
		parts[n].exit();
}

static int __init krg_proc_mod_init(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		err = parts[i].init();
		if (err) {
			stop_parts(i);
			return err;
		}
	}
	return 0;
}

static void __exit krg_proc_mod_exit(void)
{
	stop_parts(ARRAY_SIZE(parts));
	/* A task work of ours drops its reference on the module shortly before it returns. */
	synchronize_rcu_tasks();
}

module_init(krg_proc_mod_init);
module_exit(krg_proc_mod_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Kerrighed developers");
MODULE_DESCRIPTION("Kerrighed: capture and restore of processes");
MODULE_VERSION("4.0.0");
MODULE_ALIAS("devname:kerrighed");
