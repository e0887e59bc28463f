// SPDX-License-Identifier: GPL-2.0
asm(".pushsection .gcc_except_table,\"a\",@progbits; .long 0; .popsection");
