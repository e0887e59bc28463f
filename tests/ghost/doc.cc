// SPDX-License-Identifier: GPL-2.0
// Prints the tables of Documentation/ghost-format.md.
#include <cstdio>

#include "tests/ghost/document.hh"

int main() { return std::fputs(krg::ghost::testing::record_tables().c_str(), stdout) < 0; }
