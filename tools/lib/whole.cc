// SPDX-License-Identifier: GPL-2.0
// See whole.hh.
#include "tools/lib/whole.hh"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tools/lib/chain.hh"
#include "tools/lib/error.hh"

namespace krg::image {

namespace {

constexpr unsigned share_of_memory = 4;  // of what is free, the most that an image may take

u64 free_memory() {
    struct sysinfo info {};
    return sysinfo(&info) == 0 ? (u64{info.freeram} + info.bufferram) * info.mem_unit : 0;
}

/** For an image of about @size bytes: memory, or a file where temporary ones go, or beside the image. */
int open_room(const std::string& path, u64 size) {
    int fd = -1;
    if (size <= free_memory() / share_of_memory) fd = memfd_create("image", MFD_CLOEXEC);
    const char* folder = std::getenv("TMPDIR");
    for (const std::string& where :
         {std::string(folder ? folder : ""), std::string("/var/tmp"), std::filesystem::path(path).parent_path().string()})
        if (fd < 0 && !where.empty()) fd = open(where.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd < 0) fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0)
        throw Error(Exit::failed, fmt::format("no room for what {} becomes: {}", path, std::strerror(errno)),
                    "set TMPDIR to a folder with room for it");
    return fd;
}

u64 size_of(const std::string& path) {
    u64 pages = 0;
    read(path, {[&](const Item& item) {
                    if (item.type == KRG_GHOST_PAGES) pages += item.number(KRG_GHOST_PAGES_COUNT);
                },
                {},
                [](const Item&) { return true; }});
    return pages * 4096;
}

}  // namespace

Whole::Whole(const std::string& path) : path_(path) {
    if (is_whole(path)) return;
    fd_ = open_room(path, size_of(path));
    try {
        (void)rewrite(path, fd_, Codec::plain, false);
    } catch (...) {
        close(fd_);
        throw;
    }
    path_ = fmt::format("/proc/self/fd/{}", fd_);
}

Whole::~Whole() {
    if (fd_ >= 0) close(fd_);
}

}  // namespace krg::image
