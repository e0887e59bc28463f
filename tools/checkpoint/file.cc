// SPDX-License-Identifier: GPL-2.0
// See file.hh.
#include "tools/checkpoint/file.hh"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tools/lib/error.hh"

namespace krg::checkpoint {

namespace {

[[noreturn]] void fail(const std::string& what, const std::string& action = "") {
    const int error = errno;
    const Exit code = error == EACCES || error == EPERM ? Exit::not_permitted
                      : error == ENOENT                 ? Exit::no_object
                                                        : Exit::failed;
    throw Error(code, fmt::format("{}: {}", what, std::strerror(error)), action);
}

// A file system that cannot do it for a folder says so with EINVAL; then renaming is as durable as it makes it.
void sync_folder(const std::string& folder) {
    const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) fail(fmt::format("cannot open the folder {}", folder));
    const int result = fsync(fd), error = errno;
    close(fd);
    errno = error;
    if (result != 0 && error != EINVAL) fail(fmt::format("cannot write the folder {} to the disk", folder));
}

}  // namespace

ImageFile::ImageFile(std::string path) : path_(std::move(path)) {
    const std::size_t slash = path_.rfind('/');
    folder_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
    struct stat status {};
    if (stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
        throw Error(Exit::usage, fmt::format("{} is there and is not a file", path_), "give another name");
    temporary_ = fmt::format("{}/.{}.XXXXXX", folder_, slash == std::string::npos ? path_ : path_.substr(slash + 1));
    fd_ = mkostemp(temporary_.data(), O_CLOEXEC);
    if (fd_ < 0)
        fail(fmt::format("cannot make a file in {}", folder_), "give a folder that is there and that you may write to");
}

ImageFile::~ImageFile() {
    if (fd_ >= 0) close(fd_);
    if (!temporary_.empty()) unlink(temporary_.c_str());
}

void ImageFile::keep() {
    if (fsync(fd_) != 0) fail(fmt::format("cannot write {} to the disk", path_));
    if (rename(temporary_.c_str(), path_.c_str()) != 0) fail(fmt::format("cannot give {} its name", path_));
    temporary_.clear();
    sync_folder(folder_);
}

}  // namespace krg::checkpoint
