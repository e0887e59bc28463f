// SPDX-License-Identifier: GPL-2.0
//
// Copies the whole kernel log, from the first record on, to a virtio-serial port that QEMU writes to a file. The serial
// console carries only a few KB/s in an emulated machine, so it gets warnings and panics only (see machine.cc).
#include "parts.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace krg::vcluster::guest {

namespace {

// A record of /dev/kmsg reads "priority,sequence,microseconds,flags;text\n KEY=value\n"; printed like the console does.
std::string format_record(const char* record, size_t size) {
    std::string text(record, size);
    size_t body = text.find(';');
    if (body == std::string::npos) return {};
    size_t end = text.find('\n', body);
    size_t comma = text.find(',', text.find(',') + 1);
    if (comma == std::string::npos || comma > body) return {};
    unsigned long long us = std::strtoull(text.c_str() + comma + 1, nullptr, 10);
    char stamp[40];
    std::snprintf(stamp, sizeof stamp, "[%5llu.%06llu] ", us / 1'000'000, us % 1'000'000);
    return stamp + text.substr(body + 1, end == std::string::npos ? end : end - body - 1) + "\n";
}

}  // namespace

void pump_kernel_log(int port) {
    int log = open("/dev/kmsg", O_RDONLY | O_CLOEXEC);
    char record[8192];
    while (log >= 0) {
        ssize_t got = read(log, record, sizeof record);
        if (got < 0 && errno == EPIPE) {
            constexpr std::string_view lost = "(messages lost: the kernel log was overwritten before it was read)\n";
            (void)write_all(port, lost.data(), lost.size());
            continue;
        }
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got <= 0) break;
        std::string line = format_record(record, static_cast<size_t>(got));
        if (!write_all(port, line.data(), line.size())) break;
    }
    _exit(1);
}

}  // namespace krg::vcluster::guest
