// SPDX-License-Identifier: GPL-2.0
/*
 * mount -t hadsm -o name=NAME[,replicas=K] none DIR: the same NAME and K on every
 * node is the same file system. Its records (directories, inodes) live in a domain
 * with at least two copies, so that they survive the loss of a node also when the
 * files' pages do not (K = 1). With K > 1 records and new files share one domain:
 * a name never outlives the bytes that were written before it was given.
 */
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>

#include "fs.h"

#define HADSM_MAXBYTES	((1LL << 62) - 1)

struct hadsm_options {
	char name[HADSM_NAME_MAX + 1];
	u32 replicas;
	umode_t mode;			/* of the root, if this mount makes it */
	kuid_t uid;
	kgid_t gid;
	struct hadsm_names *names;	/* until a super block has it */
};

/* Names of mounts appear in messages and in /proc: no surprises in them. */
static bool name_valid(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return len && len <= HADSM_NAME_MAX && !name[len];
}

/* ---- the name space ---- */

struct hadsm_domain *hadsm_data_domain(struct hadsm_names *n, u32 replicas)
{
	struct hadsm_domain *d, *before;
	int err;

	if (!replicas || replicas > KRG_DSM_REPLICAS_MAX)
		return ERR_PTR(-EUCLEAN);
	d = READ_ONCE(n->data[replicas - 1]);
	if (d)
		return d;
	d = hadsm_domain_get(hadsm_domain_id(n->name, n->replicas, replicas));
	if (IS_ERR(d))
		return d;
	err = hadsm_domain_name(d, n->name, replicas);
	before = err ? NULL : cmpxchg(&n->data[replicas - 1], NULL, d);
	if (err || before)
		hadsm_domain_put(d);
	return err ? ERR_PTR(err) : before ?: d;
}

static void names_free(struct hadsm_names *n)
{
	unsigned int i;

	if (!n)
		return;
	if (n->watched)
		hadsm_futex_unwatch();
	hadsm_store_put(n->inodes);
	for (i = 0; i < KRG_DSM_REPLICAS_MAX; i++)
		hadsm_domain_put(n->data[i]);
	mutex_destroy(&n->lock);
	mutex_destroy(&n->use_lock);
	kvfree(n);
}

static struct hadsm_names *names_new(struct fs_context *fc, const struct hadsm_options *opt)
{
	struct hadsm_names *n = kvzalloc(sizeof(*n), GFP_KERNEL);
	struct hadsm_domain *d;
	u64 live[2];
	int err;

	if (!n)
		return ERR_PTR(-ENOMEM);
	mutex_init(&n->lock);
	mutex_init(&n->use_lock);
	INIT_DELAYED_WORK(&n->reap_work, hadsm_reap_work);
	strscpy(n->name, opt->name, sizeof(n->name));
	n->replicas = opt->replicas;
	n->io.self = hadsm_view_live(live);
	n->io.page = hadsm_tx_page;
	n->io.context = n;
	err = hadsm_futex_watch();
	n->watched = !err;
	if (err)
		errorf(fc, "hadsm: futexes cannot be watched (register_kretprobe of futex_wait: %d): a kernel with CONFIG_KPROBES, and kprobes enabled, is needed",
		       err);
	d = err ? ERR_PTR(err) : n->io.self ? hadsm_data_domain(n, max(opt->replicas, 2u)) :
	    ERR_PTR(-ENOTCONN);
	if (!IS_ERR(d)) {
		n->records = d;
		n->inodes = hadsm_store_get(d, KRG_NAMES_INODES);
		if (!IS_ERR(n->inodes))
			return n;
		d = ERR_CAST(n->inodes);
		n->inodes = NULL;
	}
	names_free(n);
	return ERR_CAST(d);
}

/* ---- super block ---- */

static int hadsm_show_options(struct seq_file *m, struct dentry *root)
{
	struct hadsm_names *n = hadsm_names(root->d_sb);

	seq_printf(m, ",name=%s,replicas=%u", n->name, n->replicas);
	return 0;
}

/* The quota of this node: every node has its own, and what others have free may be used too. */
static int hadsm_statfs(struct dentry *dentry, struct kstatfs *st)
{
	struct hadsm_names *n = hadsm_names(dentry->d_sb);
	unsigned long quota = hadsm_room_quota(), taken = hadsm_room_used();
	u64 id = n->records->id, used;
	int err = hadsm_tx(n, krg_names_count(&n->io, n->io.self, &used));

	if (err)
		return err;
	st->f_type = HADSM_MAGIC;
	st->f_bsize = PAGE_SIZE;
	st->f_blocks = quota;
	st->f_bfree = quota - min(quota, taken);
	st->f_bavail = st->f_bfree;
	st->f_files = used + st->f_bfree;
	st->f_ffree = st->f_bfree;
	st->f_namelen = KRG_NAMES_NAME_MAX;
	st->f_fsid = u64_to_fsid(id);
	return 0;
}

static const struct super_operations hadsm_super_ops = {
	.alloc_inode = hadsm_alloc_inode,
	.free_inode = hadsm_free_inode,
	.statfs = hadsm_statfs,
	.evict_inode = hadsm_evict_inode,
	.show_options = hadsm_show_options,
};

/* The root, made by whoever mounts first, and the mark that this node has it mounted. */
static struct inode *super_root(struct super_block *sb, const struct hadsm_options *opt)
{
	struct hadsm_names *n = hadsm_names(sb);
	struct krg_names_attr attr = {
		.mode = S_IFDIR | opt->mode, .replicas = n->replicas,
		.uid = from_kuid(&init_user_ns, opt->uid), .gid = from_kgid(&init_user_ns, opt->gid),
	};
	int err = hadsm_tx(n, krg_names_init_root(&n->io, &attr));

	if (!err)
		err = hadsm_tx(n, krg_names_use(&n->io, KRG_NAMES_ROOT, 1));
	return err ? ERR_PTR(err) : hadsm_iget_number(sb, KRG_NAMES_ROOT);
}

static int hadsm_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct hadsm_options *opt = fc->fs_private;
	struct hadsm_names *n = hadsm_names(sb);
	struct inode *root;

	opt->names = NULL;	/* it is the super block's */
	n->sb = sb;
	sb->s_magic = HADSM_MAGIC;
	sb->s_op = &hadsm_super_ops;
	sb->s_d_op = &hadsm_dentry_ops;
	sb->s_xattr = hadsm_xattr_handlers;
	sb->s_flags |= SB_NOATIME;
	sb->s_maxbytes = HADSM_MAXBYTES;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_time_gran = 1;
	root = super_root(sb, opt);
	if (IS_ERR(root))
		return PTR_ERR(root);
	sb->s_root = d_make_root(root);
	if (!sb->s_root)
		return -ENOMEM;
	queue_delayed_work(system_unbound_wq, &n->reap_work, HZ);
	return 0;
}

/* One super block for each name space on a node, however often it is mounted. */
static int super_test(struct super_block *sb, struct fs_context *fc)
{
	const struct hadsm_names *n = hadsm_names(sb), *wanted = fc->s_fs_info;

	return n && n->records == wanted->records && n->replicas == wanted->replicas;
}

static int hadsm_get_tree(struct fs_context *fc)
{
	struct hadsm_options *opt = fc->fs_private;
	struct super_block *sb;
	int err = 0;

	if (!*opt->name)
		return invalf(fc, "hadsm: the option name= is missing");
	opt->names = names_new(fc, opt);
	if (IS_ERR(opt->names)) {
		err = PTR_ERR(opt->names);
		opt->names = NULL;
	}
	if (err == -ENOTCONN)
		errorf(fc, "hadsm: this node is in no cluster: join one first");
	if (err == -EEXIST)
		errorf(fc, "hadsm: the name %s collides with another one: choose another", opt->name);
	if (err)
		return err;
	fc->s_fs_info = opt->names;
	sb = sget_fc(fc, super_test, set_anon_super_fc);
	if (IS_ERR(sb))
		return PTR_ERR(sb);
	if (!sb->s_root) {
		err = hadsm_fill_super(sb, fc);
		if (err) {
			deactivate_locked_super(sb);
			return err;
		}
		sb->s_flags |= SB_ACTIVE;
	}
	fc->root = dget(sb->s_root);
	return 0;
}

enum { OPT_NAME, OPT_REPLICAS, OPT_MODE, OPT_UID, OPT_GID, OPT_SIZE, OPT_CLASS };

static const struct fs_parameter_spec hadsm_parameters[] = {
	fsparam_string("name", OPT_NAME),
	fsparam_u32("replicas", OPT_REPLICAS),
	fsparam_u32oct("mode", OPT_MODE),
	fsparam_u32("uid", OPT_UID),
	fsparam_u32("gid", OPT_GID),
	fsparam_string("size", OPT_SIZE),
	fsparam_string("class", OPT_CLASS),
	{}
};

static int hadsm_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct hadsm_options *opt = fc->fs_private;
	struct fs_parse_result result;
	int which = fs_parse(fc, hadsm_parameters, param, &result);

	switch (which) {
	case OPT_NAME:
		if (!name_valid(param->string))
			return invalf(fc, "hadsm: name= takes 1 to %d of the characters A-Z a-z 0-9 . _ -",
				      HADSM_NAME_MAX);
		strscpy(opt->name, param->string, sizeof(opt->name));
		return 0;
	case OPT_REPLICAS:
		if (!result.uint_32 || result.uint_32 > KRG_DSM_REPLICAS_MAX)
			return invalf(fc, "hadsm: replicas= takes 1 to %d", KRG_DSM_REPLICAS_MAX);
		opt->replicas = result.uint_32;
		return 0;
	case OPT_MODE:
		opt->mode = result.uint_32 & S_IALLUGO;
		return 0;
	case OPT_UID:
		opt->uid = make_kuid(current_user_ns(), result.uint_32);
		return uid_valid(opt->uid) ? 0 : invalf(fc, "hadsm: uid= is no user here");
	case OPT_GID:
		opt->gid = make_kgid(current_user_ns(), result.uint_32);
		return gid_valid(opt->gid) ? 0 : invalf(fc, "hadsm: gid= is no group here");
	case OPT_SIZE:
		return invalf(fc, "hadsm: size= is not an option of one mount: a node keeps copies for all of them, in /sys/module/hadsm/parameters/quota_mib MiB");
	case OPT_CLASS:
		if (!strcmp(param->string, "checkpointed"))
			return invalf(fc, "hadsm: class=checkpointed: nothing takes recovery points yet; that comes with the checkpoint of processes");
		return invalf(fc, "hadsm: class= is said by replicas=: 1 is volatile, more is durable");
	default:
		return which;
	}
}

static void hadsm_free_context(struct fs_context *fc)
{
	struct hadsm_options *opt = fc->fs_private;

	names_free(opt->names);	/* no super block took it over */
	kfree(opt);
}

static int hadsm_reconfigure(struct fs_context *fc)
{
	return invalf(fc, "hadsm: options cannot change while it is mounted");
}

static const struct fs_context_operations hadsm_context_ops = {
	.parse_param = hadsm_parse_param,
	.get_tree = hadsm_get_tree,
	.reconfigure = hadsm_reconfigure,
	.free = hadsm_free_context,
};

static int hadsm_init_fs_context(struct fs_context *fc)
{
	struct hadsm_options *opt = kzalloc(sizeof(*opt), GFP_KERNEL);

	if (!opt)
		return -ENOMEM;
	opt->replicas = 1;
	opt->mode = 01777;
	opt->uid = current_fsuid();
	opt->gid = current_fsgid();
	fc->fs_private = opt;
	fc->ops = &hadsm_context_ops;
	return 0;
}

static void hadsm_kill_sb(struct super_block *sb)
{
	struct hadsm_names *n = hadsm_names(sb);

	flush_workqueue(hadsm_lock_wq);	/* they hold inodes */
	if (n && sb->s_root)
		hadsm_reap_last(n);
	kill_anon_super(sb);
	names_free(n);
}

struct file_system_type hadsm_fs_type = {
	.owner = THIS_MODULE,
	.name = "hadsm",
	.init_fs_context = hadsm_init_fs_context,
	.parameters = hadsm_parameters,
	.kill_sb = hadsm_kill_sb,
};
