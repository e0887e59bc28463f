// SPDX-License-Identifier: GPL-2.0
// SysV objects of processes that were saved and killed: they are in the image, and nobody else removes them.
#pragma once

#include <string>

namespace krg::checkpoint {

/**
 * Removes the objects in @image, so that restart can make them again with their ids: but for a segment that somebody else has
 * attached, and semaphores and queues that somebody else has used last. Returns a line for each that stays.
 */
std::string remove_objects(const std::string& image);

}  // namespace krg::checkpoint
