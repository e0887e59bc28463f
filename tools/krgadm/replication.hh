// SPDX-License-Identifier: GPL-2.0
// How far a container has come after a crash, out of what its homes say.
#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "tools/lib/containers.hh"

namespace krg {

struct Replication {
    std::uint64_t total = 0, left = 0;  // pages that lacked copies after the last change of view; that still do
    std::uint64_t gathering = 0;        // homes that do not know yet who has what
};

inline Replication replication(const Container& c) {
    return {c.sum("repair_total"), c.sum("repair_left"), c.sum("recovering")};
}

/** "complete", "12 of 40 pages", "2 nodes gather who has what". */
inline std::string words_of(const Replication& r) {
    if (r.gathering > 0)
        return fmt::format("{} {} who has what", r.gathering, r.gathering == 1 ? "node gathers" : "nodes gather");
    if (r.left > 0) return fmt::format("{} of {} pages", r.total - r.left, r.total);
    return "complete";
}

}  // namespace krg
