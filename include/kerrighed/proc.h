/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files in /proc/kerrighed for the modules above kerrighed.ko: one file, one
 * function that shows it. Nothing is steered from there.
 */
#ifndef KRG_PROC_H
#define KRG_PROC_H

struct proc_dir_entry;
struct proc_ops;
struct seq_file;

/** /proc/kerrighed/@name, readable by everybody; NULL: no memory. */
struct proc_dir_entry *krg_proc_add(const char *name, int (*show)(struct seq_file *m, void *v));
/** ... with operations of its own, for root alone; they must not change anything either. */
struct proc_dir_entry *krg_proc_add_ops(const char *name, const struct proc_ops *ops);
/** A directory there, for everybody. */
struct proc_dir_entry *krg_proc_add_dir(const char *name);
/** Returns when nobody reads it any more. @entry may be NULL. */
void krg_proc_remove(struct proc_dir_entry *entry);

#endif
