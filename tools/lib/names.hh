// SPDX-License-Identifier: GPL-2.0
// Names of the numbers in the netlink interface, as people and JSON see them.
#pragma once

#include <cstdint>
#include <string_view>

namespace krg {

/** KRG_NODE_STATE_*: "serving" and so on; "unknown" for numbers this tool is too old for. */
std::string_view state_name(std::uint64_t state);
/** KRG_REASON_*: "lost", "evicted" ... */
std::string_view reason_name(std::uint64_t reason);
/** The same as a phrase that completes "because". */
std::string_view reason_phrase(std::uint64_t reason);
/** KRG_EVENT_KIND_*. */
std::string_view event_name(std::uint64_t kind);

}  // namespace krg
