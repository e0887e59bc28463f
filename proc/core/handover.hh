// SPDX-License-Identifier: GPL-2.0
// What the sides of a handover share, and its deliberate faults, one at a time,
// for `krg-sim mutants handover`: a simulator that does not notice them proves
// nothing. Constant false unless KRG_MUTANTS is defined.
#pragma once

#include "proc/core/handover.h"

// name, what it breaks
#define KRG_HANDOVER_MUTANT_LIST(X)                                                                                            \
    X(GoOnGo, "a target goes on GO without reading the record")                                                                \
    X(GoOnAnyGeneration, "a target goes when the record names it, whichever move wrote that")                                  \
    X(GoWhenAlone, "a target that lost its source goes")                                                                       \
    X(StayWhenAlone, "a target that lost its source kills without reading the record")                                         \
    X(AloneAfterRead, "a source that went while the record was read counts as gone before")                                    \
    X(ThawUnread, "a source goes on after a write that failed, without reading")                                               \
    X(LeaveUnread, "a source leaves after a write that failed, without reading")                                               \
    X(ThawUnknown, "a source that cannot know goes on")                                                                        \
    X(LeaveBeforeWrite, "a source leaves when the target is ready")                                                            \
    X(RootFirst, "the root's record is written before the members'")                                                           \
    X(NoPutBack, "members' records stay as they are when the root's was not written")                                          \
    X(MemberAlone, "a member's record is believed without its root's")                                                         \
    X(MemberNever, "a member's record is never believed")                                                                      \
    X(NeverAsk, "a target waits for an ABORT that was lost")                                                                   \
    X(AskIsEnough, "a target kills when the source does not know the move, without reading again")                             \
    X(DeathUntold, "processes that died before they could run are told to nobody")                                             \
    X(DeathUnread, "processes that died before they could run are told to their homes, whoever has them")                      \
    X(EndTellsOnce, "a home that did not hear of an end is not told again")                                                    \
    X(SaysOnce, "a home that did not hear who runs its process is not told again")                                             \
    X(EndUnwritten, "a home is told of an end that the directory does not know")                                               \
    X(HomeTrustsView, "a home ends the shadow when the runner it knows is out, without reading")                               \
    X(HomeIgnoresView, "a home does not look when the runner that it knows is lost")                                           \
    X(HomeOldNews, "a home believes a runner of an earlier generation")

namespace krg::handover {

enum class Mutant : int {
    None,
#define KRG_HANDOVER_MUTANT_ENUM(name, text) name,
    KRG_HANDOVER_MUTANT_LIST(KRG_HANDOVER_MUTANT_ENUM)
#undef KRG_HANDOVER_MUTANT_ENUM
};

#ifdef KRG_MUTANTS
extern Mutant active_mutant;  // set by the simulator before a run
#define KRG_HANDOVER_MUTANT(name) (::krg::handover::active_mutant == ::krg::handover::Mutant::name)
#else
#define KRG_HANDOVER_MUTANT(name) false
#endif

namespace error {
constexpr s32 no_entry = -2, no_process = -3, io = -5, not_connected = -107;
}

/** Nothing that this node waits for will change it. */
constexpr bool is_final(s32 error) { return error == error::io || error == error::not_connected; }

}  // namespace krg::handover
