// SPDX-License-Identifier: GPL-2.0
// The cluster key: its file, and what is derived from it. A key never appears on a command line or in output.
#pragma once

#include <cstdint>
#include <string>

#include "tools/lib/netlink.hh"

namespace krg {

inline constexpr std::size_t key_size = 32;

/** Reads a key file: 64 hexadecimal digits, or 32 raw bytes. Refuses a file that others may read. Throws Error. */
Bytes read_key(const std::string& path);

/** Makes a random key and writes it to @path, mode 0600; the file must not exist. Throws Error. */
Bytes create_key(const std::string& path);

/**
 * @size bytes that follow from @key, @label and @context and reveal nothing about the key: HMAC-SHA256 in counter
 * mode, one block per 32 bytes.
 */
Bytes derive(const Bytes& key, const std::string& label, const std::string& context, std::size_t size);

/** Lower-case hexadecimal. */
std::string to_hex(const Bytes& bytes);

/** @size random bytes from the kernel. */
Bytes random_bytes(std::size_t size);

}  // namespace krg
