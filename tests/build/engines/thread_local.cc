// SPDX-License-Identifier: GPL-2.0
thread_local int krg_current;
int krg_get() { return krg_current; }
