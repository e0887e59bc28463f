// SPDX-License-Identifier: GPL-2.0
// Images of one process, one after another: FILE.000001, FILE.000002, ..., of which the last few are kept with all that they
// add to, and FILE, which leads to the newest whole one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace krg::checkpoint {

class Versions {
public:
    /** Goes on behind the versions that are there. Throws krg::Error: @path is there and is no link of ours. */
    Versions(std::string path, unsigned keep);

    /** The name of the next one. */
    [[nodiscard]] std::string next() const;
    /** The newest whole one that is there, or nothing. */
    [[nodiscard]] std::optional<std::string> newest() const;
    /** The next one is there, whole: @path leads to it; all but the last few, and what they add to, go. Throws krg::Error. */
    void took();

private:
    [[nodiscard]] std::vector<std::uint64_t> numbers() const;
    [[nodiscard]] std::string name(std::uint64_t number) const;
    void remove_others() const;

    std::string path_, folder_, base_;
    unsigned keep_;
    std::uint64_t next_ = 1;
};

}  // namespace krg::checkpoint
