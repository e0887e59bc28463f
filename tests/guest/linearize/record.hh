// SPDX-License-Identifier: GPL-2.0
//
// The recorder: does what the plan says to words of a mapped file, and writes down what came of it.
#pragma once

#include "log.hh"

#include <string>

namespace krg::guest {

struct RecordOptions {
    Setup setup;
    std::string file, log;
    std::string meet;              ///< directory where all players meet first; empty: they do not
    std::string clock;             ///< directory whose files have the times of one clock for all; empty: all have the same
    std::int64_t tick_us = 10000;  ///< that clock's times of files are behind by less
    unsigned pause_us = 2000;      ///< between operations, at most
    double patience_s = 120;
    bool no_truncate = false;  ///< the file has its size already
};

void record(const RecordOptions& options);

}  // namespace krg::guest
