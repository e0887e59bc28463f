// SPDX-License-Identifier: GPL-2.0
// What krgimg does: one function a command.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tools/lib/error.hh"

namespace krg::image {

struct Print {
    bool json = false, pretty = false;
    std::ostream& out;
};

/** Every record and field, or only those of the type @only. */
Exit show(const Print& print, const std::vector<std::string>& files, const std::string& only);
/** Reads each file to its end and says what it holds; a manifest's members too. */
Exit check(const Print& print, const std::vector<std::string>& files);
/** Exit::failed: they differ. */
Exit diff(const Print& print, const std::string& left, const std::string& right);

}  // namespace krg::image
