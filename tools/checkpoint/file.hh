// SPDX-License-Identifier: GPL-2.0
// An image that appears under its name whole and durable, or not at all.
#pragma once

#include <string>

namespace krg::checkpoint {

class ImageFile {
public:
    /** Makes a file with a temporary name in the folder of @path, which only its owner can read. */
    explicit ImageFile(std::string path);
    ImageFile(const ImageFile&) = delete;
    ImageFile& operator=(const ImageFile&) = delete;
    /** Removes it, if it did not get its name. */
    ~ImageFile();

    /** What it is called until then. */
    [[nodiscard]] const std::string& temporary() const { return temporary_; }
    [[nodiscard]] int descriptor() const { return fd_; }
    /** To the disk, then the name, then the folder. What had the name before is replaced. */
    void keep();

private:
    std::string path_, folder_, temporary_;
    int fd_ = -1;
};

}  // namespace krg::checkpoint
