// SPDX-License-Identifier: GPL-2.0
// Tables from the numbers of the uapi header to words.
#include "tools/lib/names.hh"

#include <array>

#include "include/uapi/linux/kerrighed.h"

namespace krg {
namespace {

constexpr std::array<std::string_view, KRG_NODE_STATE_MAX + 1> states{"out",       "joining", "preparing", "serving",
                                                                      "suspended", "leaving", "failed"};

constexpr std::array<std::string_view, KRG_REASON_MAX + 1> reasons{"none",        "lost",    "left",      "evicted",
                                                                   "version",     "cluster", "id-taken",  "id-range",
                                                                   "unreachable", "timeout", "no-quorum", "internal",
                                                                   "key"};

constexpr std::array<std::string_view, KRG_REASON_MAX + 1> phrases{"no reason is known",
                                                                   "it crashed or was out of reach",
                                                                   "it left as planned",
                                                                   "an administrator evicted it",
                                                                   "it speaks another protocol version",
                                                                   "it belongs to a cluster of another name",
                                                                   "a live member has its node id",
                                                                   "its node id is above what the cluster allows",
                                                                   "it cannot reach every member",
                                                                   "no member answered in time",
                                                                   "the members that answered have no quorum",
                                                                   "an internal check failed",
                                                                   "its cluster key is another one"};

constexpr std::array<std::string_view, KRG_EVENT_KIND_MAX + 1> events{"none",    "state",     "view-prepare", "view-commit",
                                                                      "node-up", "node-down", "join-refused", "peer-refused",
                                                                      "link-up", "link-down", "drain",        "power"};

template<std::size_t Size>
std::string_view look_up(const std::array<std::string_view, Size>& table, std::uint64_t number) {
    return number < Size ? table[number] : "unknown";
}

static_assert(states.back() == "failed" && reasons.back() == "key" && events.back() == "power");

}  // namespace

std::string_view state_name(std::uint64_t state) { return look_up(states, state); }
std::string_view reason_name(std::uint64_t reason) { return look_up(reasons, reason); }
std::string_view reason_phrase(std::uint64_t reason) { return look_up(phrases, reason); }
std::string_view event_name(std::uint64_t kind) { return look_up(events, kind); }

}  // namespace krg
