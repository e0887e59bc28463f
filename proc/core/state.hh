// SPDX-License-Identifier: GPL-2.0
// How the memory that a caller lends is divided: the writer or reader, then the
// objects.
#pragma once

#include "proc/core/judge.hh"

namespace krg::ghost {

[[nodiscard]] size_t writer_size();
[[nodiscard]] size_t reader_size();
[[nodiscard]] inline size_t state_size() { return writer_size() > reader_size() ? writer_size() : reader_size(); }
[[nodiscard]] inline Object* objects_in(void* memory) {
    return reinterpret_cast<Object*>(static_cast<u8*>(memory) + state_size());
}

}  // namespace krg::ghost
