// SPDX-License-Identifier: GPL-2.0
// Containers of shared memory as /proc/kerrighed/{containers,query} tell of them: lines of name=value pairs, of one node or
// of all. Pure: no file is read here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tools/lib/client.hh"

namespace krg {

/** name=value pairs of one line, in their order. */
struct Pairs {
    std::vector<std::pair<std::string, std::string>> all;

    /** "" when it is not there. */
    [[nodiscard]] std::string text(const std::string& name) const;
    /** 0 when it is not there or is no number. */
    [[nodiscard]] std::uint64_t number(const std::string& name) const;
    /** Numbers divided by commas; "-": none. */
    [[nodiscard]] std::vector<std::uint64_t> list(const std::string& name) const;
};

/** Words without a = are left out. */
Pairs parse_pairs(const std::string& line);

/** What one node knows of a container. */
struct ContainerPart {
    NodeId node = 0;  // 0: this one
    Pairs pairs;
};

struct Container {
    std::string id;    // 16 hexadecimal digits
    std::string name;  // "": mounted nowhere that was asked
    unsigned replicas = 0;
    std::vector<ContainerPart> parts;

    [[nodiscard]] std::uint64_t sum(const std::string& pair) const;
    /** Bucket by bucket. */
    [[nodiscard]] std::vector<std::uint64_t> sum_list(const std::string& pair) const;
};

/** A member that did not answer, and the error's number. */
struct SilentNode {
    NodeId node = 0;
    int error = 0;
};

struct Containers {
    bool loaded = false;   // hadsm.ko is here
    bool cluster = false;  // all members were asked, not only this node
    std::vector<Container> list;
    std::vector<SilentNode> silent;
};

/** @text: lines of /proc/kerrighed/containers, or of an answer of /proc/kerrighed/query, which begin with node=N. */
Containers parse_containers(const std::string& text);

}  // namespace krg
