/* SPDX-License-Identifier: GPL-2.0 */
/* Which vdso this kernel maps into 64-bit processes. */
#ifndef KRG_PROC_VDSO_H
#define KRG_PROC_VDSO_H

#include <linux/types.h>

#define KRG_VDSO_ID_MAX	64

/** krg_vdso_id() - the build id of the caller's vdso, at most KRG_VDSO_ID_MAX bytes; how many, 0: it has none */
u32 krg_vdso_id(u8 *id);

#endif
