// SPDX-License-Identifier: GPL-2.0
// The hash that leads to a name within its directory: part of the format.
#pragma once

#include "hadsm/names/names.h"

namespace krg::names {

/// 32 bits, the same on every machine. The directory's number is in it, so that names that collide in one do not in another.
[[nodiscard]] u32 hash_name(u64 dir, const char* name, u32 len);

}  // namespace krg::names
