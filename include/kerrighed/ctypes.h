/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Fixed-width integer names for headers that are read on both sides of an
 * engine's face: by the C edge in the kernel, where they are the kernel's own,
 * and by C++, where no kernel header may be included. Types only.
 */
#ifndef KRG_CTYPES_H
#define KRG_CTYPES_H

#if defined(__KERNEL__) && !defined(__cplusplus)
#include <linux/types.h>
#else
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

/* What travels on the wire: the same types as in <linux/types.h>, so that a program may include both. */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
__extension__ typedef unsigned long long __u64;
typedef __u16 __le16;
typedef __u32 __le32;
typedef __u64 __le64;
#endif

#endif /* KRG_CTYPES_H */
