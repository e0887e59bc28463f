/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What cannot be in an image, by name, looked for before anything is written.
 */
#ifndef KRG_PROC_CHECK_H
#define KRG_PROC_CHECK_H

struct krg_frozen;
struct krg_text;

/**
 * krg_check() - looks for all that an image of @set could not carry
 * @frozen: all its threads are held; else what they change meanwhile may be missed
 * @text: a line for each
 *
 * Return: 0, -EOPNOTSUPP: there was something, or another error. May sleep.
 */
int krg_check(struct krg_frozen *set, bool frozen, struct krg_text *text);

#endif
