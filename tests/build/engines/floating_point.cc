// SPDX-License-Identifier: GPL-2.0
void krg_float() { asm volatile("fld1; fstp %st(0)"); }
