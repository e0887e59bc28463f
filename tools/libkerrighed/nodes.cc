// SPDX-License-Identifier: GPL-2.0
#include "tools/libkerrighed/nodes.hh"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <vector>

#include "tools/libkerrighed/internal.hh"

namespace krg::library {

namespace {

constexpr size_t view_room = 8192;

/** Its text; nothing: there is none. */
ssize_t read_view(char (&to)[view_room]) noexcept {
    const int fd = open("/proc/kerrighed/view", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    size_t have = 0;
    for (ssize_t n; have + 1 < view_room && (n = read(fd, to + have, view_room - 1 - have)) > 0;)
        have += static_cast<size_t>(n);
    close(fd);
    to[have] = 0;
    return static_cast<ssize_t>(have);
}

/** What stands behind @word at the beginning of a line. */
const char* value_of(const char* text, const char* word) noexcept {
    const size_t length = std::strlen(word);
    for (const char* at = text; at; at = std::strchr(at, '\n')) {
        if (*at == '\n') at++;
        if (std::strncmp(at, word, length) == 0 && at[length] == ' ') return at + length + 1;
    }
    return nullptr;
}

std::vector<int> members() {
    char text[view_room];
    if (read_view(text) < 0) throw Failure(ENODEV, "the module kerrighed is not loaded");
    const char* at = value_of(text, "members");
    std::vector<int> all;
    for (char* end = nullptr; at && *at && *at != '\n'; at = end) {
        const long id = std::strtol(at, &end, 10);
        if (end == at) break;
        all.push_back(static_cast<int>(id));
    }
    if (all.empty()) throw Failure(ENOTCONN, "this node is in no cluster");
    std::sort(all.begin(), all.end());
    return all;
}

}  // namespace

int own_node() noexcept {
    char text[view_room];
    if (read_view(text) <= 0) return 0;
    const char* at = value_of(text, "node");
    return at && value_of(text, "members") ? std::atoi(at) : 0;
}

}  // namespace krg::library

using namespace krg::library;

extern "C" int krg_node_id(void) {
    return at_border([] {
        (void)members();
        return own_node();
    });
}

extern "C" int krg_node_count(void) {
    return at_border([] { return static_cast<int>(members().size()); });
}

extern "C" int krg_node_list(int* ids, int room) {
    return at_border([&] {
        if (room < 0 || (room && !ids)) throw Failure(EINVAL, "no room");
        const std::vector<int> all = members();
        std::copy_n(all.begin(), std::min(all.size(), static_cast<size_t>(room)), ids);
        return static_cast<int>(all.size());
    });
}

extern "C" int krg_node_is_member(int node) {
    return at_border([&] {
        const std::vector<int> all = members();
        return std::find(all.begin(), all.end(), node) != all.end() ? 1 : 0;
    });
}
