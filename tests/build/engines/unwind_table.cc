// SPDX-License-Identifier: GPL-2.0
asm(".pushsection .eh_frame,\"a\",@progbits; .long 0; .popsection");
