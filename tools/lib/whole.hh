// SPDX-License-Identifier: GPL-2.0
// What the kernel restores, and what can be compared, is one image without packed pages. An increment, or a packed image, becomes one first, in memory
// or in a file without a name.
#pragma once

#include <string>

namespace krg::image {

class Whole {
public:
    /** Reads @path, and all it needs, if it is not whole itself. Throws krg::Error. */
    explicit Whole(const std::string& path);
    Whole(const Whole&) = delete;
    Whole& operator=(const Whole&) = delete;
    ~Whole();

    /** Of what can be restored; good in this process as long as this lives. */
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
    int fd_ = -1;
};

}  // namespace krg::image
