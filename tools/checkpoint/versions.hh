// SPDX-License-Identifier: GPL-2.0
// Images of one process, one after another: FILE.000001, FILE.000002, ..., of which the last few are kept, and FILE, which leads
// to the newest whole one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace krg::checkpoint {

class Versions {
public:
    /** Goes on behind the versions that are there. Throws krg::Error: @path is there and is no link of ours. */
    Versions(std::string path, unsigned keep);

    /** The name of the next one. */
    [[nodiscard]] std::string next() const;
    /** The next one is there, whole: @path leads to it, and all but the last few go. Throws krg::Error. */
    void took();

private:
    [[nodiscard]] std::vector<std::uint64_t> numbers() const;
    [[nodiscard]] std::string name(std::uint64_t number) const;

    std::string path_, folder_, base_;
    unsigned keep_;
    std::uint64_t next_ = 1;
};

}  // namespace krg::checkpoint
