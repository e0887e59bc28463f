// SPDX-License-Identifier: GPL-2.0
__attribute__((function_return("keep"))) int krg_plain_return(int x) { return x + 1; }
