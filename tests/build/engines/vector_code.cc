// SPDX-License-Identifier: GPL-2.0
void krg_vector() { asm volatile("movaps %xmm0, %xmm1"); }
