// SPDX-License-Identifier: GPL-2.0
// The schema as the tables of Documentation/ghost-format.md.
#pragma once

#include <string>

namespace krg::ghost::testing {

std::string record_tables();

}  // namespace krg::ghost::testing
