// SPDX-License-Identifier: GPL-2.0
extern "C" int _printk(const char* format, ...);
void krg_say() { _printk("an engine must not know the kernel\n"); }
