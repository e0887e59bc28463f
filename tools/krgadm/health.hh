// SPDX-License-Identifier: GPL-2.0
// Judges a picture of the node: a list of findings with stable codes, described in krg-health(7). Pure: no kernel, no
// clock, no printing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/krgadm/context.hh"

namespace krg {

enum class Severity { warning, error };

struct Finding {
    std::string code;  // KRG_NODE_DOWN
    Severity severity;
    std::string summary;                // one line
    std::vector<std::string> evidence;  // what was seen, one line each
    std::string action;                 // what to do next
};

struct Health {
    std::vector<Finding> findings;  // errors first

    /** "OK", "WARN" or "ERR". */
    [[nodiscard]] std::string_view status() const;
};

Health judge(const Picture& picture);

}  // namespace krg
