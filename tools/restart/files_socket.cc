// SPDX-License-Identifier: GPL-2.0
// What sockets of all families have: options that have a record of their own.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "tools/lib/error.hh"
#include "tools/restart/files.hh"

namespace krg::restart {

void set_socket_options(const Plan& plan, const Record& file, int fd) {
    constexpr long milliseconds = 1000, microseconds = 1000;
    for (const Record* option : plan.of(file.object, KRG_GHOST_SOCKET_OPTION)) {
        const int level = static_cast<int>(option->number(KRG_GHOST_SOCKET_OPTION_LEVEL));
        const int name = static_cast<int>(option->number(KRG_GHOST_SOCKET_OPTION_NAME));
        const int value = static_cast<int>(option->number(KRG_GHOST_SOCKET_OPTION_VALUE));
        const timeval time{value / milliseconds, value % milliseconds * microseconds};
        const bool is_time = level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO);
        if (setsockopt(fd, level, name, is_time ? static_cast<const void*>(&time) : &value,
                       is_time ? sizeof(time) : sizeof(value)) != 0)
            fail_file(file, fmt::format("cannot set option {} of level {}", name, level));
    }
}

}  // namespace krg::restart
