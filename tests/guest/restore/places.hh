// SPDX-License-Identifier: GPL-2.0
//
// Addresses of the restored processes, known to their code and to the image writer; code.cc has them as numbers.
#pragma once

#include <cstdint>

extern "C" {
extern const unsigned char krg_probe_code[], krg_probe_second[], krg_probe_other[], krg_probe_handler[], krg_probe_restorer[],
    krg_probe_end[];
}

namespace krg::probe {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t code_at = 0x10000000;
constexpr std::uint64_t data_at = 0x20000000;  // four pages: values, fs, altstack, one more
constexpr std::uint64_t values_at = data_at + 0x100;
constexpr std::uint64_t thread_area_at = data_at + 0x1000;
constexpr std::uint64_t altstack_at = data_at + 0x2000;
constexpr std::uint64_t clear_tid_at = data_at + 0x408;
constexpr std::uint64_t closed_at = 0x20004000;  // without access
constexpr std::uint64_t shared_at = 0x30000000;
constexpr std::uint64_t heap_at = 0x40000000, heap_end = 0x40002000;
constexpr std::uint64_t twin_at = 0x50000000;  // in the other process: the same page as thread_area_at
constexpr std::uint64_t stack_at = 0x7ff000000000, stack_end = stack_at + 2 * page;

/// Where `symbol` of code.cc is in the processes.
inline std::uint64_t place(const unsigned char* symbol) {
    return code_at + static_cast<std::uint64_t>(symbol - krg_probe_code);
}

}  // namespace krg::probe
