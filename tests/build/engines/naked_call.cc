// SPDX-License-Identifier: GPL-2.0
__attribute__((indirect_branch("keep"))) int krg_indirect(int (*f)(int), int x) { return f(x) + 1; }
